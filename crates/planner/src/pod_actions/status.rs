//! The pod's status, from what the node knows (`pkg/kubelet/kubelet_pods.go`, `pkg/kubelet/status/generate.go`).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, PodCondition, PodIP, PodStatus,
};

use crate::numbers::time;
use crate::scheduler::Rejection;

use super::containers::{is_initialized, will_restart};
use super::ephemeral::{ephemeral_containers, last_word};
use super::resize;
use super::restart::next_restart;
use super::snapshot::{ImageState, Record, RecordState, Sandbox, Snapshot, Volumes, is_sidecar};

/// The status of the pod.
pub(super) fn pod_status(snapshot: &Snapshot<'_>, now: Timestamp) -> PodStatus {
    let told = snapshot.pod.status.clone().unwrap_or_default();
    if snapshot.has_ended() && told.container_statuses.is_none() && snapshot.records.is_empty() {
        // The node did not take it: there is nothing to add.
        return told;
    }
    let init: Vec<ContainerStatus> =
        snapshot.init_containers().iter().map(|c| container_status(snapshot, c, true, now)).collect();
    let containers: Vec<ContainerStatus> =
        snapshot.spec().containers.iter().map(|c| container_status(snapshot, c, false, now)).collect();
    let ephemeral: Vec<ContainerStatus> = ephemeral_containers(snapshot.pod)
        .iter()
        .map(|container| {
            let running = || container_status(snapshot, container, false, now);
            let status = last_word(snapshot, &container.name).unwrap_or_else(running);
            // Nobody waits for it.
            ContainerStatus { ready: false, ..status }
        })
        .collect();
    let overdue =
        !snapshot.has_ended() && !snapshot.is_going() && deadline(snapshot).is_some_and(|at| now >= at);
    let phase = if snapshot.has_ended() {
        told.phase.clone().unwrap_or_default()
    } else if overdue {
        "Failed".to_owned()
    } else {
        phase(snapshot, &init, &containers).to_owned()
    };
    let (reason, message) = match overdue {
        true => (Some("DeadlineExceeded".to_owned()), Some(OVERDUE.to_owned())),
        false => (told.reason.clone(), told.message.clone()),
    };
    let ip = match &snapshot.sandbox {
        Sandbox::Alive { ip } => Some(ip.clone()),
        _ => told.pod_ip.clone(),
    };
    let mut status = PodStatus {
        host_ip: Some(snapshot.host_ip.to_owned()),
        host_ips: Some(vec![HostIP { ip: snapshot.host_ip.to_owned() }]),
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: ip,
        start_time: told.start_time.clone().or(Some(time(now))),
        container_statuses: Some(containers),
        init_container_statuses: (!init.is_empty()).then_some(init),
        ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
        phase: Some(phase),
        reason,
        message,
        observed_generation: snapshot.pod.metadata.generation,
        ..told
    };
    status.conditions = Some(conditions(snapshot, &status, now));
    status
}

/// The status of a pod that the node does not take (`rejectPod` of `pkg/kubelet/kubelet.go`).
pub(super) fn rejected_status(snapshot: &Snapshot<'_>, rejection: &Rejection, now: Timestamp) -> PodStatus {
    let told = snapshot.pod.status.clone().unwrap_or_default();
    let mut status = PodStatus {
        phase: Some("Failed".to_owned()),
        reason: Some(rejection.reason.clone()),
        message: Some(format!("Pod was rejected: {}", rejection.message)),
        start_time: told.start_time.clone().or(Some(time(now))),
        ..told
    };
    status.conditions = Some(conditions(snapshot, &status, now));
    status
}

/// Why a pod is ended by `activeDeadlineSeconds` (`pkg/kubelet/active_deadline.go`).
const OVERDUE: &str = "Pod was active on the node longer than the specified deadline";

/// When the pod's `activeDeadlineSeconds` are over.
pub(super) fn deadline(snapshot: &Snapshot<'_>) -> Option<Timestamp> {
    let seconds = snapshot.spec().active_deadline_seconds?;
    let started = snapshot.pod.status.as_ref()?.start_time.as_ref()?.0;
    started.saturating_add(SignedDuration::from_secs(seconds)).ok()
}

/// Since when the condition Ready is True; `None` when it is not.
pub fn ready_since(status: &PodStatus) -> Option<Timestamp> {
    let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready" && c.status == "True")?;
    ready.last_transition_time.as_ref().map(|t| t.0)
}

