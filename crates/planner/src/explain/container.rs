//! Containers: waiting, ended, or running and not Ready.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{
    Container, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
};

use super::{Cause, Walk, flag, image, probe};
use crate::objects::{name, namespace};
use crate::pods::spec;

/// What keeps this container from being Ready, if anything does.
pub(super) fn problem(walk: &Walk<'_>, pod: &Pod, status: &ContainerStatus) -> Option<Cause> {
    let state = status.state.as_ref()?;
    if let Some(waiting) = &state.waiting {
        return waiting_problem(walk, pod, status, waiting);
    }
    if let Some(end) = &state.terminated {
        let has_done_its_part = is_init(pod, &status.name) && end.exit_code == 0;
        return if has_done_its_part { None } else { last_run(walk, pod, status) };
    }
    let running = state.running.as_ref().filter(|_| !status.ready)?;
    if is_init(pod, &status.name) && !is_sidecar(pod, &status.name) {
        let since = running.started_at.as_ref();
        let since = since.map_or(String::new(), |at| format!("; it has run for {}", walk.age(at.0)));
        return Some(Cause::new(format!("init container {} has not finished yet{since}", status.name)));
    }
    Some(probe::problem(walk, pod, status))
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
        "CrashLoopBackOff" => crash_loop(walk, pod, status, said),
        "ImagePullBackOff" | "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName"
        | "ImageInspectError" => image::problem(walk, pod, container, reason, said),
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            Cause::new(format!("container {container} cannot be made ({reason})")).words(said)
        }
        // It is on its way: only what somebody complained about is worth a line.
        "ContainerCreating" | "PodInitializing" | "" => {
            let event = walk.event("Pod", namespace(&pod.metadata), name(&pod.metadata), &[])?;
            let complaint = event.reason.as_deref().unwrap_or_default();
            Cause::new(format!("container {container} is being made; its node reports {complaint}"))
                .words(event.message.as_deref().unwrap_or_default())
        }
        other => Cause::new(format!("container {container} waits ({other})")).words(said),
    };
    Some(cause)
}

/// A container that is started again and again, and why it ends.
fn crash_loop(walk: &Walk<'_>, pod: &Pod, status: &ContainerStatus, said: &str) -> Cause {
    let (container, pod_name, ns) = (&status.name, name(&pod.metadata), namespace(&pod.metadata));
    let restarts = match status.restart_count {
        1 => "1 restart".to_owned(),
        count => format!("{count} restarts"),
    };
    let next = next_start(walk, status, said).map_or(String::new(), |next| format!(", next {next}"));
    let killed = probe::killed(walk, pod, status);
    let end = last_run(walk, pod, status).map(|end| end.because(killed));
    let has_fix = end.as_ref().is_some_and(|end| end.fix.is_some());
    let text = format!("container {container} is in CrashLoopBackOff ({restarts}{next})");
    let cause = Cause::new(text).because(end);
    if has_fix {
        return cause;
    }
    cause.fix(format!("read what it said: stead logs {pod_name}{} -c {container} --previous", flag(ns)))
}

/// When the container is started again, by the pause that its node told (`back-off 40s restarting failed …`).
fn next_start(walk: &Walk<'_>, status: &ContainerStatus, said: &str) -> Option<String> {
    let pause = said.strip_prefix("back-off ")?.split(' ').next()?;
    let pause: SignedDuration = pause.parse().ok()?;
    let ended = status.last_state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0;
    let rest = ended.checked_add(pause).ok()?.duration_since(walk.now).as_secs();
    Some(if rest > 0 { format!("in {rest} s") } else { "now".to_owned() })
}

/// The end of the container's last run.
pub(super) fn end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let now = status.state.as_ref().and_then(|state| state.terminated.as_ref());
    now.or_else(|| status.last_state.as_ref()?.terminated.as_ref())
}

/// How the container's last run ended, with its last words.
pub(super) fn last_run(walk: &Walk<'_>, pod: &Pod, status: &ContainerStatus) -> Option<Cause> {
    let end = end(status)?;
    let ago = end.finished_at.as_ref().map_or(String::new(), |at| format!(" {} ago", walk.age(at.0)));
    let reason = match (end.reason.as_deref(), signal(end.exit_code)) {
        (None | Some("Error"), Some(signal)) => format!(" ({signal})"),
        (Some(reason), _) => format!(" ({reason})"),
        (None, None) => String::new(),
    };
    let text = format!("container {} ended with exit code {}{reason}{ago}", status.name, end.exit_code);
    let cause = Cause::new(text).words(end.message.as_deref().unwrap_or_default());
    Some(match exit_fix(pod, status, end) {
        Some(fix) => cause.fix(fix),
        None => cause,
    })
}

/// The signal that such an exit code tells of, where it is one that people meet (128 and the signal's number).
fn signal(exit_code: i32) -> Option<&'static str> {
    Some(match exit_code {
        131 => "SIGQUIT",
        132 => "SIGILL",
        134 => "SIGABRT",
        135 => "SIGBUS",
        136 => "SIGFPE",
        137 => "SIGKILL",
        139 => "SIGSEGV",
        143 => "SIGTERM",
        _ => return None,
    })
}

fn exit_fix(pod: &Pod, status: &ContainerStatus, end: &ContainerStateTerminated) -> Option<String> {
    match (end.reason.as_deref(), end.exit_code) {
        (Some("OOMKilled"), _) => {
            let held = of(pod, &status.name).and_then(|container| container.resources.as_ref());
            let limits = status.resources.as_ref().or(held).and_then(|r| r.limits.as_ref());
            let limit = limits.and_then(|limits| limits.get("memory"));
            let now = limit.map_or(String::new(), |limit| format!(" (now {})", limit.0));
            Some(format!("it needs more memory: raise resources.limits.memory{now}"))
        }
        (Some("StartError" | "ContainerCannotRun"), _) | (_, 126 | 127) => {
            Some("the program was not found or cannot run: check command and args".to_owned())
        }
        _ => None,
    }
}

fn is_init(pod: &Pod, container: &str) -> bool {
    spec(pod).is_some_and(|spec| spec.init_containers.iter().flatten().any(|c| c.name == container))
}

/// Whether the init container goes on beside the others.
fn is_sidecar(pod: &Pod, container: &str) -> bool {
    of(pod, container).is_some_and(|c| c.restart_policy.as_deref() == Some("Always"))
}

/// The container of this name.
pub(super) fn of<'p>(pod: &'p Pod, container: &str) -> Option<&'p Container> {
    let spec = spec(pod)?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|c| c.name == container)
}

/// The image that the container asks for.
pub(super) fn image(pod: &Pod, container: &str) -> String {
    of(pod, container).and_then(|c| c.image.clone()).unwrap_or_default()
}
