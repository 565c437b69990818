//! Which containers to start, stop and clear away in a living sandbox.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerStatus};

use super::resize::is_resized;
use super::restart::next_restart;
use super::snapshot::{ContainerId, ImageState, Record, RecordState, Snapshot, is_sidecar};
use super::{PodAction, PodPlan};

/// How many ended runs of a container are kept: the last one, for its log and exit code.
const KEPT_RUNS: usize = 1;

/// Asks for every image that is needed for a start to come, all at once.
pub(super) fn plan_images(snapshot: &Snapshot<'_>, plan: &mut PodPlan) {
    for container in snapshot.init_containers().iter().chain(&snapshot.spec().containers) {
        let starts = match snapshot.latest(&container.name) {
            Some(record) => will_restart(snapshot, container, record),
            None => !snapshot.succeeded_before(&container.name),
        };
        if starts && snapshot.images.get(&container.name) == Some(&ImageState::Needed) {
            plan.actions.push(PodAction::PullImage { container: container.name.clone() });
        }
    }
}

/// Walks the init containers in order, then the containers side by side.
pub(super) fn plan_containers(snapshot: &Snapshot<'_>, now: Timestamp, plan: &mut PodPlan) {
    if !is_initialized(snapshot) {
        for container in snapshot.init_containers() {
            if !plan_init_container(snapshot, container, now, plan) {
                plan_clearing(snapshot, plan);
                return;
            }
        }
    } else {
        for container in snapshot.init_containers().iter().filter(|c| is_sidecar(c)) {
            plan_container(snapshot, container, now, plan);
        }
    }
    for container in &snapshot.spec().containers {
        plan_container(snapshot, container, now, plan);
    }
    plan_clearing(snapshot, plan);
}

/// Whether the init containers are through: once a container has run they are never run again.
pub(super) fn is_initialized(snapshot: &Snapshot<'_>) -> bool {
    snapshot.spec().containers.iter().any(|c| snapshot.latest(&c.name).is_some())
        || snapshot.init_containers().iter().all(|c| init_is_through(snapshot, c))
}

fn init_is_through(snapshot: &Snapshot<'_>, container: &Container) -> bool {
    match snapshot.latest(&container.name).map(|r| &r.state) {
        Some(RecordState::Running { .. }) if is_sidecar(container) => {
            snapshot.probes.get(&container.name).is_none_or(|p| p.started)
        }
        Some(RecordState::Exited { exit_code, .. }) => *exit_code == 0 && !is_sidecar(container),
        _ => false,
    }
}

/// Plans one init container; answers whether the next one may go.
fn plan_init_container(
    snapshot: &Snapshot<'_>,
    container: &Container,
    now: Timestamp,
    plan: &mut PodPlan,
) -> bool {
    if init_is_through(snapshot, container) {
        return true;
    }
    if is_sidecar(container) {
        plan_container(snapshot, container, now, plan);
        return false;
    }
    match snapshot.latest(&container.name) {
        Some(record) if record.state == RecordState::Created => plan_discard(record, plan),
        Some(record) if record.is_alive() => {
            plan.wait(
                snapshot,
                "InitContainerRunning",
                format!("init container {} has not finished yet", container.name),
            );
        }
        // A failed init container is restarted unless the policy is Never: then the pod has failed.
        Some(record) if will_restart(snapshot, container, record) => {
            plan_restart(snapshot, container, record, now, plan);
        }
        Some(_) => {}
        None => plan_start(snapshot, container, next_attempt(snapshot, &container.name), 0, now, plan),
    }
    false
}

/// Plans a container that runs once: it is started when it is due, and never again.
pub(super) fn plan_once(
    snapshot: &Snapshot<'_>,
    container: &Container,
    is_due: bool,
    now: Timestamp,
    plan: &mut PodPlan,
) {
    match snapshot.latest(&container.name) {
        Some(record) if record.state == RecordState::Created => plan_discard(record, plan),
        Some(_) => {}
        None if is_due => plan_start(snapshot, container, 0, 0, now, plan),
        None => {}
    }
}

fn plan_container(snapshot: &Snapshot<'_>, container: &Container, now: Timestamp, plan: &mut PodPlan) {
    let Some(record) = snapshot.latest(&container.name) else {
        if !snapshot.succeeded_before(&container.name) {
            plan_start(snapshot, container, next_attempt(snapshot, &container.name), 0, now, plan);
        }
        return;
    };
    match &record.state {
        RecordState::Created => plan_discard(record, plan),
        RecordState::Running { .. } => plan_probed(snapshot, container, record, plan),
        RecordState::Exited { .. } => {
            if will_restart(snapshot, container, record) {
                plan_restart(snapshot, container, record, now, plan);
            }
        }
    }
}

/// A run that was made and never started: who made it died in between. It goes, and is made anew.
fn plan_discard(record: &Record, plan: &mut PodPlan) {
    plan.actions.push(PodAction::RemoveContainer { id: record.id.clone() });
}

