//! Talking to a shim.

use std::collections::BTreeSet;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Pid, PidfdFlags, getsid, pidfd_open};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::shim::channel::receive;
use crate::shim::protocol::{Reply, Request, STDIO, decode, encode};

/// How long a shim may take to answer what it answers by itself. Making a container takes some 10 ms.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much is read at once.
const READ_SIZE: usize = 16 << 10;

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody listens there.
    NoListener,
    /// The connection ended. That happens when a shim dies, but proves nothing: one of another version may
    /// not understand us.
    Closed,
    /// Something else.
    Other(io::Error),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoListener => f.write_str("its shim does not listen"),
            Self::Closed => f.write_str("its shim has closed the connection without an answer"),
            Self::Other(e) => e.fmt(f),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Self::NoListener,
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Other(error),
        }
    }
}

/// A shim's process, by a descriptor that tells when it is dead (pidfd_open(2)).
#[derive(Clone)]
pub(super) struct Process {
    /// Its number.
    pub(super) pid: u32,
    /// The descriptor.
    pub(super) fd: Arc<OwnedFd>,
}

impl Process {
    /// The one of these processes that leads a session, as shims do; `None` when none does or it is dead.
    pub(super) fn leader(pids: &BTreeSet<i32>) -> io::Result<Option<Self>> {
        let leads = |pid: &Pid| getsid(Some(*pid)).is_ok_and(|session| session == *pid);
        let Some(pid) = pids.iter().filter_map(|pid| Pid::from_raw(*pid)).find(leads) else {
            return Ok(None);
        };
        match Self::open(pid) {
            Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn open(pid: Pid) -> io::Result<Self> {
        let fd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { pid: pid.as_raw_nonzero().get().unsigned_abs(), fd: Arc::new(fd) })
    }

    /// Whether it is dead, or dies within `patience`.
    pub(super) async fn dies_within(&self, patience: Duration) -> bool {
        let fd = Arc::clone(&self.fd);
        let waited = tokio::task::spawn_blocking(move || {
            let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX))
        });
        matches!(waited.await, Ok(Ok(ready)) if ready > 0)
    }
}

/// A connection to a shim.
pub(super) struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(super) async fn connect(socket: &Path) -> Result<Self, Failure> {
        Ok(Self { stream: UnixStream::connect(socket).await?, buffer: Vec::new() })
    }

    /// The shim's process. While we are connected to it, its number cannot be another's.
    pub(super) fn process(&self) -> io::Result<Process> {
        let unknown = || io::Error::other("the shim's process cannot be known from here");
        let pid = self.stream.peer_cred()?.pid().and_then(Pid::from_raw).ok_or_else(unknown)?;
        Process::open(pid)
    }

    /// Sends a request, with descriptors.
    pub(super) async fn send(&mut self, request: &Request, fds: &[OwnedFd]) -> Result<(), Failure> {
        let bytes = encode(request)?;
        let mut sent = 0;
        if !fds.is_empty() {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            sent = self
                .stream
                .async_io(Interest::WRITABLE, || {
                    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(STDIO))];
                    let mut control = SendAncillaryBuffer::new(&mut space);
                    control.push(SendAncillaryMessage::ScmRights(&fds));
                    let slices = [IoSlice::new(&bytes)];
                    Ok(rustix::net::sendmsg(&self.stream, &slices, &mut control, SendFlags::NOSIGNAL)?)
                })
                .await?;
        }
        Ok(self.stream.write_all(&bytes[sent..]).await?)
    }

    /// The next reply, however long it takes, with the descriptor that came with it.
    pub(super) async fn receive_with_fd(&mut self) -> Result<(Reply, Option<OwnedFd>), Failure> {
        let mut fd = None;
        loop {
            if let Some(reply) = decode(&mut self.buffer)? {
                return Ok((reply, fd));
            }
            let mut piece = vec![0; READ_SIZE];
            let read = self.stream.async_io(Interest::READABLE, || receive(&self.stream, &mut piece)).await?;
            let (len, fds) = read;
            if len == 0 {
                return Err(Failure::Closed);
            }
            self.buffer.extend_from_slice(&piece[..len]);
            fd = fds.into_iter().next().or(fd);
        }
    }

    /// The next reply, however long it takes.
    pub(super) async fn receive(&mut self) -> Result<Reply, Failure> {
        loop {
            if let Some(reply) = decode(&mut self.buffer)? {
                return Ok(reply);
            }
            self.buffer.reserve(READ_SIZE);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Failure::Closed);
            }
        }
    }
}

/// Asks, and waits for the answer as long as a healthy shim may take.
pub(super) async fn ask(socket: &Path, request: &Request) -> Result<Reply, Failure> {
    let asked = async {
        let mut client = Client::connect(socket).await?;
        client.send(request, &[]).await?;
        client.receive().await
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(Failure::Other(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("the shim has not answered for {} s", PATIENCE.as_secs()),
        ))),
    }
}
