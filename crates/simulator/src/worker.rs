//! One task for each pod of a kubelet: look, plan, write the status, act, wait.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use planner::pod_actions::{
    ContainerId, ImageState, PodAction, PodPlan, ProbeState, Record, Sandbox, Snapshot, Volumes, plan,
    resizable,
};
use planner::world::object_ref;
use planner::{Action, Key};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::kubelet::Kubelet;
use crate::machine::{Script, Sight};
use crate::sim::lock;

/// The address of every node.
const HOST_IP: &str = "192.0.2.1";
/// The first pause after a failed step; it doubles up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// The first pause after a failed pull; it doubles up to five minutes.
const FIRST_PULL_PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// One pod of a kubelet.
pub(crate) struct Worker {
    pub(crate) uid: String,
    pub(crate) key: Key,
    /// Grows from one worker to the next.
    pub(crate) number: u64,
    wake: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The pod as it was last seen.
    pod: Arc<Pod>,
    volumes: Option<Volumes>,
    images: BTreeMap<String, Image>,
    /// Runs that are being stopped, and when they are killed.
    killing: BTreeMap<ContainerId, Timestamp>,
}

/// An image that is not here yet.
#[derive(Clone, Copy)]
struct Image {
    tries: u32,
    /// Being pulled until then; then it is here or failed.
    pulling_until: Option<Timestamp>,
    /// To be tried again then.
    retry_at: Option<Timestamp>,
}

/// Looks after a pod until it is gone.
pub(crate) async fn run(kubelet: &Kubelet, worker: &Worker) {
    let mut failures = 0_u32;
    loop {
        let pause = match worker.step(kubelet).await {
            Ok(Some(pause)) => {
                failures = 0;
                pause
            }
            Ok(None) => return,
            Err(()) => {
                let pause = FIRST_RETRY.saturating_mul(1 << failures.min(10)).min(LONGEST_RETRY);
                failures += 1;
                pause
            }
        };
        // Waking early is as good: the loop looks at everything again.
        let _ = timeout(pause, worker.wake.notified()).await;
    }
}

impl Worker {
    pub(crate) fn new(uid: &str, key: &Key, number: u64) -> Self {
        let (uid, key) = (uid.to_owned(), key.clone());
        Self { uid, key, number, wake: Notify::new(), state: Mutex::default() }
    }

    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// A claim or a volume is what the pod may wait for.
    pub(crate) fn storage_changed(&self) {
        let mut state = lock(&self.state);
        if matches!(state.volumes, Some(Volumes::Waiting { .. })) {
            state.volumes = None;
            self.wake.notify_one();
        }
    }

    /// The pod, and whether the API has it no more.
    fn pod(&self, kubelet: &Kubelet) -> (Arc<Pod>, bool) {
        let world = kubelet.informers.world();
        let held = world.pods.get(&self.key.namespace, &self.key.name);
        let mut state = lock(&self.state);
        if let Some(pod) = held.filter(|pod| pod.metadata.uid.as_deref() == Some(&self.uid)) {
            state.pod = Arc::clone(pod);
            return (Arc::clone(pod), false);
        }
        if state.pod.metadata.uid.is_none() {
            // It was gone before this kubelet began: only its sandbox tells of it.
            let pod = json!({"metadata": {"name": self.key.name, "namespace": self.key.namespace,
                "uid": self.uid}, "spec": {"containers": []}});
            state.pod = Arc::new(serde_json::from_value(pod).unwrap_or_default());
        }
        (Arc::clone(&state.pod), true)
    }

    /// Looks, plans and acts once. `None` when the pod is gone for good; else how long to wait at the most.
    async fn step(&self, kubelet: &Kubelet) -> Result<Option<Duration>, ()> {
        let (pod, removed) = self.pod(kubelet);
        self.kill_what_is_due(kubelet);
        let now = kubelet.sim.now();
        if !removed && kubelet.sim.machines().thrown_out.contains(&self.uid) {
            return self.throw_out(kubelet, &pod).await;
        }
        let sight = kubelet.sim.machines().look(&self.uid, now);
        let plan = plan(&self.snapshot(kubelet, &pod, removed, &sight, now), now);
        if !removed && pod.status.as_ref() != Some(&plan.status) {
            let written = self.write_status(kubelet, &pod, &plan.status).await;
            if written.is_err() && pod.metadata.deletion_timestamp.is_none() {
                return Err(());
            }
        }
        for action in &plan.actions {
            if *action == PodAction::Finish {
                return self.finish(kubelet, &pod, removed).await;
            }
            self.carry_out(kubelet, &pod, action).await?;
        }
        if !plan.actions.is_empty() {
            self.wake.notify_one();
        }
        Ok(Some(self.pause(kubelet, &plan, &sight)))
    }

