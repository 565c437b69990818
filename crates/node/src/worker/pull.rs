//! Which images must be fetched, and fetching them (`pkg/kubelet/images/image_manager.go`).

use std::sync::Arc;

use images::PullOptions;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Pod};
use planner::EventType;
use planner::pod_actions::ImageState;

use super::{State, Worker, lock};
use crate::host::now;
use crate::records::find;

/// The first pause after a failed pull; it doubles up to [`LONGEST_PAUSE`] (upstream's image back-off).
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

impl Worker {
    /// Settles what each container's image needs, where that is not settled yet.
    pub(super) fn choose_images(&self, pod: &Pod, state: &mut State) {
        let spec = pod.spec.as_ref();
        let all = spec.iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
        for container in all {
            match state.images.get(&container.name) {
                None => {
                    let first = self.choose(container);
                    state.images.insert(container.name.clone(), first);
                }
                Some(ImageState::Failed { retry_at: Some(at), .. }) if now() >= *at => {
                    state.images.insert(container.name.clone(), ImageState::Needed);
                }
                Some(ImageState::Failed { retry_at: None, .. }) => {
                    // It may have been imported since.
                    let again = self.choose(container);
                    state.images.insert(container.name.clone(), again);
                }
                Some(_) => {}
            }
        }
    }

    fn choose(&self, container: &Container) -> ImageState {
        let name = container.image.as_deref().unwrap_or_default();
        let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        match (self.host.images.resolve(name), policy) {
            // An image that was imported by hand has no registry that could have a newer one.
            (Some(image), "Always") if image.imported => ImageState::Present,
            (_, "Always") => ImageState::Needed,
            (Some(_), _) => ImageState::Present,
            (None, "Never") => ImageState::Failed {
                reason: "ErrImageNeverPull".to_owned(),
                message: format!(
                    "Container image \"{name}\" is not present with pull policy of Never: \
                     import it (stead image import) or change imagePullPolicy"
                ),
                retry_at: None,
            },
            (None, _) => ImageState::Needed,
        }
    }

    /// Begins to fetch a container's image in the background.
    pub(super) fn pull(self: &Arc<Self>, container: &str) {
        let mut state = lock(&self.state);
        state.images.insert(container.to_owned(), ImageState::Pulling);
        drop(state);
        let (this, container) = (Arc::clone(self), container.to_owned());
        tokio::spawn(async move {
            let outcome = this.fetch(&container).await;
            lock(&this.state).images.insert(container, outcome);
            this.handle.wake();
        });
    }

    async fn fetch(&self, container: &str) -> ImageState {
        let pod = self.handle.pod();
        let name = find(&pod, container).and_then(|c| c.image.clone()).unwrap_or_default();
        self.host.event(&pod, EventType::Normal, "Pulling", &format!("Pulling image \"{name}\""));
        let options = PullOptions { mirrors: self.host.config.mirrors.clone(), ..PullOptions::default() };
        match self.host.images.pull(&name, &options, |_| {}).await {
            Ok(_) => {
                self.host.event(&pod, EventType::Normal, "Pulled", &format!("Pulled image \"{name}\""));
                ImageState::Present
            }
            Err(error) => {
                let message = format!("Failed to pull image \"{name}\": {error}");
                self.host.event(&pod, EventType::Warning, "Failed", &message);
                self.failed_pull(container, &name, &message)
            }
        }
    }

    fn failed_pull(&self, container: &str, name: &str, message: &str) -> ImageState {
        let mut state = lock(&self.state);
        let tries = state.failed_pulls.entry(container.to_owned()).or_default();
        let pause = FIRST_PAUSE.saturating_mul(1 << (*tries).min(10)).min(LONGEST_PAUSE);
        *tries += 1;
        // The first failure is told as such; after that the back-off is the news.
        let (reason, message) = match *tries {
            1 => ("ErrImagePull", message.to_owned()),
            _ => ("ImagePullBackOff", format!("Back-off pulling image \"{name}\": {message}")),
        };
        ImageState::Failed { reason: reason.to_owned(), message, retry_at: now().saturating_add(pause).ok() }
    }
}
