//! Evictions: who is asked, what it costs, and how it is refused.

use apimachinery::patch::merge;
use apiserver::Body;
use http::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};

use crate::harness::{Harness, PODS, Reply, pod};

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// An API with the pod `p`, bound, running and Ready.
async fn with_pod() -> Harness {
    let api = Harness::start().await;
    let mut object = pod("p");
    object["metadata"]["labels"] = json!({"app": "db"});
    api.post(PODS, &object).await.expect(201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"name": "n1"}});
    api.post(&format!("{PODS}/p/binding"), &binding).await.expect(201);
    report(&api, "True").await;
    api
}

async fn report(api: &Harness, ready: &str) {
    let status = json!({"status": {"phase": "Running", "conditions": [
        {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    api.patch("merge", &format!("{PODS}/p/status"), &status).await.expect(200);
}

/// A budget over the pod, as the controller left it, changed by a merge patch.
async fn with_budget(api: &Harness, name: &str, patch: &Value) {
    let budget = json!({"metadata": {"name": name}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "db"}}}});
    api.post(BUDGETS, &budget).await.expect(201);
    let mut status = json!({"status": {"observedGeneration": 1, "currentHealthy": 3, "desiredHealthy": 2,
        "expectedPods": 3, "disruptionsAllowed": 1}});
    merge::apply(&mut status, patch);
    api.patch("merge", &format!("{BUDGETS}/{name}/status"), &status).await.expect(200);
}

fn eviction(options: &Value) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}, "deleteOptions": options})
}

async fn evict(api: &Harness, options: Value) -> Reply {
    api.post(&format!("{PODS}/p/eviction"), &eviction(&options)).await
}

/// An eviction's answer with its headers.
async fn raw_eviction(api: &Harness) -> Response<Body> {
    let json = [(CONTENT_TYPE.as_str(), "application/json")];
    api.raw("POST", &format!("{PODS}/p/eviction"), &json, eviction(&json!({})).to_string()).await
}

async fn budget(api: &Harness) -> Value {
    api.get(&format!("{BUDGETS}/db")).await.expect(200)["status"].clone()
}

async fn is_evicted(api: &Harness) -> bool {
    let pod = api.get(&format!("{PODS}/p")).await.expect(200);
    let marks = pod["status"]["conditions"].as_array().expect("conditions");
    let marked =
        marks.iter().any(|c| c["type"] == "DisruptionTarget" && c["reason"] == "EvictionByEvictionAPI");
    let terminating = pod["metadata"]["deletionTimestamp"].is_string();
    assert_eq!(marked, terminating, "the mark comes with the deletion: {pod}");
    terminating
}

#[tokio::test]
async fn an_eviction_without_a_budget_deletes_with_the_options_it_carries() {
    let api = with_pod().await;
    let refusal = evict(&api, json!({"preconditions": {"uid": "other"}})).await.refused(409);
    assert!(refusal.ends_with("The object might have been deleted and then recreated"), "{refusal}");
    let mut other = eviction(&json!({}));
    other["metadata"]["name"] = "q".into();
    let refusal = api.post(&format!("{PODS}/p/eviction"), &other).await.refused(400);
    assert_eq!(refusal, "name in URL does not match name in Eviction object");
    assert!(!is_evicted(&api).await);
    let done = evict(&api, json!({"gracePeriodSeconds": 7})).await.expect(201);
    assert_eq!((&done["kind"], &done["status"]), (&json!("Status"), &json!("Success")));
    assert!(is_evicted(&api).await);
    let marked = api.get(&format!("{PODS}/p")).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 7);
    api.post(&format!("{PODS}/q/eviction"), &other).await.expect(404);
}

#[tokio::test]
async fn an_eviction_is_paid_for_by_its_budget_until_that_allows_no_more() {
    let api = with_pod().await;
    with_budget(&api, "db", &json!({})).await;
    evict(&api, json!({})).await.expect(201);
    assert!(is_evicted(&api).await);
    let spent = budget(&api).await;
    assert_eq!(spent["disruptionsAllowed"], 0);
    assert!(spent["disruptedPods"]["p"].is_string());
    assert_eq!(spent["conditions"][0]["reason"], "InsufficientPods");
    evict(&api, json!({})).await.expect(201);
    assert_eq!(budget(&api).await, spent, "a pod that is going is not paid for again");
}

