//! Interactive commands in containers: pipes or a terminal between a client and the runtime.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures::future::BoxFuture;
use runtime::{AttachConfig, ExecConfig, Runtime};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::Error;
use crate::tty::TtyStream;

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streams {
    /// Whether the client sends input.
    pub stdin: bool,
    /// Whether the client wants output.
    pub stdout: bool,
    /// Whether the client wants errors; they come with the output in a terminal.
    pub stderr: bool,
    /// In a terminal.
    pub tty: bool,
}

/// Bytes to a command.
pub type Input = Box<dyn tokio::io::AsyncWrite + Send + Unpin>;
/// Bytes from a command.
pub type Output = Box<dyn tokio::io::AsyncRead + Send + Unpin>;

/// How many changes of a terminal's size may wait.
const SIZES_WAITING: usize = 8;

/// The client's ends of a running command, or of the container's own.
pub struct Exec {
    /// Where input goes.
    pub stdin: Option<Input>,
    /// Where output comes from.
    pub stdout: Option<Output>,
    /// Where errors come from.
    pub stderr: Option<Output>,
    /// Changes of the terminal's size: columns and rows.
    pub resize: Option<mpsc::Sender<(u16, u16)>>,
    /// The exit code.
    pub exit: BoxFuture<'static, Result<i32, runtime::Error>>,
}

/// Starts a command in a container.
pub(crate) fn start(
    runtime: Arc<dyn Runtime>,
    sandbox: String,
    container: String,
    command: Vec<String>,
    request: Streams,
) -> std::io::Result<Exec> {
    let mut config = ExecConfig { argv: command, stdin: None, stdout: None, stderr: None, tty: request.tty };
    let mut exec =
        Exec { stdin: None, stdout: None, stderr: None, resize: None, exit: Box::pin(async { Ok(0) }) };
    if request.tty {
        attach_terminal(&mut config, &mut exec, request.stdin, request.stdout)?;
    } else {
        if request.stdin {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            config.stdin = Some(reader);
            exec.stdin = Some(Box::new(pipe::Sender::from_owned_fd(nonblocking(writer)?)?));
        }
        (exec.stdout, config.stdout) = output(request.stdout)?;
        (exec.stderr, config.stderr) = output(request.stderr)?;
    }
    let running = tokio::spawn(async move { runtime.exec(&sandbox, &container, config).await });
    exec.exit = Box::pin(async move {
        running.await.unwrap_or_else(|error| {
            Err(runtime::Error::System { doing: "exec".to_owned(), why: error.to_string() })
        })
    });
    Ok(exec)
}

/// A pipe for output, if it is wanted: the client's end, and the other.
fn output(wanted: bool) -> std::io::Result<(Option<Output>, Option<OwnedFd>)> {
    if !wanted {
        return Ok((None, None));
    }
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((Some(Box::new(pipe::Receiver::from_owned_fd(nonblocking(reader)?)?)), Some(writer)))
}

/// Joins a container that runs. `has_terminal` and `has_input` say what it was made with: neither can be changed.
pub(crate) async fn attach(
    runtime: Arc<dyn Runtime>,
    (sandbox, container): (&str, &str),
    (has_terminal, has_input): (bool, bool),
    wanted: Streams,
) -> Result<Exec, Error> {
    let io = |source| Error::Io { doing: "attach", source };
    let (stdout, to_stdout) = output(wanted.stdout).map_err(io)?;
    let (stderr, to_stderr) = output(wanted.stderr && !has_terminal).map_err(io)?;
    let takes_input = wanted.stdin && has_input;
    let config = AttachConfig { stdin: takes_input, stdout: to_stdout, stderr: to_stderr };
    let attached = runtime.attach(sandbox, container, config).await.map_err(Error::Runtime)?;
    let mut exec = Exec { stdin: None, stdout, stderr, resize: None, exit: Box::pin(async { Ok(0) }) };
    if let Some(input) = attached.input {
        if has_terminal {
            exec.resize = Some(resizer(input.try_clone().map_err(io)?));
        }
        if takes_input {
            exec.stdin = Some(if has_terminal {
                Box::new(TtyStream::new(input).map_err(io)?)
            } else {
                Box::new(pipe::Sender::from_owned_fd(input).map_err(io)?)
            });
        }
    }
    let ended = attached.ended;
    exec.exit = Box::pin(async move {
        ended.await;
        Ok(0)
    });
    Ok(exec)
}

fn nonblocking(fd: OwnedFd) -> std::io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
}

/// Gives a terminal the sizes that come.
fn resizer(terminal: OwnedFd) -> mpsc::Sender<(u16, u16)> {
    let (resize, mut sizes) = mpsc::channel::<(u16, u16)>(SIZES_WAITING);
    tokio::spawn(async move {
        while let Some((columns, rows)) = sizes.recv().await {
            let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
            if let Err(error) = tcsetwinsize(&terminal, size) {
                tracing::debug!("terminal size: {error}");
            }
        }
    });
    resize
}

/// Makes a terminal: the command gets the far side, the client the near one.
fn attach_terminal(
    config: &mut ExecConfig,
    exec: &mut Exec,
    stdin: bool,
    stdout: bool,
) -> std::io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&near)?;
    unlockpt(&near)?;
    let name = ptsname(&near, Vec::new())?;
    let far = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    config.stdin = Some(far.try_clone()?);
    config.stdout = Some(far.try_clone()?);
    config.stderr = Some(far);
    exec.resize = Some(resizer(near.try_clone()?));
    if stdin {
        exec.stdin = Some(Box::new(TtyStream::new(nonblocking(near.try_clone()?)?)?));
    }
    if stdout {
        exec.stdout = Some(Box::new(TtyStream::new(nonblocking(near)?)?));
    }
    Ok(())
}
