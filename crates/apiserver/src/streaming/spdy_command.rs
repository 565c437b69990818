//! Remote commands over SPDY: the client opens a stream for each of error, stdin, stdout, stderr and resize, and says
//! in its header which it is (upstream: kubelet's `remotecommand/httpstream.go`).

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::outcome;
use super::pieces::{copy, give};
use super::upgrade::Io;
use crate::node_streams::{ExecSession, Input, Output, StreamOptions, TerminalSize};
use crate::spdy::{Connection, Reader, Writer, reset};

/// Before it there was no stream for sizes.
const RESIZE_SINCE: [&str; 2] = ["v4.channel.k8s.io", "v3.channel.k8s.io"];
/// Before it the error stream had a sentence.
const STATUS_SINCE: &str = "v4.channel.k8s.io";
/// How long a client may take to open its streams (upstream: `DefaultStreamCreationTimeout`).
const CREATION_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest size of a terminal.
const MAX_SIZE: usize = 1 << 10;

/// The client's streams, by their type.
type Streams = BTreeMap<&'static str, (Reader, Writer)>;

/// Carries bytes between the client and the command until one of them is done.
pub(super) async fn serve(
    io: Io,
    protocol: &str,
    options: StreamOptions,
    session: impl Future<Output = ExecSession>,
) {
    let mut connection = Connection::serve(io);
    let wanted = wanted(protocol, options);
    let mut streams = match tokio::time::timeout(CREATION_TIMEOUT, collect(&mut connection, &wanted)).await {
        Ok(Some(streams)) => streams,
        Ok(None) => return,
        Err(_) => {
            tracing::debug!("a client did not open its streams in time");
            return connection.close().await;
        }
    };
    connection.refuse_streams();
    let ExecSession { stdin, stdout, stderr, resize, exit } = session.await;
    let mut take = |name: &str| streams.remove(name).unzip();
    let ((_, error), (input, input_end)) = (take("error"), take("stdin"));
    let ((_, output), (_, errors), (sizes, _sizes_end)) = (take("stdout"), take("stderr"), take("resize"));
    let reading = tokio::spawn(async move {
        tokio::join!(read_input(input, stdin), read_sizes(sizes, resize));
    });
    let end = CancellationToken::new();
    let ended = end.clone();
    let copying = tokio::spawn(async move {
        tokio::join!(copy_to(stdout, output, &ended), copy_to(stderr, errors, &ended));
    });
    let (abort_reading, abort_copying) = (reading.abort_handle(), copying.abort_handle());
    let ending = async {
        let outcome = exit.await;
        end.cancel();
        let _ = copying.await;
        let said = if protocol == STATUS_SINCE {
            outcome::status(&outcome).to_string()
        } else {
            outcome::sentence(&outcome)
        };
        if let Some(mut error) = error {
            let _ = error.write(said.into()).await;
            error.finish().await;
        }
        // Clients read their input's stream too, to hear of its end.
        if let Some(end) = input_end {
            end.finish().await;
        }
    };
    let left = tokio::select! {
        () = connection.closed() => true,
        () = ending => false,
    };
    if !left {
        connection.close().await;
    }
    abort_reading.abort();
    abort_copying.abort();
}

/// The types of the streams that the client is to open.
fn wanted(protocol: &str, options: StreamOptions) -> Vec<&'static str> {
    let StreamOptions { stdin, stdout, stderr, tty } = options;
    let resize = tty && RESIZE_SINCE.contains(&protocol);
    let all = [("error", true), ("stdin", stdin), ("stdout", stdout), ("stderr", stderr), ("resize", resize)];
    all.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
}

/// Waits for all of them; `None` when the client leaves before.
async fn collect(connection: &mut Connection, wanted: &[&'static str]) -> Option<Streams> {
    let mut streams = Streams::new();
    while streams.len() < wanted.len() {
        let stream = connection.next_stream().await?;
        let name = wanted.iter().find(|name| **name == stream.header("streamtype"));
        match name {
            Some(name) if !streams.contains_key(name) => {
                streams.insert(name, stream.accept().await.ok()?);
            }
            _ => stream.refuse(reset::PROTOCOL_ERROR).await,
        }
    }
    Some(streams)
}

async fn read_input(from: Option<Reader>, mut stdin: Option<Input>) {
    let Some(mut from) = from else { return };
    while let Some(bytes) = from.read().await {
        if let Some(sink) = stdin.as_mut()
            && give(sink, &bytes).await.is_err()
        {
            // The command reads no more; the client may still send.
            stdin = None;
        }
    }
}

/// Sizes come as JSON, one on a line.
async fn read_sizes(from: Option<Reader>, resize: Option<mpsc::Sender<TerminalSize>>) {
    let (Some(mut from), Some(resize)) = (from, resize) else { return };
    let mut text = BytesMut::new();
    while let Some(bytes) = from.read().await {
        text.extend_from_slice(&bytes);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line = text.split_to(end + 1);
            if let Some(size) = outcome::terminal_size(&line) {
                let _ = resize.send(size).await;
            }
        }
        if text.len() > MAX_SIZE {
            return;
        }
    }
}

async fn copy_to(output: Option<Output>, to: Option<Writer>, ended: &CancellationToken) {
    let Some(mut to) = to else { return };
    if let Some(output) = output {
        // What breaks off has ended.
        let _ = copy(output, &mut to, ended).await;
    }
    to.finish().await;
}
