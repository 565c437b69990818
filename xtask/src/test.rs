//! `cargo xtask test`: everything that CI checks, on a machine with nothing but Rust and apt.

mod beside;
mod report;
mod suites;

use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};

use crate::setup::{self, BUSYBOX, C_COMPILER, IPROUTE2, MKFS_EXT4, MKFS_XFS, MMDEBSTRAP};
use crate::shell::{self, Runner};
use crate::sweep::{self, TEST_ROOT};
use crate::{cargo, demo, root, tidy};
use beside::Aside;
use report::Report;

/// Runs every step, whatever becomes of those before it, and fails if one of them failed.
pub(crate) fn run() -> Result<()> {
    setup::need_root("cargo xtask test")?;
    let runner = Runner::new()?;
    let mut report = Report::new();
    let places = Places::new()?;
    report.step(&runner, "setup", || {
        setup::ensure_components()?;
        setup::ensure(&[C_COMPILER, MMDEBSTRAP, BUSYBOX, IPROUTE2, MKFS_EXT4, MKFS_XFS])
    });
    let programs = thread::scope(|scope| {
        // What waits for the network and the disk goes on while the compiler has the processor.
        let fetching = scope.spawn(|| fetch(&runner, &places));
        let programs = check_and_build(&runner, &mut report);
        for aside in fetching.join().expect("fetching does not panic") {
            aside.tell(&mut report);
        }
        programs
    });
    report.step(&runner, "tests", || suites::run(&runner, &places, &programs));
    report.step(&runner, "demo", || {
        let mut commands = demo::rehearsal(&places.stead, &places.run.join("demo"))?;
        commands.iter_mut().try_for_each(|command| runner.run(command.env(TEST_ROOT, &places.run)))
    });
    // Also after an interrupt: what the tests started must not stay.
    report.begin("what tests left");
    report.end(sweep::sweep(&places.run, &places.stead));
    report.print()
}

/// The steps that need the tree alone; answers with the tests that were built.
fn check_and_build(runner: &Runner, report: &mut Report) -> Vec<suites::Program> {
    report.step(runner, "format", || runner.run(cargo().args(["fmt", "--all", "--check"])));
    report.step(runner, "tidy", || tidy::run(&root()));
    match shell::on_path("cargo-deny") {
        Some(_) => report.step(runner, "advisories", || runner.run(cargo().args(["deny", "check"]))),
        // Licences are tidy's, too.
        None => report.skip("advisories", "cargo-deny is not installed (cargo install cargo-deny)"),
    }
    let mut built = suites::Built::default();
    report.step(runner, "build", || suites::build(runner).map(|all| built = all));
    // Compiling told it: nothing is compiled only to be looked at.
    report.step(runner, "lints", || built.refuse_warnings());
    built.programs
}

/// The images and the clients that tests need, one after the other: both may ask apt-get for something.
fn fetch(runner: &Runner, places: &Places) -> [Aside; 2] {
    let xtask = |words: &[&str]| {
        let mut command = std::process::Command::new(&places.xtask);
        command.current_dir(root()).args(words);
        command
    };
    let images = Aside::run(runner, "images", &places.run, &mut xtask(&["images"]));
    let clients = Aside::run(runner, "clients", &places.run, &mut xtask(&["clients"]));
    [images, clients]
}

struct Places {
    images: PathBuf,
    /// Where this run's tests have their data directories.
    run: PathBuf,
    /// The stead that tests run.
    stead: PathBuf,
    tools: PathBuf,
    /// This program.
    xtask: PathBuf,
}

impl Places {
    fn new() -> Result<Self> {
        let target = root().join("target");
        let runs = target.join("e2e");
        let stead = target.join("debug/stead");
        sweep::sweep_older(&runs, &stead);
        let run = runs.join(format!("run-{}", std::process::id()));
        std::fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
        let run = run.canonicalize().with_context(|| format!("cannot look at {}", run.display()))?;
        let xtask = std::env::current_exe().context("where is this program?")?;
        Ok(Self { images: target.join("images"), run, stead, tools: target.join("tools"), xtask })
    }
}
