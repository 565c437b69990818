//! Everything that waits, each thing once.

use planner::explain::survey;
use serde_json::json;

use super::{after, go_on, with_service};
use crate::sim::Sim;

fn all(sim: &Sim, kind: Option<&str>, namespace: Option<&str>) -> String {
    let found = survey(&sim.world, &[], kind, namespace, sim.now).expect("a kind that is known");
    let chains = found.waiting.iter().map(|explained| explained.chain.to_string());
    format!("{} looked at\n{}", found.looked_at, chains.collect::<String>())
}

#[test]
fn what_is_told_with_another_thing_is_not_told_again() {
    let mut sim = after("set replicas=2 claims\n unready web-0");
    sim.make(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "namespace": "default"},
        "spec": {"nodeSelector": {"disk": "ssd"}, "containers": []}}),
    );
    sim.settle();
    insta::assert_snapshot!(all(&sim, None, Some("default")), @r#"
    5 looked at
    statefulset/web: web-1 waits until web-0 is Ready
    └ pod/web-0 is being started by node node-a
    pod/alone has no node: 0/1 nodes are available
    └ node/node-a lacks the label disk=ssd, which spec.nodeSelector wants
      → change spec.nodeSelector, or: stead label node node-a disk=ssd
    "#);
    insta::assert_snapshot!(all(&sim, Some("sts"), Some("default")), @r#"
    1 looked at
    statefulset/web: web-1 waits until web-0 is Ready
    └ pod/web-0 is being started by node node-a
    "#);
    insta::assert_snapshot!(all(&sim, Some("svc"), Some("default")), @r#"
    1 looked at
    service/web has 0 of 1 pods ready
    └ pod/web-0 is being started by node node-a
    "#);
    insta::assert_snapshot!(all(&sim, None, Some("elsewhere")), @"0 looked at");
}

#[test]
fn nothing_is_said_of_what_is_as_it_should_be() {
    let sim = after("set replicas=1 claims\n ready web-0");
    insta::assert_snapshot!(all(&sim, None, Some("default")), @"4 looked at");
    assert_eq!(survey(&sim.world, &[], Some("cronjob"), None, sim.now), None);
}

#[test]
fn with_all_namespaces_come_nodes_and_volumes() {
    let mut sim = with_service();
    sim.edit("Node", "node-a", |node| node["spec"]["unschedulable"] = true.into());
    go_on(&mut sim, "set replicas=0");
    insta::assert_snapshot!(all(&sim, None, None), @r#"
    4 looked at
    node/node-a, which has 0 pods, is not as it should be
    └ it takes no new pods (spec.unschedulable)
      → let it take pods again: stead patch node node-a -p '{"spec":{"unschedulable":false}}'
    "#);
}
