//! Commands inside containers on the node's own behalf: exec probes and lifecycle hooks.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use runtime::{ExecConfig, Runtime};
use tokio::net::unix::pipe;

use crate::probes::{Target, http_hook};

/// How much of a command's output is kept, in bytes (upstream: 10 KiB).
const KEPT_OUTPUT: usize = 10 * 1024;

/// What a command said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) exit_code: i32,
    /// Standard output and error, the first [`KEPT_OUTPUT`] bytes.
    pub(crate) text: String,
}

/// Runs commands in one container.
#[async_trait]
pub(crate) trait ExecInContainer: Send + Sync {
    /// Runs `argv` to its end.
    async fn exec(&self, argv: Vec<String>) -> Result<Output, String>;
}

/// Runs commands through the runtime.
pub(crate) struct RuntimeExec {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) sandbox: String,
    pub(crate) container: String,
}

#[async_trait]
impl ExecInContainer for RuntimeExec {
    async fn exec(&self, argv: Vec<String>) -> Result<Output, String> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| format!("pipe for a command's output: {e}"))?;
        let errors: OwnedFd = writer.try_clone().map_err(|e| format!("pipe for a command's output: {e}"))?;
        let config = ExecConfig { argv, stdin: None, stdout: Some(writer), stderr: Some(errors), tty: false };
        let mut output = Kept::of(reader).map_err(|e| format!("pipe for a command's output: {e}"))?;
        let running = self.runtime.exec(&self.sandbox, &self.container, config);
        tokio::pin!(running);
        let ended = loop {
            tokio::select! {
                ended = &mut running => break ended,
                () = output.read_more(), if !output.over => {}
            }
        };
        let exit_code = ended.map_err(|e| e.to_string())?;
        // What the command left behind may hold the pipe for ever: what is in it now is all that counts.
        output.read_rest();
        Ok(Output { exit_code, text: String::from_utf8_lossy(&output.kept).into_owned() })
    }
}

/// Reads a command's output and keeps the beginning. The rest is still read, or the command would block on
/// a full pipe.
struct Kept {
    pipe: pipe::Receiver,
    kept: Vec<u8>,
    over: bool,
}

impl Kept {
    fn of(reader: OwnedFd) -> std::io::Result<Self> {
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok(Self { pipe: pipe::Receiver::from_owned_fd(reader)?, kept: Vec::new(), over: false })
    }

    async fn read_more(&mut self) {
        match self.pipe.readable().await {
            Ok(()) => self.read_rest(),
            Err(_) => self.over = true,
        }
    }

    fn read_rest(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.pipe.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let room = KEPT_OUTPUT - self.kept.len();
                    self.kept.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => break,
            }
        }
        self.over = true;
    }
}

/// Runs a postStart or preStop hook: exec, httpGet or sleep (`core/v1.LifecycleHandler`).
pub(crate) async fn run_hook(
    hook: &LifecycleHandler,
    container: &Container,
    target: &Target,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let output = target.exec.exec(exec.command.clone().unwrap_or_default()).await?;
        return match output.exit_code {
            0 => Ok(()),
            code => Err(format!("command exited with {code}: {}", output.text.trim())),
        };
    }
    if let Some(http) = &hook.http_get {
        let ports: HashMap<String, u16> = crate::probes::ports(container);
        return http_hook(http, &ports, target).await;
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
    }
    Ok(())
}
