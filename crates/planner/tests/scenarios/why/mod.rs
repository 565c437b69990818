//! What `stead why` says: every state in which something waits comes out with its cause and, where it is known,
//! with what to do.

mod budgets;
mod claims;
mod containers;
mod deployments;
mod endings;
mod images;
mod nodes;
mod page;
mod probes;
mod references;
mod services;
mod sets;
mod survey;

use k8s_openapi::api::core::v1::Event;
use planner::explain::explain;
use serde_json::{Value, json};

use crate::script;
use crate::sim::Sim;

/// A cluster with the headless service `web`, after each line of a script about the set `web`.
fn after(script: &str) -> Sim {
    let mut sim = with_service();
    go_on(&mut sim, script);
    sim
}

pub(crate) fn with_service() -> Sim {
    let mut sim = Sim::new();
    sim.make(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]}}),
    );
    sim.settle();
    sim
}

fn go_on(sim: &mut Sim, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        script::perform(sim, line);
        sim.settle();
    }
}

pub(crate) fn why(sim: &Sim, about: &str) -> String {
    why_with(sim, about, json!([]))
}

fn why_with(sim: &Sim, about: &str, events: Value) -> String {
    let (kind, name) = about.split_once('/').expect("KIND/NAME");
    explain(&sim.world, &typed(events), kind, "default", name, sim.now).to_string()
}

fn typed(events: Value) -> Vec<Event> {
    serde_json::from_value(events).expect("events")
}

/// A Warning about `KIND/NAME`, told at this second of the story.
fn warning(about: &str, second: i64, reason: &str, message: &str) -> Value {
    let (kind, name) = about.split_once('/').expect("KIND/NAME");
    json!({"metadata": {}, "involvedObject": {"kind": kind, "namespace": "default", "name": name},
        "type": "Warning", "reason": reason, "message": message, "lastTimestamp": moment(second)})
}

/// This second of the story, as the API writes it.
fn moment(second: i64) -> String {
    let begin: jiff::Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
    (begin + jiff::SignedDuration::from_secs(second)).to_string()
}

/// The pod's container in this state.
fn container(sim: &mut Sim, pod: &str, status: &Value) {
    let mut held = json!({"name": "web", "image": "web:1", "imageID": "", "ready": false, "restartCount": 0});
    for (field, value) in status.as_object().into_iter().flatten() {
        held[field] = value.clone();
    }
    sim.pod_status(
        pod,
        &json!({"phase": "Running", "podIP": "10.42.0.7", "containerStatuses": [held],
        "conditions": [{"type": "Ready", "status": "False"}]}),
    );
    sim.settle();
}

/// A state of a container that runs since the beginning of the story.
fn running() -> Value {
    json!({"started": true, "state": {"running": {"startedAt": moment(0)}}})
}

/// The template of the set `web` changed before its pods are made.
fn set_with(options: &str, change: impl FnOnce(&mut Value)) -> Sim {
    let mut sim = with_service();
    script::perform(&mut sim, options);
    sim.edit("StatefulSet", "web", |set| change(&mut set["spec"]["template"]["spec"]));
    sim.settle();
    sim
}
