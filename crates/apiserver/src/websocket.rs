//! Remote commands over a WebSocket: each binary message begins with the number of its channel
//! (upstream: apimachinery/pkg/util/remotecommand, apiserver/pkg/util/wsstream).

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use apimachinery::status::Status;
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt, SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;

use crate::api::Request;
use crate::body::Body;
use crate::node_streams::{ExecOptions, ExecSession, TerminalSize};
use crate::respond::Answer;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Only in v5: the client closes the channel that the next byte names.
const CLOSE: u8 = 255;
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// The largest message of a client.
const MAX_MESSAGE: usize = 1 << 20;
/// How much output travels in one message.
const OUTPUT_PIECE: usize = 16 << 10;
/// Messages that wait for the client to read before the command has to wait.
const QUEUE: usize = 16;
/// How long output may still come after the command ended: what it left behind may hold the pipe open.
const DRAIN: Duration = Duration::from_secs(2);
/// How long a client may take to answer the close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A request that asks for a WebSocket in a protocol that we speak.
pub(crate) struct Handshake {
    accept: String,
    protocol: &'static str,
    upgrade: OnUpgrade,
}

impl Handshake {
    pub(crate) fn from_request(mut request: Request) -> Result<Self, Status> {
        let speak = "exec here needs a WebSocket in v5.channel.k8s.io or v4.channel.k8s.io";
        let header = |name: HeaderName| text(&request.headers, &name);
        let asked = header(UPGRADE);
        if !asked.eq_ignore_ascii_case("websocket") {
            let got = if asked.is_empty() { "a plain request" } else { &asked };
            return Err(Status::bad_request(format!("unable to upgrade: {speak}, not {got}")));
        }
        let key = header(SEC_WEBSOCKET_KEY);
        let offered = header(SEC_WEBSOCKET_PROTOCOL);
        let mut offered_words = offered.split(',').map(str::trim);
        let protocol = offered_words.find_map(|word| PROTOCOLS.into_iter().find(|p| *p == word));
        let Some(protocol) = protocol.filter(|_| !key.is_empty()) else {
            return Err(Status::bad_request(format!("unable to upgrade: {speak}, not in {offered:?}")));
        };
        let Some(upgrade) = request.upgrade.take() else {
            return Err(Status::bad_request(
                "unable to upgrade: exec needs an HTTP/1.1 connection of its own",
            ));
        };
        Ok(Self { accept: derive_accept_key(key.as_bytes()), protocol, upgrade })
    }
}

/// All values of a header, as one list.
fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

/// The channel whose first, empty message tells the client that the command runs, as upstream has it.
pub(crate) fn first_channel(options: &ExecOptions) -> u8 {
    match (options.stdout, options.stderr) {
        (true, _) => STDOUT,
        (false, true) => STDERR,
        (false, false) => ERROR,
    }
}

/// Answers the handshake; once the connection is ours, begins the session and carries it.
pub(crate) fn serve(
    handshake: Handshake,
    session: impl Future<Output = Result<ExecSession, Status>> + Send + 'static,
    first_channel: u8,
    shutdown: CancellationToken,
) -> Answer {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(handshake.protocol));
    if let Ok(accept) = HeaderValue::from_str(&handshake.accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    let upgrade = handshake.upgrade;
    tokio::spawn(async move {
        let run = async {
            let Ok(connection) = upgrade.await else { return };
            let config = WebSocketConfig::default()
                .max_message_size(Some(MAX_MESSAGE))
                .max_frame_size(Some(MAX_MESSAGE))
                .read_buffer_size(OUTPUT_PIECE)
                .write_buffer_size(0);
            let socket = TokioIo::new(connection);
            let socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
            let session = session.await.unwrap_or_else(refused_session);
            carry(socket, session, first_channel).await;
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = run => {}
        }
    });
    answer
}

