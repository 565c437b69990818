//! Carries out what the pod's plan asks for.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodSpec;
use network::PodRef;
use planner::EventType;
use planner::pod_actions::{ContainerId, PodAction, Volumes};
use runtime::{Processes, SandboxConfig};

use super::{Refusal, Surround, Worker, lock};
use crate::container_config::{DEFAULT_GRACE_SECONDS, kept, runtime_id};
use crate::host::now;
use crate::pod_volumes::{self, PodMounts};
use crate::{etc_files, resources};

/// How long to wait before a sandbox that could not be made is tried again, by tries: 1 s, 2 s, … 10 s.
const LONGEST_SANDBOX_RETRY: i64 = 10;
/// How long to wait before what failed for a reason that cannot be watched (a path of the host, a user of an
/// image) is tried again.
pub(super) const RETRY: SignedDuration = SignedDuration::from_secs(5);

impl Worker {
    pub(super) async fn carry_out(self: &Arc<Self>, action: &PodAction) -> Result<(), String> {
        match action {
            PodAction::PrepareVolumes => self.prepare_volumes().await,
            PodAction::RunSandbox => self.run_sandbox().await,
            PodAction::PullImage { container } => self.pull(container),
            PodAction::StartContainer { id, backoff_step } => self.start(id, *backoff_step).await?,
            PodAction::KillContainer { id, grace, message } => self.kill(id, *grace, message),
            PodAction::ResizeContainer { id } => self.resize(id).await,
            PodAction::RemoveContainer { id } => self.remove_container(id).await?,
            PodAction::StopSandbox => self.stop_sandbox().await?,
            PodAction::RemoveSandbox => self.remove_sandbox().await?,
            PodAction::TeardownVolumes => self.teardown_volumes().await?,
            PodAction::Finish => {}
        }
        Ok(())
    }

    async fn prepare_volumes(&self) {
        let pod = self.handle.pod();
        // What containers do with the owners of their files is theirs, once one of them has run.
        let in_use = !self.handle.records().borrow().is_empty();
        let outcome = pod_volumes::prepare(&self.host, &pod, in_use).await;
        let mut state = lock(&self.state);
        match outcome {
            Ok(mounts) => {
                state.mounts = mounts;
                state.volumes = Volumes::Ready;
                state.mount_failure = None;
            }
            Err(error) => {
                let (reason, why) = (error.reason(), error.to_string());
                if state.mount_failure.as_ref().is_none_or(|before| before.why != why) {
                    self.host.event(&pod, EventType::Warning, reason, &why);
                }
                state.volumes = Volumes::Waiting { reason: reason.to_owned(), message: why.clone() };
                state.mount_failure = Some(Refusal { why, retry_at: after(RETRY) });
            }
        }
        drop(state);
        self.handle.wake();
    }

    /// Looks again at volumes whose objects have changed, or whose failure is some time ago: what they wait
    /// for may be there now. Files that show Secrets and ConfigMaps are kept current.
    pub(super) async fn refresh_volumes(&self) {
        let due = self.host.tokens.due_in(&self.handle.uid).is_some_and(|left| left.is_zero());
        let stale = self.handle.stale_volumes.swap(false, Ordering::AcqRel) || due;
        let ready = {
            let mut state = lock(&self.state);
            let due = state.mount_failure.as_ref().is_some_and(|failure| now() >= failure.retry_at);
            if (stale || due) && matches!(state.volumes, Volumes::Waiting { .. }) {
                state.volumes = Volumes::Absent;
            }
            state.volumes == Volumes::Ready
        };
        let pod = self.handle.pod();
        if stale
            && ready
            && let Err(error) = pod_volumes::refresh_files(&self.host, &pod).await
        {
            tracing::debug!(pod = %self.handle.key.name, "{error}");
        }
    }

    async fn run_sandbox(&self) {
        let mut outcome = self.make_sandbox().await;
        if outcome.is_err()
            && let Err(also) = self.clear_sandbox().await
        {
            outcome = outcome.map_err(|error| format!("{error}; {also}"));
        }
        let mut state = lock(&self.state);
        state.sandbox = match outcome {
            Ok(ip) => Surround::Alive { ip },
            Err(error) => {
                let tries = match &state.sandbox {
                    Surround::Failed { tries, .. } => tries + 1,
                    _ => 1,
                };
                let message = format!("Failed to create pod sandbox: {error}");
                let pod = self.handle.pod();
                self.host.event(&pod, EventType::Warning, "FailedCreatePodSandBox", &message);
                let pause = SignedDuration::from_secs(i64::from(tries).min(LONGEST_SANDBOX_RETRY));
                Surround::Failed { error: message, retry_at: after(pause), tries }
            }
        };
        drop(state);
        self.handle.wake();
    }

