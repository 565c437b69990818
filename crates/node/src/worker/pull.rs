//! Which images must be fetched, and fetching them (`pkg/kubelet/images/image_manager.go`).

use std::sync::Arc;
use std::time::Instant;

use images::{Auth, Image, PullError, PullOptions, Reference};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, Pod};
use planner::EventType;
use planner::pod_actions::{ImageState, Record};

use super::actions::after;
use super::{State, Worker, lock};
use crate::host::now;
use crate::pull_secrets;
use crate::records::{all_containers, find};

/// The first pause after a failed pull; it doubles up to [`LONGEST_PAUSE`] (upstream's image back-off).
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

impl Worker {
    /// Settles what the image of each container to be started needs, where that is not settled yet. Every
    /// start has its own answer.
    pub(super) fn choose_images(&self, pod: &Pod, records: &[Record], state: &mut State) {
        for container in all_containers(pod) {
            let name = &container.name;
            if records.iter().any(|r| r.id.name == *name && r.is_alive()) {
                state.images.remove(name);
                continue;
            }
            let chosen = match state.images.get(name) {
                Some(ImageState::Present | ImageState::Needed) => continue,
                None => self.choose(&container),
                // It may have been imported, or pulled for another pod, meanwhile.
                Some(held @ (ImageState::Pulling | ImageState::Failed { .. }))
                    if self.choose(&container) == ImageState::Present =>
                {
                    if *held == ImageState::Pulling {
                        state.pulled.insert(name.clone());
                    }
                    ImageState::Present
                }
                Some(ImageState::Failed { retry_at: Some(at), .. }) if now() >= *at => ImageState::Needed,
                Some(_) => continue,
            };
            state.images.insert(name.clone(), chosen);
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
        lock(&self.state).images.insert(container.to_owned(), ImageState::Pulling);
        let (this, container) = (Arc::clone(self), container.to_owned());
        self.host.work.spawn_until_stop(async move {
            let outcome = this.fetch(&container).await;
            let mut state = lock(&this.state);
            // It may have been seen, or have come another way, meanwhile.
            if state.images.get(&container) == Some(&ImageState::Pulling) {
                if outcome == ImageState::Present {
                    state.pulled.insert(container.clone());
                }
                state.images.insert(container, outcome);
            }
            drop(state);
            this.handle.wake();
        });
    }

    async fn fetch(&self, container: &str) -> ImageState {
        let pod = self.handle.pod();
        let name = find(&pod, container).and_then(|c| c.image.clone()).unwrap_or_default();
        self.host.event(&pod, EventType::Normal, "Pulling", &format!("Pulling image \"{name}\""));
        let begun = Instant::now();
        match self.fetch_by(&name, self.credentials(&pod, &name)).await {
            Ok(image) => {
                let seconds = begun.elapsed().as_secs_f64();
                let message = format!(
                    "Successfully pulled image \"{name}\" in {seconds:.3}s. Image size: {} bytes.",
                    image.size
                );
                self.host.event(&pod, EventType::Normal, "Pulled", &message);
                lock(&self.state).failed_pulls.remove(container);
                ImageState::Present
            }
            Err(error) => {
                let message = format!("Failed to pull image \"{name}\": {error}");
                self.host.event(&pod, EventType::Warning, "Failed", &message);
                self.failed_pull(container, &name, &error, message)
            }
        }
    }

    /// Asks with one of the credentials after the other, or as nobody when there are none.
    async fn fetch_by(&self, name: &str, credentials: Vec<Auth>) -> Result<Image, PullError> {
        let mirrors = self.host.config.mirrors.clone();
        let mut options = PullOptions { mirrors, auth: Auth::Anonymous };
        let mut left = credentials.into_iter();
        options.auth = left.next().unwrap_or_default();
        loop {
            let refused = match self.host.images.pull(name, &options, |_| {}).await {
                Ok(image) => return Ok(image),
                Err(refused) => refused,
            };
            match left.next() {
                Some(auth) => options.auth = auth,
                None => return Err(refused),
            }
        }
    }

    /// The credentials of the pod for an image. What it names and is not there is told: it may do without.
    fn credentials(&self, pod: &Pod, name: &str) -> Vec<Auth> {
        let Ok(image) = Reference::parse(name) else { return Vec::new() };
        let world = self.host.informers.world();
        let find = |secret: &&str| world.secrets.get(&self.handle.key.namespace, secret).is_some();
        let (there, missing): (Vec<&str>, Vec<&str>) = pull_secrets::names(pod).partition(find);
        let there = there.iter().filter_map(|secret| world.secrets.get(&self.handle.key.namespace, secret));
        let found = pull_secrets::credentials(there.map(|secret| &**secret), &image);
        drop(world);
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            self.host.event(pod, EventType::Warning, "FailedToRetrieveImagePullSecret", &message);
        }
        found
    }

    fn failed_pull(&self, container: &str, name: &str, error: &PullError, message: String) -> ImageState {
        let mut state = lock(&self.state);
        let tries = state.failed_pulls.entry(container.to_owned()).or_default();
        let pause = FIRST_PAUSE.saturating_mul(1 << (*tries).min(10)).min(LONGEST_PAUSE);
        *tries += 1;
        // The first failure is told as such; after that the back-off is the news.
        let (reason, message, retry_at) = match (error, *tries) {
            (PullError::InvalidName(_), _) => (error.reason(), message, None),
            (_, 1) => (error.reason(), message, Some(after(pause))),
            _ => (
                "ImagePullBackOff",
                format!("Back-off pulling image \"{name}\": {message}"),
                Some(after(pause)),
            ),
        };
        ImageState::Failed { reason: reason.to_owned(), message, retry_at }
    }

    /// Tells that an image was there, unless it was pulled for this very start.
    pub(super) fn tell_image(&self, pod: &Pod, container: &Container) {
        if !lock(&self.state).pulled.remove(&container.name) {
            let name = container.image.as_deref().unwrap_or_default();
            let message = format!("Container image \"{name}\" already present on machine");
            self.host.event(pod, EventType::Normal, "Pulled", &message);
        }
    }
}
