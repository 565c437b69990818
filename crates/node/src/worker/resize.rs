//! Gives running containers other resources, within what the node has (`pkg/kubelet/allocation`).

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use planner::EventType;
use planner::pod_actions::{ContainerId, Record, is_resizing};
use planner::scheduler::ResizeRefusal;
use serde_json::json;

use super::actions::{RETRY, after};
use super::{Refusal, Worker, lock};
use crate::container_config::{kept, runtime_id};
use crate::records::find;
use crate::resources;

/// Upstream's events.
const STARTED: &str = "ResizeStarted";
const COMPLETED: &str = "ResizeCompleted";
const FAILED: &str = "ResizeError";

impl Worker {
    /// Why the pod does not get now what its spec asks for, when it has something else. Tells people when that is
    /// news.
    pub(super) fn judge_resize(&self, pod: &Pod, records: &[Record]) -> Option<ResizeRefusal> {
        if !is_resizing(pod, records) || self.is_going(pod) {
            lock(&self.state).resize_refused = None;
            return None;
        }
        let node = self.host.informers.world().nodes.get("", &self.host.config.name).cloned();
        let refusal = self.host.admission.decide_on_resize(&self.handle, node.as_deref()).err();
        let before = std::mem::replace(&mut lock(&self.state).resize_refused, refusal.clone());
        if let Some(refusal) = refusal.as_ref().filter(|refusal| Some(*refusal) != before.as_ref()) {
            let reason = format!("Resize{}", refusal.reason);
            self.host.event(pod, EventType::Warning, &reason, &refusal.message);
        }
        refusal
    }

    /// The container as the next run of it is to be: with the resources that it had, while the node does not give it
    /// others.
    pub(super) fn as_allocated<'a>(&self, container: Cow<'a, Container>) -> Cow<'a, Container> {
        if lock(&self.state).resize_refused.is_none() {
            return container;
        }
        let records = self.handle.records.borrow();
        let runs = records.iter().filter(|record| record.id.name == container.name);
        match runs.max_by_key(|record| record.id.attempt) {
            Some(last) => {
                let resources = Some(last.resources.clone());
                Cow::Owned(Container { resources, ..container.into_owned() })
            }
            None => container,
        }
    }

    /// Changes the cgroups of a run and of its pod. What the kernel refuses is told and tried again.
    pub(super) async fn resize(self: &Arc<Self>, id: &ContainerId) {
        let pod = self.handle.pod();
        let Some(container) = find(&pod, &id.name) else { return };
        let outcome = self.change_resources(&pod, &container, id).await;
        match outcome {
            Ok(()) => {
                lock(&self.state).resize_errors.remove(&id.name);
                self.host.event(&pod, EventType::Normal, COMPLETED, &sentence("completed", &pod, &container));
                // Others may have what this one has let go of.
                self.host.admission.wake();
            }
            Err(why) => {
                let mut state = lock(&self.state);
                let refusal = Refusal { why: why.clone(), retry_at: after(RETRY) };
                let before = state.resize_errors.insert(id.name.clone(), refusal);
                drop(state);
                if before.is_none_or(|before| before.why != why) {
                    self.host.event(&pod, EventType::Warning, FAILED, &why);
                }
            }
        }
        self.handle.runtime_changed();
    }

    async fn change_resources(
        &self,
        pod: &Pod,
        container: &Container,
        id: &ContainerId,
    ) -> Result<(), String> {
        self.host.event(pod, EventType::Normal, STARTED, &sentence("started", pod, container));
        let (runtime, sandbox) = (&self.host.runtime, &self.handle.uid);
        // The pod's own limits hold for the sum of its containers: they grow first and shrink last.
        let (before, after) = (resources::pod_resources(&self.as_held(pod)), resources::pod_resources(pod));
        let between = resources::larger(&before, &after);
        runtime.update_pod_sandbox_resources(sandbox, between).await.map_err(|e| e.to_string())?;
        let limits = resources::container_resources(pod, container, self.host.memory);
        let annotations = [(kept::RESOURCES.to_owned(), kept::resources(container))].into();
        let done = runtime.update_container_resources(sandbox, &runtime_id(id), limits, annotations).await;
        done.map_err(|e| e.to_string())?;
        runtime.update_pod_sandbox_resources(sandbox, after).await.map_err(|e| e.to_string())
    }

    /// The pod with the resources that its containers have.
    fn as_held(&self, pod: &Pod) -> Pod {
        let records = self.handle.records.borrow();
        let held = |name: &str| -> Option<ResourceRequirements> {
            let runs = records.iter().filter(|record| record.id.name == name);
            runs.max_by_key(|record| record.id.attempt).map(|record| record.resources.clone())
        };
        let mut pod = pod.clone();
        let spec = pod.spec.iter_mut();
        for container in spec.flat_map(|s| s.init_containers.iter_mut().flatten().chain(&mut s.containers)) {
            container.resources = held(&container.name).or(container.resources.take());
        }
        pod
    }
}

/// What upstream's events say (`PodResizeStartedMsg`).
fn sentence(what: &str, pod: &Pod, container: &Container) -> String {
    let told = json!({
        "containers": [{"name": container.name, "resources": container.resources}],
        "generation": pod.metadata.generation,
    });
    format!("Pod resize {what}: {told}")
}
