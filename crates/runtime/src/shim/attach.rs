//! Those who have joined a running container: copies of its output, and its input.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::container::Phase;
use super::protocol::{Fault, Reply, STDIO};
use super::server::Shim;

/// Somebody who has joined a container.
pub(super) struct Attachment {
    /// The connection.
    by: u64,
    /// The container's id.
    container: String,
}

/// Where copies of output go.
#[derive(Default)]
pub(super) struct Taps(Vec<Tap>);

/// One copy of one stream.
struct Tap {
    by: u64,
    container: String,
    /// `stdout` or `stderr`, as in the log.
    stream: &'static str,
    fd: OwnedFd,
    /// What the reader has not taken yet: at most what was read at once, as nothing more is read before.
    pending: Vec<u8>,
    /// There is no more to come.
    ended: bool,
}

impl Taps {
    /// Copies what has come out of a stream to those who listen.
    pub(super) fn give(&mut self, container: &str, stream: &str, bytes: &[u8]) {
        for tap in self.0.iter_mut().filter(|tap| tap.container == container && tap.stream == stream) {
            tap.pending.extend_from_slice(bytes);
        }
        self.flush();
    }

    /// Writes what can be written; whoever has gone is forgotten, and whoever has all at the end.
    pub(super) fn flush(&mut self) {
        self.0.retain_mut(|tap| tap.write() && !(tap.ended && tap.pending.is_empty()));
    }

    /// The container says nothing more.
    pub(super) fn end(&mut self, container: &str) {
        self.0.iter_mut().filter(|tap| tap.container == container).for_each(|tap| tap.ended = true);
        self.flush();
    }

    /// Whether somebody has yet to take what this stream said last.
    pub(super) fn are_full(&self, container: &str, stream: &str) -> bool {
        let of = |tap: &&Tap| tap.container == container && tap.stream == stream;
        self.0.iter().filter(of).any(|tap| !tap.pending.is_empty())
    }

    /// What to wait for, until it can be written to.
    pub(super) fn full(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().filter(|tap| !tap.pending.is_empty()).map(|tap| tap.fd.as_fd())
    }
}

impl Tap {
    /// False when nobody reads any more.
    fn write(&mut self) -> bool {
        while !self.pending.is_empty() {
            match rustix::io::write(&self.fd, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        true
    }
}

impl Shim {
    /// Joins a running container: from now on its output is copied.
    pub(super) fn attach(
        &mut self,
        by: u64,
        id: &str,
        stdin: bool,
        [_, stdout, stderr]: [Option<OwnedFd>; STDIO],
    ) -> Result<(), Fault> {
        let container = self.container(id)?;
        if !matches!(container.phase, Phase::Running(..)) {
            return Err(container.wrong_state());
        }
        let input =
            container.input.join(stdin).map_err(|e| Fault::system("attaching to the container", e))?;
        for (stream, fd) in [("stdout", stdout), ("stderr", stderr)] {
            let Some(fd) = fd else { continue };
            rustix::io::ioctl_fionbio(&fd, true)
                .map_err(|e| Fault::system("attaching to the container", e))?;
            let (container, pending, ended) = (id.to_owned(), Vec::new(), false);
            self.taps.0.push(Tap { by, container, stream, fd, pending, ended });
        }
        self.attachments.push(Attachment { by, container: id.to_owned() });
        let sent =
            self.connections.get_mut(&by).is_some_and(|c| c.send_with(&Reply::Attached, input.as_ref()));
        if !sent {
            self.connections.remove(&by);
            self.detach(by);
        }
        Ok(())
    }

    /// Somebody has left.
    pub(super) fn detach(&mut self, by: u64) {
        self.taps.0.retain(|tap| tap.by != by);
        self.attachments.retain(|attachment| attachment.by != by);
    }

    /// A container has ended: those who had joined it hear of it.
    pub(super) fn end_attachments(&mut self, id: &str) {
        let ended: Vec<Attachment> = self.attachments.extract_if(.., |a| a.container == id).collect();
        ended.into_iter().for_each(|attachment| self.reply(attachment.by, &Reply::Done));
    }
}
