//! One stream, as its user has it: what the other side sends, and what goes to it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::connection::Shared;
use super::frame::{Frame, reset};
use super::headers::Headers;

/// Our window is opened when so much has been taken: half of what a stream begins with.
const WINDOW_STEP: u32 = 32 << 10;
/// How much data goes in one frame.
const PIECE: usize = 32 << 10;

/// How much the other side still takes of a stream.
pub(super) struct Window {
    left: AtomicI64,
    opened: Notify,
}

impl Window {
    pub(super) fn new(size: i64) -> Self {
        Self { left: AtomicI64::new(size), opened: Notify::new() }
    }

    pub(super) fn open(&self, delta: i64) {
        self.left.fetch_add(delta, Ordering::AcqRel);
        self.opened.notify_waiters();
    }

    /// Waits until something may be sent, and says how much.
    async fn wait(&self, shared: &Shared) -> usize {
        loop {
            let opened = self.opened.notified();
            tokio::pin!(opened);
            opened.as_mut().enable();
            let left = self.left.load(Ordering::Acquire);
            match usize::try_from(left) {
                _ if !shared.peer_has_windows() => return PIECE,
                Ok(left @ 1..) => return left.min(PIECE),
                _ => opened.await,
            }
        }
    }
}

/// A stream that the client has opened.
pub(crate) struct Stream {
    id: u32,
    headers: Headers,
    reader: Reader,
    writer: Writer,
}

/// What the client sends.
pub(crate) struct Reader {
    id: u32,
    inbox: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
    taken: u32,
}

/// What the client gets. Dropped before its end was said, it resets the stream.
pub(crate) struct Writer {
    id: u32,
    shared: Arc<Shared>,
    window: Arc<Window>,
    gone: CancellationToken,
    finished: bool,
}

impl Stream {
    pub(super) fn new(
        (id, headers): (u32, Headers),
        inbox: mpsc::Receiver<Bytes>,
        (window, gone): (Arc<Window>, CancellationToken),
        shared: &Arc<Shared>,
    ) -> Self {
        let reader = Reader { id, inbox, shared: Arc::clone(shared), taken: 0 };
        let writer = Writer { id, shared: Arc::clone(shared), window, gone, finished: false };
        Self { id, headers, reader, writer }
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// A header of it (names in lower case), or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(held, _)| held == name).map_or("", |(_, value)| value)
    }

    /// Tells the client that its stream is welcome, and begins to use it.
    pub(crate) async fn accept(self) -> io::Result<(Reader, Writer)> {
        self.shared().send(Frame::SynReply { stream: self.id, headers: Headers::new(), fin: false }).await?;
        Ok((self.reader, self.writer))
    }

    /// Turns it down.
    pub(crate) async fn refuse(mut self, status: u32) {
        self.writer.finished = true;
        let (id, shared) = (self.id, Arc::clone(self.shared()));
        shared.forget(id);
        let _ = shared.send(Frame::Reset { stream: id, status }).await;
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.writer.shared
    }
}

impl Reader {
    /// The next bytes; `None` at the end, however it came.
    pub(crate) async fn read(&mut self) -> Option<Bytes> {
        let bytes = self.inbox.recv().await?;
        self.taken = self.taken.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        if self.taken >= WINDOW_STEP {
            let delta = std::mem::take(&mut self.taken);
            // On a connection that is gone there is nothing to open.
            let _ = self.shared.send(Frame::WindowUpdate { stream: self.id, delta }).await;
        }
        Some(bytes)
    }
}

impl Writer {
    /// Sends bytes; waits while the other side does not take them.
    ///
    /// # Errors
    /// When the stream or the connection is gone.
    pub(crate) async fn write(&mut self, mut data: Bytes) -> io::Result<()> {
        while !data.is_empty() {
            let gone = self.gone.clone();
            let sent = async {
                let most = self.window.wait(&self.shared).await;
                let piece = data.split_to(data.len().min(most));
                self.window.left.fetch_sub(piece.len() as i64, Ordering::AcqRel);
                self.shared.send(Frame::Data { stream: self.id, data: piece, fin: false }).await
            };
            tokio::select! {
                biased;
                () = gone.cancelled() => return Err(io::ErrorKind::ConnectionReset.into()),
                sent = sent => sent?,
            }
        }
        Ok(())
    }

    /// Resolves when the client has reset the stream, or the connection is gone.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        self.gone.clone().cancelled_owned()
    }

    /// Says that there is no more.
    pub(crate) async fn finish(mut self) {
        self.finished = true;
        self.shared.finish(self.id);
        let _ = self.shared.send(Frame::Data { stream: self.id, data: Bytes::new(), fin: true }).await;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.forget(self.id);
            // With a full queue the client hears of it at the connection's end.
            self.shared.try_send(Frame::Reset { stream: self.id, status: reset::CANCEL });
        }
    }
}
