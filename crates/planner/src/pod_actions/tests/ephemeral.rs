//! Ephemeral containers.

use serde_json::json;

use super::Pod;

fn with_ephemeral(mut pod: Pod) -> Pod {
    let look = json!([{"name": "look", "image": "i", "targetContainerName": "db"}]);
    pod.pod.spec.as_mut().unwrap().ephemeral_containers = serde_json::from_value(look).unwrap();
    pod
}

#[test]
fn an_ephemeral_container_runs_once_and_counts_for_nothing() {
    let pod = with_ephemeral(Pod::one().runs("db", 0));
    insta::assert_snapshot!(pod.told(), @r#"
    do StartContainer { id: ContainerId { name: "look", attempt: 0 }, backoff_step: 0 }
    Running ready=true
    db: running ready=true restarts=0
    look: waiting ContainerCreating ready=false restarts=0
    "#);
    insta::assert_snapshot!(pod.runs("look", 0).told(), @r"
    Running ready=true
    db: running ready=true restarts=0
    look: running ready=false restarts=0
    ");
}

#[test]
fn an_ephemeral_container_that_has_ended_stays_so_also_when_its_sandbox_is_lost() {
    let mut pod = with_ephemeral(Pod::one().runs("db", 0).ended("look", 0, 1));
    insta::assert_snapshot!(pod.told(), @r"
    Running ready=true
    db: running ready=true restarts=0
    look: terminated Error ready=false restarts=0
    ");
    let status = pod.plan().status;
    pod.pod.status = Some(status);
    pod.records.clear();
    let told = pod.told();
    assert!(told.contains("look: terminated Error ready=false"), "{told}");
    assert!(!told.contains("StartContainer { id: ContainerId { name: \"look\""), "{told}");
}
