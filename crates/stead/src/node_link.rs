//! Joins the API server's streaming requests to the node agent of this process.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use apimachinery::status::Status;
use apiserver::node_streams::{
    ContainerRef, ExecOptions, ExecSession, LogOptions, LogSource, LogStream, NodeStreams, PodConnection,
    StreamOptions, TerminalSize,
};
use async_trait::async_trait;
use node::{ContainerName, Exec, LogQuery, Node, Streams};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// How long a pod may take to take a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
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
            stream: match options.stream {
                LogSource::All => None,
                LogSource::Stdout => Some(node::LogStream::Stdout),
                LogSource::Stderr => Some(node::LogStream::Stderr),
            },
        };
        let lines = self.node(container)?.logs(&name(container), options.previous, query).await;
        lines.map_err(|error| Status::bad_request(error.to_string()))
    }

    async fn exec(&self, container: &ContainerRef, options: ExecOptions) -> Result<ExecSession, Status> {
        let node = self.node(container)?;
        let exec = node.exec(&name(container), options.command, streams(options.streams)).await;
        Ok(session(exec.map_err(|error| Status::bad_request(error.to_string()))?))
    }

    async fn attach(&self, container: &ContainerRef, options: StreamOptions) -> Result<ExecSession, Status> {
        let attached = self.node(container)?.attach(&name(container), streams(options)).await;
        Ok(session(attached.map_err(|error| Status::bad_request(error.to_string()))?))
    }

    async fn port_forward(&self, pod: &ContainerRef, port: u16) -> io::Result<PodConnection> {
        let node = self.node(pod).map_err(|status| io::Error::other(status.message))?;
        let connection = node.port_forward(&name(pod), port).await;
        Ok(Box::pin(connection.map_err(|error| io::Error::other(error.to_string()))?))
    }

    async fn dial(&self, address: SocketAddr) -> io::Result<PodConnection> {
        let connecting = tokio::time::timeout(DIAL_TIMEOUT, TcpStream::connect(address));
        let connection = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        connection.set_nodelay(true)?;
        Ok(Box::pin(connection))
    }
}

fn streams(options: StreamOptions) -> Streams {
    let StreamOptions { stdin, stdout, stderr, tty } = options;
    Streams { stdin, stdout, stderr, tty }
}

fn session(exec: Exec) -> ExecSession {
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
    ExecSession {
        stdin: exec.stdin.map(|stream| Box::into_pin(stream as Box<dyn tokio::io::AsyncWrite + Send>)),
        stdout: exec.stdout.map(|stream| Box::into_pin(stream as Box<dyn tokio::io::AsyncRead + Send>)),
        stderr: exec.stderr.map(|stream| Box::into_pin(stream as Box<dyn tokio::io::AsyncRead + Send>)),
        resize,
        exit: Box::pin(async move {
            exit.await.map_err(|error| Status::internal(format!("error executing command: {error}")))
        }),
    }
}
