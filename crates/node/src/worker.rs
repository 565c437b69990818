//! One task for each pod: look, plan, write the status, act, wait for the next change.

mod actions;
mod kill;
mod pull;
mod start;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use planner::pod_actions::{
    ContainerId, ImageState, PodAction, PodPlan, ProbeState, Record, Sandbox, Snapshot, Volumes, plan,
};
use planner::world::object_ref;
use planner::{Action, Key};
use serde_json::json;
use tokio::sync::{Notify, watch};

use crate::env::Surroundings;
use crate::host::{Host, now};
use crate::probes::Prober;
use crate::{pod_volumes, records};

/// The first pause after a failed action; it doubles with each failure in a row.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest pause after a failed action.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// What others may ask of, and tell, a pod's worker.
pub(crate) struct Handle {
    pub(crate) uid: String,
    pub(crate) key: Key,
    pod: Mutex<Arc<Pod>>,
    removed: AtomicBool,
    predecessor: AtomicBool,
    stale_records: AtomicBool,
    stale_volumes: AtomicBool,
    wake: Arc<Notify>,
    /// The runs as last seen; readers wait for changes of it.
    records: watch::Sender<Vec<Record>>,
}

impl Handle {
    pub(crate) fn new(pod: Arc<Pod>) -> Arc<Self> {
        Arc::new(Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            key: Key::of(&pod.metadata),
            pod: Mutex::new(pod),
            removed: AtomicBool::new(false),
            predecessor: AtomicBool::new(false),
            stale_records: AtomicBool::new(true),
            stale_volumes: AtomicBool::new(false),
            wake: Arc::new(Notify::new()),
            records: watch::channel(Vec::new()).0,
        })
    }

    /// The pod as the API has it.
    pub(crate) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&lock(&self.pod))
    }

    /// The API has a newer version.
    pub(crate) fn update(&self, pod: Arc<Pod>) {
        *lock(&self.pod) = pod;
        self.wake.notify_one();
    }

    /// The API no longer has the pod.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether a former pod of the same name still has processes.
    pub(crate) fn set_predecessor(&self, present: bool) {
        self.predecessor.store(present, Ordering::Release);
        self.wake.notify_one();
    }

    /// The runtime says that something happened.
    pub(crate) fn runtime_changed(&self) {
        self.stale_records.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// An object that the pod may wait for or show (a Secret, a claim, …) has changed.
    pub(crate) fn dependency_changed(&self) {
        self.stale_volumes.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn wake(&self) {
        self.wake.notify_one();
    }

    /// The runs of the pod's containers, with changes.
    pub(crate) fn records(&self) -> watch::Receiver<Vec<Record>> {
        self.records.subscribe()
    }
}

/// The sandbox as the worker found or made it.
#[derive(Clone, Debug)]
enum Surround {
    Absent,
    Failed { error: String, retry_at: Timestamp, tries: u32 },
    Alive { ip: IpAddr },
    Dead,
}

/// What the worker knows besides the pod and the runtime's records. Background tasks write to it.
struct State {
    sandbox: Surround,
    volumes: Volumes,
    mounts: HashMap<String, PathBuf>,
    /// Runs that could not be started: the runtime has nothing to say of them.
    unstarted: BTreeMap<ContainerId, Record>,
    killing: BTreeSet<ContainerId>,
    images: BTreeMap<String, ImageState>,
    failed_pulls: BTreeMap<String, u32>,
    probers: HashMap<ContainerId, Prober>,
}

/// One pod on this node.
pub(crate) struct Worker {
    host: Arc<Host>,
    handle: Arc<Handle>,
    state: Mutex<State>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Runs a pod from its first sight to its end. `found` is the pid that holds its sandbox when the sandbox
/// was there already: `Some(None)` when the sandbox is dead.
pub(crate) async fn run(host: Arc<Host>, handle: Arc<Handle>, found: Option<Option<u32>>) {
    let state = State {
        sandbox: Surround::Absent,
        volumes: Volumes::Absent,
        mounts: HashMap::new(),
        unstarted: BTreeMap::new(),
        killing: BTreeSet::new(),
        images: BTreeMap::new(),
        failed_pulls: BTreeMap::new(),
        probers: HashMap::new(),
    };
    let worker = Arc::new(Worker { host, handle, state: Mutex::new(state) });
    if let Some(pid) = found {
        worker.recover(pid).await;
    }
    let mut failures = 0;
    loop {
        worker.refresh_records().await;
        worker.refresh_volumes().await;
        let plan = worker.plan();
        worker.write_status(&plan.status).await;
        let mut pause = plan.requeue_after.map(jiff::SignedDuration::unsigned_abs);
        match worker.act(&plan.actions).await {
            Ok(true) => return,
            Ok(false) => failures = 0,
            Err(error) => {
                failures += 1;
                let retry = FIRST_RETRY.saturating_mul(1 << (failures - 1_u32).min(10)).min(LONGEST_RETRY);
                tracing::warn!(pod = %worker.handle.key.name, "{error}");
                pause = Some(pause.map_or(retry, |held| held.min(retry)));
            }
        }
        worker.wait(pause).await;
    }
}

impl Worker {
    async fn wait(&self, pause: Option<Duration>) {
        let woken = self.handle.wake.notified();
        match pause {
            Some(pause) => {
                // Waking early or late is the same: the loop looks at everything again.
                let _ = tokio::time::timeout(pause, woken).await;
            }
            None => woken.await,
        }
    }

    /// Takes over a sandbox that was there before: after a restart of stead, or of the machine.
    async fn recover(&self, pid: Option<u32>) {
        let sandbox = match pid {
            None => Surround::Dead,
            Some(pid) => match self.attach(pid).await {
                Ok(ip) => Surround::Alive { ip },
                Err(error) => {
                    tracing::warn!(pod = %self.handle.key.name, "{error}");
                    Surround::Dead
                }
            },
        };
        lock(&self.state).sandbox = sandbox;
    }

    fn plan(&self) -> PodPlan {
        let pod = self.handle.pod();
        self.start_probers(&pod);
        let host_ip = self.host.config.host_ip.to_string();
        let snapshot = self.snapshot(&pod, &host_ip);
        plan(&snapshot, now())
    }

    fn snapshot<'a>(&self, pod: &'a Pod, host_ip: &'a str) -> Snapshot<'a> {
        let records = self.handle.records.borrow().clone();
        let config_errors = self.config_errors(pod, &records);
        let mut state = lock(&self.state);
        self.choose_images(pod, &mut state);
        let probes: BTreeMap<String, ProbeState> =
            state.probers.iter().map(|(id, prober)| (id.name.clone(), prober.state())).collect();
        let sandbox = match &state.sandbox {
            Surround::Absent => Sandbox::Absent,
            Surround::Failed { retry_at, .. } if now() >= *retry_at => Sandbox::Absent,
            Surround::Failed { error, .. } => Sandbox::Starting { error: Some(error.clone()) },
            Surround::Alive { ip } => Sandbox::Alive { ip: ip.to_string() },
            Surround::Dead => Sandbox::Dead,
        };
        Snapshot {
            pod,
            removed: self.handle.removed.load(Ordering::Acquire),
            predecessor_running: self.handle.predecessor.load(Ordering::Acquire),
            host_ip,
            sandbox,
            volumes: state.volumes.clone(),
            records,
            killing: state.killing.clone(),
            images: state.images.clone(),
            config_errors,
            probes,
        }
    }

    /// What is wrong with the configuration of containers that are yet to be started.
    fn config_errors(&self, pod: &Pod, records: &[Record]) -> BTreeMap<String, String> {
        let spec = pod.spec.as_ref();
        let containers = spec.iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
        let host_ip = self.host.config.host_ip.to_string();
        let around = Surroundings { pod_ip: "0.0.0.0", host_ip: &host_ip };
        let world = self.host.informers.world();
        containers
            .filter(|c| !records.iter().any(|r| r.id.name == c.name && r.is_alive()))
            .filter_map(|c| {
                let error = crate::env::environment(pod, c, &world, around).err()?;
                Some((c.name.clone(), error.to_string()))
            })
            .collect()
    }

    async fn refresh_records(&self) {
        if !self.handle.stale_records.swap(false, Ordering::AcqRel) {
            return;
        }
        self.check_sandbox().await;
        let pod = self.handle.pod();
        let known = match self.host.runtime.containers(&self.handle.uid).await {
            Ok(known) => known,
            Err(runtime::Error::NotFound { .. }) => Vec::new(),
            Err(error) => {
                tracing::warn!(pod = %self.handle.key.name, "containers: {error}");
                self.handle.stale_records.store(true, Ordering::Release);
                return;
            }
        };
        let mut all: Vec<Record> = known.iter().filter_map(|status| records::record(&pod, status)).collect();
        let mut state = lock(&self.state);
        all.extend(state.unstarted.values().cloned());
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let alive: BTreeSet<ContainerId> =
            all.iter().filter(|r| r.is_alive()).map(|r| r.id.clone()).collect();
        state.killing.retain(|id| alive.contains(id));
        state.probers.retain(|id, _| alive.contains(id));
        drop(state);
        self.handle.records.send_if_modified(|held| {
            let changed = *held != all;
            *held = all;
            changed
        });
    }

    /// Whether the sandbox's holder died under a pod that should live.
    async fn check_sandbox(&self) {
        if !matches!(lock(&self.state).sandbox, Surround::Alive { .. }) {
            return;
        }
        let Ok(sandboxes) = self.host.runtime.list_pod_sandboxes().await else { return };
        if !sandboxes.iter().any(|s| s.config.id == self.handle.uid && s.pid.is_some()) {
            lock(&self.state).sandbox = Surround::Dead;
        }
    }

    async fn write_status(&self, status: &PodStatus) {
        let pod = self.handle.pod();
        if self.handle.removed.load(Ordering::Acquire) || pod.status.as_ref() == Some(status) {
            return;
        }
        let patch = json!({"metadata": {"uid": self.handle.uid}, "status": status});
        if let Err(error) = self.host.executor.patch_status(&object_ref(&*pod), &patch).await
            && !error.is_stale()
        {
            tracing::warn!(pod = %self.handle.key.name, "{error}");
            self.handle.wake.notify_one();
        }
    }

    /// Carries out actions in order; answers whether the pod is finished.
    async fn act(self: &Arc<Self>, actions: &[PodAction]) -> Result<bool, String> {
        for action in actions {
            if *action == PodAction::Finish {
                return self.finish().await.map(|()| true);
            }
            self.carry_out(action).await?;
        }
        if !actions.is_empty() {
            // What was done shows at once; nobody else may wake us for it.
            self.handle.runtime_changed();
        }
        Ok(false)
    }

    /// Nothing of the pod runs or is mounted any more: forgets it here, then frees its name on the API.
    async fn finish(&self) -> Result<(), String> {
        pod_volumes::forget(&self.host, &self.handle.uid).await.map_err(|e| e.to_string())?;
        if self.handle.removed.load(Ordering::Acquire) {
            return Ok(());
        }
        let pod = self.handle.pod();
        let target = object_ref(&*pod);
        let delete = Action::Delete { target, resource_version: None, grace_period: Some(0) };
        match self.host.executor.act(&delete).await {
            Err(error) if !error.is_stale() => Err(error.to_string()),
            _ => Ok(()),
        }
    }
}
