//! One file per verb.

pub(crate) mod apply;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod exec;
pub(crate) mod get;
pub(crate) mod logs;
pub(crate) mod scale;
pub(crate) mod wait;

use crate::error::Error;
use crate::session::Session;

/// kubectl's verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show objects
    Get(get::Get),
    /// Create or change objects so that they are as manifests say
    Apply(apply::Apply),
    /// Create objects from manifests or flags
    Create(create::Create),
    /// Delete objects
    Delete(delete::Delete),
    /// Set how many replicas a set has
    Scale(scale::Scale),
    /// Print what a container wrote
    Logs(logs::Logs),
    /// Run a command in a container
    Exec(exec::Exec),
    /// Wait until objects are as they should be
    Wait(wait::Wait),
}

/// Runs a command.
pub(crate) async fn run(command: Command, session: Result<Session, Error>) -> Result<(), Error> {
    let session = &session?;
    match command {
        Command::Get(verb) => verb.run(session).await,
        Command::Apply(verb) => verb.run(session).await,
        Command::Create(verb) => verb.run(session).await,
        Command::Delete(verb) => verb.run(session).await,
        Command::Scale(verb) => verb.run(session).await,
        Command::Logs(verb) => verb.run(session).await,
        Command::Exec(verb) => verb.run(session).await,
        Command::Wait(verb) => verb.run(session).await,
    }
}
