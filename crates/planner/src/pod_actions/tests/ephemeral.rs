//! Ephemeral containers.

use serde_json::json;

use super::Pod;

#[test]
fn an_ephemeral_container_runs_once_and_counts_for_nothing() {
    let mut pod = Pod::one().runs("db", 0);
    let look = json!([{"name": "look", "image": "i", "targetContainerName": "db"}]);
    pod.pod.spec.as_mut().unwrap().ephemeral_containers = serde_json::from_value(look).unwrap();
    insta::assert_snapshot!(pod.told(), @"");
    let pod = pod.runs("look", 0);
    insta::assert_snapshot!(pod.told(), @"");
}

#[test]
fn an_ephemeral_container_that_has_ended_stays_so_also_when_its_sandbox_is_lost() {
    let mut pod = Pod::one().runs("db", 0).ended("look", 0, 1);
    let look = json!([{"name": "look", "image": "i"}]);
    pod.pod.spec.as_mut().unwrap().ephemeral_containers = serde_json::from_value(look).unwrap();
    insta::assert_snapshot!(pod.told(), @"");
    let status = pod.plan().status;
    pod.pod.status = Some(status);
    pod.records.clear();
    insta::assert_snapshot!(pod.told(), @"");
}
