//! The shim's loop: what can happen, and what is done about it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::Pid;

use super::attach::{Attachment, Taps};
use super::channel::receive;
use super::connection::{Connection, Incoming};
use super::container::{Container, Phase};
use super::exec::Exec;
use super::protocol::{Fault, Reply};
use super::reaper::{self, Early, Exit};
use super::setup::Surroundings;
use super::worker::{Outcome, Worker};
use crate::cgroup::Hierarchies;
use crate::record::SandboxRecord;

/// How many connections are served at once; more wait in the socket's queue.
const CONNECTION_LIMIT: usize = 256;

/// The longest outcome of a worker, in bytes.
const OUTCOME_LIMIT: usize = 64 << 10;

/// All of a shim.
pub(super) struct Shim {
    pub(super) dir: PathBuf,
    pub(super) record: SandboxRecord,
    pub(super) hierarchies: Hierarchies,
    listener: UnixListener,
    signals: SignalFd,
    pub(super) connections: BTreeMap<u64, Connection>,
    next_connection: u64,
    pub(super) containers: BTreeMap<String, Container>,
    pub(super) execs: Vec<Exec>,
    pub(super) subscribers: Vec<u64>,
    pub(super) attachments: Vec<Attachment>,
    pub(super) taps: Taps,
    /// Connections that wait for all to end.
    pub(super) stopping: Option<Vec<u64>>,
    early: Early,
    /// The first process of what the pod's containers share, while there is one.
    pub(super) pause: Option<i32>,
}

/// What poll(2) can tell.
enum Event {
    Connect,
    Signals,
    Connection(u64),
    Log(String),
    Made(String),
    Started(String),
    Swept(String),
    ExecMade(u64),
    Taps,
}

impl Shim {
    /// A shim without containers.
    pub(super) fn new(dir: &Path, surroundings: Surroundings) -> Self {
        let Surroundings { record, hierarchies, listener, signals } = surroundings;
        Self {
            dir: dir.to_owned(),
            record,
            hierarchies,
            listener,
            signals,
            connections: BTreeMap::new(),
            next_connection: 0,
            containers: BTreeMap::new(),
            execs: Vec::new(),
            subscribers: Vec::new(),
            attachments: Vec::new(),
            taps: Taps::default(),
            stopping: None,
            early: Early::default(),
            pause: None,
        }
    }

    /// Serves until it is told to stop and everything has ended.
    pub(super) fn serve(mut self) -> io::Result<()> {
        loop {
            for event in self.wait()? {
                self.handle(event);
            }
            if let Some(waiting) = &self.stopping
                && self.containers.values().all(|c| matches!(c.phase, Phase::Exited(_)))
            {
                for connection in waiting.clone() {
                    self.reply(connection, &Reply::Done);
                }
                return std::fs::remove_file(&self.record.socket);
            }
        }
    }

