//! Whether the node takes the pod: asked once, before anything is done for it.

use k8s_openapi::api::core::v1::Pod;
use planner::EventType;

use super::{Worker, lock};
use crate::admission::Verdict;
use crate::host::now;

impl Worker {
    /// What the node says to the pod. One that is going, has ended or has to wait for a former pod of its name
    /// is not asked about: nothing of it is begun.
    pub(super) fn admit(&self, pod: &Pod) -> Verdict {
        let is_over = self.handle.is_over();
        if is_over {
            self.host.admission.release(&self.handle.uid);
        }
        if self.is_going(pod) || is_over || self.handle.has_predecessor() {
            return Verdict::Taken;
        }
        if let Some(verdict) = lock(&self.state).verdict.clone() {
            return verdict;
        }
        let node = self.host.informers.world().nodes.get("", &self.host.config.name).cloned();
        let verdict = self.host.admission.decide(&self.handle, node.as_deref(), now());
        if let Verdict::Refused(rejection) = &verdict {
            self.host.event(pod, EventType::Warning, &rejection.reason, &rejection.message);
        }
        if !matches!(verdict, Verdict::Later(_)) {
            lock(&self.state).verdict = Some(verdict.clone());
        }
        verdict
    }
}