/// A session that ends at once with the refusal.
fn refused_session(status: Status) -> ExecSession {
    let exit = std::future::ready(Err(status)).boxed();
    ExecSession { stdin: None, stdout: None, stderr: None, resize: None, exit }
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Carries bytes between the client and the command until one of them is done.
async fn carry(socket: Socket, session: ExecSession, first_channel: u8) {
    let (sink, stream) = socket.split();
    let (queue, queued) = mpsc::channel(QUEUE);
    let _ = queue.send(message(first_channel, &[])).await;
    let ExecSession { stdin, stdout, stderr, resize, exit } = session;
    let output = tokio::spawn(copy_outputs(stdout, stderr, queue.clone()));
    let abort_output = output.abort_handle();
    let ending = async move {
        let outcome = exit.await;
        let _ = tokio::time::timeout(DRAIN, output).await;
        let _ = queue.send(message(ERROR, outcome_status(&outcome).to_string().as_bytes())).await;
        // Without a code clients take the end for an accident.
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let _ = queue.send(Message::Close(Some(normal))).await;
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

async fn copy_outputs(
    stdout: Option<Pin<Box<dyn AsyncRead + Send>>>,
    stderr: Option<Pin<Box<dyn AsyncRead + Send>>>,
    queue: mpsc::Sender<Message>,
) {
    tokio::join!(copy_output(stdout, STDOUT, &queue), copy_output(stderr, STDERR, &queue));
}

async fn copy_output(
    from: Option<Pin<Box<dyn AsyncRead + Send>>>,
    channel: u8,
    queue: &mpsc::Sender<Message>,
) {
    let Some(mut from) = from else { return };
    let mut piece = vec![0; OUTPUT_PIECE];
    while let Ok(count @ 1..) = from.read(&mut piece).await {
        if queue.send(message(channel, &piece[..count])).await.is_err() {
            return;
        }
    }
}

async fn write_queued(mut sink: SplitSink<Socket, Message>, mut queued: mpsc::Receiver<Message>) {
    while let Some(message) = queued.recv().await {
        let is_last = message.is_close();
        if sink.send(message).await.is_err() || is_last {
            return;
        }
    }
}

/// Hands on what the client sends, until it closes the connection.
async fn read_client(
    mut stream: SplitStream<Socket>,
    mut stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    resize: Option<mpsc::Sender<TerminalSize>>,
) {
    while let Some(received) = stream.next().await {
        let data = match received {
            Ok(Message::Binary(data)) => data,
            Ok(Message::Text(text)) => text.into(),
            Ok(Message::Close(_)) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => return,
            Ok(_) => continue,
            Err(error) => {
                tracing::debug!(%error, "an exec connection broke");
                return;
            }
        };
        match data.split_first() {
            Some((&STDIN, input)) => {
                let Some(sink) = stdin.as_mut() else { continue };
                let written = async {
                    sink.write_all(input).await?;
                    sink.flush().await
                };
                if written.await.is_err() {
                    // The command reads no more; its output still counts.
                    stdin = None;
                }
            }
            Some((&RESIZE, size)) => {
                if let (Some(resize), Some(size)) = (&resize, terminal_size(size)) {
                    let _ = resize.send(size).await;
                }
            }
            Some((&CLOSE, [STDIN])) => stdin = None,
            _ => {}
        }
    }
}

fn terminal_size(json: &[u8]) -> Option<TerminalSize> {
    let size: Value = serde_json::from_slice(json).ok()?;
    let side = |name: &str| u16::try_from(size[name].as_u64()?).ok();
    Some(TerminalSize { width: side("Width")?, height: side("Height")? })
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(1 + data.len());
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(bytes.into())
}

/// What the error channel says in the end: always a `Status`
/// (upstream: kubelet's `remotecommand.ServeExec`).
fn outcome_status(outcome: &Result<i32, Status>) -> Value {
    match outcome {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
        Err(status) => status.to_json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_travels_as_a_cause() {
        assert_eq!(outcome_status(&Ok(0))["status"], "Success");
        let failed = outcome_status(&Ok(137));
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0], json!({"reason": "ExitCode", "message": "137"}));
        let refused = outcome_status(&Err(Status::internal("no such container")));
        assert_eq!(refused["status"], "Failure");
    }

    #[test]
    fn sizes_are_read_as_clients_write_them() {
        let size = terminal_size(br#"{"Width":80,"Height":24}"#);
        assert_eq!(size, Some(TerminalSize { width: 80, height: 24 }));
        assert_eq!(terminal_size(br#"{"Width":-1,"Height":24}"#), None);
    }
}
