//! What is done beside something else: nobody wants to read two programs' words mixed, so that what it says waits in
//! a file until the other is done.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::shell::Runner;
use crate::test::report::Report;

/// A program that ran beside something else.
pub(super) struct Aside {
    name: &'static str,
    log: PathBuf,
    took: Duration,
    result: Result<()>,
}

impl Aside {
    /// Runs a program to its end; what it says goes into a file in `folder`.
    pub(super) fn run(runner: &Runner, name: &'static str, folder: &Path, command: &mut Command) -> Self {
        let (log, start) = (folder.join(format!("{name}.log")), Instant::now());
        let result = into(&log, command).and_then(|()| runner.run(command));
        Self { name, log, took: start.elapsed(), result }
    }

    /// Prints what it said.
    pub(super) fn print(&self) {
        // Without the file it has not begun, and the result says why.
        print!("{}", String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()));
    }

    /// Prints what it said, and answers with what became of it.
    pub(super) fn into_result(self) -> Result<()> {
        self.print();
        self.result
    }

    /// Prints what it said, and notes what became of it.
    pub(super) fn tell(self, report: &mut Report) {
        println!("\n== {} (beside the steps above)", self.name);
        self.print();
        report.note(self.name, self.took, self.result);
    }
}

fn into(log: &Path, command: &mut Command) -> Result<()> {
    let file = File::create(log).with_context(|| format!("cannot make {}", log.display()))?;
    let same = file.try_clone().with_context(|| format!("cannot share {}", log.display()))?;
    command.stdout(file).stderr(same);
    Ok(())
}
