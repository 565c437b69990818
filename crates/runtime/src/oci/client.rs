//! Talking to a shim.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use crate::shim::protocol::{Reply, Request, STDIO, decode, encode};

/// How long a shim may take to answer what it answers by itself. Making a container takes some 10 ms.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much is read at once.
const READ_SIZE: usize = 16 << 10;

/// Why there is no reply.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody listens there any more.
    Dead,
    /// Something else; the shim may be alive.
    Other(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Dead,
            _ => Self::Other(error),
        }
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

    /// The shim's process.
    pub(super) fn pid(&self) -> Option<u32> {
        let pid = self.stream.peer_cred().ok()?.pid()?;
        u32::try_from(pid).ok()
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

    /// The next reply, however long it takes.
    pub(super) async fn receive(&mut self) -> Result<Reply, Failure> {
        loop {
            if let Some(reply) = decode(&mut self.buffer)? {
                return Ok(reply);
            }
            self.buffer.reserve(READ_SIZE);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(Failure::Dead);
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
