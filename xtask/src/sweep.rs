//! What tests left behind: found, told, and removed.
//!
//! Other steads may run on the machine. So the tests of one run keep everything below one folder, which their
//! processes name in an environment variable: what is not below it or does not say so is not touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::instance::{Instance, mounts_below};
use crate::shell;

/// Names the folder of a run to its tests.
pub(crate) const TEST_ROOT: &str = "STEAD_TEST_ROOT";
/// Data directories are not looked for deeper than this below the folder of a run.
const DEPTH: usize = 6;

/// Removes what is left of a run, its folder too.
///
/// # Errors
///
/// When anything but files was left: a test did not clean up after itself. All of it is named.
pub(crate) fn sweep(run: &Path, stead: &Path) -> Result<()> {
    if !run.exists() {
        return Ok(());
    }
    let run = run.canonicalize().with_context(|| format!("cannot look at {}", run.display()))?;
    let mut left = Vec::new();
    let mut stuck = Vec::new();
    for dir in data_dirs(&run, DEPTH) {
        let instance = Instance::at(&dir)?;
        let traces = instance.traces()?;
        if traces.is_empty() {
            continue;
        }
        left.extend(traces);
        if let Err(error) = purge(stead, &dir) {
            stuck.push(format!("{error:#}"));
        }
        stuck.extend(instance.traces()?);
    }
    for pid in processes_of(&run) {
        left.push(format!("process {pid}, {}", command_line(pid)));
        // It may have ended just now.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").context("cannot read mountinfo")?;
    stuck.extend(mounts_below(&mountinfo, &run).map(|mount| format!("mount {mount}")));
    if !stuck.is_empty() {
        bail!("this is left and could not be removed:\n  {}", stuck.join("\n  "));
    }
    fs::remove_dir_all(&run).with_context(|| format!("cannot remove {}", run.display()))?;
    if !left.is_empty() {
        bail!("tests left this behind (it is removed now):\n  {}", left.join("\n  "));
    }
    Ok(())
}

/// Removes what runs left that could not clean up: those of processes that are no more.
pub(crate) fn sweep_older(runs: &Path, stead: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix("run-").and_then(|pid| pid.parse::<u32>().ok()) else { continue };
        if is_xtask(pid) {
            continue;
        }
        println!("removing what an earlier run left: {}", entry.path().display());
        if let Err(error) = sweep(&entry.path(), stead) {
            println!("{error:#}");
        }
    }
}

fn is_xtask(pid: u32) -> bool {
    let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
    comm.is_ok_and(|comm| comm.trim() == "xtask")
}

/// `stead down --purge`, which stops the pods too.
pub(crate) fn purge(stead: &Path, dir: &Path) -> Result<()> {
    let mut command = Command::new(stead);
    command.args(["down", "--purge", "--yes", "--data-dir"]).arg(dir).stdin(Stdio::null());
    shell::output(&mut command).map(drop).with_context(|| format!("cannot purge {}", dir.display()))
}

fn data_dirs(folder: &Path, depth: usize) -> Vec<PathBuf> {
    if Instance::is_data_dir(folder) {
        return vec![folder.to_owned()];
    }
    if depth == 0 {
        return Vec::new();
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.flat_map(|entry| data_dirs(&entry.path(), depth - 1)).collect()
}

/// The processes whose environment names the run.
fn processes_of(run: &Path) -> Vec<i32> {
    let marker = format!("{TEST_ROOT}={}", run.display());
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let says_so = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes())
    };
    pids.filter(says_so).collect()
}

fn command_line(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn data_directories_are_found_below_the_run_and_not_inside_each_other() {
        let run = tempfile::tempdir().unwrap();
        for dir in ["walk/data", "walk/data/volumes/x", "other"] {
            let dir = run.path().join(dir);
            fs::create_dir_all(dir.join("pki")).unwrap();
            fs::write(dir.join("lock"), "").unwrap();
        }
        let mut found = data_dirs(run.path(), DEPTH);
        found.sort();
        assert_eq!(found, [run.path().join("other"), run.path().join("walk/data")]);
    }

    #[test]
    fn a_process_left_by_a_run_is_ended_and_told() {
        let run = tempfile::tempdir().unwrap();
        let run = run.path().canonicalize().unwrap();
        // The kernel shows a process's environment a moment after it was started: it says when.
        let mut child = Command::new("sh")
            .args(["-c", "echo up; read end"])
            .env(TEST_ROOT, &run)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let error = sweep(&run, Path::new("stead")).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "tests left this behind (it is removed now):\n  process {}, sh -c echo up; read end",
                child.id()
            )
        );
        assert!(!child.wait().unwrap().success());
        assert!(!run.exists());
    }

    #[test]
    fn files_alone_are_removed_without_a_word() {
        let run = tempfile::tempdir().unwrap().keep();
        fs::write(run.join("notes"), "").unwrap();
        sweep(&run, Path::new("stead")).unwrap();
        assert!(!run.exists());
    }
}
