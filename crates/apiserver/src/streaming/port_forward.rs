//! Forwarded ports: for each connection the client opens a pair of SPDY streams, one for its bytes and one for what
//! goes wrong (upstream: kubelet's `portforward/httpstream.go`, `portforward.k8s.io`).

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::pieces::{copy, give};
use super::upgrade::Upgrade;
use super::{channels, tunnel};
use crate::node_streams::PodConnection;
use crate::respond::Answer;
use crate::spdy::{Connection, Reader, Stream, Writer, reset};

/// How long a client may take to open the second stream of a pair (upstream: `DefaultStreamCreationTimeout`).
const CREATION_TIMEOUT: Duration = Duration::from_secs(30);

/// The pod, and how to connect to its ports.
pub(crate) struct Target {
    /// Its name.
    pub(crate) pod: String,
    /// Its uid.
    pub(crate) uid: String,
    /// Connects to a port.
    pub(crate) connect: Box<dyn Fn(u16) -> BoxFuture<'static, io::Result<PodConnection>> + Send + Sync>,
}

impl Target {
    /// What the client is told of a connection that fails.
    pub(super) fn failure(&self, port: u16, error: &io::Error) -> String {
        let Self { pod, uid, .. } = self;
        format!("error forwarding port {port} to pod {pod}, uid {uid}: {error}")
    }
}

/// Grants the upgrade and forwards until the client leaves. `ports` are for those that speak in channels.
pub(crate) fn port_forward(
    upgrade: Upgrade,
    ports: Vec<u16>,
    target: Target,
    shutdown: CancellationToken,
) -> Answer {
    let (is_spdy, is_tunnel) = (upgrade.is_spdy(), upgrade.protocol().starts_with("SPDY/3.1+"));
    upgrade.grant(shutdown, async move |io| {
        let target = Arc::new(target);
        if is_spdy {
            serve(Connection::serve(io), target).await;
        } else if is_tunnel {
            let (near, far) = tunnel::ends();
            tokio::join!(tunnel::carry(io, far), serve(Connection::serve(near), target));
        } else {
            channels::serve(io, ports, target).await;
        }
    })
}

/// What a client has opened of a pair.
#[derive(Default)]
struct Pair {
    data: Option<(Reader, Writer)>,
    error: Option<(Reader, Writer)>,
}

async fn serve(mut connection: Connection, target: Arc<Target>) {
    let mut pairs: HashMap<String, (Instant, Pair)> = HashMap::new();
    let mut forwards = JoinSet::new();
    loop {
        let oldest = pairs.values().map(|(since, _)| *since).min();
        let timeout = async {
            match oldest {
                Some(since) => tokio::time::sleep_until(since + CREATION_TIMEOUT).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stream = connection.next_stream() => match stream {
                Some(stream) => {
                    if let Some((port, pair)) = add(&mut pairs, stream).await {
                        forwards.spawn(forward(port, pair, Arc::clone(&target)));
                    }
                }
                // The forwards go with it.
                None => return,
            },
            // Dropping what there is of a pair resets it.
            () = timeout => pairs.retain(|_, (since, _)| since.elapsed() < CREATION_TIMEOUT),
            _ = forwards.join_next(), if !forwards.is_empty() => {}
        }
    }
}

/// Takes a stream in; the pair and its port when it is now complete.
async fn add(pairs: &mut HashMap<String, (Instant, Pair)>, stream: Stream) -> Option<(u16, Pair)> {
    let port = stream.header("port").parse::<u16>().ok().filter(|port| *port > 0);
    let is_data = match stream.header("streamtype") {
        "data" => true,
        "error" => false,
        _ => {
            stream.refuse(reset::PROTOCOL_ERROR).await;
            return None;
        }
    };
    let id = match stream.header("requestid") {
        // Clients from before request ids open the error stream first, and the data stream next.
        "" => stream.id().wrapping_sub(if is_data { 2 } else { 0 }).to_string(),
        named => named.to_owned(),
    };
    let held = pairs.get(&id).map(|(_, pair)| if is_data { &pair.data } else { &pair.error });
    let Some(port) = port.filter(|_| !held.is_some_and(Option::is_some)) else {
        stream.refuse(reset::PROTOCOL_ERROR).await;
        return None;
    };
    let accepted = stream.accept().await.ok()?;
    let (_, pair) = pairs.entry(id.clone()).or_insert_with(|| (Instant::now(), Pair::default()));
    *(if is_data { &mut pair.data } else { &mut pair.error }) = Some(accepted);
    if pair.data.is_none() || pair.error.is_none() {
        return None;
    }
    pairs.remove(&id).map(|(_, pair)| (port, pair))
}

/// One forwarded connection, from its beginning to its end.
async fn forward(port: u16, pair: Pair, target: Arc<Target>) {
    let (Some((from, mut to)), Some((_, mut error))) = (pair.data, pair.error) else { return };
    let pod = match (target.connect)(port).await {
        Ok(pod) => pod,
        Err(refusal) => {
            let _ = error.write(target.failure(port, &refusal).into()).await;
            error.finish().await;
            return to.finish().await;
        }
    };
    let (from_pod, to_pod) = tokio::io::split(pod);
    let sending = copy_to_pod(from, to_pod);
    let receiving = async {
        let (gone, open) = (to.gone(), CancellationToken::new());
        let copied = tokio::select! {
            () = gone => return,
            copied = copy(from_pod, &mut to, &open) => copied,
        };
        if let Err(failure) = copied {
            let _ = error.write(target.failure(port, &failure).into()).await;
        }
        // Some clients wait for the end of the errors before they close their own side.
        error.finish().await;
        to.finish().await;
    };
    tokio::join!(sending, receiving);
}

/// What a client sends in pieces, given to the pod up to its end.
async fn copy_to_pod(mut from: Reader, mut pod: impl AsyncWrite + Unpin) {
    while let Some(bytes) = from.read().await {
        if give(&mut pod, &bytes).await.is_err() {
            return;
        }
    }
    let _ = pod.shutdown().await;
}
