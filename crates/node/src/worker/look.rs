//! What the worker sees: the runtime's records, the sandbox, and the snapshot that is planned from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use k8s_openapi::api::core::v1::Pod;
use planner::pod_actions::{ContainerId, ProbeState, Record, Sandbox, Snapshot};

use super::{State, Surround, Worker, lock};
use crate::host::now;
use crate::records;

impl Worker {
    /// Takes over a sandbox that was there before: after a restart of stead, or of the machine.
    pub(super) async fn recover(&self, pid: Option<u32>) {
        let sandbox = match pid {
            None => Surround::Dead,
            // stead may have been killed before it was complete.
            Some(pid) => match self.complete_sandbox(pid).await {
                Ok(ip) => Surround::Alive { ip },
                Err(error) => self.unattached(&error),
            },
        };
        lock(&self.state).sandbox = sandbox;
    }

    /// A living sandbox whose link could not be looked at keeps the address that it was told to have: what
    /// runs in it is not ended for that. One that never had an address has no containers yet.
    fn unattached(&self, error: &str) -> Surround {
        tracing::warn!(pod = %self.handle.key.name, "{error}");
        let pod = self.handle.pod();
        let told = pod.status.as_ref().and_then(|s| s.pod_ip.as_ref()?.parse().ok());
        told.map_or(Surround::Dead, |ip| Surround::Alive { ip })
    }

    /// Asks the runtime for the runs, where something has changed.
    pub(super) async fn refresh_records(&self) -> Result<(), String> {
        if !self.handle.stale_records.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let read = self.read_records().await;
        if read.is_err() {
            self.handle.stale_records.store(true, Ordering::Release);
        }
        read
    }

    async fn read_records(&self) -> Result<(), String> {
        let alive = matches!(lock(&self.state).sandbox, Surround::Alive { .. });
        if alive && !self.is_sandbox_alive().await? {
            // Its holder died under a pod that should live.
            lock(&self.state).sandbox = Surround::Dead;
        }
        let pod = self.handle.pod();
        let known = match self.host.runtime.containers(&self.handle.uid).await {
            Ok(known) => known,
            Err(runtime::Error::NotFound { .. }) => Vec::new(),
            Err(error) => return Err(format!("containers: {error}")),
        };
        let mut all: Vec<Record> = known.iter().filter_map(|status| records::record(&pod, status)).collect();
        let mut state = lock(&self.state);
        all.extend(state.unstarted.values().cloned());
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let alive: BTreeSet<&ContainerId> = all.iter().filter(|r| r.is_alive()).map(|r| &r.id).collect();
        state.killing.retain(|id, _| alive.contains(id));
        state.post_start.retain(|id| alive.contains(id));
        state.probers.retain(|id, _| alive.contains(id));
        drop(state);
        self.handle.records.send_if_modified(|held| {
            let changed = *held != all;
            *held = all;
            changed
        });
        Ok(())
    }

    /// Whether the sandbox has a holder.
    pub(super) async fn is_sandbox_alive(&self) -> Result<bool, String> {
        let all = self.host.runtime.list_pod_sandboxes().await.map_err(|e| format!("sandboxes: {e}"))?;
        Ok(all.iter().any(|s| s.config.id == self.handle.uid && s.pid.is_some()))
    }

    /// Whether the runtime knows of a sandbox, alive or dead.
    pub(super) async fn is_sandbox_there(&self) -> Result<bool, String> {
        let all = self.host.runtime.list_pod_sandboxes().await.map_err(|e| format!("sandboxes: {e}"))?;
        Ok(all.iter().any(|s| s.config.id == self.handle.uid))
    }

    pub(super) fn snapshot<'a>(&'a self, pod: &'a Pod) -> Snapshot<'a> {
        let records = self.handle.records.borrow().clone();
        let resize_refused = self.judge_resize(pod, &records);
        let mut state = lock(&self.state);
        let config_errors = self.config_errors(pod, &records, &state);
        let is_due = |(name, why): &(&String, &String)| {
            state.refused.get(*name).is_some_and(|r| r.why == **why && now() >= r.retry_at)
        };
        let config_retries = config_errors.iter().filter(is_due).map(|(name, _)| name.clone()).collect();
        self.choose_images(pod, &records, &mut state);
        let probes: BTreeMap<String, ProbeState> =
            state.probers.iter().map(|(id, prober)| (id.name.clone(), prober.state())).collect();
        let removed = self.handle.is_removed();
        let going = removed || pod.metadata.deletion_timestamp.is_some();
        let sandbox = match &state.sandbox {
            Surround::Absent => Sandbox::Absent,
            // What there may be of it is cleared away.
            Surround::Failed { .. } if going => Sandbox::Dead,
            Surround::Failed { retry_at, .. } if now() >= *retry_at => Sandbox::Absent,
            Surround::Failed { error, .. } => Sandbox::Starting { error: Some(error.clone()) },
            Surround::Alive { ip } => Sandbox::Alive { ip: ip.to_string() },
            Surround::Dead => Sandbox::Dead,
        };
        Snapshot {
            pod,
            removed,
            predecessor_running: self.handle.has_predecessor(),
            host_ip: &self.host.host_ip,
            sandbox,
            volumes: state.volumes.clone(),
            records,
            killing: state.killing.keys().cloned().collect(),
            images: state.images.clone(),
            config_errors,
            config_retries,
            probes,
            resize_refused,
            resize_errors: resize_errors(&state),
            resize_retries: resize_retries(&state),
        }
    }

    /// What is wrong with the configuration of containers that are yet to be started.
    fn config_errors(&self, pod: &Pod, records: &[Record], state: &State) -> BTreeMap<String, String> {
        let around = self.host.surroundings("0.0.0.0");
        let world = self.host.informers.world();
        let containers = records::all_containers(pod);
        containers
            .iter()
            .filter(|c| !records.iter().any(|r| r.id.name == c.name && r.is_alive()))
            .filter_map(|c| {
                let refused = || state.refused.get(&c.name).map(|refusal| refusal.why.clone());
                let error = crate::env::environment(pod, c, &world, around).err();
                Some((c.name.clone(), error.map(|e| e.to_string()).or_else(refused)?))
            })
            .collect()
    }
}

fn resize_errors(state: &State) -> BTreeMap<String, String> {
    state.resize_errors.iter().map(|(name, refusal)| (name.clone(), refusal.why.clone())).collect()
}

fn resize_retries(state: &State) -> BTreeSet<String> {
    let due = state.resize_errors.iter().filter(|(_, refusal)| now() >= refusal.retry_at);
    due.map(|(name, _)| name.clone()).collect()
}
