//! `stead up --detach`: starts the same command in the background and waits until it is ready.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::instance::Instance;

/// The flag that the process in the background is given in place of `--detach`.
const IN_BACKGROUND: &str = "--in-background";
/// How the sentence begins with which stead ends when it cannot go on (`main`).
const LAST_WORD: &str = "stead: ";

/// Starts stead again without `--detach`, and returns once it has said that it is ready.
pub(super) fn run(instance: &Instance) -> Result<()> {
    let log_path = instance.log();
    let log = File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log_path)
        .with_context(|| format!("cannot open the log {}", log_path.display()))?;
    let start = log.metadata().map_or(0, |meta| meta.len());
    let words = std::env::args_os().skip(1);
    let words = words.map(|word| if word == "--detach" { IN_BACKGROUND.into() } else { word });
    let mut child = Command::new(std::env::current_exe().context("where is this program?")?)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
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
    match last_word(&log_path, start) {
        Some(sentence) => bail!("{sentence}"),
        None => bail!("stead ended before it was ready ({status}): see {}", log_path.display()),
    }
}

/// Leaves the terminal: its interrupts and its end are not meant for a stead in the background.
pub(super) fn leave_terminal() -> Result<()> {
    nix::unistd::setsid().context("cannot leave the terminal")?;
    Ok(())
}

/// The sentence that stead has ended with, in what was written to its log since `start`.
fn last_word(path: &Path, start: u64) -> Option<String> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.lines().rev().find_map(|line| line.strip_prefix(LAST_WORD)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_behind_what_was_logged_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("stead.log");
        let earlier = "stead: an earlier start failed\n";
        std::fs::write(&log, format!("{earlier}2026 INFO set a sysctl\nstead: port 1 is taken\n")).unwrap();
        let start = earlier.len() as u64;
        assert_eq!(last_word(&log, start).as_deref(), Some("port 1 is taken"));
        std::fs::write(&log, format!("{earlier}2026 INFO killed here\n")).unwrap();
        assert_eq!(last_word(&log, start), None);
    }
}
