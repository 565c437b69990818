//! A pod's row in `kubectl get`: `printPod` of `pkg/printers/internalversion/printers.go`.

use apimachinery::meta::ObjectExt;
use apimachinery::time;
use jiff::Timestamp;
use serde_json::Value;

use crate::kind::Column;
use crate::print::{self, AGE, NAME, NONE, column, wide};
use crate::value::{items, number, text, truth};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string", "How many of the pod's containers are ready."),
    column("Status", "string", "What the pod's containers are doing, in one word."),
    column("Restarts", "string", "How often the pod's containers were restarted, and when last."),
    AGE,
    wide("IP", "string", "The pod's address."),
    wide("Node", "string", "The node that the pod is bound to."),
    wide("Nominated Node", "string", "The node where room is being made for the pod."),
    wide("Readiness Gates", "string", "How many of the pod's readiness gates are open."),
];

pub(super) fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let summary = Summary::of(pod);
    let restarts = match summary.last_restart {
        Some(then) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, time::human_age(then, now))
        }
        _ => summary.restarts.to_string(),
    };
    let pod_ip = match items(&status["podIPs"]).first() {
        Some(first) => text(&first["ip"]),
        None => text(&status["podIP"]),
    };
    vec![
        print::name(pod),
        format!("{}/{}", summary.ready, summary.containers).into(),
        summary.reason.into(),
        restarts.into(),
        print::age(pod, now),
        print::or_none(pod_ip),
        print::or_none(text(&spec["nodeName"])),
        print::or_none(text(&status["nominatedNodeName"])),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let conditions = items(&pod["status"]["conditions"]);
    let open = gates
        .iter()
        .filter(|gate| conditions.iter().any(|c| c["type"] == gate["conditionType"] && c["status"] == "True"))
        .count();
    format!("{open}/{}", gates.len())
}

