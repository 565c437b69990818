//! One connection of a daemon.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::channel::{receive, send};
use super::protocol::{Reply, Request, decode, encode};

/// How much is read at once.
const READ_SIZE: usize = 16 << 10;

/// A connection: a request comes in, a reply goes out.
pub(super) struct Connection {
    stream: UnixStream,
    buffer: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// What came in.
pub(super) enum Incoming {
    /// Nothing complete yet.
    Nothing,
    /// A request, with the descriptors that came with it.
    Request(Request, Vec<OwnedFd>),
    /// The other side is gone, or talks nonsense.
    Closed,
}

impl Connection {
    /// Takes over a fresh connection.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, buffer: Vec::new(), fds: Vec::new() })
    }

    /// What to wait for.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Takes what is there.
    pub(super) fn read(&mut self) -> Incoming {
        let mut piece = [0; READ_SIZE];
        match receive(&self.stream, &mut piece) {
            Ok((0, _)) => return Incoming::Closed,
            Ok((len, fds)) => {
                self.buffer.extend_from_slice(&piece[..len]);
                self.fds.extend(fds);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock || e.kind() == io::ErrorKind::Interrupted => {
                return Incoming::Nothing;
            }
            Err(_) => return Incoming::Closed,
        }
        match decode(&mut self.buffer) {
            Ok(Some(request)) => Incoming::Request(request, std::mem::take(&mut self.fds)),
            Ok(None) => Incoming::Nothing,
            Err(_) => Incoming::Closed,
        }
    }

    /// Sends a reply with a descriptor. False when the other side does not take it.
    pub(super) fn send_with(&mut self, reply: &Reply, fd: Option<&OwnedFd>) -> bool {
        encode(reply).is_ok_and(|bytes| send(&self.stream, &bytes, fd).is_ok())
    }

    /// Sends a reply. False when the other side does not take it: it is gone, or has left so many unread that
    /// the socket is full, which for `Changed` is as good as one more.
    pub(super) fn send(&mut self, reply: &Reply) -> bool {
        let Ok(bytes) = encode(reply) else { return false };
        match self.stream.write(&bytes) {
            Ok(len) if len == bytes.len() => true,
            Ok(_) => false,
            Err(e) => matches!(reply, Reply::Changed) && e.kind() == io::ErrorKind::WouldBlock,
        }
    }
}