/// `getPhase` of upstream's kubelet.
fn phase(snapshot: &Snapshot<'_>, init: &[ContainerStatus], containers: &[ContainerStatus]) -> &'static str {
    let state = |c: &ContainerStatus| c.state.clone().unwrap_or_default();
    if !is_initialized(snapshot) {
        let failed = init.iter().any(|c| state(c).terminated.is_some_and(|t| t.exit_code != 0));
        let never = snapshot.spec().restart_policy.as_deref() == Some("Never");
        return if failed && never { "Failed" } else { "Pending" };
    }
    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for container in containers {
        let state = state(container);
        let last = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
        match (state.running, state.terminated, last) {
            (Some(_), _, _) => running += 1,
            (_, Some(ended), _) => {
                stopped += 1;
                succeeded += usize::from(ended.exit_code == 0);
            }
            (_, _, Some(_)) => stopped += 1,
            _ => waiting += 1,
        }
    }
    let going = snapshot.is_going();
    match (waiting, running, stopped) {
        (1.., _, _) => "Pending",
        (_, 1.., _) => "Running",
        (_, 0, 1..) if snapshot.restarts_always() && !going => "Running",
        (_, 0, 1..) if stopped == succeeded => "Succeeded",
        (_, 0, 1..) if going || snapshot.spec().restart_policy.as_deref() == Some("Never") => "Failed",
        (_, 0, 1..) => "Running",
        _ => "Pending",
    }
}

fn container_status(
    snapshot: &Snapshot<'_>,
    container: &Container,
    init: bool,
    now: Timestamp,
) -> ContainerStatus {
    let name = container.name.as_str();
    let told = snapshot.told(name);
    let Some(record) = snapshot.latest(name) else {
        // A lost sandbox takes its records along: what the API was told stays the last word on them.
        let over = snapshot.is_going() || snapshot.has_ended() || snapshot.succeeded_before(name);
        let (state, last) = match told.filter(|_| over) {
            Some(told) => (told.state.clone().unwrap_or_default(), told.last_state.clone()),
            None => (waiting(&waiting_reason(snapshot, name, init)), told.and_then(before)),
        };
        return ContainerStatus {
            name: name.to_owned(),
            image: container.image.clone().unwrap_or_default(),
            state: Some(state),
            last_state: Some(last.unwrap_or_default()),
            started: Some(false),
            restart_count: told.map_or(0, |t| t.restart_count),
            container_id: told.and_then(|t| t.container_id.clone()),
            image_id: told.map(|t| t.image_id.clone()).unwrap_or_default(),
            ..ContainerStatus::default()
        };
    };
    let probes = snapshot.probes.get(name).cloned().unwrap_or_default();
    let running = matches!(record.state, RecordState::Running { .. });
    let through = init && !is_sidecar(container);
    let ready = match &record.state {
        RecordState::Running { .. } => !through && probes.started && probes.ready,
        RecordState::Exited { exit_code, .. } => through && *exit_code == 0,
        RecordState::Created => false,
    };
    let (state, last_state) = states(snapshot, container, record, now);
    ContainerStatus {
        name: name.to_owned(),
        image: record.image.clone(),
        image_id: record.image_id.clone(),
        // An id means that it ran.
        container_id: (record.state != RecordState::Created).then(|| record.container_id.clone()),
        restart_count: i32::try_from(record.id.attempt).unwrap_or(i32::MAX),
        ready,
        started: Some(running && (through || probes.started)),
        state: Some(state),
        last_state: Some(last_state),
        allocated_resources: record.resources.requests.clone(),
        resources: Some(record.resources.clone()),
        ..ContainerStatus::default()
    }
}

/// The last state of a container whose told run has ended, or is lost.
fn before(told: &ContainerStatus) -> Option<ContainerState> {
    told.state.clone().filter(|s| s.terminated.is_some()).or_else(|| told.last_state.clone())
}

/// The state and the last state of a container that has run.
fn states(
    snapshot: &Snapshot<'_>,
    container: &Container,
    record: &Record,
    now: Timestamp,
) -> (ContainerState, ContainerState) {
    let last = snapshot.previous(&container.name).map(terminated);
    // After a lost sandbox the run before is known to the API only.
    let last = last.or_else(|| {
        let told = snapshot.told(&container.name)?;
        let same = told.container_id.as_deref() == Some(&record.container_id);
        if same { told.last_state.clone() } else { before(told) }
    });
    let last = last.unwrap_or_default();
    match &record.state {
        RecordState::Created => (waiting(&("ContainerCreating".to_owned(), None)), last),
        RecordState::Running { started_at } => {
            let running = ContainerStateRunning { started_at: Some(time(*started_at)) };
            (ContainerState { running: Some(running), ..ContainerState::default() }, last)
        }
        RecordState::Exited { .. } => match backing_off(snapshot, container, record, now) {
            Some(reason) => (waiting(&reason), terminated(record)),
            None => (terminated(record), last),
        },
    }
}

/// Whether an ended container waits for its next start, and why.
fn backing_off(
    snapshot: &Snapshot<'_>,
    container: &Container,
    record: &Record,
    now: Timestamp,
) -> Option<(String, Option<String>)> {
    let restart = next_restart(record).filter(|_| will_restart(snapshot, container, record))?;
    if now >= restart.at || resize::is_resized(snapshot, container, record) {
        return None;
    }
    let meta = &snapshot.pod.metadata;
    let message = format!(
        "back-off {} restarting failed container={} pod={}_{}({})",
        short(restart.delay.as_secs()),
        record.id.name,
        meta.name.as_deref().unwrap_or_default(),
        meta.namespace.as_deref().unwrap_or_default(),
        meta.uid.as_deref().unwrap_or_default(),
    );
    Some(("CrashLoopBackOff".to_owned(), Some(message)))
}

/// `10s`, `2m40s`, as Go prints durations.
fn short(seconds: i64) -> String {
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

/// Why a container that has never run does not run yet.
fn waiting_reason(snapshot: &Snapshot<'_>, name: &str, init: bool) -> (String, Option<String>) {
    if let Some(ImageState::Failed { reason, message, .. }) = snapshot.images.get(name) {
        return (reason.clone(), Some(message.clone()));
    }
    if let (Some(why), Volumes::Ready) = (snapshot.config_errors.get(name), &snapshot.volumes) {
        return ("CreateContainerConfigError".to_owned(), Some(why.clone()));
    }
    let initializing = !snapshot.init_containers().is_empty() && (init || !is_initialized(snapshot));
    (if initializing { "PodInitializing" } else { "ContainerCreating" }.to_owned(), None)
}

fn waiting((reason, message): &(String, Option<String>)) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.clone()), message: message.clone() };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(record: &Record) -> ContainerState {
    let RecordState::Exited { started_at, finished_at, exit_code, signal, reason, message } = &record.state
    else {
        return ContainerState::default();
    };
    let terminated = ContainerStateTerminated {
        container_id: Some(record.container_id.clone()),
        exit_code: *exit_code,
        signal: *signal,
        reason: Some(reason.clone()),
        message: (!message.is_empty()).then(|| message.clone()),
        started_at: Some(time(*started_at)),
        finished_at: Some(time(*finished_at)),
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// The node's conditions; those of others (readiness gates, the scheduler) stay as they are.
fn conditions(snapshot: &Snapshot<'_>, status: &PodStatus, now: Timestamp) -> Vec<PodCondition> {
    let mut all = snapshot.pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let alive = matches!(snapshot.sandbox, Sandbox::Alive { .. });
    set(&mut all, "PodReadyToStartContainers", alive, None, now);

    let completed = |reason: &str| Some((reason.to_owned(), None));
    let over = match status.phase.as_deref() {
        Some("Succeeded") => completed("PodCompleted"),
        Some("Failed") => completed("PodFailed"),
        _ => None,
    };
    let ended = over.is_some();
    let unfinished = names(&status.init_container_statuses, |c| !c.ready);
    let initialized = is_initialized(snapshot);
    let why = unready("ContainersNotInitialized", "containers with incomplete status", &unfinished);
    let succeeded = status.phase.as_deref() == Some("Succeeded");
    let why = if initialized { over.clone().filter(|_| succeeded) } else { Some(why) };
    set(&mut all, "Initialized", initialized, why, now);

    let unready_names = names(&status.container_statuses, |c| !c.ready);
    let containers_ready = initialized && !ended && unready_names.is_empty();
    let why = (!containers_ready).then(|| {
        over.unwrap_or_else(|| {
            unready("ContainersNotReady", "containers with unready status", &unready_names)
        })
    });
    set(&mut all, "ContainersReady", containers_ready, why.clone(), now);

    let gates: Vec<String> = snapshot
        .spec()
        .readiness_gates
        .iter()
        .flatten()
        .filter(|g| !all.iter().any(|c| c.type_ == g.condition_type && c.status == "True"))
        .map(|g| g.condition_type.clone())
        .collect();
    let ready = containers_ready && gates.is_empty();
    let why = if containers_ready && !ready {
        let message = format!("corresponding condition of pod readiness gate {:?} is not True.", gates[0]);
        Some(("ReadinessGatesNotReady".to_owned(), Some(message)))
    } else {
        why
    };
    set(&mut all, "Ready", ready, why, now);
    resize::set_conditions(snapshot, status, &mut all, now);
    all
}

fn names(statuses: &Option<Vec<ContainerStatus>>, pick: impl Fn(&ContainerStatus) -> bool) -> Vec<String> {
    statuses.iter().flatten().filter(|c| pick(c)).map(|c| c.name.clone()).collect()
}

fn unready(reason: &str, words: &str, names: &[String]) -> (String, Option<String>) {
    (reason.to_owned(), Some(format!("{words}: [{}]", names.join(" "))))
}

pub(super) fn set(
    all: &mut Vec<PodCondition>,
    type_: &str,
    status: bool,
    why: Option<(String, Option<String>)>,
    now: Timestamp,
) {
    let status = if status { "True" } else { "False" };
    let (reason, message) = why.map_or((None, None), |(reason, message)| (Some(reason), message));
    let held = all.iter_mut().find(|c| c.type_ == type_);
    match held {
        Some(held) => {
            if held.status != status {
                held.last_transition_time = Some(time(now));
            }
            status.clone_into(&mut held.status);
            held.reason = reason;
            held.message = message;
        }
        None => all.push(PodCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason,
            message,
            last_transition_time: Some(time(now)),
            ..PodCondition::default()
        }),
    }
}
