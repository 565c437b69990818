//! Forwarded ports as channels of a WebSocket, as kube-rs and the clients in JavaScript and Python have them: two for
//! each port that the query names, one for bytes and one for what goes wrong. The first message of each says the port
//! (upstream: kubelet's `portforward/websocket.go`).

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::pieces::{Channel, copy, give, message};
use super::port_forward::Target;
use super::upgrade::Io;
use super::websocket::{CLOSE, CLOSE_TIMEOUT, QUEUE, goodbye, next_message, socket, write_queued};

/// Messages of the client that wait for the pod to take them.
const WAITING: usize = 16;

/// Connects each port and carries its bytes until the pod has closed all of them, or the client leaves.
pub(super) async fn serve(io: Io, ports: Vec<u16>, target: Arc<Target>) {
    let (sink, mut stream) = socket(io).await.split();
    let (queue, queued) = mpsc::channel(QUEUE);
    let mut inputs = Vec::new();
    let mut forwards = JoinSet::new();
    for (index, port) in (0_u8..).step_by(2).zip(ports) {
        let (input, inbox) = mpsc::channel(WAITING);
        inputs.push(Some(input));
        forwards.spawn(forward(index, port, inbox, queue.clone(), Arc::clone(&target)));
    }
    let ending = async move {
        while forwards.join_next().await.is_some() {}
        let _ = queue.send(goodbye()).await;
    };
    let reading = async {
        while let Some(data) = next_message(&mut stream).await {
            match data.split_first() {
                // Only those who speak v5 can say that they have no more.
                Some((&CLOSE, [channel])) => drop(input_of(&mut inputs, *channel).and_then(Option::take)),
                Some((channel, bytes)) => {
                    if let Some(Some(input)) = input_of(&mut inputs, *channel) {
                        // A port that takes no more is no reason to end the others.
                        let _ = input.send(data.slice_ref(bytes)).await;
                    }
                }
                None => {}
            }
        }
    };
    let writing = write_queued(sink, queued);
    tokio::pin!(writing, reading);
    tokio::select! {
        () = &mut reading => {}
        _ = async { tokio::join!(ending, &mut writing) } => {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, reading).await;
        }
    }
}

/// Where the bytes of a channel go. The odd ones are for errors, and clients have none to tell.
fn input_of(
    inputs: &mut [Option<mpsc::Sender<Bytes>>],
    channel: u8,
) -> Option<&mut Option<mpsc::Sender<Bytes>>> {
    if channel.is_multiple_of(2) { inputs.get_mut(usize::from(channel / 2)) } else { None }
}

async fn forward(
    data: u8,
    port: u16,
    inbox: mpsc::Receiver<Bytes>,
    queue: mpsc::Sender<Message>,
    target: Arc<Target>,
) {
    let error = data + 1;
    for channel in [data, error] {
        let _ = queue.send(message(channel, &port.to_le_bytes())).await;
    }
    let pod = match (target.connect)(port).await {
        Ok(pod) => pod,
        Err(refusal) => {
            let _ = queue.send(message(error, target.failure(port, &refusal).as_bytes())).await;
            return;
        }
    };
    let (from, to) = tokio::io::split(pod);
    let sending = copy_to_pod(inbox, to);
    let receiving = async {
        let mut channel = Channel { number: data, queue: queue.clone() };
        if let Err(failure) = copy(from, &mut channel, &CancellationToken::new()).await {
            let _ = queue.send(message(error, target.failure(port, &failure).as_bytes())).await;
        }
    };
    tokio::pin!(sending);
    tokio::select! {
        () = receiving => {}
        // The client's end is not the pod's: it may still answer.
        () = async { (&mut sending).await; std::future::pending().await } => {}
    }
}

async fn copy_to_pod(mut inbox: mpsc::Receiver<Bytes>, mut pod: impl AsyncWrite + Unpin) {
    while let Some(bytes) = inbox.recv().await {
        if give(&mut pod, &bytes).await.is_err() {
            return;
        }
    }
    let _ = pod.shutdown().await;
}
