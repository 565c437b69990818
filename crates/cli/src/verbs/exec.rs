//! `exec`: a command in a container, with its streams and its exit code.

use crate::error::Error;
use crate::pods;
use crate::remote::{self, Streams};
use crate::session::Session;

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
        let tty = remote::terminal_for(session, self.stdin, self.tty)?;
        let streams = Streams { stdin: self.stdin, tty };
        let mut url = remote::url(session, &pod, &container, "exec", streams).await?;
        for word in &self.command {
            url = url.repeated("command", word);
        }
        remote::run(session, &url, streams).await
    }
}
