//! What containers wrote last before they failed: the nearest to a reason where they left none themselves.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use crate::session::Session;

/// The logs of at most so many containers are read for their last words.
const MOST_LOGS: usize = 8;
/// How many lines of a log are last words.
const LAST_LINES: &str = "5";

/// Puts the end of the log into statuses of containers that have failed without a termination message: what a
/// program said last is the nearest to its reason. A log that cannot be read is no loss.
///
/// Pods of `namespace`, or all, are looked at; those of `target` first.
pub(super) async fn add(session: &Session, namespace: Option<&str>, target: &Value, pods: &mut [Value]) {
    let Ok(resource) = session.resource("pods").await else { return };
    // Those that are asked about come first: the number of logs is limited.
    let is_asked_about = |pod: &Value| {
        pod.uid() == target.uid() || pod.owner_references().iter().any(|owner| owner["uid"] == *target.uid())
    };
    let is_near = |pod: &Value| namespace.is_none_or(|namespace| pod.namespace() == namespace);
    let mut order: Vec<usize> = (0..pods.len()).filter(|index| is_near(&pods[*index])).collect();
    order.sort_by_key(|index| !is_asked_about(&pods[*index]));
    let mut left = MOST_LOGS;
    for index in order {
        let pod = &mut pods[index];
        let (pod_namespace, pod_name) = (pod.namespace().to_owned(), pod.name().to_owned());
        for list in ["initContainerStatuses", "containerStatuses"] {
            for status in pod["status"][list].as_array_mut().into_iter().flatten() {
                let Some((end, previous)) = wordless_end(status) else { continue };
                if left == 0 {
                    return;
                }
                left -= 1;
                let container = status["name"].as_str().unwrap_or_default();
                let log = resource.part_url(&pod_namespace, &pod_name, "log").with("container", container);
                let log = log.with("tailLines", LAST_LINES).flag("previous", previous);
                let said = session.api.get_text(&log).await;
                if let (Ok(said), Some(message)) = (said, status.pointer_mut(end)) {
                    *message = said.into();
                }
            }
        }
    }
}

/// Where the message of a failed run is missing, and whether that run is not the container's last any more.
fn wordless_end(status: &mut Value) -> Option<(&'static str, bool)> {
    let places = [
        ("/state/terminated", "/state/terminated/message"),
        ("/lastState/terminated", "/lastState/terminated/message"),
    ];
    if status["ready"] == true {
        return None;
    }
    let (place, message) = places.into_iter().find(|(place, _)| status.pointer(place).is_some())?;
    let end = status.pointer_mut(place)?;
    let said = end["message"].as_str().unwrap_or_default();
    if end["exitCode"] == 0 || !said.is_empty() {
        return None;
    }
    end["message"] = "".into();
    // While a container waits for its restart, its last run still counts as the previous one.
    Some((message, place.starts_with("/last")))
}
