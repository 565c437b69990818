//! A connection's two tasks: one reads frames and gives them to their streams, one writes what the streams send.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::frame::{Decoder, Encoder, Error, Frame, reset};
use super::headers::Headers;
use super::stream::{Stream, Window};

/// Frames that wait to be written; whoever sends more waits.
const QUEUE: usize = 64;
/// New streams that wait to be looked at.
const WAITING_STREAMS: usize = 16;
/// Streams at once: two for each connection that is forwarded.
const MAX_STREAMS: usize = 1024;
/// How much is read at once, and so the most that one piece of data has.
const READ: usize = 16 << 10;
/// Pieces that wait in a stream to be taken. When there are more, nothing is read from the connection: its peers have
/// no windows, so this is how they are made to wait.
const INBOX: usize = 64;
/// How much is written before the connection is flushed.
const WRITE_BATCH: usize = 64 << 10;
/// What may be sent on a new stream by the draft, until the other side says something else.
const INITIAL_WINDOW: i64 = 64 << 10;
/// How long the client may take to leave after a goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection. Dropped, it ends at once.
pub(crate) struct Connection {
    incoming: mpsc::Receiver<Stream>,
    shared: Arc<Shared>,
    reading: JoinHandle<()>,
    writing: JoinHandle<()>,
}

/// What the streams and tasks of a connection share.
pub(super) struct Shared {
    queue: mpsc::Sender<Frame>,
    streams: Mutex<HashMap<u32, Entry>>,
    last_stream: AtomicU32,
    /// Whether the other side has windows: it has said something about them.
    windows: AtomicBool,
    initial_window: AtomicI64,
    closed: CancellationToken,
}

/// An open stream.
struct Entry {
    /// `None` once the client has said that it sends no more.
    inbox: Option<mpsc::Sender<Bytes>>,
    window: Arc<Window>,
    gone: CancellationToken,
    /// We send no more.
    finished: bool,
}

impl Connection {
    /// Speaks SPDY over `io`, as a server.
    pub(crate) fn serve<IO>(io: IO) -> Self
    where
        IO: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (queue, queued) = mpsc::channel(QUEUE);
        let (offer, incoming) = mpsc::channel(WAITING_STREAMS);
        let shared = Arc::new(Shared {
            queue,
            streams: Mutex::new(HashMap::new()),
            last_stream: AtomicU32::new(0),
            windows: AtomicBool::new(false),
            initial_window: AtomicI64::new(INITIAL_WINDOW),
            closed: CancellationToken::new(),
        });
        let (from, to) = tokio::io::split(io);
        let reading = tokio::spawn(read(from, Arc::clone(&shared), offer));
        let writing = tokio::spawn(write(to, queued, Arc::clone(&shared)));
        Self { incoming, shared, reading, writing }
    }

    /// The next stream that the client opens; `None` when the connection is gone.
    pub(crate) async fn next_stream(&mut self) -> Option<Stream> {
        self.incoming.recv().await
    }

    /// From now on new streams are refused.
    pub(crate) fn refuse_streams(&mut self) {
        self.incoming.close();
    }

    /// Resolves when the client has left.
    pub(crate) async fn closed(&self) {
        self.shared.closed.cancelled().await;
    }

    /// Says goodbye, and gives the client time to read it.
    pub(crate) async fn close(mut self) {
        let last_stream = self.shared.last_stream.load(Ordering::Acquire);
        let goodbye = async {
            let _ = self.shared.send(Frame::GoAway { last_stream, status: 0 }).await;
            let _ = (&mut self.writing).await;
            let _ = (&mut self.reading).await;
        };
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.end();
        self.reading.abort();
        self.writing.abort();
    }
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn peer_has_windows(&self) -> bool {
        self.windows.load(Ordering::Acquire)
    }

    /// Queues a frame.
    pub(super) async fn send(&self, frame: Frame) -> io::Result<()> {
        tokio::select! {
            () = self.closed.cancelled() => Err(io::ErrorKind::ConnectionReset.into()),
            sent = self.queue.send(frame) => sent.map_err(|_| io::ErrorKind::ConnectionReset.into()),
        }
    }

    /// Queues a frame if there is room.
    pub(super) fn try_send(&self, frame: Frame) {
        let _ = self.queue.try_send(frame);
    }

    /// We send no more on a stream.
    pub(super) fn finish(&self, id: u32) {
        let mut streams = self.streams();
        let Some(entry) = streams.get_mut(&id) else { return };
        entry.finished = true;
        if entry.inbox.is_none() {
            streams.remove(&id);
        }
    }

    /// A stream is over, both ways.
    pub(super) fn forget(&self, id: u32) {
        if let Some(entry) = self.streams().remove(&id) {
            entry.gone.cancel();
        }
    }

    /// The connection is over.
    fn end(&self) {
        self.closed.cancel();
        for (_, entry) in self.streams().drain() {
            entry.gone.cancel();
        }
    }

    /// The client sends no more on a stream.
    fn end_of_input(&self, id: u32) {
        let mut streams = self.streams();
        let Some(entry) = streams.get_mut(&id) else { return };
        entry.inbox = None;
        if entry.finished {
            streams.remove(&id);
        }
    }

    /// A new initial window changes those of all open streams by the difference (draft 3.1, section 2.6.8).
    fn set_initial_window(&self, size: u32) {
        let size = i64::from(size);
        let streams = self.streams();
        let delta = size - self.initial_window.swap(size, Ordering::AcqRel);
        self.windows.store(true, Ordering::Release);
        streams.values().for_each(|entry| entry.window.open(delta));
    }

    fn open_window(&self, id: u32, delta: u32) {
        self.windows.store(true, Ordering::Release);
        if let Some(entry) = self.streams().get(&id) {
            entry.window.open(i64::from(delta));
        }
    }

    /// Takes in a new stream, or says why not.
    fn begin(self: &Arc<Self>, id: u32, headers: Headers) -> Result<Stream, u32> {
        // Clients have the odd numbers, and count upwards.
        if id.is_multiple_of(2) || id <= self.last_stream.load(Ordering::Acquire) {
            return Err(reset::PROTOCOL_ERROR);
        }
        self.last_stream.store(id, Ordering::Release);
        let mut streams = self.streams();
        if streams.len() >= MAX_STREAMS {
            return Err(reset::REFUSED_STREAM);
        }
        let (inbox, receiver) = mpsc::channel(INBOX);
        let window = Arc::new(Window::new(self.initial_window.load(Ordering::Acquire)));
        let gone = self.closed.child_token();
        let (entry_window, entry_gone) = (Arc::clone(&window), gone.clone());
        let entry = Entry { inbox: Some(inbox), window: entry_window, gone: entry_gone, finished: false };
        streams.insert(id, entry);
        Ok(Stream::new((id, headers), receiver, (window, gone), self))
    }
}

