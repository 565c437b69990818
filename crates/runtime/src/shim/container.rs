//! One container's life.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::attach::Taps;
use super::log::Log;
use super::protocol::Fault;
use super::worker::{CreateFds, Worker};
use crate::cgroup::Hierarchies;
use crate::{ContainerState, record};

/// The exit code of a container whose command could not be started (containerd's StartError).
const START_ERROR: i32 = 128;

/// A container and who waits for it.
pub(super) struct Container {
    /// Its id.
    pub(super) id: String,
    /// Its folder.
    pub(super) dir: PathBuf,
    /// Its cgroup.
    pub(super) cgroup: String,
    /// Its output.
    pub(super) log: Log,
    /// Its input.
    pub(super) input: Input,
    /// Where it is in its life.
    pub(super) phase: Phase,
    /// Connections that wait for what is going on (create, start, remove).
    pub(super) waiting: Vec<u64>,
    /// It is to be removed as soon as it has ended.
    pub(super) removing: bool,
}

/// The gate and the status of a process that waits to run its program: see [`super::executor::Launcher`].
pub(super) struct Gate {
    open: File,
    pub(super) status: OwnedFd,
}

/// Where a container is in its life.
pub(super) enum Phase {
    /// A worker makes it.
    Creating(Worker, Gate),
    /// Its first process waits at the gate.
    Created(i32, Gate),
    /// The gate is open; whether the program runs is not known yet.
    Starting(i32, OwnedFd),
    /// The program could not be started, and its process is about to end.
    Refused(i32, Fault),
    /// The program runs.
    Running(i32, Timestamp),
    /// The first process has ended; others die.
    Ending(Ended, Vec<OwnedFd>),
    /// All of it has ended, and this is on disk.
    Exited(ContainerState),
}

/// How a first process ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ended {
    /// Which process it was.
    pub(super) pid: i32,
    /// When it was started, if it was.
    pub(super) started_at: Option<Timestamp>,
    /// Its exit code.
    pub(super) exit_code: i32,
    /// The signal that ended it.
    pub(super) signal: Option<i32>,
    /// Why the program could not be started.
    pub(super) message: Option<String>,
}

/// What a container reads, from our side.
#[derive(Default)]
pub(super) struct Input {
    /// The pipe that it reads, for those who attach.
    pub(super) pipe: Option<OwnedFd>,
    /// The terminal that it has, which is its input as well.
    pub(super) terminal: Option<OwnedFd>,
    /// The pipe ends with the first who had it.
    pub(super) once: bool,
}

/// The pipes of a container to be made: our ends, and its. One with a terminal needs none for its streams.
pub(super) fn pipes(tty: bool, stdin: bool, log: &mut Log) -> io::Result<(Gate, CreateFds, Input)> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (gate, open) = pipe()?;
    let (status, told) = pipe()?;
    let output = if tty {
        None
    } else {
        let ((out, write_out), (err, write_err)) = (pipe()?, pipe()?);
        for (name, fd) in [("stdout", out), ("stderr", err)] {
            rustix::io::ioctl_fionbio(&fd, true)?;
            log.add(name, fd);
        }
        Some([write_out, write_err])
    };
    let mut ours = Input::default();
    let mut input = None;
    if stdin && !tty {
        let (read, write) = pipe()?;
        rustix::io::ioctl_fionbio(&write, true)?;
        (input, ours.pipe) = (Some(read), Some(write));
    }
    Ok((Gate { open: open.into(), status }, CreateFds { input, output, gate, status: told }, ours))
}

impl Input {
    /// What somebody who attaches gets. A terminal has the size, also for those who do not write. A pipe that is for
    /// one is theirs from now on, and ends when they close it.
    pub(super) fn join(&mut self, stdin: bool) -> io::Result<Option<OwnedFd>> {
        if let Some(terminal) = &self.terminal {
            return terminal.try_clone().map(Some);
        }
        match &self.pipe {
            Some(_) if !stdin => Ok(None),
            Some(_) if self.once => Ok(self.pipe.take()),
            Some(pipe) => pipe.try_clone().map(Some),
            None => Ok(None),
        }
    }
}

impl Gate {
    /// Lets the program start; what comes of it is told by the status.
    pub(super) fn open(mut self) -> io::Result<OwnedFd> {
        io::Write::write_all(&mut self.open, b"1")?;
        Ok(self.status)
    }
}

impl Container {
    /// The first process, while there is one.
    pub(super) fn pid(&self) -> Option<i32> {
        match self.phase {
            Phase::Created(pid, _)
            | Phase::Starting(pid, _)
            | Phase::Refused(pid, _)
            | Phase::Running(pid, _) => Some(pid),
            Phase::Creating(..) | Phase::Ending(..) | Phase::Exited(_) => None,
        }
    }

    /// As the daemon is told; nothing while it is being made.
    pub(super) fn state(&self) -> Option<ContainerState> {
        match &self.phase {
            Phase::Creating(..) => None,
            Phase::Created(..) | Phase::Starting(..) | Phase::Refused(..) => Some(ContainerState::Created),
            Phase::Running(pid, started_at) => {
                Some(ContainerState::Running { started_at: *started_at, pid: pid.unsigned_abs() })
            }
            // Its processes are not gone yet, so it is not said to have ended.
            Phase::Ending(ended, _) => Some(match ended.started_at {
                Some(started_at) => ContainerState::Running { started_at, pid: ended.pid.unsigned_abs() },
                None => ContainerState::Created,
            }),
            Phase::Exited(state) => Some(state.clone()),
        }
    }

