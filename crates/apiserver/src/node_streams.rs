//! What the API server asks of a pod's node: logs and exec. `stead` wires the node agent in.

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
}

/// `core/v1.PodExecOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecOptions {
    /// The command and its arguments.
    pub command: Vec<String>,
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

/// A command running in a container.
pub struct ExecSession {
    /// Where the client's input goes; dropping it ends the input.
    pub stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    /// The command's output.
    pub stdout: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// The command's errors.
    pub stderr: Option<Pin<Box<dyn AsyncRead + Send>>>,
    /// Changes of the terminal's size.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// The exit code, or why the command could not run. Dropping it does not end the command.
    pub exit: BoxFuture<'static, Result<i32, Status>>,
}

/// A stream of log bytes.
pub type LogStream = BoxStream<'static, std::io::Result<Bytes>>;

/// The node's side of streaming requests.
#[async_trait]
pub trait NodeStreams: Send + Sync + 'static {
    /// The container's log.
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<LogStream, Status>;
    /// Runs a command in the container.
    async fn exec(&self, container: &ContainerRef, options: ExecOptions) -> Result<ExecSession, Status>;
}