/// What the containers' statuses add up to.
struct Summary {
    ready: usize,
    containers: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    reason: String,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let phase = text(&status["phase"]);
        let said = text(&status["reason"]);
        let restartable = items(&spec["initContainers"]).iter().filter(|c| c["restartPolicy"] == "Always");
        let mut summary = Self {
            ready: 0,
            containers: items(&spec["containers"]).len() + restartable.count(),
            restarts: 0,
            last_restart: None,
            reason: if said.is_empty() { phase } else { said }.to_owned(),
        };
        let gated = |c: &Value| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated";
        if items(&status["conditions"]).iter().any(gated) {
            summary.reason = "SchedulingGated".to_owned();
        }
        let sidecars = summary.read_init_containers(pod);
        if let Some((restarts, last_restart)) = sidecars {
            summary.restarts = restarts;
            summary.last_restart = last_restart;
            summary.read_containers(status);
        }
        if pod.is_terminating() {
            if said == "NodeLost" {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(phase, "Failed" | "Succeeded") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    /// Reads the init containers in order up to the first that is not done. When the pod has got past them,
    /// returns the restarts of those that keep running beside the regular ones.
    fn read_init_containers(&mut self, pod: &Value) -> Option<(i64, Option<Timestamp>)> {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let init = items(&spec["initContainers"]);
        let is_sidecar =
            |name: &str| init.iter().any(|c| c["name"] == name && c["restartPolicy"] == "Always");
        let (mut sidecar_restarts, mut sidecar_last) = (0, None);
        let mut initializing = false;
        for (i, container) in items(&status["initContainerStatuses"]).iter().enumerate() {
            let sidecar = is_sidecar(text(&container["name"]));
            self.count_restarts(container);
            if sidecar {
                sidecar_restarts += number(&container["restartCount"]);
                sidecar_last = sidecar_last.max(last_finished(container));
            }
            let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
            if !terminated.is_null() && number(&terminated["exitCode"]) == 0 {
                continue;
            }
            if sidecar && truth(&container["started"]) {
                self.ready += usize::from(truth(&container["ready"]));
                continue;
            }
            let waits_for = text(&waiting["reason"]);
            self.reason = if !terminated.is_null() {
                format!("Init:{}", exit_reason(terminated))
            } else if !waits_for.is_empty() && waits_for != "PodInitializing" {
                format!("Init:{waits_for}")
            } else {
                format!("Init:{i}/{}", init.len())
            };
            initializing = true;
            break;
        }
        let initialized = has_condition(status, "Initialized");
        (!initializing || initialized).then_some((sidecar_restarts, sidecar_last))
    }

    fn read_containers(&mut self, status: &Value) {
        let mut has_running = false;
        // Upstream reads them backwards, so that the first container's reason is the one shown.
        for container in items(&status["containerStatuses"]).iter().rev() {
            self.count_restarts(container);
            let state = &container["state"];
            let waits_for = text(&state["waiting"]["reason"]);
            if !waits_for.is_empty() {
                self.reason = waits_for.to_owned();
            } else if !state["terminated"].is_null() {
                self.reason = exit_reason(&state["terminated"]);
            } else if truth(&container["ready"]) && !state["running"].is_null() {
                has_running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && has_running {
            let ready = has_condition(status, "Ready");
            self.reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }

    fn count_restarts(&mut self, container: &Value) {
        self.restarts += number(&container["restartCount"]);
        self.last_restart = self.last_restart.max(last_finished(container));
    }
}

/// When the run before the present one ended.
fn last_finished(container: &Value) -> Option<Timestamp> {
    time::parse(text(&container["lastState"]["terminated"]["finishedAt"]))
}

/// Why a container ended: its reason, else its signal, else its exit code.
fn exit_reason(terminated: &Value) -> String {
    let reason = text(&terminated["reason"]);
    if !reason.is_empty() {
        return reason.to_owned();
    }
    match number(&terminated["signal"]) {
        0 => format!("ExitCode:{}", number(&terminated["exitCode"])),
        signal => format!("Signal:{signal}"),
    }
}

fn has_condition(status: &Value, which: &str) -> bool {
    items(&status["conditions"]).iter().any(|c| c["type"] == which && c["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Ready, status and restarts of a pod with this much of a spec and status, at noon.
    fn check(pod: &Value, expect: [&str; 3]) {
        let now = "2026-01-01T12:00:00Z".parse().expect("a time");
        let cells = row(pod, now);
        let shown: Vec<&str> = cells[1..4].iter().filter_map(Value::as_str).collect();
        assert_eq!(shown, expect, "{pod}");
    }

    fn with_containers(statuses: &Value) -> Value {
        let containers: Vec<Value> = items(statuses).iter().map(|s| json!({"name": s["name"]})).collect();
        json!({
            "spec": {"containers": containers},
            "status": {"phase": "Running", "containerStatuses": statuses},
        })
    }

    #[test]
    fn a_pod_that_nobody_has_looked_at_is_pending() {
        check(
            &json!({"spec": {"containers": [{}]}, "status": {"phase": "Pending"}}),
            ["0/1", "Pending", "0"],
        );
    }

    #[test]
    fn the_status_says_what_holds_the_pod_up() {
        let waiting = |reason: &str| {
            with_containers(&json!([{"name": "a", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason}}}]))
        };
        check(&waiting("ContainerCreating"), ["0/1", "ContainerCreating", "0"]);
        check(&waiting("ErrImagePull"), ["0/1", "ErrImagePull", "0"]);
        check(
            &with_containers(&json!([
                {"name": "a", "ready": true, "state": {"running": {}}},
                {"name": "b", "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T11:59:55Z"}}},
            ])),
            ["1/2", "CrashLoopBackOff", "3 (5s ago)"],
        );
    }

    #[test]
    fn ended_containers_say_how() {
        let ended = |terminated: Value| {
            with_containers(&json!([{"name": "a", "ready": false, "state": {"terminated": terminated}}]))
        };
        check(&ended(json!({"exitCode": 0, "reason": "Completed"})), ["0/1", "Completed", "0"]);
        check(&ended(json!({"exitCode": 137, "reason": "OOMKilled"})), ["0/1", "OOMKilled", "0"]);
        check(&ended(json!({"exitCode": 2})), ["0/1", "ExitCode:2", "0"]);
        check(&ended(json!({"exitCode": 137, "signal": 9})), ["0/1", "Signal:9", "0"]);
    }

    #[test]
    fn one_completed_container_beside_a_running_one_is_running_or_not_ready() {
        let mut pod = with_containers(&json!([
            {"name": "a", "ready": false, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
            {"name": "b", "ready": true, "state": {"running": {}}},
        ]));
        check(&pod.clone(), ["1/2", "NotReady", "0"]);
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        check(&pod, ["1/2", "Running", "0"]);
    }

    #[test]
    fn init_containers_are_counted_until_done() {
        let init = |statuses: Value| {
            json!({
                "spec": {"containers": [{"name": "main"}], "initContainers": [{"name": "a"}, {"name": "b"}]},
                "status": {"phase": "Pending", "initContainerStatuses": statuses, "containerStatuses": [
                    {"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}]},
            })
        };
        let done = json!({"name": "a", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        check(
            &init(
                json!([{"name": "a", "state": {"running": {}}}, {"name": "b", "state": {"waiting": {"reason": "PodInitializing"}}}]),
            ),
            ["0/1", "Init:0/2", "0"],
        );
        check(&init(json!([done, {"name": "b", "state": {"running": {}}}])), ["0/1", "Init:1/2", "0"]);
        check(
            &init(
                json!([done, {"name": "b", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]),
            ),
            ["0/1", "Init:CrashLoopBackOff", "2"],
        );
        check(
            &init(json!([done, {"name": "b", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}])),
            ["0/1", "Init:Error", "0"],
        );
        let all = json!([done, {"name": "b", "state": {"terminated": {"exitCode": 0}}}]);
        check(&init(all), ["0/1", "PodInitializing", "0"]);
    }

    #[test]
    fn restarts_of_init_containers_are_forgotten_once_the_pod_runs_but_those_of_sidecars_are_not() {
        let pod = json!({
            "spec": {"containers": [{"name": "main"}],
                     "initContainers": [{"name": "once"}, {"name": "beside", "restartPolicy": "Always"}]},
            "status": {"phase": "Running",
                "initContainerStatuses": [
                    {"name": "once", "restartCount": 5, "state": {"terminated": {"exitCode": 0}}},
                    {"name": "beside", "restartCount": 2, "started": true, "ready": true, "state": {"running": {}},
                     "lastState": {"terminated": {"finishedAt": "2026-01-01T11:58:00Z"}}}],
                "containerStatuses": [{"name": "main", "ready": true, "restartCount": 1, "state": {"running": {}}}]},
        });
        check(&pod, ["2/2", "Running", "3 (2m ago)"]);
    }

    #[test]
    fn a_pod_on_its_way_out_is_terminating_unless_it_has_ended() {
        let mut pod = with_containers(&json!([{"name": "a", "ready": true, "state": {"running": {}}}]));
        pod["metadata"] = json!({"deletionTimestamp": "2026-01-01T11:59:00Z"});
        check(&pod.clone(), ["1/1", "Terminating", "0"]);
        pod["status"]["reason"] = "NodeLost".into();
        check(&pod.clone(), ["1/1", "Unknown", "0"]);
        pod["status"] = json!({"phase": "Failed", "reason": "Evicted"});
        check(&pod, ["0/1", "Evicted", "0"]);
    }
}
