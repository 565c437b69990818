//! Interactive commands in containers: pipes or a terminal between a client and the runtime.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use futures::future::BoxFuture;
use runtime::{ExecConfig, Runtime};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::tty::TtyStream;

/// What to run and which streams the client wants.
#[derive(Clone, Debug, Default)]
pub struct ExecRequest {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Whether the client sends input.
    pub stdin: bool,
    /// Whether the client wants output.
    pub stdout: bool,
    /// Whether the client wants errors; they come with the output in a terminal.
    pub stderr: bool,
    /// In a terminal.
    pub tty: bool,
}

/// The client's ends of a running command.
pub struct Exec {
    /// Where input goes.
    pub stdin: Option<Box<dyn tokio::io::AsyncWrite + Send + Unpin>>,
    /// Where output comes from.
    pub stdout: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
    /// Where errors come from.
    pub stderr: Option<Box<dyn tokio::io::AsyncRead + Send + Unpin>>,
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
    request: ExecRequest,
) -> std::io::Result<Exec> {
    let mut config =
        ExecConfig { argv: request.command, stdin: None, stdout: None, stderr: None, tty: request.tty };
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
        if request.stdout {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            config.stdout = Some(writer);
            exec.stdout = Some(Box::new(pipe::Receiver::from_owned_fd(nonblocking(reader)?)?));
        }
        if request.stderr {
            let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
            config.stderr = Some(writer);
            exec.stderr = Some(Box::new(pipe::Receiver::from_owned_fd(nonblocking(reader)?)?));
        }
    }
    let running = tokio::spawn(async move { runtime.exec(&sandbox, &container, config).await });
    exec.exit = Box::pin(async move {
        running.await.unwrap_or_else(|error| {
            Err(runtime::Error::System { doing: "exec".to_owned(), why: error.to_string() })
        })
    });
    Ok(exec)
}

fn nonblocking(fd: OwnedFd) -> std::io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd)
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
    let (resize, mut sizes) = mpsc::channel::<(u16, u16)>(8);
    let sized = near.try_clone()?;
    tokio::spawn(async move {
        while let Some((columns, rows)) = sizes.recv().await {
            let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
            if let Err(error) = tcsetwinsize(&sized, size) {
                tracing::debug!("terminal size: {error}");
            }
        }
    });
    exec.resize = Some(resize);
    if stdin {
        exec.stdin = Some(Box::new(TtyStream::new(nonblocking(near.try_clone()?)?)?));
    }
    if stdout {
        exec.stdout = Some(Box::new(TtyStream::new(nonblocking(near)?)?));
    }
    Ok(())
}
