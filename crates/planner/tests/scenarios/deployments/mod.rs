//! Stories about one Deployment `web`: pods are called by the order in which they came (`web-r1-1` is the first
//! pod, and of the first template), and a kubelet does what the story tells it.

mod properties;
mod stories;

use serde_json::{Value, json};

use crate::sim::Sim;

/// What the log tells of.
const TOLD: &[&str] = &["pod/", "replicaset/"];

/// Tells the story: each line of `script` is done, the planners come to rest, and what they did follows. What a
/// line with a `~` in front leads to is not told.
fn tell(script: &str) -> String {
    let mut sim = Sim::new();
    let mut told = String::new();
    let mut seen: Vec<String> = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        sim.log.clear();
        sim.events.clear();
        let (is_told, line) = line.strip_prefix("~ ").map_or((true, line), |line| (false, line));
        perform(&mut sim, line);
        sim.settle();
        seen.extend(
            sim.names("ReplicaSet").into_iter().filter(|name| !seen.contains(name)).collect::<Vec<_>>(),
        );
        if !is_told {
            continue;
        }
        let mut lines = vec![format!("> {line}")];
        lines.extend(sim.log.iter().filter(|line| TOLD.iter().any(|word| line.contains(word))).cloned());
        let scaled = sim.events.iter().filter_map(|event| event.strip_prefix("ScalingReplicaSet "));
        lines.extend(scaled.map(|event| format!("! {event}")));
        lines.extend(waits(&sim));
        lines.push(status(&sim));
        told += &(lines.join("\n") + "\n");
    }
    // Templates by the order in which they came: their hashes say nothing.
    for (index, name) in seen.iter().enumerate() {
        told = told.replace(name.as_str(), &format!("web-r{}", index + 1));
    }
    told
}

/// The pod that came as the nth; `None` when it is gone.
fn pod(sim: &Sim, number: &str) -> Option<String> {
    sim.names("Pod").into_iter().find(|name| name.rsplit('-').next() == Some(number))
}

fn perform(sim: &mut Sim, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let word = words.get(1).copied().unwrap_or_default();
    let pods = |sim: &Sim| -> Vec<String> {
        let named = words[1..].iter();
        named.map(|number| pod(sim, number).unwrap_or_else(|| panic!("no pod {number}"))).collect()
    };
    let number = || word.parse::<i64>().unwrap_or_else(|_| panic!("{word} is no number"));
    match words[0] {
        "deployment" => {
            sim.make(deployment(&words[1..]));
        }
        "replicas" => sim.edit("Deployment", "web", |d| d["spec"]["replicas"] = number().into()),
        "image" => sim.edit("Deployment", "web", |d| {
            d["spec"]["template"]["spec"]["containers"][0]["image"] = word.into();
        }),
        "pause" => sim.edit("Deployment", "web", |d| d["spec"]["paused"] = true.into()),
        "resume" => sim.edit("Deployment", "web", |d| d["spec"]["paused"] = false.into()),
        "ready" => pods(sim).iter().for_each(|pod| sim.ready(pod)),
        "crash" => pods(sim).iter().for_each(|pod| {
            sim.pod_status(
                pod,
                &json!({"phase": "Running", "podIP": "10.42.0.9",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"name": "web", "image": "web:1", "imageID": "", "ready": false,
                    "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            );
        }),
        "delete" => pods(sim).iter().for_each(|pod| sim.remove("Pod", pod, &[])),
        "finish" => pods(sim).iter().for_each(|pod| sim.finish(pod)),
        "finish-all" => {
            for pod in sim.names("Pod") {
                if is_terminating(sim.pod(&pod).expect("a pod")) {
                    sim.finish(&pod);
                }
            }
        }
        "delete-deployment" => sim.remove("Deployment", "web", &[]),
        "tick" => sim.tick(number()),
        other => panic!("no such verb: {other}"),
    }
}

/// `replicas=3 surge=1 unavailable=0 recreate min-ready=10 history=1 deadline=60`.
fn deployment(options: &[&str]) -> Value {
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "annotations": {"team": "a"}},
        "spec": {
            "replicas": 3, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                         "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
        },
    });
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let amount = || value.parse::<i64>().map_or(Value::from(value), Value::from);
        let spec = &mut deployment["spec"];
        match name {
            "replicas" => spec["replicas"] = amount(),
            "surge" => spec["strategy"]["rollingUpdate"]["maxSurge"] = amount(),
            "unavailable" => spec["strategy"]["rollingUpdate"]["maxUnavailable"] = amount(),
            "recreate" => spec["strategy"] = json!({"type": "Recreate"}),
            "min-ready" => spec["minReadySeconds"] = amount(),
            "history" => spec["revisionHistoryLimit"] = amount(),
            "deadline" => spec["progressDeadlineSeconds"] = amount(),
            other => panic!("no such option: {other}"),
        }
    }
    deployment
}

fn waits(sim: &Sim) -> Vec<String> {
    let plans = sim.all_plans().into_iter().filter(|(planner, ..)| *planner == "deployment-controller");
    let waiting = plans.flat_map(|(_, _, plan)| plan.waiting_on);
    waiting.map(|waiting| format!("  {}: {}", waiting.reason, waiting.message)).collect()
}

/// `= 3 pods, 1 updated, 2 available; Progressing True ReplicaSetUpdated` from the status that was written.
fn status(sim: &Sim) -> String {
    let Some(deployment) = sim.get("Deployment", "default", "web") else { return "= none".to_owned() };
    let status = &deployment["status"];
    assert_eq!(status["observedGeneration"], deployment["metadata"]["generation"]);
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let condition = |kind: &str| {
        let held = conditions.iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default();
        let word = |field: &str| held[field].as_str().unwrap_or_default().to_owned();
        format!("{kind} {} {}", word("status"), word("reason"))
    };
    let available = match condition("Available").contains("True") {
        true => "",
        false => ", not enough",
    };
    format!(
        "= {} pods, {} updated, {} available{available}; {}",
        count("replicas"),
        count("updatedReplicas"),
        count("availableReplicas"),
        condition("Progressing")
    )
}

fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn annotation<'v>(object: &'v Value, key: &str) -> &'v str {
    object["metadata"]["annotations"][key].as_str().unwrap_or_default()
}
