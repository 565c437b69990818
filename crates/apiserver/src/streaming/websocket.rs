//! Remote commands over a WebSocket: each binary message begins with the number of its channel
//! (upstream: apimachinery/pkg/util/remotecommand, apiserver/pkg/util/wsstream; KEP-4006).

use std::future::Future;
use std::time::Duration;

use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use super::outcome;
use super::pieces::{Channel, copy, give, message};
use super::upgrade::Io;
use crate::node_streams::{ExecSession, Input, Output, StreamOptions, TerminalSize};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Only in v5: the client closes the channel that the next byte names.
pub(super) const CLOSE: u8 = 255;

/// The largest message of a client.
const MAX_MESSAGE: usize = 1 << 20;
/// How much is read at once.
const READ_BUFFER: usize = 16 << 10;
/// Messages that wait for the client to read before whoever sends has to wait.
pub(super) const QUEUE: usize = 16;
/// How long a client may take to answer the close.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A WebSocket, our side.
pub(super) type Socket = WebSocketStream<Io>;

/// The connection as a WebSocket.
pub(super) async fn socket(io: Io) -> Socket {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0);
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// The channel whose first, empty message tells the client that the command runs, as upstream has it.
fn first_channel(streams: StreamOptions) -> u8 {
    match (streams.stdout, streams.stderr) {
        (true, _) => STDOUT,
        (false, true) => STDERR,
        (false, false) => ERROR,
    }
}

/// Carries bytes between the client and the command until one of them is done.
pub(super) async fn serve(io: Io, streams: StreamOptions, session: impl Future<Output = ExecSession>) {
    let (sink, stream) = socket(io).await.split();
    let ExecSession { stdin, stdout, stderr, resize, exit } = session.await;
    let (queue, queued) = mpsc::channel(QUEUE);
    let _ = queue.send(message(first_channel(streams), &[])).await;
    let channel = |number| Channel { number, queue: queue.clone() };
    let end = CancellationToken::new();
    let ended = end.clone();
    let (to_stdout, to_stderr) = (channel(STDOUT), channel(STDERR));
    let output = tokio::spawn(async move {
        tokio::join!(copy_output(stdout, to_stdout, &ended), copy_output(stderr, to_stderr, &ended));
    });
    let abort_output = output.abort_handle();
    let ending = async move {
        let outcome = exit.await;
        end.cancel();
        let _ = output.await;
        let _ = queue.send(message(ERROR, outcome::status(&outcome).to_string().as_bytes())).await;
        let _ = queue.send(goodbye()).await;
    };
    let writing = write_queued(sink, queued);
    let reading = read_client(stream, stdin, resize);
    tokio::pin!(writing, reading);
    tokio::select! {
        // The client went: the command's input is closed by now; its output has no reader.
        () = &mut reading => {}
        _ = async { tokio::join!(ending, &mut writing) } => {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, reading).await;
        }
    }
    abort_output.abort();
}

/// A close. Without a code clients take the end for an accident.
pub(super) fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// Sends what is queued, up to a close.
pub(super) async fn write_queued(mut sink: SplitSink<Socket, Message>, mut queued: mpsc::Receiver<Message>) {
    while let Some(message) = queued.recv().await {
        let is_last = message.is_close();
        if sink.send(message).await.is_err() || is_last {
            return;
        }
    }
}

/// The next message with bytes in it; `None` when the client has left.
pub(super) async fn next_message(stream: &mut SplitStream<Socket>) -> Option<bytes::Bytes> {
    loop {
        match stream.next().await? {
            Ok(Message::Binary(data)) => return Some(data),
            Ok(Message::Text(text)) => return Some(text.into()),
            Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => return None,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a WebSocket broke");
                return None;
            }
        }
    }
}

/// Hands on what the client sends, until it closes the connection.
async fn read_client(
    mut stream: SplitStream<Socket>,
    mut stdin: Option<Input>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    while let Some(data) = next_message(&mut stream).await {
        match data.split_first() {
            Some((&STDIN, input)) => {
                let Some(sink) = stdin.as_mut() else { continue };
                if give(sink, input).await.is_err() {
                    // The command reads no more; its output still counts.
                    stdin = None;
                }
            }
            Some((&RESIZE, size)) => {
                if let (Some(resize), Some(size)) = (&resize, outcome::terminal_size(size)) {
                    let _ = resize.send(size).await;
                }
            }
            Some((&CLOSE, [STDIN])) => stdin = None,
            _ => {}
        }
    }
}

async fn copy_output(output: Option<Output>, mut channel: Channel, ended: &CancellationToken) {
    if let Some(output) = output {
        // What breaks off has ended.
        let _ = copy(output, &mut channel, ended).await;
    }
}
