//! Waiting for children: containers' first processes, execs, workers, and strangers that were left to us.

use std::collections::BTreeMap;

use rustix::process::WaitOptions;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    /// Its exit code; 128 plus the number of the signal that ended it.
    pub(super) code: i32,
    /// That signal.
    pub(super) signal: Option<i32>,
}

/// Ends that nobody has asked for yet: a process can die before its worker has told its pid.
#[derive(Default)]
pub(super) struct Early(BTreeMap<i32, Exit>);

impl Early {
    /// Remembers an end.
    pub(super) fn insert(&mut self, pid: i32, exit: Exit) {
        self.0.insert(pid, exit);
    }

    /// Takes out the end of `pid`.
    pub(super) fn take(&mut self, pid: i32) -> Option<Exit> {
        self.0.remove(&pid)
    }

    /// Forgets all: no worker is under way that could ask.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// The next child that has ended, if any.
pub(super) fn next() -> Option<(i32, Exit)> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let pid = pid.as_raw_nonzero().get();
                if let Some(signal) = status.terminating_signal() {
                    return Some((pid, Exit { code: 128 + signal, signal: Some(signal) }));
                }
                if let Some(code) = status.exit_status() {
                    return Some((pid, Exit { code, signal: None }));
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}
