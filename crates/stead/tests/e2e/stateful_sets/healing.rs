//! A rollout that goes wrong, and what becomes of it when a better one is applied.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::harness::Home;

/// A template with this container and version.
fn template(number: &str, container: &Value) -> Value {
    let mut patch = version(number);
    patch["spec"]["template"]["spec"] = json!({"containers": [container]});
    patch
}

/// Rolls out a container that cannot run, which must stall for one of these reasons; then a good one.
fn heals(namespace: &str, policy: &str, bad: &Value, reasons: &[&str]) {
    let home = Home::new(namespace);
    home.create::<StatefulSet>(with(set("db", 3, plain()), json!({"podManagementPolicy": policy})));
    complete(&home, "db");
    let timeline = home.timeline();
    home.patch::<StatefulSet>("db", &template("bad", bad));
    home.until_one("db", "the rollout has stalled", |set: &StatefulSet| {
        standing(set, "Stalled")
            .is_some_and(|(holds, why)| holds == "True" && reasons.contains(&why.as_str()))
    });
    assert_eq!(timeline.take(), ["db-2 terminating", "-db-2", "+db-2"], "one is hurt and no more");
    home.patch::<StatefulSet>("db", &template("good", &plain()));
    let set = complete(&home, "db");
    assert_eq!(standing(&set, "Stalled").unwrap().0, "False");
    let seen: Vec<String> = timeline.take().into_iter().filter(|what| what.starts_with('+')).collect();
    assert_eq!(seen, ["+db-2", "+db-1", "+db-0"], "nobody deleted a pod");
    assert!(pods(&home).values().all(|pod| version_of(pod) == "good"));
}

#[test]
fn an_image_that_does_not_exist_stalls_and_a_good_one_heals() {
    let mut bad = plain();
    // Nobody listens there.
    bad["image"] = "127.0.0.1:1/nothing:1".into();
    heals("heal-image", "OrderedReady", &bad, &["ErrImagePull", "ImagePullBackOff"]);
}

#[test]
fn a_crash_loop_stalls_and_a_good_template_heals() {
    // Without a probe it would be Ready for a moment, and the next would go.
    let mut bad = held();
    bad["command"] = json!(["sh", "-c", "echo no such luck; exit 3"]);
    heals("heal-crash", "Parallel", &bad, &["CrashLoopBackOff"]);
}

#[test]
fn a_missing_secret_stalls_and_a_good_template_heals() {
    let mut bad = plain();
    bad["env"] = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "a"}}}]);
    heals("heal-secret", "OrderedReady", &bad, &["CreateContainerConfigError"]);
}

#[test]
fn a_pod_that_no_node_has_room_for_stalls_and_a_good_template_heals() {
    let mut bad = plain();
    bad["resources"] = json!({"requests": {"cpu": "10k"}});
    heals("heal-room", "Parallel", &bad, &["Unschedulable"]);
}

#[test]
fn a_paused_set_leaves_even_a_stuck_pod_alone() {
    let home = Home::new("heal-paused");
    home.create::<StatefulSet>(set("db", 2, plain()));
    complete(&home, "db");
    let mut bad = plain();
    bad["image"] = "127.0.0.1:1/nothing:1".into();
    home.patch::<StatefulSet>("db", &template("bad", &bad));
    home.until_one("db", "the rollout has stalled", |set: &StatefulSet| {
        standing(set, "Stalled").is_some_and(|(holds, _)| holds == "True")
    });
    let stuck = home.get::<Pod>("db-1");
    home.run("annotate sts db stead.dev/paused=true");
    home.patch::<StatefulSet>("db", &template("good", &plain()));
    observed(&home, "db");
    assert_eq!(uid(&home.get::<Pod>("db-1")), uid(&stuck));
    home.run("annotate sts db stead.dev/paused-");
    complete(&home, "db");
    assert!(pods(&home).values().all(|pod| version_of(pod) == "good"));
}

#[test]
fn a_pod_that_merely_is_not_ready_is_never_touched() {
    let home = Home::new("heal-patience");
    home.create::<StatefulSet>(set("db", 2, plain()));
    complete(&home, "db");
    home.patch::<StatefulSet>("db", &template("2", &held()));
    let slow = home.until_one("db-1", "it runs", |pod: &Pod| version_of(pod) == "2" && runs(pod));
    home.patch::<StatefulSet>("db", &template("3", &plain()));
    let set = home.until_one("db", "the set waits for it", |set: &StatefulSet| {
        is_observed(set) && stands(set, "Progressing", "RollingOut") && status(set).updated_replicas.is_none()
    });
    assert_eq!(standing(&set, "Stalled").unwrap().0, "False");
    assert_eq!(uid(&home.get::<Pod>("db-1")), uid(&slow));
    mend(&home, "db-1");
    complete(&home, "db");
    assert!(pods(&home).values().all(|pod| version_of(pod) == "3"));
}