#[tokio::test]
async fn a_budget_that_allows_nothing_refuses_with_its_cause() {
    let api = with_pod().await;
    with_budget(&api, "db", &json!({"status": {"currentHealthy": 2, "disruptionsAllowed": 0}})).await;
    let answer = raw_eviction(&api).await;
    assert!(!answer.headers().contains_key(RETRY_AFTER), "nobody knows when");
    let refusal = evict(&api, json!({})).await.expect(429);
    assert_eq!(refusal["reason"], "TooManyRequests");
    assert_eq!(refusal["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(
        refusal["details"]["causes"],
        json!([{"reason": "DisruptionBudget", "message": "The disruption budget db needs 2 healthy pods and has 2 currently"}])
    );
    assert!(!is_evicted(&api).await);
}

#[tokio::test]
async fn a_budget_that_the_controller_has_not_seen_asks_to_come_back() {
    let api = with_pod().await;
    with_budget(&api, "db", &json!({})).await;
    api.patch("merge", &format!("{BUDGETS}/db"), &json!({"spec": {"maxUnavailable": 2}})).await.expect(200);
    let answer = raw_eviction(&api).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()[RETRY_AFTER]),
        (429, &"10".parse().expect("a header"))
    );
    let refusal = evict(&api, json!({})).await.expect(429);
    assert_eq!(refusal["details"]["retryAfterSeconds"], 10);
    assert_eq!(
        refusal["details"]["causes"][0]["message"],
        "The disruption budget db is still being processed by the server."
    );
    assert!(!is_evicted(&api).await);
}

