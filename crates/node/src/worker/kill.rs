//! Stops containers: preStop, the stop signal, and SIGKILL when the grace period is over
//! (`pkg/kubelet/kuberuntime` `killContainer`).

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use nix::sys::signal::Signal;
use planner::EventType;
use planner::pod_actions::{ContainerId, Record, grace, wants_no_notice};
use runtime::{ContainerConfig, SandboxConfig};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Surround, Worker, lock};
use crate::container_config::{DEFAULT_GRACE_SECONDS, kept, runtime_id};
use crate::hooks::run_hook;
use crate::host::now;
use crate::records::find;

/// What a container gets after its stop signal at the least, even when its preStop hook used the grace
/// period up (`minimumGracePeriodInSeconds`).
const LEAST_GRACE: Duration = Duration::from_secs(2);
/// How long the end of a killed container is waited for before it is killed again.
const AFTER_KILL: Duration = Duration::from_secs(5);

impl Worker {
    /// Begins to stop a container in the background.
    pub(super) fn kill(self: &Arc<Self>, id: &ContainerId, grace: i64, message: &str) {
        let (deadline, changes) = watch::channel(Instant::now() + seconds(grace));
        match lock(&self.state).killing.entry(id.clone()) {
            Entry::Occupied(_) => return,
            Entry::Vacant(place) => place.insert(deadline),
        };
        if let Some(prober) = lock(&self.state).probers.get(id) {
            prober.stop_liveness();
        }
        let pod = self.handle.pod();
        let message = if message.starts_with("Stopping") {
            message.to_owned()
        } else {
            format!("Container {} {message}", id.name)
        };
        self.host.event(&pod, EventType::Normal, "Killing", &message);
        let (this, id) = (Arc::clone(self), id.clone());
        self.host.work.spawn_until_stop(async move {
            this.stop(&pod, &id, Deadline(changes)).await;
            lock(&this.state).killing.remove(&id);
            this.handle.runtime_changed();
        });
    }

    /// A pod that is deleted again, with less grace or by force, has less time: its kills under way, too.
    pub(super) fn shorten_kills(&self, pod: &Pod) {
        let removed = self.handle.is_removed();
        if !removed && pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        let left = Instant::now() + seconds(grace(pod, removed, now()));
        for deadline in lock(&self.state).killing.values() {
            deadline.send_if_modified(|held| {
                // Deletion timestamps have whole seconds: less than one is no news.
                let sooner = left + Duration::from_secs(1) < *held;
                if sooner {
                    *held = left;
                }
                sooner
            });
        }
    }

    async fn stop(&self, pod: &Pod, id: &ContainerId, mut deadline: Deadline) {
        if !wants_no_notice(pod) {
            self.pre_stop(pod, id, &mut deadline).await;
        }
        if self.is_going(&self.handle.pod()) {
            // Who connects from now on finds another pod.
            self.host.services.settled().await;
        }
        if !wants_no_notice(pod) {
            let signal = self.stop_signal(id).await;
            self.signal(id, signal).await;
            let least = Instant::now() + LEAST_GRACE;
            tokio::select! {
                () = self.ended(id) => return,
                () = deadline.passed(least) => {}
            }
        }
        loop {
            self.signal(id, Signal::SIGKILL as i32).await;
            if tokio::time::timeout(AFTER_KILL, self.ended(id)).await.is_ok() {
                return;
            }
            tracing::warn!(pod = %self.handle.key.name, container = %id.name, "not gone after SIGKILL");
        }
    }

    async fn pre_stop(&self, pod: &Pod, id: &ContainerId, deadline: &mut Deadline) {
        let Some(container) = find(pod, &id.name) else { return };
        let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()) else { return };
        let Some(target) = self.target(id) else { return };
        let failure = tokio::select! {
            outcome = run_hook(hook, &container, &target) => match outcome {
                Ok(()) => return,
                Err(error) => error,
            },
            // It has ended by itself meanwhile.
            () = self.ended(id) => return,
            () = deadline.passed(Instant::now()) => "it took longer than the grace period".to_owned(),
        };
        let message = format!("PreStopHook failed: container {}: {failure}", id.name);
        self.host.event(pod, EventType::Warning, "FailedPreStopHook", &message);
    }

    async fn stop_signal(&self, id: &ContainerId) -> i32 {
        let all = self.host.runtime.containers(&self.handle.uid).await.unwrap_or_default();
        let wanted = runtime_id(id);
        all.iter().find(|c| c.config.id == wanted).map_or(Signal::SIGTERM as i32, |c| stop_signal(&c.config))
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

    /// Resolves when the runtime says that the run has ended.
    async fn ended(&self, id: &ContainerId) {
        let mut records = self.handle.records();
        let ended = |all: &Vec<Record>| !all.iter().any(|r| r.id == *id && r.is_alive());
        // The sender lives as long as the handle: this cannot fail while we are borrowed.
        let _ = records.wait_for(ended).await;
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

/// When a container is killed; it may come nearer.
struct Deadline(watch::Receiver<Instant>);

impl Deadline {
    /// Resolves when it has passed, and `least` too.
    async fn passed(&mut self, least: Instant) {
        loop {
            let at = (*self.0.borrow_and_update()).max(least);
            tokio::select! {
                () = tokio::time::sleep_until(at) => return,
                changed = self.0.changed() => if changed.is_err() {
                    return tokio::time::sleep_until(at).await;
                }
            }
        }
    }
}

fn seconds(grace: i64) -> Duration {
    Duration::from_secs(u64::try_from(grace).unwrap_or(0))
}

/// The number of the signal that asks a container to end: its image's, SIGTERM when that names none.
pub fn stop_signal(config: &ContainerConfig) -> i32 {
    let named = config.annotations.get(kept::STOP_SIGNAL);
    named.and_then(|name| parse_signal(name)).unwrap_or(Signal::SIGTERM as i32)
}

/// How long the containers of a sandbox may take to end when they are asked to, without a pod that says
/// otherwise.
pub fn termination_grace_period(config: &SandboxConfig) -> Duration {
    let told = config.annotations.get(kept::GRACE_SECONDS).and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(told.unwrap_or(DEFAULT_GRACE_SECONDS))
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