    /// The state in words.
    pub(super) fn words(&self) -> &'static str {
        match self.phase {
            Phase::Creating(..) => "being made",
            Phase::Created(..) | Phase::Starting(..) => "created",
            Phase::Running(..) => "running",
            Phase::Refused(..) | Phase::Ending(..) | Phase::Exited(_) => "exited",
        }
    }

    /// The fault for a request that this state does not allow.
    pub(super) fn wrong_state(&self) -> Fault {
        Fault::WrongState { id: self.id.clone(), state: self.words().to_owned() }
    }

    /// Opens the gate.
    pub(super) fn start(&mut self) -> Result<(), Fault> {
        let phase = std::mem::replace(&mut self.phase, Phase::Ending(Ended::default(), Vec::new()));
        let Phase::Created(pid, gate) = phase else {
            self.phase = phase;
            return Err(self.wrong_state());
        };
        match gate.open() {
            Ok(status) => {
                self.phase = Phase::Starting(pid, status);
                Ok(())
            }
            // The process is dead, and its end will be told.
            Err(e) => {
                self.phase = Phase::Running(pid, Timestamp::now());
                Err(Fault::system("starting the container", e))
            }
        }
    }

    /// Reads whether the program runs; to be called when the status can be read. On a fault the process ends
    /// by itself.
    pub(super) fn started(&mut self) -> Result<(), Fault> {
        let Phase::Starting(pid, status) = &self.phase else { return Ok(()) };
        let pid = *pid;
        let said = status
            .as_fd()
            .try_clone_to_owned()
            .and_then(|fd| io::read_to_string(File::from(fd)))
            .map_err(|e| Fault::system("starting the container", e))?;
        if !said.is_empty() {
            let fault = serde_json::from_str(&said);
            return Err(fault.unwrap_or_else(|_| Fault::system("starting the container", said)));
        }
        let started_at = Timestamp::now();
        self.phase = Phase::Running(pid, started_at);
        let state = ContainerState::Running { started_at, pid: pid.unsigned_abs() };
        // For the case that this shim is killed: then it is known at least when the container was started.
        record::write(&self.dir.join("running.json"), &state)
            .map_err(|e| Fault::system("recording that the container runs", e))
    }

    /// The program cannot be started; its process ends, and this is why.
    pub(super) fn refuse(&mut self, fault: Fault) {
        if let Phase::Starting(pid, _) = self.phase {
            self.phase = Phase::Refused(pid, fault);
        }
    }

    /// The first process has ended: kills what it left behind.
    pub(super) fn end(&mut self, exit_code: i32, signal: Option<i32>, hierarchies: &Hierarchies) {
        let pid = self.pid().unwrap_or_default();
        let mut ended = Ended { pid, exit_code, signal, ..Ended::default() };
        if let Phase::Refused(_, fault) = &self.phase {
            (ended.exit_code, ended.signal) = (START_ERROR, None);
            ended.message = Some(fault.clone().message());
        }
        if let Phase::Running(_, started_at) = self.phase {
            ended.started_at = Some(started_at);
        }
        self.phase = Phase::Ending(ended, Vec::new());
        self.sweep(hierarchies);
    }

    /// Kills what is left in the container's cgroup, and looks again whenever some of it has died.
    pub(super) fn sweep(&mut self, hierarchies: &Hierarchies) {
        let Phase::Ending(_, leftovers) = &mut self.phase else { return };
        // A cgroup that cannot be read is one that is gone.
        *leftovers = hierarchies.kill(&self.cgroup).unwrap_or_default();
    }

    /// Whether all has ended but was not recorded yet.
    pub(super) fn is_swept(&self) -> bool {
        matches!(&self.phase, Phase::Ending(_, leftovers) if leftovers.is_empty())
    }

    /// Takes the last output and writes down how it ended.
    pub(super) fn finish(&mut self, hierarchies: &Hierarchies, taps: &mut Taps) {
        let Phase::Ending(ended, _) = &self.phase else { return };
        let ended = ended.clone();
        self.log.read(true, &mut |name, bytes| taps.give(&self.id, name, bytes));
        taps.end(&self.id);
        self.input = Input::default();
        let finished_at = Timestamp::now();
        let state = ContainerState::Exited {
            started_at: ended.started_at.unwrap_or(finished_at),
            finished_at,
            exit_code: ended.exit_code,
            signal: ended.signal,
            oom_killed: ended.exit_code != 0 && hierarchies.oom_kills(&self.cgroup) > 0,
            message: ended.message.unwrap_or_default(),
        };
        if let Err(e) = write_exit(&self.dir, &state) {
            super::say(&format!("container {}: {e}", self.id));
        }
        self.phase = Phase::Exited(state);
    }
}

fn write_exit(dir: &Path, state: &ContainerState) -> io::Result<()> {
    record::write_durably(&dir.join("exit.json"), state)
}
