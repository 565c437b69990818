//! A command under way in a container, and the connection that waits for it.

use nix::sys::signal::Signal;

use super::server::send;
use super::worker::Worker;

/// A command.
pub(super) struct Exec {
    /// The connection.
    pub(super) asked_by: u64,
    stage: Stage,
    abandoned: bool,
}

enum Stage {
    Making(Worker),
    Running(i32),
}

impl Exec {
    /// One that is being made.
    pub(super) fn new(asked_by: u64, worker: Worker) -> Self {
        Self { asked_by, stage: Stage::Making(worker), abandoned: false }
    }

    /// What makes it, while it does.
    pub(super) fn worker(&self) -> Option<&Worker> {
        match &self.stage {
            Stage::Making(worker) => Some(worker),
            Stage::Running(_) => None,
        }
    }

    /// The process, once it runs.
    pub(super) fn pid(&self) -> Option<i32> {
        match self.stage {
            Stage::Making(_) => None,
            Stage::Running(pid) => Some(pid),
        }
    }

    /// It runs.
    pub(super) fn made(&mut self, pid: i32) {
        self.stage = Stage::Running(pid);
        if self.abandoned {
            send(pid, Signal::SIGKILL);
        }
    }

    /// Nobody waits for it any more: it ends.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
        if let Some(pid) = self.pid() {
            send(pid, Signal::SIGKILL);
        }
    }
}
