//! One task for each pod: look, plan, write the status, act, wait for the next change.

mod actions;
mod admit;
mod handle;
mod kill;
mod look;
mod obstacles;
mod pull;
mod resize;
mod start;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use planner::Action;
use planner::pod_actions::{ContainerId, ImageState, PodAction, Record, Volumes, plan, plan_rejection};
use planner::scheduler::ResizeRefusal;
use planner::world::object_ref;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::admission::Verdict;
use crate::host::{Host, now};
use crate::pod_volumes::{self, PodMounts};
use crate::probes::Prober;

pub(crate) use handle::Handle;
pub use kill::{stop_signal, termination_grace_period};

/// The shortest wait for a token that is due.
const FIRST_RENEWAL_RETRY: Duration = Duration::from_secs(1);
/// The first pause after a failed step; it doubles with each failure in a row.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest pause after a failed step.
const LONGEST_RETRY: Duration = Duration::from_secs(10);

/// The sandbox as the worker found or made it.
#[derive(Clone, Debug)]
enum Surround {
    Absent,
    Failed { error: String, retry_at: Timestamp, tries: u32 },
    Alive { ip: IpAddr },
    Dead,
}

/// Something that failed and is tried again then, or when something has changed.
#[derive(Clone, Debug)]
struct Refusal {
    why: String,
    retry_at: Timestamp,
}

/// What the worker knows besides the pod and the runtime's records. Background tasks write to it.
struct State {
    sandbox: Surround,
    volumes: Volumes,
    mounts: PodMounts,
    /// What was told of the volumes last, so that it is not told twice, and when to try again.
    mount_failure: Option<Refusal>,
    /// Runs that could not be started: the runtime has nothing to say of them.
    unstarted: BTreeMap<ContainerId, Record>,
    /// Containers whose spec cannot be turned into a run, by name.
    refused: BTreeMap<String, Refusal>,
    /// Runs that are being stopped, and when they are killed.
    killing: HashMap<ContainerId, watch::Sender<Instant>>,
    /// Runs whose postStart hook has not ended yet: they are not ready.
    post_start: BTreeSet<ContainerId>,
    images: BTreeMap<String, ImageState>,
    /// Containers whose image was pulled for the start to come.
    pulled: BTreeSet<String>,
    failed_pulls: BTreeMap<String, u32>,
    probers: HashMap<ContainerId, Prober>,
    /// Why the pod keeps the resources that it has, when its spec asks for others.
    resize_refused: Option<ResizeRefusal>,
    /// Containers whose resources could not be changed, by name.
    resize_errors: BTreeMap<String, Refusal>,
    /// What the node says to the pod, once it has decided.
    verdict: Option<Verdict>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            sandbox: Surround::Absent,
            volumes: Volumes::Absent,
            mounts: PodMounts::default(),
            mount_failure: None,
            unstarted: BTreeMap::new(),
            refused: BTreeMap::new(),
            killing: HashMap::new(),
            post_start: BTreeSet::new(),
            images: BTreeMap::new(),
            pulled: BTreeSet::new(),
            failed_pulls: BTreeMap::new(),
            probers: HashMap::new(),
            resize_refused: None,
            resize_errors: BTreeMap::new(),
            verdict: None,
        }
    }
}

/// One pod on this node.
pub(crate) struct Worker {
    host: Arc<Host>,
    handle: Arc<Handle>,
    state: Mutex<State>,
}

/// Why a worker has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The pod is gone for good.
    Gone,
    /// The node ends; the pod runs on.
    Stopped,
}

/// What came of a step.
enum Step {
    /// Look again after this long, or when something has changed.
    Wait(Option<Duration>),
    /// The pod is gone for good.
    Finished,
}

/// Why a step was not done; the next one tries again.
enum StepError {
    /// The API has a newer version of the pod than the plan was made from.
    Stale,
    /// One sentence.
    Failed(String),
}

impl From<String> for StepError {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

/// Runs a pod from its first sight to its end. `found` is the pid that holds its sandbox when the sandbox
/// was there already: `Some(None)` when the sandbox is dead. When the node ends, the step that is under way is
/// the last one.
pub(crate) async fn run(host: Arc<Host>, handle: Arc<Handle>, found: Option<Option<u32>>) -> Ended {
    let worker = Arc::new(Worker { host, handle, state: Mutex::default() });
    if let Some(pid) = found {
        worker.recover(pid).await;
    }
    let mut failures: u32 = 0;
    loop {
        let outcome = worker.step().await;
        if !matches!(outcome, Err(StepError::Stale)) {
            worker.handle.set_looked();
        }
        let pause = match outcome {
            Ok(Step::Finished) => return Ended::Gone,
            Ok(Step::Wait(pause)) => {
                failures = 0;
                pause
            }
            Err(error) => {
                failures += 1;
                if let StepError::Failed(why) = error {
                    tracing::warn!(pod = %worker.handle.key.name, "{why}");
                }
                Some(FIRST_RETRY.saturating_mul(1 << (failures - 1).min(10)).min(LONGEST_RETRY))
            }
        };
        tokio::select! {
            biased;
            () = worker.host.work.stopped() => return Ended::Stopped,
            () = worker.wait(pause) => {}
        }
    }
}

impl Worker {
    async fn wait(&self, pause: Option<Duration>) {
        let woken = self.handle.woken();
        match pause {
            Some(pause) => {
                // Waking early or late is the same: the loop looks at everything again.
                let _ = tokio::time::timeout(pause, woken).await;
            }
            None => woken.await,
        }
    }

