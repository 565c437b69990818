//! What the node does not take, and that the API always has the node.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::machine::Machine;

fn on_port(port: u16) -> Value {
    let ports = json!([{"containerPort": port, "hostPort": port}]);
    json!({"containers": [{"name": "main", "image": "app", "command": ["run"], "ports": ports}]})
}

fn has_failed(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Failed"))
}

#[test]
fn a_pod_whose_host_port_is_taken_fails_and_its_successor_runs_when_the_port_is_free() {
    let machine = Machine::start();
    let first = machine.create("first", &on_port(8080));
    machine.ready("first");
    let second = machine.create("second", &on_port(8080));
    let status = machine.pod_until("second", has_failed).status.unwrap();
    let why = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
    assert_eq!(status.reason.as_deref(), Some("NodePorts"));
    assert_eq!(status.message, Some(format!("Pod was rejected: {why}")));
    assert_eq!(machine.event("second", "NodePorts"), why);
    assert_eq!(machine.sandboxes(), [first.as_str()], "nothing of it was begun");
    machine.create("third", &on_port(8081));
    machine.ready("third");
    machine.delete("second", 30);
    machine.gone("second", &second);
    machine.delete("first", 1);
    machine.gone("first", &first);
    machine.create("second", &on_port(8080));
    machine.ready("second");
}

#[test]
fn a_pod_that_runs_is_not_refused_by_the_next_stead() {
    let mut machine = Machine::start();
    machine.create("a-later", &on_port(8080));
    machine.ready("a-later");
    machine.crash();
    machine.create("a-first-by-name", &on_port(8080));
    machine.up();
    machine.pod_until("a-first-by-name", has_failed);
    machine.ready("a-later");
}

#[test]
fn a_node_that_somebody_deletes_registers_again() {
    let machine = Machine::start();
    machine.create("db-0", &json!({}));
    machine.ready("db-0");
    let [former, next] = machine.delete_node();
    assert_ne!(former, next);
    machine.create("db-1", &json!({}));
    machine.ready("db-1");
}

#[test]
fn a_node_that_somebody_doubts_says_at_once_that_it_is_well() {
    let machine = Machine::start();
    machine.doubt_node();
}

#[test]
fn a_pod_that_asks_for_other_labels_than_the_node_has_fails() {
    let machine = Machine::start();
    machine.create("db-0", &json!({"nodeSelector": {"disk": "ssd"}}));
    let status = machine.pod_until("db-0", has_failed).status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NodeAffinity"));
    let greedy = json!({"containers": [{"name": "main", "image": "app", "command": ["run"],
        "resources": {"requests": {"cpu": "100k"}}}]});
    machine.create("db-1", &greedy);
    let status = machine.pod_until("db-1", has_failed).status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("OutOfcpu"));
}
