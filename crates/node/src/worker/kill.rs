//! Stops containers: preStop, the stop signal, and SIGKILL when the grace period is over
//! (`pkg/kubelet/kuberuntime` `killContainer`).

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use nix::sys::signal::Signal;
use planner::EventType;
use planner::pod_actions::{ContainerId, Record};
use tokio::time::Instant;

use super::{Surround, Worker, lock};
use crate::container_config::{kept, runtime_id};
use crate::hooks::run_hook;
use crate::records::find;

/// What a container gets to stop at the least, even when its preStop hook used the grace period up
/// (`minimumGracePeriodInSeconds`).
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// How long the end of a killed container is waited for before it is killed again.
const AFTER_KILL: Duration = Duration::from_secs(5);

impl Worker {
    /// Begins to stop a container in the background.
    pub(super) fn kill(self: &Arc<Self>, id: &ContainerId, grace: i64, message: &str) {
        if !lock(&self.state).killing.insert(id.clone()) {
            return;
        }
        let pod = self.handle.pod();
        let message = if message.starts_with("Stopping") {
            message.to_owned()
        } else {
            format!("Container {} {message}", id.name)
        };
        self.host.event(&pod, EventType::Normal, "Killing", &message);
        let (this, id) = (Arc::clone(self), id.clone());
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        tokio::spawn(async move {
            this.stop(&pod, &id, grace).await;
            lock(&this.state).killing.remove(&id);
            this.handle.runtime_changed();
        });
    }

    async fn stop(&self, pod: &Pod, id: &ContainerId, grace: Duration) {
        let deadline = Instant::now() + grace;
        if !grace.is_zero() {
            self.pre_stop(pod, id, deadline).await;
            let signal = self.stop_signal(id).await;
            self.signal(id, signal).await;
            let patience = (deadline.saturating_duration_since(Instant::now())).max(LEAST_GRACE.min(grace));
            if self.ends_within(id, patience).await {
                return;
            }
        }
        loop {
            self.signal(id, Signal::SIGKILL as i32).await;
            if self.ends_within(id, AFTER_KILL).await {
                return;
            }
            tracing::warn!(pod = %self.handle.key.name, container = %id.name, "not gone after SIGKILL");
        }
    }

    async fn pre_stop(&self, pod: &Pod, id: &ContainerId, deadline: Instant) {
        let Some(container) = find(pod, &id.name) else { return };
        let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()) else { return };
        let Some(target) = self.target(id) else { return };
        let outcome = tokio::time::timeout_at(deadline, run_hook(hook, container, &target)).await;
        let failure = match outcome {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => "it took longer than the grace period".to_owned(),
        };
        let message = format!("PreStopHook failed: container {}: {failure}", id.name);
        self.host.event(pod, EventType::Warning, "FailedPreStopHook", &message);
    }

    /// The image's stop signal, SIGTERM when it names none.
    async fn stop_signal(&self, id: &ContainerId) -> i32 {
        let all = self.host.runtime.containers(&self.handle.uid).await.unwrap_or_default();
        let wanted = runtime_id(id);
        let named = all.iter().find(|c| c.config.id == wanted);
        let named = named.and_then(|c| c.config.annotations.get(kept::STOP_SIGNAL));
        named.and_then(|name| parse_signal(name)).unwrap_or(Signal::SIGTERM as i32)
    }

    async fn signal(&self, id: &ContainerId, signal: i32) {
        let sent = self.host.runtime.signal_container(&self.handle.uid, &runtime_id(id), signal).await;
        match sent {
            // It has ended meanwhile: its exit is on the way to us.
            Ok(()) | Err(runtime::Error::NotFound { .. } | runtime::Error::WrongState { .. }) => {}
            Err(error) => tracing::warn!(container = %id.name, "signal {signal}: {error}"),
        }
        self.handle.runtime_changed();
    }

    async fn ends_within(&self, id: &ContainerId, patience: Duration) -> bool {
        let mut records = self.handle.records();
        let ended = |all: &Vec<Record>| !all.iter().any(|r| r.id == *id && r.is_alive());
        let waited = tokio::time::timeout(patience, records.wait_for(ended)).await;
        waited.is_ok()
    }

    /// How to reach a container of this pod.
    pub(super) fn target(&self, id: &ContainerId) -> Option<crate::probes::Target> {
        let Surround::Alive { ip } = lock(&self.state).sandbox else { return None };
        let exec = crate::hooks::RuntimeExec {
            runtime: Arc::clone(&self.host.runtime),
            sandbox: self.handle.uid.clone(),
            container: runtime_id(id),
        };
        Some(crate::probes::Target { ip, exec: Arc::new(exec) })
    }
}

/// `SIGINT`, `INT` or `2`.
fn parse_signal(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse::<i32>() {
        return Signal::try_from(number).ok().map(|s| s as i32);
    }
    let full = if name.starts_with("SIG") { name.to_owned() } else { format!("SIG{name}") };
    full.parse::<Signal>().ok().map(|s| s as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals_come_by_name_or_number() {
        for (name, expected) in [("SIGINT", Some(2)), ("QUIT", Some(3)), ("15", Some(15)), ("", None)] {
            assert_eq!(parse_signal(name), expected, "{name}");
        }
    }
}
