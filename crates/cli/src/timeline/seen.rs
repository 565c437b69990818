//! What nobody writes down: it can only be seen happening.

use serde_json::Value;

use super::{list, text};

/// What became of an object between two looks at it.
pub(super) fn changes(before: &Value, now: &Value) -> Vec<String> {
    match now["kind"].as_str() {
        Some("Pod") => probes(before, now),
        Some("PersistentVolumeClaim") if now["status"]["phase"] != before["status"]["phase"] => bound(now),
        _ => Vec::new(),
    }
}

fn bound(claim: &Value) -> Vec<String> {
    let volume = text(&claim["spec"]["volumeName"]);
    match claim["status"]["phase"].as_str() {
        Some("Bound") => vec![format!("bound to {volume}")],
        Some("Lost") => vec![format!("Lost: volume {volume} is gone")],
        _ => Vec::new(),
    }
}

/// Probes of running containers that have begun to succeed or to fail.
fn probes(before: &Value, now: &Value) -> Vec<String> {
    let mut told = Vec::new();
    for container in list(&now["spec"]["containers"]).iter().chain(list(&now["spec"]["initContainers"])) {
        let name = text(&container["name"]);
        let (old, new) = (status(before, name), status(now, name));
        // Another run begins anew.
        if !new["state"]["running"].is_object() || old["containerID"] != new["containerID"] {
            continue;
        }
        if container["startupProbe"].is_object() && old["started"] != true && new["started"] == true {
            told.push(format!("container {name} passed its startup probe"));
        }
        if container["readinessProbe"].is_object() && old["ready"] != new["ready"] {
            let verb = if new["ready"] == true { "passed" } else { "fails" };
            told.push(format!("container {name} {verb} its readiness probe"));
        }
    }
    told
}

fn status<'p>(pod: &'p Value, container: &str) -> &'p Value {
    let lists = ["containerStatuses", "initContainerStatuses"];
    let mut statuses = lists.iter().flat_map(|name| list(&pod["status"][*name]));
    statuses.find(|status| status["name"] == container).unwrap_or(&Value::Null)
}
