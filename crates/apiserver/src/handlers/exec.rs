//! `/exec` in a pod, over a WebSocket (KEP-4006; `v4.channel.k8s.io`, `v5.channel.k8s.io`).

use apimachinery::status::Status;

use crate::api::{ApiServer, Request};
use crate::codec;
use crate::container;
use crate::node_streams::ExecOptions;
use crate::query::Query;
use crate::respond::Answer;
use crate::route::Target;
use crate::websocket::{self, Handshake};

pub(crate) async fn exec(api: &ApiServer, request: Request, target: &Target) -> Result<Answer, Status> {
    let options = exec_options(&request.query)?;
    let pod = codec::decode(&api.read(target).await?)?;
    let container = container::choose(&pod, request.query.get("container"))?;
    if container.node.is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", target.name)));
    }
    let handshake = Handshake::from_request(request)?;
    let shutdown = api.shutdown_token().clone();
    let (api, first_channel) = (api.clone(), websocket::first_channel(&options));
    // After the handshake: a client that is refused before it takes us for a server without WebSockets.
    let session = async move { api.streams().exec(&container, options).await };
    Ok(websocket::serve(handshake, session, first_channel, shutdown))
}

/// Reads `core/v1.PodExecOptions` (upstream: `ValidatePodExecOptions` and its defaults).
fn exec_options(query: &Query) -> Result<ExecOptions, Status> {
    let options = ExecOptions {
        command: query.all("command").map(str::to_owned).collect(),
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        tty: query.flag("tty"),
    };
    if options.command.is_empty() {
        return Err(Status::bad_request("command: Required value: name the command to run"));
    }
    if !(options.stdin || options.stdout || options.stderr) {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    // A terminal has one output.
    Ok(ExecOptions { stderr: options.stderr && !options.tty, ..options })
}
