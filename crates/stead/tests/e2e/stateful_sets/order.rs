//! Up and down, one after another or all at once.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::*;
use crate::harness::Home;

#[test]
fn the_order_goes_on_when_a_predecessor_that_broke_is_mended() {
    let home = Home::new("order-mended");
    let timeline = home.timeline();
    home.create::<StatefulSet>(set("db", 3, held()));
    running(&home, "db-0");
    mend(&home, "db-0");
    running(&home, "db-1");
    // The first breaks while the second comes up.
    spoil(&home, "db-0");
    home.until_one("db-0", "it is not Ready", |pod: &Pod| !is_ready(pod));
    mend(&home, "db-1");
    ready(&home, "db-1");
    home.until_one("db", "the set has seen that", |set: &StatefulSet| {
        status(set).ready_replicas == Some(1) && stands(set, "Progressing", "ScalingUp")
    });
    assert_eq!(names(&pods(&home)), ["db-0", "db-1"], "the third waits for both");
    mend(&home, "db-0");
    running(&home, "db-2");
    mend(&home, "db-2");
    complete(&home, "db");
    let made: Vec<String> = timeline.take().into_iter().filter(|what| what.starts_with(['+', '-'])).collect();
    assert_eq!(made, ["+db-0", "+db-1", "+db-2"], "nothing was made twice");
}

#[test]
fn a_predecessor_that_is_deleted_comes_back_first() {
    let home = Home::new("order-deleted");
    home.create::<StatefulSet>(set("db", 3, held()));
    running(&home, "db-0");
    mend(&home, "db-0");
    running(&home, "db-1");
    let timeline = home.timeline();
    home.run("delete pod db-0");
    running(&home, "db-0");
    mend(&home, "db-1");
    ready(&home, "db-1");
    assert_eq!(names(&pods(&home)), ["db-0", "db-1"]);
    mend(&home, "db-0");
    running(&home, "db-2");
    mend(&home, "db-2");
    complete(&home, "db");
    let seen = timeline.take();
    assert!(
        seen.starts_with(&["db-0 terminating".to_owned(), "-db-0".to_owned(), "+db-0".to_owned()]),
        "{seen:?}"
    );
}

#[test]
fn scaling_goes_in_order_and_halts_while_a_pod_is_unhealthy() {
    let home = Home::new("order-scale");
    home.create::<StatefulSet>(set("db", 3, probed()));
    complete(&home, "db");
    let timeline = home.timeline();
    spoil(&home, "db-1");
    home.until_one("db-1", "it is not Ready", |pod: &Pod| !is_ready(pod));
    home.run("scale sts db --replicas=5");
    home.until_one("db", "the set waits", |set: &StatefulSet| {
        is_observed(set) && status(set).ready_replicas == Some(2) && stands(set, "Progressing", "ScalingUp")
    });
    assert_eq!(names(&pods(&home)), ["db-0", "db-1", "db-2"]);
    timeline.take();
    mend(&home, "db-1");
    complete(&home, "db");
    assert_eq!(timeline.take(), ["db-1 ready", "+db-3", "db-3 ready", "+db-4", "db-4 ready"]);

    spoil(&home, "db-0");
    home.until_one("db-0", "it is not Ready", |pod: &Pod| !is_ready(pod));
    home.run("scale sts db --replicas=2");
    home.until_one("db", "the set waits", |set: &StatefulSet| {
        is_observed(set) && status(set).ready_replicas == Some(4) && stands(set, "Progressing", "ScalingDown")
    });
    assert_eq!(pods(&home).len(), 5, "none goes while one that stays is not well");
    timeline.take();
    mend(&home, "db-0");
    complete(&home, "db");
    let down = |pod: &str| [format!("{pod} terminating"), format!("-{pod}")];
    let expected: Vec<String> = ["db-4", "db-3", "db-2"].into_iter().flat_map(down).collect();
    assert_eq!(timeline.take()[1..], expected);
}

#[test]
fn parallel_sets_scale_at_once_whatever_the_pods_health() {
    let home = Home::new("order-parallel");
    home.create::<StatefulSet>(with(set("db", 3, held()), json!({"podManagementPolicy": "Parallel"})));
    home.until("three, none Ready", |all: &Objects<Pod>| {
        all.len() == 3 && all.values().all(|pod| runs(pod) && !is_ready(pod))
    });
    home.run("scale sts db --replicas=5");
    home.until("five, none Ready", |all: &Objects<Pod>| all.len() == 5 && all.values().all(runs));
    home.run("scale sts db --replicas=1");
    home.until("one is left", |all: &Objects<Pod>| names(all) == ["db-0"]);
    mend(&home, "db-0");
    complete(&home, "db");
}

#[test]
fn one_replica_that_cannot_be_made_holds_up_no_other_of_a_parallel_set() {
    let home = Home::new("order-foreign");
    home.create::<Pod>(json!({"metadata": {"name": "db-1"},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [plain()]}}));
    // The one that is missing counts against the update's budget.
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}});
    let more = json!({"podManagementPolicy": "Parallel", "updateStrategy": strategy});
    home.create::<StatefulSet>(with(set("db", 3, plain()), more));
    ready(&home, "db-0");
    ready(&home, "db-2");
    home.run("scale sts db --replicas=4");
    ready(&home, "db-3");
    home.patch::<StatefulSet>("db", &version("2"));
    home.until_one("db-3", "it is updated", |pod: &Pod| version_of(pod) == "2" && is_ready(pod));
    home.delete::<Pod>("db-1");
    complete(&home, "db");
}

#[test]
fn a_pod_that_the_node_refuses_for_its_host_port_is_made_again_until_the_port_is_free() {
    let home = Home::new("order-port");
    let mut container = plain();
    container["ports"] = json!([{"containerPort": 80, "hostPort": 31_080}]);
    home.create::<Pod>(json!({"metadata": {"name": "holder"},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}));
    let node = ready(&home, "holder").spec.unwrap().node_name;
    let mut db = set("db", 1, container);
    db["spec"]["template"]["spec"]["nodeName"] = json!(node);
    home.create::<StatefulSet>(db);
    let is_refused = |pod: &Pod| {
        phase(pod) == "Failed" && pod.status.as_ref().unwrap().reason.as_deref() == Some("NodePorts")
    };
    let first = home.until_one("db-0", "it is refused", is_refused);
    home.until_one("db-0", "it is made again", |pod: &Pod| uid(pod) != uid(&first));
    home.delete::<Pod>("holder");
    ready(&home, "db-0");
    complete(&home, "db");
}
