//! Ending all that runs in a group, and proof that it ended.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Hierarchies, at};

/// How many dying processes are waited for at a time, a descriptor each: a container may have more processes than
/// its shim may open files. When these are dead the rest are looked at again.
const WATCHED: usize = 64;

impl Hierarchies {
    /// The processes of `path` and of the groups below it. Those that are dead but not yet waited for are not
    /// among them.
    pub(crate) fn processes(&self, path: &str) -> io::Result<BTreeSet<i32>> {
        let mut pids = BTreeSet::new();
        for dir in self.mounts().map(|mount| super::below(mount, path)) {
            collect(&dir, &mut pids)?;
        }
        Ok(pids)
    }

    /// Kills everything in `path` and below, and hands out what tells when they are dead; of many processes, when
    /// some of them are. Nothing comes back only when nothing is left.
    pub(crate) fn kill(&self, path: &str) -> io::Result<Vec<OwnedFd>> {
        // One write kills all of them at once, also those that are just being forked.
        if let Some(dir) = self.v2_dir(path) {
            let _ = fs::write(dir.join("cgroup.kill"), "1");
        }
        let mut alive = Vec::new();
        for pid in self.processes(path)? {
            // A pid of 0 is a process outside our pid namespace, which is none of ours.
            let Some(pid) = Pid::from_raw(pid) else { continue };
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(fd) => {
                    let _ = pidfd_send_signal(&fd, Signal::KILL);
                    if alive.len() < WATCHED {
                        alive.push(fd);
                    }
                }
                Err(rustix::io::Errno::SRCH) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(alive)
    }

    /// Kills everything in `path` and below and returns when nothing of it runs.
    ///
    /// # Errors
    ///
    /// When something is still alive after `patience` (a process in an uninterruptible wait).
    pub(crate) fn kill_and_wait(&self, path: &str, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let alive = self.kill(path)?;
            if alive.is_empty() {
                return Ok(());
            }
            for fd in &alive {
                let left = deadline.saturating_duration_since(Instant::now());
                let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
                while poll(&mut fds, timeout) == Err(nix::errno::Errno::EINTR) {}
            }
            if Instant::now() >= deadline {
                let pids = self.processes(path)?;
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("processes {pids:?} of cgroup {path} do not die"),
                ));
            }
        }
    }
}

fn collect(dir: &Path, pids: &mut BTreeSet<i32>) -> io::Result<()> {
    let procs = match fs::read_to_string(dir.join("cgroup.procs")) {
        Ok(text) => text,
        // ENODEV: removed between opening and reading.
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ENODEV) => {
            return Ok(());
        }
        Err(e) => return Err(at(dir, &e)),
    };
    pids.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            collect(&entry.path(), pids)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    #[test]
    fn many_processes_are_killed_with_few_descriptors() {
        let found = Hierarchies::detect().unwrap();
        if found.unified() {
            // Version 2 kills all at once: none is left that would have to be watched.
            return;
        }
        let found = Hierarchies { v2: None, ..found };
        let path = format!("/stead-kill-test-{}", std::process::id());
        found.create(&path).unwrap();
        let dirs: Vec<_> = found.mounts().map(|mount| super::super::below(mount, &path)).collect();
        let children: Vec<Child> = (0..2 * WATCHED)
            .map(|_| {
                let child = Command::new("sleep").arg("1000").spawn().unwrap();
                for dir in &dirs {
                    fs::write(dir.join("cgroup.procs"), child.id().to_string()).unwrap();
                }
                child
            })
            .collect();
        assert_eq!(found.processes(&path).unwrap().len(), 2 * WATCHED);
        let reaping =
            std::thread::spawn(move || children.into_iter().for_each(|mut child| drop(child.wait())));
        assert_eq!(found.kill(&path).unwrap().len(), WATCHED);
        found.kill_and_wait(&path, Duration::from_secs(60)).unwrap();
        assert!(found.processes(&path).unwrap().is_empty());
        reaping.join().unwrap();
        found.remove(&path).unwrap();
    }
}
