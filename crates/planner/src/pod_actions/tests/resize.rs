//! Other resources for a pod that runs.

use super::*;

/// A pod whose container asks for so much cpu, and that has been given `held`.
fn resized(wanted: &str, held: &str, container: Value) -> Pod {
    let mut container = container;
    container["name"] = "db".into();
    container["resources"] = json!({"requests": {"cpu": wanted}});
    let mut pod =
        Pod::new(&json!({"containers": [container], "terminationGracePeriodSeconds": 30})).runs("db", 0);
    pod.pod.metadata.generation = Some(2);
    pod.records[0].resources = serde_json::from_value(json!({"requests": {"cpu": held}})).unwrap();
    pod
}

/// What is done, what is waited for, and what the conditions of a resize say.
fn resizing(pod: &Pod) -> String {
    let plan = pod.plan();
    let mut out = String::new();
    for action in &plan.actions {
        writeln!(out, "do {action:?}").unwrap();
    }
    for waiting in &plan.waiting_on {
        writeln!(out, "wait {}: {}", waiting.reason, waiting.message).unwrap();
    }
    for condition in plan.status.conditions.iter().flatten().filter(|c| c.type_.starts_with("PodResize")) {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let generation = condition.observed_generation.unwrap();
        writeln!(
            out,
            "{}={} {} {} (generation {generation})",
            condition.type_,
            condition.status,
            text(&condition.reason),
            text(&condition.message)
        )
        .unwrap();
    }
    let status = &plan.status.container_statuses.unwrap()[0];
    writeln!(out, "has {}", serde_json::to_string(&status.resources).unwrap()).unwrap();
    out
}

#[test]
fn a_running_container_is_given_what_its_spec_asks_for() {
    let pod = resized("2", "1", json!({}));
    insta::assert_snapshot!(resizing(&pod), @r#"
    do ResizeContainer { id: ContainerId { name: "db", attempt: 0 } }
    PodResizeInProgress=True   (generation 2)
    has {"requests":{"cpu":"1"}}
    "#);
    insta::assert_snapshot!(resizing(&resized("2", "2000m", json!({}))), @r#"has {"requests":{"cpu":"2000m"}}"#);
}

#[test]
fn what_the_node_does_not_give_is_told_and_changes_nothing() {
    let mut pod = resized("20", "1", json!({}));
    pod.resize_refused =
        Some(ResizeRefusal { reason: reasons::INFEASIBLE, message: "Node didn't have enough".to_owned() });
    insta::assert_snapshot!(resizing(&pod), @r#"
    wait Infeasible: Node didn't have enough
    PodResizePending=True Infeasible Node didn't have enough (generation 2)
    has {"requests":{"cpu":"1"}}
    "#);
    pod.pod.status = Some(pod.plan().status);
    pod.resize_refused = None;
    let after = resizing(&pod);
    assert!(after.contains("PodResizeInProgress") && !after.contains("PodResizePending"), "{after}");
}

#[test]
fn what_the_kernel_refuses_is_told_and_tried_again() {
    let mut pod = resized("2", "1", json!({}));
    pod.resize_error = Some("resizing container db: it is in use");
    insta::assert_snapshot!(resizing(&pod), @r#"
    wait Error: resizing container db: it is in use
    PodResizeInProgress=True Error resizing container db: it is in use (generation 2)
    has {"requests":{"cpu":"1"}}
    "#);
    pod.resize_retry = true;
    insta::assert_snapshot!(resizing(&pod), @r#"
    do ResizeContainer { id: ContainerId { name: "db", attempt: 0 } }
    PodResizeInProgress=True Error resizing container db: it is in use (generation 2)
    has {"requests":{"cpu":"1"}}
    "#);
}

#[test]
fn a_container_whose_policy_says_so_is_started_again_with_its_new_resources_and_without_a_pause() {
    let policy = |resource: &str| json!({"resizePolicy": [{"resourceName": resource, "restartPolicy": "RestartContainer"}]});
    let pod = resized("2", "1", policy("memory"));
    assert!(matches!(&pod.plan().actions[..], [PodAction::ResizeContainer { .. }]), "that is of memory");
    let mut pod = resized("2", "1", policy("cpu"));
    assert!(matches!(&pod.plan().actions[..], [PodAction::KillContainer { grace: 30, message, .. }]
        if message == "resize requires restart"));
    pod = pod.ended("db", 1, 143);
    pod.records[1].resources = pod.records[0].resources.clone();
    pod.records[1].backoff_step = 3;
    assert!(
        matches!(&pod.plan().actions[..], [PodAction::StartContainer { id, backoff_step: 3 }] if id.attempt == 2)
    );
}

#[test]
fn a_pod_that_ends_is_not_resized() {
    let pod = resized("2", "1", json!({})).deleted();
    let said = resizing(&pod);
    assert!(!said.contains("PodResize") && !said.contains("ResizeContainer"), "{said}");
}
