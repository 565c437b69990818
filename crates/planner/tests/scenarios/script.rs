//! Stories about one set `web`, as text: what somebody does, and what the planners make of it.

use serde_json::{Value, json};

use crate::sim::Sim;

/// A finalizer of somebody who still needs a claim that is being deleted.
const BACKUP: &str = "example.com/backup";

/// What the log tells of; all else would only be noise in a story about a set.
const TOLD: &[&str] = &["pod/", "claim/", "revision ", "the data of"];

/// Tells the story: each line of `script` is done, the planners come to rest, and what they did follows.
///
/// The first line makes the set: `set` and options (`replicas=3 claims parallel min-ready=10 start=5
/// partition=1 max-unavailable=2 bare on-delete when-scaled=Delete when-deleted=Delete history=1`). What a line
/// with a `~` in front leads to is not told: that is how the story begins. `up` is `set`, and then all pods are
/// made Ready.
pub(crate) fn tell(script: &str) -> String {
    let mut sim = Sim::new();
    let mut told = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        sim.log.clear();
        let (is_told, line) = line.strip_prefix("~ ").map_or((true, line), |line| (false, line));
        perform(&mut sim, line);
        sim.settle();
        if !is_told {
            // Revisions are still numbered by when they came.
            status(&mut sim);
            continue;
        }
        told += &format!("> {line}\n");
        let lines = sim.log.clone();
        for line in lines.iter().filter(|line| TOLD.iter().any(|word| line.contains(word))) {
            told += &format!("{line}\n");
        }
        told += &waits(&sim);
        told += &status(&mut sim);
    }
    told
}

/// Does one line of a script.
pub(crate) fn perform(sim: &mut Sim, line: &str) {
    let mut words = line.split_whitespace();
    let verb = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let pod = rest.first().copied().unwrap_or_default();
    match verb {
        "set" => {
            sim.make(set(&rest));
        }
        "up" => bring_up(sim, set(&rest)),
        "replicas" => sim.edit("StatefulSet", "web", |set| set["spec"]["replicas"] = number(pod)),
        "start" => {
            sim.edit("StatefulSet", "web", |set| set["spec"]["ordinals"] = json!({"start": number(pod)}));
        }
        "image" => sim.edit("StatefulSet", "web", |set| {
            set["spec"]["template"]["spec"]["containers"][0]["image"] = pod.into();
        }),
        "partition" => sim.edit("StatefulSet", "web", |set| {
            set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = number(pod);
        }),
        "reserve" => annotate(sim, "stead.dev/reserve-ordinals", pod.into()),
        "pause" => annotate(sim, "stead.dev/paused", "true".into()),
        "resume" => annotate(sim, "stead.dev/paused", Value::Null),
        "ready" => rest.iter().for_each(|pod| sim.ready(pod)),
        "unready" => sim.pod_status(
            pod,
            &json!({"phase": "Running", "podIP": "10.42.0.9",
            "conditions": [{"type": "Ready", "status": "False"}]}),
        ),
        "crash" => sim.pod_status(
            pod,
            &json!({"phase": "Running", "podIP": "10.42.0.9",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [{"name": "web", "image": "web:1", "imageID": "", "ready": false,
                "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
        ),
        "fail" => sim.pod_status(pod, &json!({"phase": "Failed"})),
        "finish" => rest.iter().for_each(|pod| sim.finish(pod)),
        "delete" => sim.remove("Pod", pod, &[]),
        "delete-claim" => sim.remove("PersistentVolumeClaim", pod, &[BACKUP]),
        "release-claim" => sim.edit("PersistentVolumeClaim", pod, |claim| {
            if let Some(held) = claim["metadata"]["finalizers"].as_array_mut() {
                held.retain(|finalizer| finalizer != BACKUP);
            }
        }),
        "delete-set" => {
            let finalizers: &[&str] = if rest.is_empty() { &[] } else { &rest };
            sim.remove("StatefulSet", "web", finalizers);
        }
        "foreign" => {
            sim.make(
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": "default",
                "labels": {"app": "other"}}, "spec": {"nodeName": "node-a", "containers": []}}),
            );
        }
        "orphan" => {
            sim.make(
                json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": "default",
                "labels": {"app": "web"}}, "spec": {"nodeName": "node-a", "containers": []}}),
            );
        }
        "label" => sim.edit("Pod", pod, |object| object["metadata"]["labels"]["app"] = rest[1].into()),
        "tick" => sim.tick(pod.parse().expect("seconds")),
        other => panic!("no such verb: {other}"),
    }
}

