//! What is done for each request. All are idempotent.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sys::signal::Signal;

use super::container::{Container, Phase, pipes};
use super::exec::Exec;
use super::log::Log;
use super::pause;
use super::protocol::{Fault, Reply, Request};
use super::server::Shim;
use super::worker::{self, ExecWork, Place};
use crate::Processes;
use crate::record::container_dir;
use crate::spec::Pids;

/// What kind of container is to be made, as far as the shim needs to know.
struct Kind {
    tty: bool,
    stdin: bool,
    stdin_once: bool,
    /// Whose process namespace it joins.
    joins: Option<String>,
}

impl Shim {
    /// Does what is asked. The answer is given now, or when what is asked is done.
    pub(super) fn request(&mut self, from: u64, request: Request, fds: Vec<OwnedFd>) {
        let answer = match request {
            Request::Create { id, log_path, tty, stdin, stdin_once, joins } => {
                let kind = Kind { tty, stdin, stdin_once, joins };
                self.create(from, id, &log_path, &kind)
            }
            Request::Start { id } => self.start(from, &id),
            Request::Signal { id, signal } => self.signal(&id, signal).map(|()| Some(Reply::Done)),
            Request::Remove { id } => self.remove(from, &id),
            Request::Exec { id, argv, tty, stdio } => {
                let mut fds = fds.into_iter();
                let stdio = stdio.map(|sent| if sent { fds.next() } else { None });
                self.exec(from, &id, argv, tty, stdio).map(|()| None)
            }
            Request::Attach { id, stdin, stdio } => {
                let mut fds = fds.into_iter();
                let stdio = stdio.map(|sent| if sent { fds.next() } else { None });
                self.attach(from, &id, stdin, stdio).map(|()| None)
            }
            Request::State => {
                let known = self.containers.iter();
                Ok(Some(Reply::State(known.filter_map(|(id, c)| Some((id.clone(), c.state()?))).collect())))
            }
            Request::Subscribe => {
                self.subscribers.push(from);
                Ok(None)
            }
            Request::Stop => {
                self.containers.values().for_each(|container| self.kill(container));
                self.stopping.get_or_insert_default().push(from);
                Ok(None)
            }
        };
        match answer {
            Ok(Some(reply)) => self.reply(from, &reply),
            Ok(None) => {}
            Err(fault) => self.reply(from, &Reply::Failed(fault)),
        }
    }

    fn create(
        &mut self,
        from: u64,
        id: String,
        log_path: &Path,
        kind: &Kind,
    ) -> Result<Option<Reply>, Fault> {
        if self.stopping.is_some() {
            return Err(Fault::system("making the container", "the sandbox is being stopped"));
        }
        if let Some(container) = self.containers.get_mut(&id) {
            if let Phase::Creating(..) = container.phase {
                container.waiting.push(from);
                return Ok(None);
            }
            return Ok(Some(Reply::Done));
        }
        let pids = self.pids(kind.joins.as_deref())?;
        let dir = container_dir(&self.dir, &id);
        let cgroup = self.record.container_cgroup(&id);
        let mut log = Log::open(log_path)
            .map_err(|e| Fault::system(format!("opening the log {}", log_path.display()), e))?;
        let (gate, theirs, mut input) =
            pipes(kind.tty, kind.stdin, &mut log).map_err(|e| Fault::system("making pipes", e))?;
        input.once = kind.stdin_once;
        let place = Place {
            hierarchies: &self.hierarchies,
            cgroup: &cgroup,
            dir: &dir,
            hostname: &self.record.config.hostname,
            pids,
        };
        let worker = worker::create(&place, theirs).map_err(|e| Fault::system("forking", e))?;
        let phase = Phase::Creating(worker, gate);
        let (waiting, removing) = (vec![from], false);
        let container = Container { id: id.clone(), dir, cgroup, log, input, phase, waiting, removing };
        self.containers.insert(id, container);
        Ok(None)
    }

