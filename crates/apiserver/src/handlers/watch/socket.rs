//! A watch over a WebSocket, for clients in browsers: a message of text for each event
//! (upstream: `WatchServer.HandleWS`).

use std::io;
use std::time::Duration;

use apimachinery::status::Status;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::api::Request;
use crate::body::Body;
use crate::respond::Answer;

/// The largest message of a client, who has nothing to say here.
const MAX_MESSAGE: usize = 4 << 10;
/// How much is written at once.
const BUFFER: usize = 64 << 10;
/// How long a client may take for one event.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// A request that asks for a WebSocket.
pub(super) struct Handshake {
    accept: HeaderValue,
    upgrade: OnUpgrade,
}

impl Handshake {
    /// `None` when the client wants plain HTTP. 400 for half a handshake.
    pub(super) fn from_request(request: &mut Request) -> Result<Option<Self>, Status> {
        if !has_word(&request.headers, &UPGRADE, "websocket")
            || !has_word(&request.headers, &CONNECTION, "upgrade")
        {
            return Ok(None);
        }
        let key = request.headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
        let accept = HeaderValue::from_str(&derive_accept_key(key)).ok().filter(|_| !key.is_empty());
        let (Some(accept), Some(upgrade)) = (accept, request.upgrade.take()) else {
            return Err(Status::bad_request(
                "unable to upgrade: a watch over a WebSocket needs Sec-WebSocket-Key and an HTTP/1.1 connection of \
                 its own",
            ));
        };
        Ok(Some(Self { accept, upgrade }))
    }

    /// Answers the handshake; once the connection is ours, sends the events until they or the client end.
    pub(super) fn serve(self, events: BoxStream<'static, io::Result<Bytes>>) -> Answer {
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = answer.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        let upgrade = self.upgrade;
        tokio::spawn(async move {
            let Ok(connection) = upgrade.await else { return };
            let config = WebSocketConfig::default()
                .max_message_size(Some(MAX_MESSAGE))
                .max_frame_size(Some(MAX_MESSAGE))
                .read_buffer_size(MAX_MESSAGE)
                .write_buffer_size(BUFFER);
            let socket = TokioIo::new(connection);
            let socket = WebSocketStream::from_raw_socket(socket, Role::Server, Some(config)).await;
            carry(socket, events).await;
        });
        answer
    }
}

async fn carry(
    socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    mut events: BoxStream<'static, io::Result<Bytes>>,
) {
    let (mut sink, mut stream) = socket.split();
    let writing = async {
        while let Some(Ok(piece)) = events.next().await {
            for line in piece.split_inclusive(|byte| *byte == b'\n') {
                let text = String::from_utf8_lossy(line).into_owned();
                let sent = tokio::time::timeout(SEND_TIMEOUT, sink.feed(Message::text(text))).await;
                if !matches!(sent, Ok(Ok(()))) {
                    return;
                }
            }
            if !matches!(tokio::time::timeout(SEND_TIMEOUT, sink.flush()).await, Ok(Ok(()))) {
                return;
            }
        }
        let _ = tokio::time::timeout(SEND_TIMEOUT, sink.close()).await;
    };
    // What the client says is not listened to; that it goes is.
    let reading = async { while let Some(Ok(_)) = stream.next().await {} };
    tokio::select! {
        () = writing => {}
        () = reading => {}
    }
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
}
