//! `stead up --detach`: starts the same command in the background and waits until it is ready.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The log of a detached stead, below the data directory.
const LOG: &str = "stead.log";

/// Starts stead again without `--detach`, and returns once it has said that it is ready.
pub(super) fn run(dir: &Path) -> Result<()> {
    let log_path = dir.join(LOG);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot open the log {}", log_path.display()))?;
    let start = log.metadata().map_or(0, |meta| meta.len());
    let words = std::env::args_os().skip(1).filter(|word| word != "--detach");
    let mut child = Command::new(std::env::current_exe().context("where is this program?")?)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // A group of its own: the terminal's interrupt is not meant for it.
        .process_group(0)
        .spawn()
        .context("cannot start stead in the background")?;
    let output = child.stdout.take().context("no pipe to the background process")?;
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).context("reading from the background process")?;
    if line.starts_with("ready") {
        print!("{line}");
        return Ok(());
    }
    let status = child.wait().context("waiting for the background process")?;
    bail!("stead did not start ({status}): {}", words_since(&log_path, start))
}

fn words_since(path: &Path, start: u64) -> String {
    let mut text = String::new();
    let read = File::open(path).map(|mut file| {
        use std::io::{Seek, SeekFrom};
        file.seek(SeekFrom::Start(start)).and_then(|_| file.read_to_string(&mut text))
    });
    match read {
        Ok(Ok(_)) => text.trim().trim_start_matches("stead: ").to_owned(),
        _ => format!("see {}", path.display()),
    }
}
