//! From what the runtime says of containers to the planner's records.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use k8s_openapi::api::core::v1::{Container, Pod};
use planner::pod_actions::{ContainerId, Record, RecordState, ephemeral_containers};
use runtime::{ContainerState, ContainerStatus};

use crate::container_config::kept;

/// The most that a container may leave as its last words, in bytes (upstream's `MaxContainerTerminationMessageLength`).
const MAX_MESSAGE: u64 = 4096;
/// The most that is taken from the log instead (`MaxContainerTerminationMessageLogLength`).
const MAX_MESSAGE_FROM_LOG: usize = 2048;

/// The record of one run; `None` for containers that the node did not make.
pub(crate) fn record(pod: &Pod, status: &ContainerStatus) -> Option<Record> {
    let kept = |key: &str| status.config.annotations.get(key).cloned();
    let id = ContainerId { name: kept(kept::NAME)?, attempt: kept(kept::ATTEMPT)?.parse().ok()? };
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    Some(Record {
        state: state(pod, &id, status),
        backoff_step: kept(kept::BACKOFF_STEP).and_then(|s| s.parse().ok()).unwrap_or(0),
        container_id: format!("stead://{uid}/{}", status.config.id),
        image: kept(kept::IMAGE).unwrap_or_default(),
        image_id: kept(kept::IMAGE_ID).unwrap_or_default(),
        resources: match kept(kept::RESOURCES) {
            Some(text) => serde_json::from_str::<Option<_>>(&text).ok().flatten().unwrap_or_default(),
            // An older stead made it, which never changed any.
            None => find(pod, &id.name).and_then(|c| c.resources.clone()).unwrap_or_default(),
        },
        id,
    })
}

fn state(pod: &Pod, id: &ContainerId, status: &ContainerStatus) -> RecordState {
    match &status.state {
        ContainerState::Created => RecordState::Created,
        ContainerState::Running { started_at, .. } => RecordState::Running { started_at: *started_at },
        ContainerState::Exited { started_at, finished_at, exit_code, signal, oom_killed, message } => {
            let reason = match (oom_killed, exit_code) {
                (true, _) => "OOMKilled",
                (_, 0) => "Completed",
                _ => "Error",
            };
            let message =
                if message.is_empty() { last_words(pod, id, status, *exit_code) } else { message.clone() };
            RecordState::Exited {
                started_at: *started_at,
                finished_at: *finished_at,
                exit_code: *exit_code,
                signal: *signal,
                reason: reason.to_owned(),
                message,
            }
        }
    }
}

/// What the container left in its termination message file, or the end of its log where it asked for that.
fn last_words(pod: &Pod, id: &ContainerId, status: &ContainerStatus, exit_code: i32) -> String {
    let path = status.config.annotations.get(kept::TERMINATION_MESSAGE);
    let written = path.map(|path| beginning(Path::new(path))).unwrap_or_default();
    let from_log = find(pod, &id.name)
        .is_some_and(|c| c.termination_message_policy.as_deref() == Some("FallbackToLogsOnError"));
    if written.is_empty() && from_log && exit_code != 0 {
        return end_of_log(&status.config.log_path);
    }
    written
}

fn beginning(path: &Path) -> String {
    let mut bytes = Vec::new();
    match std::fs::File::open(path).map(|file| file.take(MAX_MESSAGE).read_to_end(&mut bytes)) {
        Ok(Ok(_)) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}

fn end_of_log(path: &Path) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
    let plain: String = lines.flat_map(|line| [line, "\n"]).collect();
    let from = plain.len().saturating_sub(MAX_MESSAGE_FROM_LOG);
    let from = (from..plain.len()).find(|at| plain.is_char_boundary(*at)).unwrap_or(plain.len());
    plain[from..].to_owned()
}

/// A container of the pod's spec, by name.
pub(crate) fn find<'a>(pod: &'a Pod, name: &str) -> Option<Cow<'a, Container>> {
    all_containers(pod).into_iter().find(|c| c.name == name)
}

/// All containers of the pod's spec.
pub(crate) fn all_containers(pod: &Pod) -> Vec<Cow<'_, Container>> {
    let spec = pod.spec.iter();
    let lasting = spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    lasting.map(Cow::Borrowed).chain(ephemeral_containers(pod).into_iter().map(Cow::Owned)).collect()
}
