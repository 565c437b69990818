//! A WebSocket as a plain connection: kubectl's port-forward puts its SPDY into one (KEP-4006,
//! `SPDY/3.1+portforward.k8s.io`). Where messages begin and end means nothing.

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::tungstenite::Message;

use super::upgrade::Io;
use super::websocket::{goodbye, next_message, socket};

/// How much travels in one message, and waits in each direction.
const PIECE: usize = 32 << 10;

/// Carries the bytes of `inner` until both directions have ended. Its other end is what to talk to.
pub(super) async fn carry(io: Io, inner: DuplexStream) {
    let (mut sink, mut stream) = socket(io).await.split();
    let (mut from, mut to) = tokio::io::split(inner);
    let incoming = async {
        while let Some(data) = next_message(&mut stream).await {
            if to.write_all(&data).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    let outgoing = async {
        let mut piece = vec![0; PIECE];
        while let Ok(count @ 1..) = from.read(&mut piece).await {
            if sink.send(Message::binary(piece[..count].to_vec())).await.is_err() {
                return;
            }
        }
        let _ = sink.send(goodbye()).await;
    };
    tokio::join!(incoming, outgoing);
}

/// The two ends of a tunnel: one to [`carry`], one to talk to.
pub(super) fn ends() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(PIECE)
}
