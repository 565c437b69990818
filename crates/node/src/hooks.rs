//! Commands inside containers on the node's own behalf: exec probes and lifecycle hooks.

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use runtime::{ExecConfig, Runtime};

use crate::probes::{Target, http_hook};

/// How much of a command's output is kept, in bytes (upstream: 10 KiB).
const KEPT_OUTPUT: u64 = 10 * 1024;

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
        let output = tokio::task::spawn_blocking(move || read_some(reader));
        let ended = self.runtime.exec(&self.sandbox, &self.container, config).await;
        let exit_code = ended.map_err(|e| e.to_string())?;
        let text = output.await.unwrap_or_default();
        Ok(Output { exit_code, text })
    }
}

fn read_some(reader: OwnedFd) -> String {
    let mut file = std::fs::File::from(reader);
    let mut kept = Vec::new();
    let first = (&mut file).take(KEPT_OUTPUT).read_to_end(&mut kept);
    // What is not kept is still read, or the command would block on a full pipe.
    let rest = std::io::copy(&mut file, &mut std::io::sink());
    if let Err(error) = first.and(rest.map(|_| 0)) {
        tracing::debug!("output of a command: {error}");
    }
    String::from_utf8_lossy(&kept).into_owned()
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
