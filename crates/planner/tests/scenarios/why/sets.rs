//! What sets themselves wait for.

use serde_json::json;

use super::{after, go_on, warning, why, why_with, with_service};

fn said(script: &str) -> String {
    why(&after(script), "sts/web")
}

#[test]
fn a_pod_that_is_ready_is_not_available_at_once() {
    let mut sim = after("set replicas=2 min-ready=10\n ready web-0");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web: web-1 waits until web-0 has been Ready for 10 s (minReadySeconds)
    └ pod/web-0 is Running and Ready for less than a second
    "#);
    sim.tick(4);
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web: web-1 waits until web-0 has been Ready for 10 s (minReadySeconds)
    └ pod/web-0 is Running and Ready for 4s
    "#);
}

#[test]
fn a_pod_that_is_gone_soon_is_waited_for() {
    insta::assert_snapshot!(said("set replicas=1\n ready web-0\n delete web-0"), @r#"
    statefulset/web waits until web-0 is gone, which is terminating
    └ pod/web-0 is terminating and was to stop at once, less than a second ago
    "#);
    insta::assert_snapshot!(
        said("set replicas=2 parallel\n ready web-0 web-1\n unready web-0\n replicas 1\n partition 2"), @r#"
        statefulset/web waits until web-0 is Ready
        └ pod/web-0 is being started by node node-a
        statefulset/web waits until web-1 is gone, which is terminating
        └ pod/web-1 is terminating and was to stop at once, less than a second ago
        "#);
}

#[test]
fn a_name_that_another_pod_holds_says_whose_pod_that_is() {
    insta::assert_snapshot!(said("foreign web-0\n set replicas=1"), @r#"
    statefulset/web: web-0 cannot be made: a pod of that name exists and is not the set's; delete it
    └ pod/web-0 was made by hand: nothing owns it
      → stead delete pod web-0; or let the set take it over: stead label pod web-0 --overwrite app=web
    "#);
    let mut sim = after("foreign web-0\n set replicas=1");
    sim.edit("Pod", "web-0", |pod| {
        pod["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    });
    sim.settle();
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web: web-0 cannot be made: a pod of that name exists and is not the set's; delete it
    └ pod/web-0 is a static pod: node node-a makes it from a file
      → take its manifest away there, or give it another name
    "#);
    let mut sim = with_service();
    sim.make(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-0", "namespace": "default",
        "labels": {"app": "web"}, "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "import",
            "uid": "job", "controller": true}]}, "spec": {"nodeName": "node-a", "containers": []}}));
    go_on(&mut sim, "set replicas=1");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web: web-0 cannot be made: a pod of that name exists and is not the set's; delete it
    └ pod/web-0 belongs to job/import
      → delete that, or the pod: stead delete pod web-0
    "#);
}

#[test]
fn an_update_that_somebody_holds_says_how_to_go_on() {
    insta::assert_snapshot!(said("set replicas=1 on-delete\n ready web-0\n image web:2"), @r#"
    statefulset/web: 1 of 1 pods are of an older revision and are replaced when you delete them (OnDelete), for instance: delete pod web-0
    "#);
    insta::assert_snapshot!(said("set replicas=1 partition=1\n ready web-0\n image web:2"), @r#"
    statefulset/web: the partition (1) keeps 1 of 1 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
    "#);
    insta::assert_snapshot!(said("set replicas=1\n ready web-0\n pause\n image web:2"), @r#"
    statefulset/web is paused: 1 of 1 pods are of another revision; to go on, remove the annotation stead.dev/paused
    "#);
}

#[test]
fn an_update_waits_for_a_pod_that_is_not_ready() {
    let script = "set replicas=2\n ready web-0\n ready web-1\n image web:2\n finish web-1";
    insta::assert_snapshot!(said(script), @r#"
    statefulset/web waits until web-1 is Ready
    └ pod/web-1 is being started by node node-a
    statefulset/web: web-0 is updated once web-1 is available
    "#);
}

#[test]
fn however_many_replicas_there_are_to_be_they_are_not_counted_one_by_one() {
    let sim = after("set replicas=2147483647 start=5\n ready web-5");
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 does not exist
    └ statefulset/web has 2147483643 replicas, web-5 to web-2147483647
    "#);
}

#[test]
fn an_ordinal_that_is_reserved_has_no_pod() {
    let sim = after("set replicas=2 reserve=1,4-6 claims\n ready web-0");
    insta::assert_snapshot!(why(&sim, "pod/web-1"), @r#"
    pod/web-1 does not exist
    └ statefulset/web leaves ordinal 1 out: its annotation stead.dev/reserve-ordinals is "1,4-6"
      → to have it, reserve others or none: stead annotate sts web stead.dev/reserve-ordinals-
    "#);
    insta::assert_snapshot!(why(&sim, "pod/web-2"), @"pod/web-2 is being started by node node-a");
    insta::assert_snapshot!(why(&sim, "pod/web-3"), @r#"
    pod/web-3 does not exist
    └ statefulset/web has 2 replicas, web-0 to web-2, without 1,4-6
      → for more: stead scale sts/web --replicas=3
    "#);
    insta::assert_snapshot!(why(&sim, "pvc/data-web-5"), @r#"
    claim/data-web-5 does not exist
    └ pod/web-5 does not exist
      └ statefulset/web leaves ordinal 5 out: its annotation stead.dev/reserve-ordinals is "1,4-6"
        → to have it, reserve others or none: stead annotate sts web stead.dev/reserve-ordinals-
    "#);
}

#[test]
fn a_pod_that_is_not_made_yet_leads_to_its_set() {
    insta::assert_snapshot!(why(&after("set replicas=2"), "pod/web-1"), @r#"
    pod/web-1 does not exist
    └ statefulset/web: web-1 waits until web-0 is Ready
      └ pod/web-0 is being started by node node-a
    "#);
}

#[test]
fn a_pod_beyond_the_sets_replicas_is_not_waited_for() {
    let sim = after("set replicas=2 start=5\n ready web-5");
    insta::assert_snapshot!(why(&sim, "pod/web-9"), @r#"
    pod/web-9 does not exist
    └ statefulset/web has 2 replicas, web-5 to web-6
      → for more: stead scale sts/web --replicas=5
    "#);
    insta::assert_snapshot!(why(&sim, "pod/web-4"), @r#"
    pod/web-4 does not exist
    └ statefulset/web has 2 replicas, web-5 to web-6
    "#);
    let sim = after("set replicas=0");
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 does not exist
    └ statefulset/web has no replicas
      → for more: stead scale sts/web --replicas=1
    "#);
}

#[test]
fn a_write_that_the_api_refused_is_told_with_its_words() {
    let mut sim = after("set replicas=1\n ready web-0\n delete web-0\n finish web-0");
    // As if the last write had been refused: the pod is due, and is not there.
    sim.world.pods = planner::world::Table::default();
    let refused = warning(
        "StatefulSet/web",
        0,
        "FailedCreate",
        "create Pod web-0 in StatefulSet web failed error: pods \"web-0\" is forbidden: exceeded quota: small, \
         requested: pods=1, used: pods=4, limited: pods=4",
    );
    insta::assert_snapshot!(why_with(&sim, "sts/web", json!([refused.clone()])), @r#"
    statefulset/web is about to make pod/web-0
    └ the API refused it the last time
        create Pod web-0 in StatefulSet web failed error: pods "web-0" is forbidden: exceeded quota: small, requested: pods=1, used: pods=4, limited: pods=4
    "#);
    let mut done = super::warning(
        "StatefulSet/web",
        5,
        "SuccessfulCreate",
        "create Pod web-0 in StatefulSet web successful",
    );
    done["type"] = "Normal".into();
    insta::assert_snapshot!(why_with(&sim, "sts/web", json!([refused, done])), @r#"
    statefulset/web is about to make pod/web-0
    "#);
}

#[test]
fn a_set_that_is_as_it_should_be_says_so() {
    insta::assert_snapshot!(said("set replicas=1\n ready web-0"), @r#"
    statefulset/web waits for nothing: its pod is available
    "#);
    insta::assert_snapshot!(said("set replicas=2\n ready web-0\n ready web-1"), @r#"
    statefulset/web waits for nothing: 2 of 2 pods are available
    "#);
    insta::assert_snapshot!(said("set replicas=0"), @r#"
    statefulset/web waits for nothing: it is to have no pods
    "#);
    let sim = with_service();
    insta::assert_snapshot!(why(&sim, "sts/none"), @r#"
    statefulset/none does not exist in namespace default
    → check the name and the namespace (-n)
    "#);
    insta::assert_snapshot!(why(&sim, "cronjob/web"), @r#"
    nothing is known about the kind cronjob
    → ask about sts, deploy, rs, pod, pvc, pv, svc, pdb, node or ns
    "#);
}