    fn wait(&self) -> io::Result<Vec<Event>> {
        let mut watched = vec![(self.signals.as_fd(), Event::Signals)];
        if self.connections.len() < CONNECTION_LIMIT {
            watched.push((self.listener.as_fd(), Event::Connect));
        }
        for (id, connection) in &self.connections {
            watched.push((connection.fd(), Event::Connection(*id)));
        }
        for exec in &self.execs {
            if let Some(worker) = exec.worker() {
                watched.push((worker.outcome.as_fd(), Event::ExecMade(exec.asked_by)));
            }
        }
        for container in self.containers.values() {
            let id = || container.id.clone();
            // Whoever is attached and does not read makes the container wait, as a pipe would.
            let read = container.log.fds().filter(|(name, _)| !self.taps.are_full(&container.id, name));
            watched.extend(read.map(|(_, fd)| (fd, Event::Log(id()))));
            match &container.phase {
                Phase::Creating(worker, _) => watched.push((worker.outcome.as_fd(), Event::Made(id()))),
                Phase::Starting(_, status) => watched.push((status.as_fd(), Event::Started(id()))),
                Phase::Ending(_, leftovers) => {
                    watched.extend(leftovers.iter().map(|fd| (fd.as_fd(), Event::Swept(id()))));
                }
                Phase::Created(..) | Phase::Refused(..) | Phase::Running(..) | Phase::Exited(_) => {}
            }
        }
        let mut fds: Vec<_> = watched.iter().map(|(fd, _)| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        for fd in self.taps.full() {
            fds.push(PollFd::new(fd, PollFlags::POLLOUT));
            watched.push((fd, Event::Taps));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        Ok(watched.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|((_, event), _)| event).collect())
    }

    /// An event may be about something that an earlier one of the same round has ended.
    fn handle(&mut self, event: Event) {
        match event {
            Event::Connect => self.accept(),
            Event::Signals => self.signals(),
            Event::Connection(id) => self.read_connection(id),
            Event::Log(id) => {
                if let Some(container) = self.containers.get_mut(&id) {
                    container.log.read(false, &mut |name, bytes| self.taps.give(&id, name, bytes));
                }
            }
            Event::Made(id) => self.made(&id),
            Event::Started(id) => self.started(&id),
            Event::Swept(id) => {
                if let Some(container) = self.containers.get_mut(&id) {
                    container.sweep(&self.hierarchies);
                }
                self.finish(&id);
            }
            Event::ExecMade(connection) => self.exec_made(connection),
            Event::Taps => self.taps.flush(),
        }
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else { return };
        if let Ok(connection) = Connection::new(stream) {
            self.next_connection += 1;
            self.connections.insert(self.next_connection, connection);
        }
    }

    fn read_connection(&mut self, id: u64) {
        match self.connections.get_mut(&id).map(Connection::read) {
            Some(Incoming::Request(request, fds)) => self.request(id, request, fds),
            Some(Incoming::Closed) => self.hang_up(id),
            Some(Incoming::Nothing) | None => {}
        }
    }

    fn hang_up(&mut self, id: u64) {
        self.connections.remove(&id);
        self.subscribers.retain(|c| *c != id);
        self.detach(id);
        // Nobody waits for this command any more: a probe that took too long, or a daemon that died.
        for exec in self.execs.iter_mut().filter(|e| e.asked_by == id) {
            exec.abandon();
        }
    }

    /// Answers and ends the connection.
    pub(super) fn reply(&mut self, connection: u64, reply: &Reply) {
        if let Some(mut connection) = self.connections.remove(&connection) {
            connection.send(reply);
        }
    }

    /// Tells everybody that something is different now.
    pub(super) fn changed(&mut self) {
        let connections = &mut self.connections;
        self.subscribers.retain(|id| {
            let told = connections.get_mut(id).is_some_and(|c| c.send(&Reply::Changed));
            if !told {
                connections.remove(id);
            }
            told
        });
    }

    fn signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if i32::try_from(signal.ssi_signo) == Ok(libc::SIGTERM) {
                self.terminate();
            }
        }
        while let Some((pid, exit)) = reaper::next() {
            self.reap(pid, exit);
        }
    }

    /// The machine is shutting down, or somebody wants us gone: our containers hear the same, and when the
    /// last has ended, and that is written down, so do we.
    fn terminate(&mut self) {
        self.stopping.get_or_insert_default();
        for container in self.containers.values() {
            match container.phase {
                Phase::Running(pid, _) => send(pid, Signal::SIGTERM),
                _ => self.kill(container),
            }
        }
    }

    /// Kills whatever is there of a container, in any phase.
    pub(super) fn kill(&self, container: &Container) {
        if let Some(pid) = container.pid() {
            send(pid, Signal::SIGKILL);
        }
        if matches!(container.phase, Phase::Creating(..)) {
            // Its worker and what that has made.
            let _ = self.hierarchies.kill(&container.cgroup);
        }
    }

    fn reap(&mut self, pid: i32, exit: Exit) {
        if self.pause == Some(pid) {
            // The kernel has killed whatever shared its namespace.
            self.pause = None;
            return;
        }
        if let Some(id) = self.containers.values().find(|c| c.pid() == Some(pid)).map(|c| c.id.clone()) {
            // The end may be heard of before the start; the answer to the start comes first.
            self.started(&id);
            if let Some(container) = self.containers.get_mut(&id) {
                container.end(exit.code, exit.signal, &self.hierarchies);
            }
            self.finish(&id);
            return;
        }
        if let Some(at) = self.execs.iter().position(|e| e.pid() == Some(pid)) {
            let exec = self.execs.remove(at);
            self.reply(exec.asked_by, &Reply::Exited(exit.code));
            return;
        }
        if self.workers().next().is_some() {
            self.early.insert(pid, exit);
        } else {
            self.early.clear();
        }
    }

    fn workers(&self) -> impl Iterator<Item = &Worker> {
        let creating = self.containers.values().filter_map(|c| match &c.phase {
            Phase::Creating(worker, _) => Some(worker),
            _ => None,
        });
        creating.chain(self.execs.iter().filter_map(Exec::worker))
    }

    fn made(&mut self, id: &str) {
        let Some(mut container) = self.containers.remove(id) else { return };
        let (worker, gate) = match container.phase {
            Phase::Creating(worker, gate) => (worker, gate),
            phase => {
                container.phase = phase;
                self.containers.insert(id.to_owned(), container);
                return;
            }
        };
        let waiting = std::mem::take(&mut container.waiting);
        match outcome(&worker) {
            Ok((pid, terminal)) => {
                if let Some(terminal) = terminal {
                    let _ = rustix::io::ioctl_fionbio(&terminal, true);
                    container.input.terminal = terminal.try_clone().ok();
                    container.log.add("stdout", terminal);
                }
                container.phase = Phase::Created(pid, gate);
                if self.stopping.is_some() {
                    self.kill(&container);
                }
                self.containers.insert(id.to_owned(), container);
                waiting.into_iter().for_each(|connection| self.reply(connection, &Reply::Done));
                if let Some(exit) = self.early.take(pid) {
                    self.reap(pid, exit);
                }
            }
            Err(fault) => {
                // What the worker had begun ends with it.
                let _ = self.hierarchies.kill(&container.cgroup);
                let failed = Reply::Failed(fault);
                waiting.into_iter().for_each(|connection| self.reply(connection, &failed));
            }
        }
        self.changed();
    }

    fn exec_made(&mut self, connection: u64) {
        let Some(at) = self.execs.iter().position(|e| e.asked_by == connection) else { return };
        let Some(worker) = self.execs[at].worker() else { return };
        match outcome(worker) {
            Ok((pid, _)) => {
                self.execs[at].made(pid);
                if let Some(exit) = self.early.take(pid) {
                    self.reap(pid, exit);
                }
            }
            Err(fault) => {
                self.execs.remove(at);
                self.reply(connection, &Reply::Failed(fault));
            }
        }
    }

    fn started(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if !matches!(container.phase, Phase::Starting(..)) {
            return;
        }
        let reply = match container.started() {
            Ok(()) => Reply::Done,
            // Its end, with the reason, comes with SIGCHLD; until then it stays as it is.
            Err(fault) => {
                let waiting = std::mem::take(&mut container.waiting);
                container.refuse(fault.clone());
                let failed = Reply::Failed(fault);
                waiting.into_iter().for_each(|connection| self.reply(connection, &failed));
                return;
            }
        };
        let waiting = std::mem::take(&mut container.waiting);
        waiting.into_iter().for_each(|connection| self.reply(connection, &reply));
        self.changed();
    }

    /// Records the end of a container of which nothing is left, and tells it.
    pub(super) fn finish(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if !container.is_swept() {
            return;
        }
        container.finish(&self.hierarchies, &mut self.taps);
        let waiting = std::mem::take(&mut container.waiting);
        if container.removing {
            self.containers.remove(id);
        }
        self.end_attachments(id);
        waiting.into_iter().for_each(|connection| self.reply(connection, &Reply::Done));
        self.changed();
    }
}

/// Signals a process that is our child and not waited for yet, so that its number cannot be another's.
pub(super) fn send(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

fn outcome(worker: &Worker) -> Result<(i32, Option<OwnedFd>), Fault> {
    let doing = "making the process";
    let mut buffer = vec![0; OUTCOME_LIMIT];
    let (len, mut fds) = receive(&worker.outcome, &mut buffer).map_err(|e| Fault::system(doing, e))?;
    if len == 0 {
        return Err(Fault::system(doing, "what was to make it was killed"));
    }
    match serde_json::from_slice(&buffer[..len]) {
        Ok(Outcome::Made { pid }) => Ok((pid, fds.pop())),
        Ok(Outcome::Failed(fault)) => Err(fault),
        Err(e) => Err(Fault::system(doing, e)),
    }
}
