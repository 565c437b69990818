//! `attach`: a container's own process, with its streams.

use crate::error::Error;
use crate::pods;
use crate::remote::{self, Streams};
use crate::session::Session;

/// Flags of `attach`.
#[derive(Clone, Debug, clap::Args)]
pub struct Attach {
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
}

impl Attach {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let pod = pods::of(session, &self.pod).await?.swap_remove(0);
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            return Err(Error::plain(format!(
                "cannot attach a container in a completed pod; current phase is {phase}"
            )));
        }
        let (name, said) = pods::container(&pod, self.container.as_deref())?;
        if let Some(said) = said {
            session.note(said)?;
        }
        let made_with = |flag: &str| pods::spec_of(&pod, &name).is_some_and(|c| c[flag] == true);
        if self.tty && !made_with("tty") {
            session.note(format!("Unable to use a TTY - container {name} did not allocate one"))?;
        }
        if self.stdin && !made_with("stdin") {
            session.note(format!("Unable to pass stdin on - container {name} was not started with stdin"))?;
        }
        let stdin = self.stdin && made_with("stdin");
        let tty = made_with("tty") && remote::terminal_for(session, stdin, self.tty)?;
        if stdin {
            session.note("If you don't see a command prompt, try pressing enter.")?;
        }
        let streams = Streams { stdin, tty };
        let url = remote::url(session, &pod, &name, "attach", streams).await?;
        remote::run(session, &url, streams).await
    }
}
