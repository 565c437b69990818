//! What the API server asks of a pod's node: logs, commands, connections. `stead` wires the node agent in.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use apimachinery::status::Status;
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// A container of a pod on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRef {
    /// `spec.nodeName`.
    pub node: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid.
    pub uid: String,
    /// The container's name, already checked against the pod's spec.
    pub container: String,
}

/// `core/v1.PodLogOptions`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogOptions {
    /// Keep the stream open for what is yet to come.
    pub follow: bool,
    /// Of the container's previous run.
    pub previous: bool,
    /// Only lines since then.
    pub since: Option<Timestamp>,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Stop after so many bytes.
    pub limit_bytes: Option<u64>,
    /// Which of the container's streams.
    pub stream: LogSource,
}

/// Which of a container's streams a log is to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogSource {
    /// Both.
    #[default]
    All,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// `core/v1.PodExecOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// What the client wants of it.
    pub streams: StreamOptions,
}

/// Which streams a client wants of a command or of a container: `core/v1.PodAttachOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamOptions {
    /// Whether the client sends input.
    pub stdin: bool,
    /// Whether the client wants output.
    pub stdout: bool,
    /// Whether the client wants errors; never together with `tty`.
    pub stderr: bool,
    /// In a terminal.
    pub tty: bool,
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// Bytes to a command.
pub type Input = Pin<Box<dyn AsyncWrite + Send>>;
/// Bytes from a command.
pub type Output = Pin<Box<dyn AsyncRead + Send>>;

/// A command running in a container, or the container's own.
pub struct ExecSession {
    /// Where the client's input goes; dropping it ends the input.
    pub stdin: Option<Input>,
    /// The command's output.
    pub stdout: Option<Output>,
    /// The command's errors.
    pub stderr: Option<Output>,
    /// Changes of the terminal's size.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// The exit code, or why the command could not run. Dropping it does not end the command.
    pub exit: BoxFuture<'static, Result<i32, Status>>,
}

/// A connection's two directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A connection to something in a pod.
pub type PodConnection = Pin<Box<dyn Duplex>>;

/// A stream of log bytes.
pub type LogStream = BoxStream<'static, std::io::Result<Bytes>>;

/// The node's side of streaming requests.
#[async_trait]
pub trait NodeStreams: Send + Sync + 'static {
    /// The container's log.
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<LogStream, Status>;
    /// Runs a command in the container.
    async fn exec(&self, container: &ContainerRef, options: ExecOptions) -> Result<ExecSession, Status>;

    /// Joins the container's own process: its output from now on, its input if it has one.
    async fn attach(&self, container: &ContainerRef, options: StreamOptions) -> Result<ExecSession, Status> {
        let _ = options;
        let node = &container.node;
        Err(Status::new(501, "NotImplemented", format!("node {node} has nothing to attach to")))
    }

    /// Connects to a port on the pod's own loopback (the container's name means nothing here). The error is the
    /// sentence that the client is told.
    async fn port_forward(&self, pod: &ContainerRef, port: u16) -> io::Result<PodConnection> {
        Err(io::Error::other(format!("node {} does not forward port {port}", pod.node)))
    }

    /// Connects to an address of the pods' network.
    async fn dial(&self, address: SocketAddr) -> io::Result<PodConnection> {
        Err(io::Error::other(format!("{address} is not in reach from here")))
    }
}
