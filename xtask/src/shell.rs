//! Running other programs, so that an interrupt ends them and not what has to be cleaned up after them.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Where a program is found.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Runs a program to its end; that it fails is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{program} failed ({status})");
    }
    Ok(())
}

/// What a program says on its standard output; that it fails is an error with what it says elsewhere.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    if !output.status.success() {
        bail!("{program} failed ({}): {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} does not speak UTF-8"))
}

#[derive(Default)]
struct State {
    /// The programs that run now: each leads a process group.
    running: Vec<Pid>,
    interrupted: Option<Signal>,
}

/// Runs programs, and passes on to them the signals that ask this one to end.
pub(crate) struct Runner {
    state: Arc<Mutex<State>>,
}

impl Runner {
    /// From now on, SIGINT, SIGTERM and SIGHUP do not end this process.
    pub(crate) fn new() -> Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot wait for signals")?;
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for signal in signals.forever().filter_map(|number| Signal::try_from(number).ok()) {
                let mut state = lock(&shared);
                state.interrupted = Some(signal);
                for group in &state.running {
                    // It may have ended by itself just now.
                    let _ = killpg(*group, signal);
                }
            }
        });
        Ok(Self { state })
    }

    /// The signal that asked this process to end, if one did.
    pub(crate) fn interrupted(&self) -> Option<Signal> {
        lock(&self.state).interrupted
    }

    /// Runs a program to its end in a process group of its own, without input.
    ///
    /// # Errors
    ///
    /// When it fails, and when this process is asked to end meanwhile; then nothing of the group runs any more.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let program = command.get_program().to_string_lossy().into_owned();
        let (mut child, group) = {
            let mut state = lock(&self.state);
            if let Some(signal) = state.interrupted {
                bail!("interrupted by {signal}");
            }
            let child = command.stdin(Stdio::null()).process_group(0).spawn();
            let child = child.with_context(|| format!("cannot start {program}"))?;
            let group = Pid::from_raw(child.id().cast_signed());
            state.running.push(group);
            (child, group)
        };
        let status = child.wait();
        let mut state = lock(&self.state);
        state.running.retain(|other| *other != group);
        if let Some(signal) = state.interrupted {
            // What it started and did not end; nothing may be left.
            let _ = killpg(group, Signal::SIGKILL);
            bail!("interrupted by {signal}");
        }
        let status = status.with_context(|| format!("cannot wait for {program}"))?;
        if !status.success() {
            bail!("{program} failed ({status})");
        }
        Ok(())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
