//! Tells people what keeps a container from running, when that is news
//! (`pkg/kubelet/kuberuntime` `doBackOff`, `pkg/kubelet/images`).

use k8s_openapi::api::core::v1::{ContainerStateWaiting, ContainerStatus, Pod, PodStatus};
use planner::EventType::{Normal, Warning};

use super::Worker;

impl Worker {
    /// Compares what is about to be told with what the API was told before: the difference is news, also
    /// after a restart of stead.
    pub(super) fn tell_obstacles(&self, pod: &Pod, status: &PodStatus) {
        let told = pod.status.as_ref();
        for container in statuses(status) {
            let Some(waiting) = waiting_of(container) else { continue };
            let before = told.and_then(|t| statuses(t).find(|c| c.name == container.name));
            let same_run = before.filter(|b| b.restart_count == container.restart_count);
            if same_run.and_then(waiting_of) != Some(waiting) {
                self.tell_obstacle(pod, container, waiting);
            }
        }
    }

    fn tell_obstacle(&self, pod: &Pod, container: &ContainerStatus, waiting: &ContainerStateWaiting) {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = waiting.message.as_deref().unwrap_or_default();
        let (name, key) = (&container.name, &self.handle.key);
        let event = |kind, reason: &str, message: &str| self.host.event(pod, kind, reason, message);
        match reason {
            "CrashLoopBackOff" => {
                let (pod_name, namespace, uid) = (&key.name, &key.namespace, &self.handle.uid);
                let message = format!(
                    "Back-off restarting failed container {name} in pod {pod_name}_{namespace}({uid})"
                );
                event(Warning, "BackOff", &message);
            }
            "CreateContainerConfigError" => event(Warning, "Failed", &format!("Error: {message}")),
            "ImagePullBackOff" => {
                event(Normal, "BackOff", &format!("Back-off pulling image \"{}\"", container.image));
                event(Warning, "Failed", "Error: ImagePullBackOff");
            }
            "ErrImageNeverPull" => event(Warning, "ErrImageNeverPull", message),
            "ErrImagePull" | "InvalidImageName" => event(Warning, "Failed", &format!("Error: {reason}")),
            _ => {}
        }
    }
}

fn statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
}

fn waiting_of(status: &ContainerStatus) -> Option<&ContainerStateWaiting> {
    status.state.as_ref()?.waiting.as_ref()
}
