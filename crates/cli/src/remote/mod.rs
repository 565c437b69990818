//! A process in a container and the user's own stdin, stdout and terminal, over a WebSocket.

mod channels;
mod terminal;

use apimachinery::meta::ObjectExt;
use futures::{SinkExt, StreamExt};
use http::Request;
use kube::client::Connection;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::tungstenite::Message;

use crate::api::Url;
use crate::error::Error;
use crate::session::Session;
use channels::{Incoming, Outcome};
use terminal::RawMode;

/// How much of stdin goes in one message.
const STDIN_CHUNK: usize = 32 << 10;
/// The exit code after SIGTERM, as shells report it.
const TERMINATED: u8 = 143;

/// What of the user's goes to the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streams {
    /// Stdin is passed on.
    pub(crate) stdin: bool,
    /// It is a terminal, and the process has one too.
    pub(crate) tty: bool,
}

/// Whether there is a terminal to use, when one is asked for; says why not.
pub(crate) fn terminal_for(session: &Session, stdin: bool, tty: bool) -> Result<bool, Error> {
    let usable = tty && stdin && terminal::is_terminal();
    if tty && !usable {
        let hint = if stdin { "input is not a terminal" } else { "-t goes with -i" };
        session.note(format!("Unable to use a TTY - {hint}"))?;
    }
    Ok(usable)
}

/// Where to ask for `exec` or `attach` in a container.
pub(crate) async fn url(
    session: &Session,
    pod: &Value,
    container: &str,
    part: &str,
    streams: Streams,
) -> Result<Url, Error> {
    let pods = session.resource("pods").await?;
    Ok(pods
        .part_url(pod.namespace(), pod.name(), part)
        .with("container", container)
        .flag("stdin", streams.stdin)
        .flag("stdout", true)
        // A terminal has one stream for both.
        .flag("stderr", !streams.tty)
        .flag("tty", streams.tty))
}

/// Asks for a WebSocket.
pub(crate) async fn connect(session: &Session, url: &Url) -> Result<Connection, Error> {
    let request = Request::get(url.as_str())
        .body(Vec::new())
        .map_err(|e| Error::plain(format!("cannot ask for {}: {e}", url.as_str())))?;
    session.api.client().connect(request).await.map_err(|error| match error {
        kube::Error::Api(status) => {
            let body = serde_json::to_vec(&*status).unwrap_or_default();
            Error::from_status(status.code, &body)
        }
        other => session.api.unreachable(&other),
    })
}

/// Joins the two until the process ends; its exit code is the outcome.
pub(crate) async fn run(session: &Session, url: &Url, streams: Streams) -> Result<(), Error> {
    let connection = connect(session, url).await?;
    let raw_mode = if streams.tty { Some(RawMode::enter()?) } else { None };
    let outcome = talk(session, connection, streams).await;
    // Before anything is said: a raw terminal does not return the carriage.
    drop(raw_mode);
    outcome?.into_result(session)
}

async fn talk(
    session: &Session,
    connection: kube::client::Connection,
    Streams { stdin: mut reads_stdin, tty }: Streams,
) -> Result<Outcome, Error> {
    let can_close = connection.supports_stream_close();
    let (mut sink, mut stream) = connection.into_stream().split();
    let broken = |e: tokio_tungstenite::tungstenite::Error| {
        Error::Unreachable(format!("the connection to the container broke: {e}"))
    };
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; STDIN_CHUNK];
    let mut resized = signal(SignalKind::window_change())?;
    let mut terminated = signal(SignalKind::terminate())?;
    if tty {
        sink.send(channels::size(terminal::size()?)).await.map_err(broken)?;
    }
    let mut outcome = None;
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(Ok(Message::Binary(bytes))) => match channels::read(&bytes) {
                    Some(Incoming::Stdout(data)) => session.out.write(data)?,
                    Some(Incoming::Stderr(data)) => session.err.write(data)?,
                    Some(Incoming::Status(status)) => {
                        outcome = Some(Outcome::from_status(status));
                        reads_stdin = false;
                    }
                    None => {}
                },
                Some(Ok(Message::Close(_))) | None => break,
                Some(Ok(_)) => {}
                // Some servers close without a goodbye after the status.
                Some(Err(_)) if outcome.is_some() => break,
                Some(Err(error)) => return Err(broken(error)),
            },
            read = stdin.read(&mut buffer), if reads_stdin => {
                let count = read.unwrap_or(0);
                if count > 0 {
                    sink.send(channels::stdin(&buffer[..count])).await.map_err(broken)?;
                } else {
                    reads_stdin = false;
                    if can_close {
                        sink.send(channels::close_stdin()).await.map_err(broken)?;
                    }
                }
            }
            _ = resized.recv(), if tty => {
                sink.send(channels::size(terminal::size()?)).await.map_err(broken)?;
            }
            _ = terminated.recv() => return Err(Error::Exit(TERMINATED)),
        }
    }
    outcome
        .ok_or_else(|| Error::Unreachable("the server closed the connection without an exit code".to_owned()))
}