fn annotate(sim: &mut Sim, key: &str, value: Value) {
    sim.edit("StatefulSet", "web", |set| {
        set["metadata"]["annotations"][key] = value;
        let held = set["metadata"]["annotations"].as_object_mut();
        held.into_iter().for_each(|held| held.retain(|_, value| !value.is_null()));
    });
}

/// Makes the set, and lets the kubelet bring up one pod after the other.
fn bring_up(sim: &mut Sim, set: Value) {
    let count = |value: &Value, otherwise| value.as_i64().unwrap_or(otherwise);
    let (start, replicas) = (count(&set["spec"]["ordinals"]["start"], 0), count(&set["spec"]["replicas"], 1));
    sim.make(set);
    for ordinal in start..start + replicas {
        sim.settle();
        sim.ready(&format!("web-{ordinal}"));
    }
}

fn number(text: &str) -> Value {
    text.parse::<i64>().unwrap_or_else(|_| panic!("{text} is no number")).into()
}

fn set(options: &[&str]) -> Value {
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "replicas": 3, "serviceName": "web", "podManagementPolicy": "OrderedReady",
            "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {"metadata": {"labels": {"app": "web"}},
                         "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
        },
    });
    for option in options {
        if let Some(reserved) = option.strip_prefix("reserve=") {
            set["metadata"]["annotations"]["stead.dev/reserve-ordinals"] = reserved.into();
            continue;
        }
        let spec = &mut set["spec"];
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "replicas" => spec["replicas"] = number(value),
            "claims" => {
                spec["volumeClaimTemplates"] = json!([{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local",
                         "resources": {"requests": {"storage": "1Gi"}}}}]);
            }
            "parallel" => spec["podManagementPolicy"] = "Parallel".into(),
            "min-ready" => spec["minReadySeconds"] = number(value),
            "start" => spec["ordinals"] = json!({"start": number(value)}),
            "partition" => spec["updateStrategy"]["rollingUpdate"]["partition"] = number(value),
            "max-unavailable" => spec["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = number(value),
            "bare" => spec["updateStrategy"] = json!({"type": "RollingUpdate"}),
            "on-delete" => spec["updateStrategy"] = json!({"type": "OnDelete"}),
            "when-scaled" => spec["persistentVolumeClaimRetentionPolicy"]["whenScaled"] = value.into(),
            "when-deleted" => spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] = value.into(),
            "history" => spec["revisionHistoryLimit"] = number(value),
            other => panic!("no such option: {other}"),
        }
    }
    set
}

fn waits(sim: &Sim) -> String {
    let mut told = String::new();
    for (planner, _, plan) in sim.all_plans() {
        for waiting in plan.waiting_on.iter().filter(|_| planner == "statefulset-controller") {
            told += &format!("  {}: {}\n", waiting.reason, waiting.message);
        }
    }
    told
}

/// `  3 pods, 2 ready, 2 available, 1 of r1, 2 of r2` from the status that was written.
fn status(sim: &mut Sim) -> String {
    let Some(set) = sim.get("StatefulSet", "default", "web") else { return "  no set\n".to_owned() };
    let status = set["status"].clone();
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let current = sim.spoken_revision(status["currentRevision"].as_str().unwrap_or_default());
    let update = sim.spoken_revision(status["updateRevision"].as_str().unwrap_or_default());
    let mut told = format!("  = {} pods, {} ready", count("replicas"), count("readyReplicas"));
    if count("availableReplicas") != count("readyReplicas") {
        told += &format!(", {} available", count("availableReplicas"));
    }
    told += &format!(", {} of {current}", count("currentReplicas"));
    if current != update {
        told += &format!(", {} of {update}", count("updatedReplicas"));
    }
    told + "\n"
}