async fn read(mut from: impl AsyncRead + Unpin, shared: Arc<Shared>, offer: mpsc::Sender<Stream>) {
    let reading = async {
        let mut decoder = Decoder::new();
        loop {
            while let Some(frame) = decoder.next().map_err(io::Error::other)? {
                take(frame, &shared, &offer).await;
            }
            let buffer = decoder.buffer();
            buffer.reserve(READ);
            let mut room = (&mut from).take(READ as u64);
            if room.read_buf(buffer).await? == 0 {
                return Ok::<(), io::Error>(());
            }
        }
    };
    if let Err(error) = reading.await {
        tracing::debug!(%error, "a SPDY connection broke");
    }
    shared.end();
}

/// Does what a frame says.
async fn take(frame: Frame, shared: &Arc<Shared>, offer: &mpsc::Sender<Stream>) {
    match frame {
        Frame::SynStream { stream: id, headers, fin } => {
            let refusal = match shared.begin(id, headers) {
                Ok(stream) => match offer.send(stream).await {
                    Ok(()) => None,
                    Err(refused) => {
                        refused.0.refuse(reset::REFUSED_STREAM).await;
                        None
                    }
                },
                Err(status) => Some(Frame::Reset { stream: id, status }),
            };
            if let Some(refusal) = refusal {
                let _ = shared.send(refusal).await;
            } else if fin {
                shared.end_of_input(id);
            }
        }
        Frame::Data { stream, data, fin } => {
            let inbox = shared.streams().get(&stream).and_then(|entry| entry.inbox.clone());
            if let Some(inbox) = inbox
                && !data.is_empty()
            {
                // What nobody reads any more is dropped.
                let _ = inbox.send(data).await;
            }
            if fin {
                shared.end_of_input(stream);
            }
        }
        Frame::Headers { stream, fin: true, .. } => shared.end_of_input(stream),
        Frame::Reset { stream, .. } => shared.forget(stream),
        Frame::Settings { initial_window: Some(size) } => shared.set_initial_window(size),
        Frame::WindowUpdate { stream, delta } => shared.open_window(stream, delta),
        // Even numbers are answers to pings of ours, of which there are none.
        Frame::Ping(id) if id % 2 == 1 => drop(shared.send(Frame::Ping(id)).await),
        // We open no streams: there is nothing to reply to, and nothing to stop.
        Frame::Ping(_)
        | Frame::SynReply { .. }
        | Frame::Headers { .. }
        | Frame::Settings { .. }
        | Frame::GoAway { .. } => {}
    }
}

async fn write(mut to: impl AsyncWrite + Unpin, mut queued: mpsc::Receiver<Frame>, shared: Arc<Shared>) {
    let writing = async {
        let mut encoder = Encoder::new();
        let mut batch = Vec::new();
        while let Some(frame) = queued.recv().await {
            let mut next = Some(frame);
            let mut last = false;
            batch.clear();
            while let Some(frame) = next.take() {
                encoder.encode(&frame, &mut batch).map_err(|error: Error| io::Error::other(error))?;
                last = matches!(frame, Frame::GoAway { .. });
                if !last && batch.len() < WRITE_BATCH {
                    next = queued.try_recv().ok();
                }
            }
            to.write_all(&batch).await?;
            to.flush().await?;
            if last {
                return to.shutdown().await;
            }
        }
        Ok(())
    };
    if let Err(error) = writing.await {
        tracing::debug!(%error, "a SPDY connection takes no more");
        shared.end();
    }
}
