//! kubectl's words without kubectl: get, apply, delete, logs, exec and their kin, against any Kubernetes API,
//! with stead's own found by its data directory.
//!
//! It is not a part of the server and shares no process with one: what it knows, it read from the API. Names and
//! scopes of kinds come from `registry::KINDS`, rows of `get` from the server. **Its one rule: texts, exit codes and
//! flags are kubectl's, so that scripts and fingers need not relearn**; where kubectl is unclear, we say what to do.
//!
//! One file per verb stands in `verbs`; what only thinks (JSONPath, tables, descriptions, rollout texts) stands
//! beside it and touches no network.

mod api;
mod apply;
mod connection;
mod describe;
mod duration;
mod error;
mod explain;
mod follow;
mod jsonpath;
mod manifests;
mod output;
mod pods;
mod remote;
mod resource;
mod rollout;
mod selection;
mod session;
#[cfg(test)]
mod tests;
mod timeline;
mod verbs;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub use connection::Connection;
pub use verbs::Command;
pub use verbs::completion::Completion;

use error::Error;
use session::Out;

/// Runs a command to its end and says what went wrong, if anything did. `program` is all that the command line
/// may hold, for completion: whoever calls may have words of their own.
///
/// The process needs a TLS provider for rustls installed before.
pub fn run(command: Command, connection: &Connection, program: clap::Command) -> ExitCode {
    let result = match command {
        Command::Completion(completion) => {
            Out::new(io::stdout()).write(&completion.script(program)).map_err(Error::from)
        }
        command => ask(command, connection),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, Error::Exit(_)) {
                eprintln!("{error}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Runs a command that needs a server, or at least asks whether there is one.
fn ask(command: Command, connection: &Connection) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::plain(format!("cannot start the async runtime: {error}")))?;
    let result = runtime.block_on(async {
        let session = connection.open(Out::new(io::stdout()), Out::new(io::stderr())).await;
        verbs::run(command, session).await
    });
    // A read of stdin that nobody waits for any more must not keep the program.
    runtime.shutdown_background();
    result
}

/// A client for whoever has the program's own work to do with objects.
///
/// # Errors
/// When the kubeconfig cannot be used.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<kube::Client> {
    let session =
        Connection::from_kubeconfig(kubeconfig).open(Out::new(io::sink()), Out::new(io::stderr())).await?;
    Ok(session.api.client().clone())
}

/// Applies manifests (files, folders, `-` for stdin) as `apply -f` does; says on stderr what became of each object.
///
/// # Errors
/// When the server cannot be reached, a manifest cannot be read, or an object is refused; the others are applied
/// all the same.
pub async fn apply_files(files: &[PathBuf], kubeconfig: &Path) -> anyhow::Result<()> {
    let connection = Connection::from_kubeconfig(kubeconfig);
    let session = connection.open(Out::new(io::stderr()), Out::new(io::stderr())).await?;
    let apply = verbs::apply::Apply::of_files(files);
    apply.run(&session).await.map_err(|error| match error {
        Error::Exit(_) => anyhow::anyhow!("an object was refused: see above"),
        other => other.into(),
    })
}
