//! The near side of a terminal as an async stream.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A pty's near side. Reading ends when the far side has been closed by everybody.
pub(crate) struct TtyStream(AsyncFd<OwnedFd>);

impl TtyStream {
    /// Wraps a descriptor that does not block.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self(crate::async_fd::watch(fd)?))
    }
}

impl AsyncRead for TtyStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            let result = guard.try_io(|fd| match rustix::io::read(fd.get_ref(), &mut *unfilled) {
                // Linux says EIO, not end of file, once the last far side is closed.
                Err(Errno::IO) => Ok(0),
                other => Ok(other?),
            });
            if let Ok(result) = result {
                buffer.advance(result?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for TtyStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(result) = guard.try_io(|fd| Ok(rustix::io::write(fd.get_ref(), bytes)?)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