    /// Looks, plans and acts once. Nothing is planned on records that could not be read: what runs unseen
    /// would be started a second time.
    async fn step(self: &Arc<Self>) -> Result<Step, StepError> {
        self.refresh_records().await?;
        self.refresh_volumes().await;
        let pod = self.handle.pod();
        self.shorten_kills(&pod);
        self.start_probers(&pod);
        let snapshot = self.snapshot(&pod);
        let plan = match self.admit(&pod) {
            Verdict::Taken => plan(&snapshot, now()),
            Verdict::Refused(rejection) => plan_rejection(&snapshot, &rejection, now()),
            Verdict::Later(pause) => return Ok(Step::Wait(Some(pause.unsigned_abs()))),
        };
        self.tell_obstacles(&pod, &plan.status);
        let written = self.write_status(&pod, &plan.status).await;
        // The status is where a run's end is remembered: nothing is removed or begun that it does not tell
        // of. The end of a pod does not wait for that.
        match written {
            Err(StepError::Failed(why)) if self.is_going(&pod) => {
                tracing::warn!(pod = %self.handle.key.name, "{why}");
            }
            other => other?,
        }
        self.handle.set_looked();
        if self.act(&plan.actions).await? {
            return Ok(Step::Finished);
        }
        let planned = plan.requeue_after.map(SignedDuration::unsigned_abs);
        // What is due and was not replaced is tried again soon, and not at once.
        let renewal = self.host.tokens.due_in(&self.handle.uid).map(|left| left.max(FIRST_RENEWAL_RETRY));
        Ok(Step::Wait(planned.into_iter().chain(self.next_retry()).chain(renewal).min()))
    }

    /// Whether the pod, as seen, is being deleted, or has gone from the API since.
    fn is_going(&self, pod: &Pod) -> bool {
        self.handle.is_removed() || pod.metadata.deletion_timestamp.is_some()
    }

    /// When something that failed is due to be tried again.
    fn next_retry(&self) -> Option<Duration> {
        let state = lock(&self.state);
        let sandbox = match &state.sandbox {
            Surround::Failed { retry_at, .. } => Some(*retry_at),
            _ => None,
        };
        let mounts = state.mount_failure.as_ref().map(|f| f.retry_at);
        let refused = state.refused.values().chain(state.resize_errors.values()).map(|r| r.retry_at);
        // What is due and was not tried waits for something else, which wakes us.
        let left = |at: Timestamp| Duration::try_from(at.duration_since(now())).ok();
        sandbox.into_iter().chain(mounts).chain(refused).filter_map(left).min()
    }

    async fn write_status(&self, pod: &Pod, status: &PodStatus) -> Result<(), StepError> {
        if self.handle.is_removed() || pod.status.as_ref() == Some(status) {
            return Ok(());
        }
        let meta = json!({"uid": self.handle.uid, "resourceVersion": pod.metadata.resource_version});
        let patch = json!({"metadata": meta, "status": status});
        match self.host.executor.patch_status(&object_ref(pod), &patch).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_stale() => Err(StepError::Stale),
            Err(error) => Err(StepError::Failed(error.to_string())),
        }
    }

    /// Carries out actions in order; answers whether the pod is finished.
    async fn act(self: &Arc<Self>, actions: &[PodAction]) -> Result<bool, String> {
        for action in actions {
            if *action == PodAction::Finish {
                return self.finish().await;
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
    async fn finish(&self) -> Result<bool, String> {
        if self.is_sandbox_there().await? {
            // One of which the worker did not know (it could not be cleared away): it goes first.
            lock(&self.state).sandbox = Surround::Dead;
            return Err("its sandbox is still there".to_owned());
        }
        pod_volumes::forget(&self.host, &self.handle.uid).await.map_err(|e| e.to_string())?;
        // Before the API tells others that there is room.
        self.host.admission.release(&self.handle.uid);
        if self.handle.is_removed() {
            return Ok(true);
        }
        let pod = self.handle.pod();
        let target = object_ref(&*pod);
        let delete = Action::Delete { target, resource_version: None, grace_period: Some(0) };
        match self.host.executor.act(&delete).await {
            // A conflict does not say that it is gone: it is asked again, or its removal is heard of.
            Err(error) if !error.is_not_found() => Err(error.to_string()),
            _ => Ok(true),
        }
    }
}