/// Ends a running container whose liveness or startup probe has failed for good.
fn plan_probed(snapshot: &Snapshot<'_>, container: &Container, record: &Record, plan: &mut PodPlan) {
    let Some(probes) = snapshot.probes.get(&container.name) else { return };
    let Some(why) = probes.failed.as_ref().filter(|_| !snapshot.is_killing(record)) else { return };
    // A probe may have a grace period of its own (KEP-2238).
    let probe = if probes.started { &container.liveness_probe } else { &container.startup_probe };
    let own = probe.as_ref().and_then(|p| p.termination_grace_period_seconds);
    let grace = own.or(snapshot.spec().termination_grace_period_seconds).unwrap_or(30);
    plan.actions.push(PodAction::KillContainer { id: record.id.clone(), grace, message: why.clone() });
}

/// Whether an ended container is started again, now or after its back-off.
pub(super) fn will_restart(snapshot: &Snapshot<'_>, container: &Container, record: &Record) -> bool {
    let RecordState::Exited { exit_code, .. } = record.state else { return false };
    let is_init = snapshot.init_containers().iter().any(|c| c.name == container.name);
    match snapshot.spec().restart_policy.as_deref() {
        _ if snapshot.is_going() || snapshot.has_ended() || snapshot.is_ephemeral(&container.name) => false,
        _ if is_sidecar(container) => true,
        Some("Never") => false,
        Some("OnFailure") => exit_code != 0,
        _ if is_init => exit_code != 0,
        _ => true,
    }
}

/// The number of the first run that this sandbox sees: after a lost sandbox the count goes on where the API
/// has it.
fn next_attempt(snapshot: &Snapshot<'_>, name: &str) -> u32 {
    let status = snapshot.pod.status.as_ref();
    let told = status
        .into_iter()
        .flat_map(|s| s.container_statuses.iter().flatten().chain(s.init_container_statuses.iter().flatten()))
        .find(|c| c.name == name);
    // A run without an id was never started: its number is free.
    let ran = |c: &ContainerStatus| c.container_id.as_deref().is_some_and(|id| !id.is_empty());
    told.map_or(0, |c| u32::try_from(c.restart_count).unwrap_or(0) + u32::from(ran(c)))
}

fn plan_restart(
    snapshot: &Snapshot<'_>,
    container: &Container,
    ended: &Record,
    now: Timestamp,
    plan: &mut PodPlan,
) {
    let Some(restart) = next_restart(ended) else { return };
    // One that was ended to be given other resources, or that may do better with them, does not wait.
    if is_resized(snapshot, container, ended) {
        return plan_start(snapshot, container, ended.id.attempt + 1, ended.backoff_step, now, plan);
    }
    if now < restart.at {
        plan.requeue(restart.at.duration_since(now));
        let seconds = restart.delay.as_secs();
        plan.wait(
            snapshot,
            "CrashLoopBackOff",
            format!("container {} ended and is started again after a pause of {seconds} s", container.name),
        );
        return;
    }
    plan_start(snapshot, container, ended.id.attempt + 1, restart.step, now, plan);
}

fn plan_start(
    snapshot: &Snapshot<'_>,
    container: &Container,
    attempt: u32,
    backoff_step: u32,
    now: Timestamp,
    plan: &mut PodPlan,
) {
    match snapshot.images.get(&container.name) {
        Some(ImageState::Present) => {}
        Some(ImageState::Failed { message, retry_at, .. }) => {
            if let Some(at) = retry_at {
                plan.requeue(at.duration_since(now));
            }
            return plan.wait(snapshot, "ImageNotPresent", message.clone());
        }
        _ => {
            let message = format!("image {} is not here yet", container.image.as_deref().unwrap_or_default());
            return plan.wait(snapshot, "ImageNotPresent", message);
        }
    }
    if let Some(why) = snapshot.config_errors.get(&container.name)
        && !snapshot.config_retries.contains(&container.name)
    {
        return plan.wait(snapshot, "ConfigError", why.clone());
    }
    let id = ContainerId { name: container.name.clone(), attempt };
    plan.actions.push(PodAction::StartContainer { id, backoff_step });
}

/// Clears away ended runs that nobody asks for any more.
fn plan_clearing(snapshot: &Snapshot<'_>, plan: &mut PodPlan) {
    for container in snapshot.init_containers().iter().chain(&snapshot.spec().containers) {
        let Some(latest) = snapshot.latest(&container.name) else { continue };
        let mut ended: Vec<&Record> = snapshot
            .records
            .iter()
            .filter(|r| r.id.name == container.name && r.id != latest.id && !r.is_alive())
            .collect();
        ended.sort_by_key(|r| std::cmp::Reverse(r.id.attempt));
        for record in ended.into_iter().skip(KEPT_RUNS) {
            plan.actions.push(PodAction::RemoveContainer { id: record.id.clone() });
        }
    }
}