#[tokio::test]
async fn more_than_one_budget_is_a_mistake() {
    let api = with_pod().await;
    with_budget(&api, "db", &json!({})).await;
    with_budget(&api, "again", &json!({})).await;
    let refusal = evict(&api, json!({})).await.refused(500);
    assert_eq!(
        refusal,
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
    assert!(!is_evicted(&api).await);
}

#[tokio::test]
async fn an_eviction_of_another_pod_costs_nothing() {
    let api = with_pod().await;
    with_budget(&api, "db", &json!({})).await;
    let before = budget(&api).await;
    let refusal = evict(&api, json!({"preconditions": {"resourceVersion": "1"}})).await.refused(409);
    assert!(refusal.ends_with("The object might have been modified"), "{refusal}");
    evict(&api, json!({"preconditions": {"uid": "of-its-predecessor"}})).await.refused(409);
    assert_eq!((budget(&api).await, is_evicted(&api).await), (before, false));
    let pod = api.get(&format!("{PODS}/p")).await.expect(200);
    let right = json!({"uid": pod["metadata"]["uid"], "resourceVersion": pod["metadata"]["resourceVersion"]});
    evict(&api, json!({"preconditions": right})).await.expect(201);
    assert!(is_evicted(&api).await);
}

#[tokio::test]
async fn a_pod_that_has_not_begun_goes_without_asking() {
    let api = Harness::start().await;
    let mut object = pod("p");
    object["metadata"]["labels"] = json!({"app": "db"});
    api.post(PODS, &object).await.expect(201);
    with_budget(&api, "db", &json!({"status": {"disruptionsAllowed": 0}})).await;
    evict(&api, json!({})).await.expect(201);
    api.get(&format!("{PODS}/p")).await.expect(404);
}

#[tokio::test]
async fn a_dry_run_asks_and_pays_nothing() {
    let api = with_pod().await;
    with_budget(&api, "db", &json!({})).await;
    let before = budget(&api).await;
    evict(&api, json!({"dryRun": ["All"]})).await.expect(201);
    api.post(&format!("{PODS}/p/eviction?dryRun=All"), &eviction(&json!({}))).await.expect(201);
    assert_eq!((budget(&api).await, is_evicted(&api).await), (before, false));
    api.patch("merge", &format!("{BUDGETS}/db/status"), &json!({"status": {"disruptionsAllowed": 0}}))
        .await
        .expect(200);
    evict(&api, json!({"dryRun": ["All"]})).await.expect(429);
}

#[tokio::test]
async fn a_pod_that_is_not_ready_goes_free_where_the_budget_lets_it() {
    let api = with_pod().await;
    report(&api, "False").await;
    with_budget(&api, "db", &json!({"status": {"currentHealthy": 1, "disruptionsAllowed": 0}})).await;
    evict(&api, json!({})).await.expect(429);
    let enough = json!({"status": {"currentHealthy": 2}});
    api.patch("merge", &format!("{BUDGETS}/db/status"), &enough).await.expect(200);
    let before = budget(&api).await;
    evict(&api, json!({})).await.expect(201);
    assert_eq!((budget(&api).await, is_evicted(&api).await), (before, true));
}

#[tokio::test]
async fn a_pod_that_is_not_ready_goes_free_where_the_policy_says_so() {
    let api = with_pod().await;
    report(&api, "False").await;
    with_budget(&api, "db", &json!({"status": {"currentHealthy": 0, "disruptionsAllowed": 0}})).await;
    let policy = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
    api.patch("merge", &format!("{BUDGETS}/db"), &policy).await.expect(200);
    evict(&api, json!({})).await.expect(201);
    assert!(is_evicted(&api).await);
}

#[tokio::test]
async fn of_two_evictions_at_once_a_budget_of_one_lets_one_through() {
    let api = with_pod().await;
    with_budget(&api, "db", &json!({})).await;
    let mut second = pod("p2");
    second["metadata"]["labels"] = json!({"app": "db"});
    api.post(PODS, &second).await.expect(201);
    let running =
        json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    api.patch("merge", &format!("{PODS}/p2/status"), &running).await.expect(200);
    let mut other = eviction(&json!({}));
    other["metadata"]["name"] = "p2".into();
    let other_path = format!("{PODS}/p2/eviction");
    let (first, second) = futures::join!(evict(&api, json!({})), api.post(&other_path, &other));
    let mut codes = [first.code, second.code];
    codes.sort_unstable();
    assert_eq!(codes, [201, 429]);
    assert_eq!(budget(&api).await["disruptionsAllowed"], 0);
}

#[tokio::test]
async fn discovery_says_of_which_group_an_eviction_is() {
    let api = Harness::start().await;
    let core = api.get("/api/v1").await.expect(200);
    let listed =
        core["resources"].as_array().expect("resources").iter().find(|r| r["name"] == "pods/eviction");
    let expected = json!({"name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy",
        "version": "v1", "kind": "Eviction", "verbs": ["create"]});
    assert_eq!(listed, Some(&expected));
    let policy = api.get("/apis/policy/v1").await.expect(200);
    assert_eq!(policy["resources"][0]["shortNames"], json!(["pdb"]));
    assert_eq!(policy["resources"][1]["name"], "poddisruptionbudgets/status");
    let document = api.get("/openapi/v3/apis/policy/v1").await.expect(200);
    let spec =
        &document["components"]["schemas"]["io.k8s.api.policy.v1.PodDisruptionBudgetSpec"]["properties"];
    assert!(spec["unhealthyPodEvictionPolicy"].is_object(), "{spec}");
}

#[tokio::test]
async fn a_budget_is_replaced_only_by_who_says_which_version() {
    let api = Harness::start().await;
    let budget = json!({"metadata": {"name": "db"}, "spec": {"maxUnavailable": 1}});
    let made = api.post(BUDGETS, &budget).await.expect(201);
    let one = format!("{BUDGETS}/db");
    assert_eq!(
        api.put(&one, &budget).await.refused(422),
        "poddisruptionbudgets.policy \"db\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for \
         an update"
    );
    api.put(&one, &made).await.expect(200);
    api.patch("merge", &one, &json!({"spec": {"maxUnavailable": 2}})).await.expect(200);
}

#[tokio::test]
async fn a_budget_that_is_applied_again_stays_as_it_is() {
    let api = Harness::start().await;
    let budget = json!({"metadata": {"name": "db"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "db"}}}});
    let made = api.post(BUDGETS, &budget).await.expect(201);
    // kubectl sends the whole selector each time: it is replaced, never merged.
    let selector = json!({"$patch": "replace", "matchLabels": {"app": "db"}});
    let one = format!("{BUDGETS}/db");
    let again =
        api.patch("strategic-merge", &one, &json!({"spec": {"selector": selector}})).await.expect(200);
    assert_eq!(again, made);
    let other = json!({"spec": {"selector": {"$patch": "replace", "matchLabels": {"tier": "db"}}}});
    let changed = api.patch("strategic-merge", &one, &other).await.expect(200);
    assert_eq!(changed["spec"]["selector"], json!({"matchLabels": {"tier": "db"}}));
    assert_eq!(changed["metadata"]["generation"], 2);
}