    fn pause(&self, kubelet: &Kubelet, plan: &PodPlan, sight: &Sight) -> Duration {
        let now = kubelet.sim.now();
        let state = lock(&self.state);
        let pulls = state.images.values().filter_map(|image| image.pulling_until.or(image.retry_at));
        let times = pulls.chain(state.killing.values().copied()).chain(sight.next_change);
        let pauses = times.filter_map(|at| Duration::try_from(at.duration_since(now)).ok());
        let planned = plan.requeue_after.map(SignedDuration::unsigned_abs);
        let pause = pauses.chain(planned).min().unwrap_or(Duration::from_secs(3600));
        pause.max(Duration::from_millis(1))
    }

    fn kill_what_is_due(&self, kubelet: &Kubelet) {
        let now = kubelet.sim.now();
        let mut state = lock(&self.state);
        let mut machines = kubelet.sim.machines();
        for (id, _) in state.killing.iter().filter(|(_, deadline)| now >= **deadline) {
            machines.kill(&self.uid, id, now);
        }
        let alive = machines.look(&self.uid, now);
        state
            .killing
            .retain(|id, _| alive.records.iter().any(|record| record.id == *id && record.is_alive()));
    }

    fn snapshot<'a>(
        &self,
        kubelet: &Kubelet,
        pod: &'a Pod,
        removed: bool,
        sight: &Sight,
        now: Timestamp,
    ) -> Snapshot<'a> {
        let predecessor_running = kubelet.has_predecessor(self);
        let mut state = lock(&self.state);
        let probes = sight.ready.iter().map(|(name, ready)| {
            (name.clone(), ProbeState { started: true, ready: *ready, ..ProbeState::default() })
        });
        let images = containers(pod).map(|c| (c.name.clone(), state.image(kubelet, c, now))).collect();
        Snapshot {
            pod,
            removed,
            predecessor_running,
            host_ip: HOST_IP,
            sandbox: match &sight.sandbox {
                None => Sandbox::Absent,
                Some(None) => Sandbox::Dead,
                Some(Some(ip)) => Sandbox::Alive { ip: ip.clone() },
            },
            volumes: state.volumes.clone().unwrap_or(Volumes::Absent),
            records: with_resources(pod, &sight.records),
            killing: state.killing.keys().cloned().collect(),
            images,
            config_errors: BTreeMap::new(),
            config_retries: std::collections::BTreeSet::new(),
            probes: probes.collect(),
            resize_refused: None,
            resize_errors: BTreeMap::new(),
            resize_retries: std::collections::BTreeSet::new(),
        }
    }

    async fn write_status(&self, kubelet: &Kubelet, pod: &Pod, status: &PodStatus) -> Result<(), ()> {
        let meta = json!({"uid": self.uid, "resourceVersion": pod.metadata.resource_version});
        let patch = json!({"metadata": meta, "status": status});
        kubelet.executor.patch_status(&object_ref(pod), &patch).await.map_err(drop)
    }

    /// The node has no room for the pod any more (`pkg/kubelet/eviction`): its processes end, then it has Failed.
    async fn throw_out(&self, kubelet: &Kubelet, pod: &Pod) -> Result<Option<Duration>, ()> {
        let mut status = pod.status.clone().unwrap_or_default();
        if !matches!(status.phase.as_deref(), Some("Failed" | "Succeeded")) {
            let now = kubelet.sim.now();
            kubelet.sim.machines().stop_sandbox(&self.uid, now);
            status.phase = Some("Failed".to_owned());
            status.reason = Some("Evicted".to_owned());
            self.write_status(kubelet, pod, &status).await?;
        }
        kubelet.sim.machines().thrown_out.remove(&self.uid);
        Ok(Some(Duration::ZERO))
    }

    async fn finish(&self, kubelet: &Kubelet, pod: &Pod, removed: bool) -> Result<Option<Duration>, ()> {
        if removed {
            return Ok(None);
        }
        let target = object_ref(pod);
        let delete = Action::Delete { target, resource_version: None, grace_period: Some(0) };
        match kubelet.executor.act(&delete).await {
            // A conflict does not say that it is gone.
            Err(error) if !error.is_not_found() => Err(()),
            _ => Ok(None),
        }
    }

    async fn carry_out(&self, kubelet: &Kubelet, pod: &Pod, action: &PodAction) -> Result<(), ()> {
        let sim = &kubelet.sim;
        // What a machine does takes a moment, too.
        sleep(sim.dice.millis(0, 20)).await;
        let now = sim.now();
        match action {
            PodAction::PrepareVolumes => self.prepare_volumes(kubelet, pod),
            PodAction::RunSandbox => sim.machines().run_sandbox(&self.uid, &self.key, &kubelet.node),
            PodAction::PullImage { container } => lock(&self.state).begin_pull(kubelet, container, now),
            PodAction::StartContainer { id, backoff_step } => {
                let script = script(kubelet, pod, id);
                let started = sim.machines().start(&self.uid, id, *backoff_step, script, now);
                started.unwrap_or_else(|wrong| sim.fail(wrong));
            }
            PodAction::KillContainer { id, grace, .. } => {
                lock(&self.state).killing.insert(id.clone(), now + SignedDuration::from_secs(*grace));
                sim.machines().terminate(&self.uid, id, now);
            }
            // There are no cgroups here: a run has what its spec asks for.
            PodAction::ResizeContainer { .. } => {}
            PodAction::RemoveContainer { id } => sim.machines().remove_run(&self.uid, id),
            PodAction::StopSandbox => sim.machines().stop_sandbox(&self.uid, now),
            PodAction::RemoveSandbox => sim.machines().remove_sandbox(&self.uid),
            PodAction::TeardownVolumes => {
                sim.machines().mount(&self.uid, Vec::new());
                lock(&self.state).volumes = None;
            }
            PodAction::Finish => {}
        }
        Ok(())
    }

    /// Mounts what is bound; waits for the rest.
    fn prepare_volumes(&self, kubelet: &Kubelet, pod: &Pod) {
        let world = kubelet.informers.world();
        let spec = pod.spec.as_ref();
        let claims = spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let claims = claims.filter_map(|volume| volume.persistent_volume_claim.as_ref());
        let volumes: Option<Vec<String>> = claims
            .map(|claim| {
                let claim = world.claims.get(&self.key.namespace, &claim.claim_name)?;
                let is_bound = claim.status.as_ref()?.phase.as_deref() == Some("Bound");
                let volume = claim.spec.as_ref()?.volume_name.clone()?;
                (is_bound && world.volumes.get("", &volume).is_some()).then_some(volume)
            })
            .collect();
        drop(world);
        lock(&self.state).volumes = Some(match volumes {
            Some(volumes) => {
                kubelet.sim.machines().mount(&self.uid, volumes);
                Volumes::Ready
            }
            None => {
                Volumes::Waiting { reason: "FailedMount".to_owned(), message: "a claim waits".to_owned() }
            }
        });
    }
}

