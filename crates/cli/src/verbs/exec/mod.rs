//! `exec`: a command in a container, with its streams and its exit code.

mod channels;
mod terminal;

use apimachinery::meta::ObjectExt;
use futures::{SinkExt, StreamExt};
use http::Request;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_tungstenite::tungstenite::Message;

use crate::error::Error;
use crate::pods;
use crate::session::Session;
use channels::{Incoming, Outcome};
use terminal::RawMode;

/// How much of stdin goes in one message.
const STDIN_CHUNK: usize = 32 << 10;
/// The exit code after SIGTERM, as shells report it.
const TERMINATED: u8 = 143;

/// Flags of `exec`.
#[derive(Clone, Debug, clap::Args)]
pub struct Exec {
    /// POD or TYPE/NAME
    #[arg(value_name = "POD")]
    pod: String,
    /// The container; the first one when not given
    #[arg(short = 'c', long, value_name = "NAME")]
    container: Option<String>,
    /// Pass stdin on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Stdin is a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// What would be the command if it stood after --
    #[arg(hide = true)]
    misplaced: Vec<String>,
    /// The command and its arguments, after --
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Exec {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        if !self.misplaced.is_empty() {
            return Err(Error::plain(
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead",
            ));
        }
        if self.command.is_empty() {
            return Err(Error::plain(
                "you must specify at least one command for the container: exec POD -- COMMAND",
            ));
        }
        let pod = pods::of(session, &self.pod).await?.swap_remove(0);
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            return Err(Error::plain(format!(
                "cannot exec into a container in a completed pod; current phase is {phase}"
            )));
        }
        let (container, said) = pods::container(&pod, self.container.as_deref())?;
        if let Some(said) = said {
            session.note(said)?;
        }
        let tty = self.tty && self.stdin && terminal::is_terminal();
        if self.tty && !tty {
            let hint = if self.stdin { "input is not a terminal" } else { "-t goes with -i" };
            session.note(format!("Unable to use a TTY - {hint}"))?;
        }
        let request = self.request(session, &pod, &container, tty).await?;
        let connected = session.api.client().connect(request).await;
        let connection = connected.map_err(|error| match error {
            kube::Error::Api(status) => {
                let body = serde_json::to_vec(&*status).unwrap_or_default();
                Error::from_status(status.code, &body)
            }
            other => session.api.unreachable(&other),
        })?;
        let raw_mode = if tty { Some(RawMode::enter()?) } else { None };
        let outcome = self.talk(session, connection, tty).await;
        // Before anything is said: a raw terminal does not return the carriage.
        drop(raw_mode);
        outcome?.into_result(session)
    }

    async fn request(
        &self,
        session: &Session,
        pod: &Value,
        container: &str,
        tty: bool,
    ) -> Result<Request<Vec<u8>>, Error> {
        let pods = session.resource("pods").await?;
        let mut url = pods
            .part_url(pod.namespace(), pod.name(), "exec")
            .with("container", container)
            .flag("stdin", self.stdin)
            .flag("stdout", true)
            // A terminal has one stream for both.
            .flag("stderr", !tty)
            .flag("tty", tty);
        for word in &self.command {
            url = url.repeated("command", word);
        }
        Request::get(url.as_str())
            .body(Vec::new())
            .map_err(|e| Error::plain(format!("cannot ask for {}: {e}", url.as_str())))
    }

    async fn talk(
        &self,
        session: &Session,
        connection: kube::client::Connection,
        tty: bool,
    ) -> Result<Outcome, Error> {
        let can_close = connection.supports_stream_close();
        let (mut sink, mut stream) = connection.into_stream().split();
        let broken = |e: tokio_tungstenite::tungstenite::Error| {
            Error::Unreachable(format!("the connection to the container broke: {e}"))
        };
        let mut stdin = tokio::io::stdin();
        let mut buffer = vec![0; STDIN_CHUNK];
        let mut reads_stdin = self.stdin;
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
        outcome.ok_or_else(|| {
            Error::Unreachable("the server closed the connection without an exit code".to_owned())
        })
    }
}
