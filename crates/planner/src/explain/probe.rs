//! Containers that run and are not Ready: a probe has failed, or has not succeeded yet.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Event, ExecAction, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Cause, Walk, container, flag};
use crate::objects::{name, namespace};

/// How long a probe waits for an answer when it does not say (`SetDefaults_Probe`).
const DEFAULT_TIMEOUT: i32 = 1;
/// How often a probe is made when it does not say.
const DEFAULT_PERIOD: i32 = 10;
/// How many failures in a row count when the probe does not say.
const DEFAULT_THRESHOLD: i32 = 3;

/// Why a running container is not Ready.
pub(super) fn problem(walk: &Walk<'_>, pod: &Pod, status: &ContainerStatus) -> Cause {
    let held = container::of(pod, &status.name);
    let startup = held.and_then(|held| held.startup_probe.as_ref()).filter(|_| status.started == Some(false));
    let (which, probe) = match startup {
        Some(probe) => ("startup", Some(probe)),
        None => ("readiness", held.and_then(|held| held.readiness_probe.as_ref())),
    };
    // What an earlier run was told is not said of this one.
    let since = status.state.as_ref().and_then(|state| state.running.as_ref()?.started_at.clone());
    let cause = match (failure(walk, pod, &status.name, which, since.map(|time| time.0)), probe) {
        (Some(event), probe) => failed(pod, status, which, probe, event),
        (None, Some(probe)) => {
            let text = match not_before(walk, status, probe) {
                Some(rest) => format!("its {which} probe begins in {rest} s (initialDelaySeconds)"),
                None => format!("its {which} probe ({}) has not succeeded yet", spoken(probe)),
            };
            Cause::new(format!("container {} runs; {text}", status.name))
        }
        (None, None) => probeless(walk, status, held),
    };
    let cause = cause.because(startup.and_then(|probe| patience(walk, status, probe)));
    cause.because(restarted(walk, pod, status))
}

/// A probe that has failed, as its node told it.
fn failed(pod: &Pod, status: &ContainerStatus, which: &str, probe: Option<&Probe>, event: &Event) -> Cause {
    let times = match event.count.unwrap_or(1) {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    };
    let container = &status.name;
    let said = finding(event.message.as_deref().unwrap_or_default(), container);
    let how = probe.map_or(String::new(), |probe| format!(" ({})", spoken(probe)));
    let cause =
        Cause::new(format!("container {container} has failed its {which} probe {times}{how}")).words(said);
    match probe {
        Some(probe) => cause.fix(remedy(pod, container, probe, said)),
        None => cause,
    }
}

/// What helps against a probe's failure, or shows what would.
fn remedy(pod: &Pod, container: &str, probe: &Probe, said: &str) -> String {
    let (pod_name, flag) = (name(&pod.metadata), flag(namespace(&pod.metadata)));
    let logs = format!("stead logs {pod_name}{flag} -c {container}");
    let said = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["no port named"]) {
        return "name one of the container's ports in the probe, or give its number".to_owned();
    }
    if has(&["no answer within", "deadline exceeded", "timed out", "timeout"]) {
        let now = probe.timeout_seconds.unwrap_or(DEFAULT_TIMEOUT);
        return format!("see why it is slow ({logs}), or raise the probe's timeoutSeconds (now {now})");
    }
    if let Some(exec) = &probe.exec {
        return format!("try it yourself: stead exec {pod_name}{flag} -c {container} -- {}", command(exec));
    }
    if has(&["connection refused"]) {
        return format!(
            "nothing listens there: read what the program says ({logs}), or correct the probe's port"
        );
    }
    format!("read what the program says: {logs}")
}

/// What a probe does: `tcpSocket 5432`.
fn spoken(probe: &Probe) -> String {
    let number = |port: &IntOrString| match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    };
    if let Some(exec) = &probe.exec {
        format!("exec {}", command(exec))
    } else if let Some(http) = &probe.http_get {
        format!("httpGet {} on port {}", http.path.as_deref().unwrap_or("/"), number(&http.port))
    } else if let Some(tcp) = &probe.tcp_socket {
        format!("tcpSocket {}", number(&tcp.port))
    } else if let Some(grpc) = &probe.grpc {
        let service = grpc.service.as_deref().filter(|service| !service.is_empty());
        format!("grpc {}{}", grpc.port, service.map_or(String::new(), |service| format!(" {service}")))
    } else {
        "of no kind".to_owned()
    }
}

/// A command as somebody types it.
fn command(exec: &ExecAction) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    let word = |word: &String| match !word.is_empty() && word.chars().all(is_plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    exec.command.iter().flatten().map(word).collect::<Vec<_>>().join(" ")
}

/// In how many seconds the first probe is made, if it was not yet.
fn not_before(walk: &Walk<'_>, status: &ContainerStatus, probe: &Probe) -> Option<i64> {
    let delay = SignedDuration::from_secs(probe.initial_delay_seconds?.into());
    let rest = delay - run_time(walk, status)?;
    rest.is_positive().then(|| rest.as_secs().max(1))
}