    async fn make_sandbox(&self) -> Result<IpAddr, String> {
        let pod = self.handle.pod();
        let spec = pod.spec.as_ref();
        let host_network = spec.and_then(|s| s.host_network).unwrap_or(false);
        let sysctls = spec
            .and_then(|s| s.security_context.as_ref())
            .and_then(|c| c.sysctls.as_ref())
            .map(|all| all.iter().map(|s| (s.name.clone(), s.value.clone())).collect())
            .unwrap_or_default();
        let grace = spec.and_then(|s| s.termination_grace_period_seconds);
        let config = SandboxConfig {
            id: self.handle.uid.clone(),
            namespace: self.handle.key.namespace.clone(),
            name: self.handle.key.name.clone(),
            hostname: etc_files::hostname(&pod),
            host_network,
            host_ipc: spec.and_then(|s| s.host_ipc).unwrap_or(false),
            processes: processes(spec),
            sysctls,
            cgroup_parent: resources::cgroup_parent(&pod),
            resources: resources::pod_resources(&pod),
            annotations: [(
                kept::GRACE_SECONDS.to_owned(),
                grace.unwrap_or(DEFAULT_GRACE_SECONDS.cast_signed()).to_string(),
            )]
            .into(),
        };
        let status = self.host.runtime.run_pod_sandbox(config).await.map_err(|e| e.to_string())?;
        let pid = status.pid.ok_or("the process that holds it ended at once")?;
        self.complete_sandbox(pid).await
    }

    /// Gives a sandbox that is there its address and the files that tell of it, or finds that it has them.
    pub(super) async fn complete_sandbox(&self, pid: u32) -> Result<IpAddr, String> {
        let ip = self.attach(pid).await?;
        let pod = self.handle.pod();
        let written = pod_volumes::write_etc_files(&self.host, &pod, &ip.to_string()).await;
        written.map_err(|e| format!("files under /etc: {e}"))?;
        Ok(ip)
    }

    /// Gives the sandbox its address, or finds the one that it has.
    async fn attach(&self, pid: u32) -> Result<IpAddr, String> {
        let pod = self.handle.pod();
        if pod.spec.as_ref().and_then(|s| s.host_network).unwrap_or(false) {
            return Ok(IpAddr::V4(self.host.config.host_ip));
        }
        let reference = PodRef {
            uid: self.handle.uid.clone(),
            namespace: self.handle.key.namespace.clone(),
            name: self.handle.key.name.clone(),
        };
        let attached = self.host.network.attach(reference, pid).await;
        attached.map(|link| IpAddr::V4(link.ip)).map_err(|e| format!("network: {e}"))
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<(), String> {
        let was_unstarted = lock(&self.state).unstarted.remove(id).is_some();
        let removed = self.host.runtime.remove_container(&self.handle.uid, &runtime_id(id)).await;
        match removed {
            Err(runtime::Error::NotFound { .. }) if was_unstarted => Ok(()),
            other => other.map_err(|e| e.to_string()),
        }?;
        pod_volumes::forget_run(&self.host, &self.handle.uid, id).await.map_err(|e| e.to_string())
    }

    /// Takes away all of a sandbox, so that the next one begins anew.
    async fn clear_sandbox(&self) -> Result<(), String> {
        self.end_sandbox().await?;
        self.discard_sandbox().await
    }

    async fn discard_sandbox(&self) -> Result<(), String> {
        // They tell of an address that is no longer the pod's.
        let forgotten = pod_volumes::forget_etc_files(&self.host, &self.handle.uid).await;
        forgotten.map_err(|e| format!("files under /etc: {e}"))?;
        ignore_missing(self.host.runtime.remove_pod_sandbox(&self.handle.uid).await)
    }

    async fn end_sandbox(&self) -> Result<(), String> {
        ignore_missing(self.host.runtime.stop_pod_sandbox(&self.handle.uid).await)?;
        // The processes are gone: nobody uses the address any more.
        self.host.network.detach(&self.handle.uid).await.map_err(|e| e.to_string())
    }

    async fn stop_sandbox(&self) -> Result<(), String> {
        self.end_sandbox().await?;
        let mut state = lock(&self.state);
        state.sandbox = Surround::Dead;
        state.probers.clear();
        Ok(())
    }

    async fn remove_sandbox(&self) -> Result<(), String> {
        self.discard_sandbox().await?;
        let mut state = lock(&self.state);
        state.sandbox = Surround::Absent;
        state.unstarted.clear();
        drop(state);
        self.handle.runtime_changed();
        Ok(())
    }

    async fn teardown_volumes(&self) -> Result<(), String> {
        pod_volumes::teardown(&self.host, &self.handle.uid).await.map_err(|e| e.to_string())?;
        let mut state = lock(&self.state);
        state.volumes = Volumes::Absent;
        state.mount_failure = None;
        state.mounts = PodMounts::default();
        Ok(())
    }
}

/// Whose processes the pod's containers see.
fn processes(spec: Option<&PodSpec>) -> Processes {
    let says = |flag: fn(&PodSpec) -> Option<bool>| spec.and_then(flag).unwrap_or(false);
    match (says(|s| s.host_pid), says(|s| s.share_process_namespace)) {
        (true, _) => Processes::Host,
        (false, true) => Processes::Pod,
        (false, false) => Processes::Container,
    }
}

/// So long from now.
pub(super) fn after(pause: SignedDuration) -> Timestamp {
    now().saturating_add(pause).unwrap_or(Timestamp::MAX)
}

fn ignore_missing(result: Result<(), runtime::Error>) -> Result<(), String> {
    match result {
        Err(runtime::Error::NotFound { .. }) | Ok(()) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