impl State {
    fn begin_pull(&mut self, kubelet: &Kubelet, container: &str, now: Timestamp) {
        let pause = SignedDuration::try_from(kubelet.sim.dice.millis(10, 3_000)).unwrap_or_default();
        let image = self.images.entry(container.to_owned());
        let image = image.or_insert(Image { tries: 0, pulling_until: None, retry_at: None });
        image.pulling_until = Some(now + pause);
    }

    /// How it stands with a container's image. An image whose name begins with `missing` cannot be had.
    fn image(&mut self, kubelet: &Kubelet, container: &Container, now: Timestamp) -> ImageState {
        let name = container.image.as_deref().unwrap_or_default();
        let mut machines = kubelet.sim.machines();
        if machines.has_image(&kubelet.node, name) {
            return ImageState::Present;
        }
        let Some(image) = self.images.get_mut(&container.name) else { return ImageState::Needed };
        if image.pulling_until.is_some_and(|until| now < until) {
            return ImageState::Pulling;
        }
        if image.pulling_until.take().is_some() {
            if !name.starts_with("missing") {
                machines.take_image(&kubelet.node, name);
                return ImageState::Present;
            }
            let pause = FIRST_PULL_PAUSE * (1 << image.tries.min(5));
            image.tries += 1;
            image.retry_at = Some(now + pause);
        }
        match image.retry_at {
            Some(at) if now < at => {
                let reason = if image.tries > 1 { "ImagePullBackOff" } else { "ErrImagePull" };
                let message = format!("Failed to pull image \"{name}\": not found");
                ImageState::Failed { reason: reason.to_owned(), message, retry_at: Some(at) }
            }
            _ => {
                image.retry_at = None;
                ImageState::Needed
            }
        }
    }
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
}

/// What a run does, by its image: one whose name begins with `crashing` ends soon.
fn script(kubelet: &Kubelet, pod: &Pod, id: &ContainerId) -> Script {
    let dice = &kubelet.sim.dice;
    let container = containers(pod).find(|container| container.name == id.name);
    let is_probed = container.is_some_and(|container| container.readiness_probe.is_some());
    let image = container.and_then(|container| container.image.as_deref()).unwrap_or_default();
    Script {
        ready_after: if is_probed { dice.millis(0, 20_000) } else { Duration::ZERO },
        fails_after: image.starts_with("crashing").then(|| dice.millis(100, 5_000)),
        stops_after: (!dice.hits(50)).then(|| dice.millis(0, 10_000)),
    }
}

/// The runs, with the resources that the pod's spec asks for.
fn with_resources(pod: &Pod, records: &[Record]) -> Vec<Record> {
    let asked = |name: &str| {
        let container = resizable(pod).find(|container| container.name == name);
        container.and_then(|container| container.resources.clone()).unwrap_or_default()
    };
    records.iter().map(|record| Record { resources: asked(&record.id.name), ..record.clone() }).collect()
}
