//! StatefulSets at the API: status and scale, generations, annotations, collections, and what an older release
//! left behind.

use bytes::Bytes;
use serde_json::{Value, json};
use store::{Durability, Expect, Store, Write};

use crate::harness::{Harness, SETS};
use crate::samples::sample;

const ONE: &str = "/apis/apps/v1/namespaces/default/statefulsets/sample";
const STATUS: &str = "/apis/apps/v1/namespaces/default/statefulsets/sample/status";
const SCALE: &str = "/apis/apps/v1/namespaces/default/statefulsets/sample/scale";

fn set() -> Value {
    sample(registry::by_word("sts").expect("a kind"))
}

async fn with_set() -> Harness {
    let api = Harness::start().await;
    api.post(SETS, &set()).await.expect(201);
    api
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

#[tokio::test]
async fn a_strategic_patch_of_the_status_merges_conditions_by_their_type() {
    let api = with_set().await;
    let first = json!({"status": {"replicas": 2, "conditions": [condition("Theirs", "True"), condition("Available", "False")]}});
    api.patch("strategic-merge", STATUS, &first).await.expect(200);
    let second = json!({"status": {"conditions": [condition("Available", "True")]}});
    let patched = api.patch("strategic-merge", STATUS, &second).await.expect(200);
    let mut conditions = patched["status"]["conditions"].as_array().expect("conditions").clone();
    conditions.sort_by_key(|c| c["type"].as_str().map(str::to_owned));
    assert_eq!(conditions, [condition("Available", "True"), condition("Theirs", "True")]);
    assert_eq!((&patched["status"]["replicas"], &patched["metadata"]["generation"]), (&json!(2), &json!(1)));
    assert_eq!(api.get(STATUS).await.expect(200), patched);
}

#[tokio::test]
async fn a_put_of_the_status_replaces_it_and_nothing_else() {
    let api = with_set().await;
    let mut sent = api.get(STATUS).await.expect(200);
    sent["status"] = json!({"replicas": 2, "readyReplicas": 1, "conditions": [condition("Theirs", "True")]});
    sent["spec"]["replicas"] = 9.into();
    let put = api.put(STATUS, &sent).await.expect(200);
    assert_eq!((&put["spec"]["replicas"], &put["status"]), (&json!(2), &sent["status"]));
    let refusal = api.put(STATUS, &sent).await.refused(409);
    assert!(refusal.contains("the object has been modified"), "{refusal}");
}

#[tokio::test]
async fn a_status_that_cannot_be_is_refused() {
    let api = with_set().await;
    let wrong = json!({"status": {"replicas": 1, "readyReplicas": 2}});
    assert_eq!(
        api.patch("merge", STATUS, &wrong).await.refused(422),
        "StatefulSet.apps \"sample\" is invalid: status.readyReplicas: Invalid value: 2: cannot be greater than \
         status.replicas"
    );
}

#[tokio::test]
async fn a_scale_without_a_version_is_unconditional_and_one_with_a_stale_version_is_refused() {
    let api = with_set().await;
    let stale = api.get(SCALE).await.expect(200);
    assert_eq!(stale["spec"]["replicas"], 2);
    assert_eq!(stale["status"], json!({"replicas": 0, "selector": "app=db"}));
    let bare = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "sample"}, "spec": {"replicas": 5}});
    let scaled = api.put(SCALE, &bare).await.expect(200);
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&json!("Scale"), &json!(5)));
    api.put(SCALE, &stale).await.refused(409);
    let mut other = bare.clone();
    other["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111".into();
    let refusal = api.put(SCALE, &other).await.refused(409);
    assert!(refusal.contains("Precondition failed: UID in precondition: 11111111-"), "{refusal}");
    let patched = api.patch("merge", SCALE, &json!({"spec": {"replicas": 1}})).await.expect(200);
    assert_eq!(patched["spec"]["replicas"], 1);
    let set = api.get(ONE).await.expect(200);
    assert_eq!((&set["spec"]["replicas"], &set["metadata"]["generation"]), (&json!(1), &json!(3)));
    assert_eq!(
        api.patch("merge", SCALE, &json!({"spec": {"replicas": -1}})).await.refused(422),
        "Scale.autoscaling \"sample\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
}

#[tokio::test]
async fn wrong_annotations_are_refused_by_name() {
    let api = with_set().await;
    let annotate = |key: &str, value: &str| json!({"metadata": {"annotations": {key: value}}});
    let refusal = api.patch("merge", ONE, &annotate("stead.dev/reserve-ordinals", "one")).await.refused(422);
    assert_eq!(
        refusal,
        "StatefulSet.apps \"sample\" is invalid: metadata.annotations[stead.dev/reserve-ordinals]: Invalid value: \
         \"one\": \"one\" is neither an ordinal nor a range; write for instance \"1,4-6\""
    );
    api.patch("merge", ONE, &annotate("stead.dev/paused", "yes")).await.refused(422);
    let paused = api.patch("merge", ONE, &annotate("stead.dev/paused", "true")).await.expect(200);
    assert_eq!(paused["metadata"]["generation"], 1, "annotations are not the spec");
}

#[tokio::test]
async fn a_collection_of_sets_is_deleted_by_its_labels() {
    let api = with_set().await;
    let mut other = set();
    other["metadata"] = json!({"name": "other", "labels": {"made": "elsewhere"}});
    api.post(SETS, &other).await.expect(201);
    let gone = api.delete(&format!("{SETS}?labelSelector=made%3Dhere")).await.expect(200);
    assert_eq!(gone["items"].as_array().map(Vec::len), Some(1));
    let left = api.get(SETS).await.expect(200);
    assert_eq!(left["items"][0]["metadata"]["name"], "other");
}

/// Changes what is stored behind the API's back, as an older release would have written it.
async fn age(api: &Harness, change: impl FnOnce(&mut Value)) {
    let key = "/apps/statefulsets/default/sample";
    let (held, _) = api.store.get(key).await.expect("a store that answers");
    let held = held.expect("the set");
    let mut object: Value = serde_json::from_slice(&held.value).expect("JSON");
    change(&mut object);
    let write = Write {
        key: key.into(),
        value: Some(Bytes::from(object.to_string())),
        expect: Expect::Revision(held.revision),
        durability: Durability::Sync,
    };
    api.store.write(write).await.expect("written");
}

#[tokio::test]
async fn a_default_that_came_later_is_no_change_of_an_old_object() {
    let api = with_set().await;
    age(&api, |set| {
        let spec = set["spec"].as_object_mut().expect("a spec");
        spec.remove("podManagementPolicy");
        spec.remove("persistentVolumeClaimRetentionPolicy");
        let claim = spec["volumeClaimTemplates"][0]["spec"].as_object_mut().expect("a claim");
        assert!(claim.remove("volumeMode").is_some());
    })
    .await;
    let labelled = api.patch("merge", ONE, &json!({"metadata": {"labels": {"x": "y"}}})).await.expect(200);
    assert_eq!(labelled["metadata"]["generation"], 1, "nobody wanted anything else");
    assert_eq!(labelled["spec"]["podManagementPolicy"], "OrderedReady");
    let scaled = api.patch("merge", ONE, &json!({"spec": {"replicas": 3}})).await.expect(200);
    assert_eq!(scaled["metadata"]["generation"], 2);
}

#[tokio::test]
async fn what_an_older_release_let_in_stays_writable_and_gets_no_worse() {
    let api = with_set().await;
    age(&api, |set| {
        set["metadata"]["annotations"] = json!({"stead.dev/paused": "maybe"});
        set["metadata"]["finalizers"] = json!(["example.com/wait"]);
    })
    .await;
    api.patch("merge", ONE, &json!({"metadata": {"finalizers": null}})).await.expect(200);
    api.patch("merge", ONE, &json!({"metadata": {"annotations": {"stead.dev/paused": "perhaps"}}}))
        .await
        .refused(422);
    api.patch("merge", ONE, &json!({"metadata": {"annotations": {"stead.dev/paused": "true"}}}))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_revisions_data_never_changes() {
    let api = Harness::start().await;
    let revisions = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let kind = registry::by_word("controllerrevisions").expect("a kind");
    api.post(revisions, &sample(kind)).await.expect(201);
    let one = format!("{revisions}/sample");
    let refusal = api.patch("merge", &one, &json!({"data": {"spec": {"replicas": 1}}})).await.refused(422);
    assert!(refusal.ends_with("field is immutable"), "{refusal}");
    assert_eq!(api.patch("merge", &one, &json!({"revision": 7})).await.expect(200)["revision"], 7);
}
