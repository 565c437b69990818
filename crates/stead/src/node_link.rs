//! Joins the API server's streaming requests to the node agent of this process.

use std::sync::{Arc, OnceLock};

use apimachinery::status::Status;
use apiserver::node_streams::{
    ContainerRef, ExecOptions, ExecSession, LogOptions, LogStream, NodeStreams, TerminalSize,
};
use async_trait::async_trait;
use node::{ContainerName, ExecRequest, LogQuery, Node};
use tokio::sync::mpsc;

/// How many changes of a terminal's size may wait.
const SIZES_WAITING: usize = 8;

/// A link to a node that may not have been started yet.
#[derive(Clone, Default)]
pub(crate) struct NodeLink(Arc<OnceLock<Node>>);

impl NodeLink {
    /// The node is there.
    pub(crate) fn connect(&self, node: Node) {
        // There is one node in a process: a second call would be a mistake of main's, and changes nothing.
        let _ = self.0.set(node);
    }

    fn node(&self, container: &ContainerRef) -> Result<&Node, Status> {
        self.0.get().ok_or_else(|| {
            let message = format!("node {} is not run by this stead: ask it itself", container.node);
            Status::new(503, "ServiceUnavailable", message)
        })
    }
}

fn name(container: &ContainerRef) -> ContainerName {
    ContainerName {
        namespace: container.namespace.clone(),
        pod: container.pod.clone(),
        uid: container.uid.clone(),
        container: container.container.clone(),
    }
}

#[async_trait]
impl NodeStreams for NodeLink {
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<LogStream, Status> {
        let query = LogQuery {
            follow: options.follow,
            since: options.since,
            timestamps: options.timestamps,
            tail_lines: options.tail_lines,
            limit_bytes: options.limit_bytes,
        };
        let lines = self.node(container)?.logs(&name(container), options.previous, query).await;
        lines.map_err(|error| Status::bad_request(error.to_string()))
    }

    async fn exec(&self, container: &ContainerRef, options: ExecOptions) -> Result<ExecSession, Status> {
        let request = ExecRequest {
            command: options.command,
            stdin: options.stdin,
            stdout: options.stdout,
            stderr: options.stderr,
            tty: options.tty,
        };
        let exec = self.node(container)?.exec(&name(container), request).await;
        let exec = exec.map_err(|error| Status::bad_request(error.to_string()))?;
        let resize = exec.resize.map(|sizes| {
            let (sender, mut changes) = mpsc::channel::<TerminalSize>(SIZES_WAITING);
            tokio::spawn(async move {
                while let Some(size) = changes.recv().await {
                    if sizes.send((size.width, size.height)).await.is_err() {
                        return;
                    }
                }
            });
            sender
        });
        let exit = exec.exit;
        Ok(ExecSession {
            stdin: exec.stdin.map(|stream| Box::into_pin(stream as Box<dyn tokio::io::AsyncWrite + Send>)),
            stdout: exec.stdout.map(|stream| Box::into_pin(stream as Box<dyn tokio::io::AsyncRead + Send>)),
            stderr: exec.stderr.map(|stream| Box::into_pin(stream as Box<dyn tokio::io::AsyncRead + Send>)),
            resize,
            exit: Box::pin(async move {
                exit.await.map_err(|error| Status::internal(format!("error executing command: {error}")))
            }),
        })
    }
}