    /// Whose processes a new container sees: the pod says, or the container that it is to look at.
    fn pids(&mut self, target: Option<&str>) -> Result<Pids, Fault> {
        match (self.record.config.processes, target) {
            (Processes::Host, _) => Ok(Pids::Host),
            (Processes::Pod, _) => self.pause().map(Pids::Of),
            (Processes::Container, None) => Ok(Pids::Own),
            (Processes::Container, Some(target)) => {
                let container = self.container(target)?;
                container.pid().map(Pids::Of).ok_or_else(|| container.wrong_state())
            }
        }
    }

    /// The process that holds what the pod's containers share, made when it is first needed, and anew after its
    /// end.
    fn pause(&mut self) -> Result<i32, Fault> {
        if let Some(pid) = self.pause.filter(|pid| !pause::is_ending(*pid)) {
            return Ok(pid);
        }
        let pid =
            pause::start().map_err(|e| Fault::system("making the process that the containers share", e))?;
        self.pause = Some(pid);
        Ok(pid)
    }

    fn start(&mut self, from: u64, id: &str) -> Result<Option<Reply>, Fault> {
        let container = self.container(id)?;
        match container.phase {
            Phase::Running(..) => Ok(Some(Reply::Done)),
            Phase::Created(..) | Phase::Starting(..) => {
                if matches!(container.phase, Phase::Created(..)) {
                    container.start()?;
                }
                container.waiting.push(from);
                Ok(None)
            }
            Phase::Creating(..) | Phase::Refused(..) | Phase::Ending(..) | Phase::Exited(_) => {
                Err(container.wrong_state())
            }
        }
    }

    fn signal(&mut self, id: &str, signal: i32) -> Result<(), Fault> {
        // A process that has ended hears nothing, and that is as good.
        let Some(pid) = self.container(id)?.pid() else { return Ok(()) };
        let known = Signal::try_from(signal);
        if known == Ok(Signal::SIGKILL) {
            // The kernel kills the rest of its pid namespace with it.
            super::server::send(pid, Signal::SIGKILL);
            return Ok(());
        }
        super::sys::kill(pid, signal)
            .map_err(|e| Fault::system(format!("sending signal {signal} to container {id}"), e))
    }

    fn remove(&mut self, from: u64, id: &str) -> Result<Option<Reply>, Fault> {
        let Some(mut container) = self.containers.remove(id) else { return Ok(Some(Reply::Done)) };
        let answer = match container.phase {
            Phase::Exited(_) => return Ok(Some(Reply::Done)),
            Phase::Running(..) | Phase::Starting(..) => Err(container.wrong_state()),
            Phase::Creating(..) | Phase::Created(..) | Phase::Refused(..) | Phase::Ending(..) => {
                self.kill(&container);
                container.removing = true;
                container.waiting.push(from);
                Ok(None)
            }
        };
        self.containers.insert(id.to_owned(), container);
        answer
    }

    fn exec(
        &mut self,
        from: u64,
        id: &str,
        argv: Vec<String>,
        tty: bool,
        stdio: [Option<OwnedFd>; 3],
    ) -> Result<(), Fault> {
        let container = self.container(id)?;
        let Phase::Running(init, _) = container.phase else { return Err(container.wrong_state()) };
        let (dir, cgroup) = (container.dir.clone(), container.cgroup.clone());
        let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
        let mut streams = [None, None, None];
        for (stream, given) in streams.iter_mut().zip(stdio) {
            let fd = given.map_or_else(null, Ok);
            *stream = Some(fd.map_err(|e| Fault::system("opening /dev/null", e))?);
        }
        let place = Place {
            hierarchies: &self.hierarchies,
            cgroup: &cgroup,
            dir: &dir,
            hostname: &self.record.config.hostname,
            pids: Pids::Own,
        };
        let work = ExecWork { argv, stdio: streams, tty, init };
        let worker = worker::exec(&place, work).map_err(|e| Fault::system("forking", e))?;
        self.execs.push(Exec::new(from, worker));
        Ok(())
    }

    pub(super) fn container(&mut self, id: &str) -> Result<&mut Container, Fault> {
        self.containers.get_mut(id).ok_or_else(|| Fault::NotFound(id.to_owned()))
    }
}
