//! Containers: waiting, ended, or running and not Ready.

use k8s_openapi::api::core::v1::{
    Container, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
};

use super::{Cause, Walk};
use crate::objects::{name, namespace};
use crate::pods::spec;

/// What keeps this container from being Ready, if anything does.
pub(super) fn problem(walk: &Walk<'_>, pod: &Pod, status: &ContainerStatus) -> Option<Cause> {
    let state = status.state.as_ref();
    if let Some(waiting) = state.and_then(|state| state.waiting.as_ref()) {
        return waiting_problem(walk, pod, status, waiting);
    }
    if state.is_some_and(|state| state.terminated.is_some()) {
        return last_run(walk, status);
    }
    if state.is_some_and(|state| state.running.is_some()) && !status.ready {
        return Some(probe_problem(walk, pod, status));
    }
    None
}

fn waiting_problem(
    walk: &Walk<'_>,
    pod: &Pod,
    status: &ContainerStatus,
    waiting: &ContainerStateWaiting,
) -> Option<Cause> {
    let container = &status.name;
    let said = waiting.message.as_deref().unwrap_or_default();
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let cause = match reason {
        "CrashLoopBackOff" => {
            let restarts = status.restart_count;
            let text = format!("container {container} is in CrashLoopBackOff ({restarts} restarts)");
            let end = last_run(walk, status);
            let log =
                format!("read what it said: stead logs {} -c {container} --previous", name(&pod.metadata));
            let has_fix = end.as_ref().is_some_and(|end| end.fix.is_some());
            let cause = Cause::new(text).because(end);
            if has_fix { cause } else { cause.fix(log) }
        }
        "ImagePullBackOff" | "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName"
        | "ImageInspectError" => {
            Cause::new(format!("container {container} has no image ({reason})")).words(said).fix(format!(
                "check the name {}, or bring the image: stead image import FILE",
                image(pod, container)
            ))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Cause::new(format!("container {container} cannot be made ({reason})")).words(said)
        }
        // It is on its way: only what somebody complained about is worth a line.
        "ContainerCreating" | "PodInitializing" | "" => {
            let event = walk.event("Pod", namespace(&pod.metadata), name(&pod.metadata), &[])?;
            let complaint = event.reason.as_deref().unwrap_or_default();
            Cause::new(format!("container {container} is being made; {complaint}"))
                .words(event.message.as_deref().unwrap_or_default())
        }
        other => Cause::new(format!("container {container} waits ({other})")).words(said),
    };
    Some(cause)
}

/// How the container's last run ended, with its last words.
pub(super) fn last_run(walk: &Walk<'_>, status: &ContainerStatus) -> Option<Cause> {
    let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    let before = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let end = now.or(before)?;
    let ago = end.finished_at.as_ref().map_or(String::new(), |at| format!(" {} ago", walk.age(at.0)));
    let reason = end.reason.as_deref().map_or(String::new(), |reason| format!(" ({reason})"));
    let text = format!("container {} ended with exit code {}{reason}{ago}", status.name, end.exit_code);
    let cause = Cause::new(text).words(end.message.as_deref().unwrap_or_default());
    Some(match exit_fix(status, end) {
        Some(fix) => cause.fix(fix),
        None => cause,
    })
}

fn exit_fix(status: &ContainerStatus, end: &ContainerStateTerminated) -> Option<String> {
    match (end.reason.as_deref(), end.exit_code) {
        (Some("OOMKilled"), _) => {
            let limits = status.resources.as_ref().and_then(|r| r.limits.as_ref());
            let limit = limits.and_then(|limits| limits.get("memory"));
            let now = limit.map_or(String::new(), |limit| format!(" (now {})", limit.0));
            Some(format!("it needs more memory: raise resources.limits.memory{now}"))
        }
        (_, 126 | 127) => Some("the program was not found or cannot run: check command and args".to_owned()),
        _ => None,
    }
}

/// A container that runs and is not Ready: a probe says so.
fn probe_problem(walk: &Walk<'_>, pod: &Pod, status: &ContainerStatus) -> Cause {
    let container = &status.name;
    let held = container_of(pod, container);
    let starting = status.started == Some(false) && held.is_some_and(|c| c.startup_probe.is_some());
    let which = if starting { "startup" } else { "readiness" };
    let event = walk
        .event("Pod", namespace(&pod.metadata), name(&pod.metadata), &["Unhealthy"])
        .filter(|event| event.message.as_deref().is_some_and(|said| said.to_lowercase().starts_with(which)));
    match event {
        Some(event) => {
            let times = match event.count.unwrap_or(1) {
                1 => "once".to_owned(),
                count => format!("{count} times"),
            };
            let said = event.message.as_deref().unwrap_or_default();
            let said = said.split_once(": ").map_or(said, |(_, rest)| rest);
            Cause::new(format!("container {container} has failed its {which} probe {times}")).words(said)
        }
        None => Cause::new(format!("container {container} runs; its {which} probe has not succeeded yet")),
    }
}

fn container_of<'p>(pod: &'p Pod, container: &str) -> Option<&'p Container> {
    let spec = spec(pod)?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == container)
}

fn image(pod: &Pod, container: &str) -> String {
    container_of(pod, container).and_then(|c| c.image.clone()).unwrap_or_default()
}
