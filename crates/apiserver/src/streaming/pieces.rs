//! Bytes on their way to a client, in pieces.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use crate::spdy::Writer;

/// How much is read, and so sent, at once.
const PIECE: usize = 16 << 10;

/// How long output may still come after the command ended: what it left behind may hold the pipe open.
const DRAIN: Duration = Duration::from_secs(2);

/// Where pieces go.
pub(super) trait Pieces: Send {
    /// Sends one; waits while the client does not take it. An error says that it has gone.
    fn put(&mut self, piece: Bytes) -> impl Future<Output = io::Result<()>> + Send;
}

impl Pieces for Writer {
    async fn put(&mut self, piece: Bytes) -> io::Result<()> {
        self.write(piece).await
    }
}

/// One of the channels inside a WebSocket.
pub(super) struct Channel {
    /// Its number.
    pub(super) number: u8,
    /// What is written to the WebSocket.
    pub(super) queue: mpsc::Sender<Message>,
}

impl Pieces for Channel {
    async fn put(&mut self, piece: Bytes) -> io::Result<()> {
        let sent = self.queue.send(message(self.number, &piece)).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// A message on a channel: its number, and the bytes.
pub(super) fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(1 + data.len());
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(bytes.into())
}

/// Sends all that comes out of `from`. Once whoever wrote there has `ended`, what is left still comes; but nobody
/// waits long for what others hold open. A client that is slow is waited for.
///
/// # Errors
/// When it cannot be read. A client that has gone is no error, only an end.
pub(super) async fn copy(
    mut from: impl AsyncRead + Unpin,
    to: &mut impl Pieces,
    ended: &CancellationToken,
) -> io::Result<()> {
    let mut piece = BytesMut::new();
    loop {
        piece.reserve(PIECE);
        let mut room = (&mut from).take(PIECE as u64);
        let lapse = async {
            ended.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        let count = tokio::select! {
            biased;
            count = room.read_buf(&mut piece) => count?,
            () = lapse => return Ok(()),
        };
        if count == 0 || to.put(piece.split().freeze()).await.is_err() {
            return Ok(());
        }
    }
}

/// Writes a client's bytes and passes them on at once.
pub(super) async fn give(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
