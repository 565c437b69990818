//! One file per verb.

mod api_resources;
mod api_versions;
pub(crate) mod apply;
mod attach;
mod auth;
mod cluster_info;
pub(crate) mod completion;
mod cp;
mod create;
mod delete;
mod describe;
mod edit;
mod events;
mod exec;
mod explain;
mod get;
mod label;
mod logs;
mod patch;
mod port_forward;
mod rollout;
mod scale;
mod set;
mod timeline;
mod top;
mod version;
mod wait;
mod why;

use crate::error::Error;
use crate::session::Session;

/// kubectl's verbs.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Show objects
    Get(get::Get),
    /// Show objects at length, with their events
    Describe(describe::Describe),
    /// Create or change objects so that they are as manifests say
    Apply(apply::Apply),
    /// Create objects from manifests or flags
    Create(create::Create),
    /// Delete objects
    Delete(delete::Delete),
    /// Change an object in an editor
    Edit(edit::Edit),
    /// Change an object by a patch
    Patch(patch::Patch),
    /// Set or remove labels
    Label(label::Label),
    /// Set or remove annotations
    Annotate(label::Label),
    /// Set how many replicas a set has
    Scale(scale::Scale),
    /// Set images of containers
    #[command(subcommand)]
    Set(set::Set),
    /// Follow and steer the update of a StatefulSet
    #[command(subcommand)]
    Rollout(rollout::Rollout),
    /// Print what a container wrote
    Logs(logs::Logs),
    /// Run a command in a container
    Exec(exec::Exec),
    /// Join a container's own process
    Attach(attach::Attach),
    /// Copy files to and from containers
    Cp(cp::Cp),
    /// Lead ports of this machine into a pod
    PortForward(port_forward::PortForward),
    /// Wait until objects are as they should be
    Wait(wait::Wait),
    /// Explain why an object is not as it should be, down to what can be done about it
    Why(why::Why),
    /// Show what happened to an object and what belongs to it, in order
    Timeline(timeline::Timeline),
    /// Show what nodes and pods use
    #[command(subcommand)]
    Top(top::Top),
    /// Show events
    Events(events::Events),
    /// List the kinds that the server has
    ApiResources(api_resources::ApiResources),
    /// Ask who one is and what one may do
    #[command(subcommand)]
    Auth(auth::Auth),
    /// List the versions of the API that the server has
    ApiVersions(api_versions::ApiVersions),
    /// Say what the fields of a kind are for
    Explain(explain::Explain),
    /// Say where the server is
    ClusterInfo(cluster_info::ClusterInfo),
    /// Show the versions of this program and of the server
    Version(version::Version),
    /// Print a script that completes words in a shell
    Completion(completion::Completion),
}

/// Runs a command.
///
/// A session that could not be opened matters only to commands that need one.
pub(crate) async fn run(command: Command, session: Result<Session, Error>) -> Result<(), Error> {
    let (command, session) = match (command, session) {
        (Command::Version(verb), session) => return verb.run(session).await,
        (command, session) => (command, &session?),
    };
    match command {
        Command::Get(verb) => verb.run(session).await,
        Command::Describe(verb) => verb.run(session).await,
        Command::Apply(verb) => verb.run(session).await,
        Command::Create(verb) => verb.run(session).await,
        Command::Delete(verb) => verb.run(session).await,
        Command::Edit(verb) => verb.run(session).await,
        Command::Patch(verb) => verb.run(session).await,
        Command::Label(verb) => verb.run(session, label::Place::Labels).await,
        Command::Annotate(verb) => verb.run(session, label::Place::Annotations).await,
        Command::Scale(verb) => verb.run(session).await,
        Command::Set(verb) => verb.run(session).await,
        Command::Rollout(verb) => verb.run(session).await,
        Command::Logs(verb) => verb.run(session).await,
        Command::Exec(verb) => verb.run(session).await,
        Command::Attach(verb) => verb.run(session).await,
        Command::Cp(verb) => verb.run(session).await,
        Command::PortForward(verb) => verb.run(session).await,
        Command::Wait(verb) => verb.run(session).await,
        Command::Why(verb) => verb.run(session).await,
        Command::Timeline(verb) => verb.run(session).await,
        Command::Top(verb) => verb.run(session).await,
        Command::Events(verb) => verb.run(session).await,
        Command::ApiResources(verb) => verb.run(session).await,
        Command::Auth(verb) => verb.run(session).await,
        Command::ApiVersions(verb) => verb.run(session).await,
        Command::Explain(verb) => verb.run(session).await,
        Command::ClusterInfo(verb) => verb.run(session).await,
        Command::Version(_) | Command::Completion(_) => Ok(()),
    }
}