/// How long the container runs.
fn run_time(walk: &Walk<'_>, status: &ContainerStatus) -> Option<SignedDuration> {
    let started = status.state.as_ref()?.running.as_ref()?.started_at.as_ref()?;
    Some(walk.now.duration_since(started.0))
}

/// How long a container may take to start before it is started again.
fn patience(walk: &Walk<'_>, status: &ContainerStatus, probe: &Probe) -> Option<Cause> {
    let of = |value: Option<i32>, default: i32| i64::from(value.unwrap_or(default));
    let failures = of(probe.failure_threshold, DEFAULT_THRESHOLD);
    let all = of(probe.initial_delay_seconds, 0) + failures * of(probe.period_seconds, DEFAULT_PERIOD);
    let so_far = run_time(walk, status)?.as_secs();
    (so_far < all).then(|| {
        Cause::new(format!(
            "it has run for {so_far} of the {all} s that the probe gives it before it is started again"
        ))
    })
}

/// A container that nothing asks whether it is ready.
fn probeless(walk: &Walk<'_>, status: &ContainerStatus, held: Option<&Container>) -> Cause {
    let container = &status.name;
    let hook = held.and_then(|held| held.lifecycle.as_ref()?.post_start.as_ref());
    match run_time(walk, status).filter(|time| time.as_secs() > 0) {
        _ if hook.is_some() => {
            Cause::new(format!("container {container} runs; it is ready once its postStart hook has ended"))
        }
        Some(time) => Cause::new(format!(
            "container {container} has run for {} s, and its node has not said yet that it is ready",
            time.as_secs()
        )),
        None => Cause::new(format!("container {container} has only just been started")),
    }
}

/// How the run before this one ended, where there was one.
fn restarted(walk: &Walk<'_>, pod: &Pod, status: &ContainerStatus) -> Option<Cause> {
    let end = container::last_run(walk, pod, status).filter(|_| status.restart_count > 0)?;
    let killed = killed(walk, pod, status);
    let times = match status.restart_count {
        1 => "was started again".to_owned(),
        count => format!("was started again {count} times"),
    };
    Some(Cause::new(format!("it {times}")).because([end.because(killed)]))
}

/// That the container's last run was stopped because of a probe, with what that found.
pub(super) fn killed(walk: &Walk<'_>, pod: &Pod, status: &ContainerStatus) -> Option<Cause> {
    let (container, ns) = (status.name.as_str(), namespace(&pod.metadata));
    let began = container::end(status).and_then(|end| end.started_at.as_ref()).map(|time| time.0);
    let is_kill = |said: &str| said.starts_with(&format!("Container {container} failed "));
    let event = walk.event_that_says("Pod", ns, name(&pod.metadata), &["Killing"], is_kill);
    let event = event.filter(|event| !is_before(event, began))?;
    let is_startup = event.message.as_deref().is_some_and(|said| said.contains("startup"));
    let which = if is_startup { "startup" } else { "liveness" };
    let held = container::of(pod, container);
    let probe =
        held.and_then(|c| if is_startup { c.startup_probe.as_ref() } else { c.liveness_probe.as_ref() });
    let how = probe.map_or(String::new(), |probe| format!(" ({})", spoken(probe)));
    let found = failure(walk, pod, container, which, began).and_then(|event| event.message.as_deref());
    let cause = Cause::new(format!("it was stopped because it failed its {which} probe{how}"));
    Some(cause.words(found.map_or("", |said| finding(said, container))))
}

/// What the node told last, and not before `since`, of such a probe of the container. A message that names no
/// container may be about any.
fn failure<'w>(
    walk: &Walk<'w>,
    pod: &Pod,
    container: &str,
    probe: &str,
    since: Option<Timestamp>,
) -> Option<&'w Event> {
    let is_about = |said: &str| {
        let named = said.rsplit_once(" (container ").and_then(|(_, rest)| rest.strip_suffix(')'));
        said.to_lowercase().starts_with(probe) && named.is_none_or(|named| named == container)
    };
    let ns = namespace(&pod.metadata);
    let event = walk.event_that_says("Pod", ns, name(&pod.metadata), &["Unhealthy"], is_about);
    event.filter(|event| !is_before(event, since))
}

/// Whether an event is older than a moment. Of one without a time nobody knows.
fn is_before(event: &Event, moment: Option<Timestamp>) -> bool {
    let told = super::moment(event).map(Timestamp::as_second);
    told.is_some_and(|told| moment.is_some_and(|moment| told < moment.as_second()))
}

/// What a probe found, without saying again which probe of which container.
fn finding<'s>(said: &'s str, container: &str) -> &'s str {
    let said = said.split_once(": ").map_or(said, |(_, rest)| rest);
    let said = said.strip_suffix(&format!(" (container {container})")).unwrap_or(said);
    said.trim_end().trim_end_matches(':')
}
