//! `/exec` in a pod and `/attach` to one of its containers, over a WebSocket (KEP-4006) or SPDY.

use apimachinery::status::Status;
use serde_json::Value;

use crate::api::{ApiServer, Request};
use crate::codec;
use crate::container;
use crate::node_streams::{ContainerRef, ExecOptions, StreamOptions};
use crate::query::Query;
use crate::respond::Answer;
use crate::route::Target;
use crate::streaming::{self, Protocols, Upgrade};

const WEBSOCKET: &[&str] = &["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// v1 has no version in its name.
const SPDY: &[&str] = &["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

pub(crate) async fn exec(api: &ApiServer, request: Request, target: &Target) -> Result<Answer, Status> {
    let options = exec_options(&request.query)?;
    let streams = options.streams;
    let container = running_container(api, &request, target).await?;
    let upgrade =
        Upgrade::from_request(request, &Protocols { what: "exec", websocket: WEBSOCKET, spdy: SPDY })?;
    let shutdown = api.shutdown_token().clone();
    let api = api.clone();
    // After the handshake: a client that is refused before it takes us for a server without WebSockets.
    let session = async move { api.streams().exec(&container, options).await };
    Ok(streaming::command(upgrade, streams, session, shutdown))
}

pub(crate) async fn attach(api: &ApiServer, request: Request, target: &Target) -> Result<Answer, Status> {
    let streams = stream_options(&request.query)?;
    let container = running_container(api, &request, target).await?;
    let upgrade =
        Upgrade::from_request(request, &Protocols { what: "attach", websocket: WEBSOCKET, spdy: SPDY })?;
    let shutdown = api.shutdown_token().clone();
    let api = api.clone();
    let session = async move { api.streams().attach(&container, streams).await };
    Ok(streaming::command(upgrade, streams, session, shutdown))
}

/// The container that is meant, on a pod that has a node.
async fn running_container(
    api: &ApiServer,
    request: &Request,
    target: &Target,
) -> Result<ContainerRef, Status> {
    let pod: Value = codec::decode(&api.read(target).await?)?;
    let container = container::choose(&pod, request.query.get("container"))?;
    container::on_node(container)
}

/// Reads `core/v1.PodExecOptions` (upstream: `ValidatePodExecOptions` and its defaults).
fn exec_options(query: &Query) -> Result<ExecOptions, Status> {
    let command: Vec<String> = query.all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(Status::bad_request("command: Required value: name the command to run"));
    }
    Ok(ExecOptions { command, streams: stream_options(query)? })
}

/// Reads `core/v1.PodAttachOptions` (upstream: `remotecommand.NewOptions`).
fn stream_options(query: &Query) -> Result<StreamOptions, Status> {
    let flag = |name| query.flag(name);
    let options = StreamOptions {
        stdin: flag("stdin"),
        stdout: flag("stdout"),
        stderr: flag("stderr"),
        tty: flag("tty"),
    };
    if !(options.stdin || options.stdout || options.stderr) {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    // A terminal has one output.
    Ok(StreamOptions { stderr: options.stderr && !options.tty, ..options })
}
