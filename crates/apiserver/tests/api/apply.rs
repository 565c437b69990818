//! Server-side apply, and who owns which field after which write.

use http::header::{CONTENT_TYPE, USER_AGENT};
use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Harness, PODS, Reply, SETS, config_map, pod};
use crate::samples::sample;

const ONE: &str = "/api/v1/namespaces/default/configmaps/a";

impl Harness {
    /// Applies YAML; `query` says who, and more.
    async fn apply(&self, path: &str, query: &str, yaml: impl Into<String>) -> Reply {
        let headers = [(CONTENT_TYPE.as_str(), "application/apply-patch+yaml")];
        self.call("PATCH", &format!("{path}?{query}"), &headers, yaml.into()).await
    }

    async fn send_by(&self, agent: &str, method: &str, path: &str, body: &Value) -> Reply {
        let form = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let headers = [(CONTENT_TYPE.as_str(), form), (USER_AGENT.as_str(), agent)];
        self.call(method, path, &headers, body.to_string()).await
    }
}

fn data(entries: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": entries}).to_string()
}

/// `OPERATION MANAGER` or `OPERATION MANAGER/SUBRESOURCE` of each entry, and its fields.
fn owners(object: &Value) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    let shown = entries.map(|entry| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default();
        let who = format!("{} {}/{}", text("operation"), text("manager"), text("subresource"));
        (who.trim_end_matches('/').to_owned(), entry["fieldsV1"].clone())
    });
    shown.collect()
}

fn names(object: &Value) -> Vec<String> {
    owners(object).into_iter().map(|(who, _)| who).collect()
}

#[tokio::test]
async fn an_apply_makes_what_is_not_there_and_changes_what_is() {
    let api = Harness::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: \"1\"\n";
    let made = api.apply(ONE, "fieldManager=me", yaml).await.expect(201);
    assert_eq!(owners(&made), [("Apply me".to_owned(), json!({"f:data": {"f:k": {}}}))]);
    let changed = api.apply(ONE, "fieldManager=me", data(&json!({"l": "2"}))).await.expect(200);
    assert_eq!(changed["data"], json!({"l": "2"}));
    assert_eq!(changed["metadata"]["uid"], made["metadata"]["uid"]);
    assert_eq!(api.get(ONE).await.expect(200), changed);
}

#[tokio::test]
async fn applying_the_same_again_is_no_write() {
    let api = Harness::start().await;
    let set = sample(registry::by_word("sts").expect("a kind"));
    let one = format!("{SETS}/sample");
    let made = api.apply(&one, "fieldManager=me", set.to_string()).await.expect(201);
    assert_eq!(api.apply(&one, "fieldManager=me", set.to_string()).await.expect(200), made);
}

#[tokio::test]
async fn every_kind_can_be_applied() {
    for kind in registry::KINDS {
        let api = Harness::start().await;
        let one = format!("{}/{}", crate::contract::collection(kind), crate::samples::name(kind));
        let made = api.apply(&one, "fieldManager=me", sample(kind).to_string()).await.expect(201);
        assert_eq!(names(&made), ["Apply me"], "{}", kind.plural);
        let again = api.apply(&one, "fieldManager=me", sample(kind).to_string()).await.expect(200);
        assert_eq!(again, made, "{}", kind.plural);
    }
}

#[tokio::test]
async fn what_others_own_is_a_conflict_until_it_is_forced() {
    let api = Harness::start().await;
    api.apply(ONE, "fieldManager=me", data(&json!({"k": "1", "l": "1"}))).await.expect(201);
    let patch = json!({"data": {"k": "2"}});
    api.send_by("kubectl/v1.32.0 (linux/amd64)", "PATCH", ONE, &patch).await.expect(200);
    let refusal = api.apply(ONE, "fieldManager=me", data(&json!({"k": "1", "l": "1"}))).await.expect(409);
    assert_eq!(
        refusal["message"],
        "Apply failed with 1 conflict: conflict with \"kubectl\" using v1: .data.k"
    );
    assert_eq!(
        (&refusal["reason"], &refusal["details"]["causes"]),
        (
            &json!("Conflict"),
            &json!([{"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using v1",
                "field": ".data.k"}])
        )
    );
    let forced = api.apply(ONE, "fieldManager=me&force=true", data(&json!({"k": "1", "l": "1"}))).await;
    let forced = forced.expect(200);
    assert_eq!((&forced["data"]["k"], names(&forced)), (&json!("1"), vec!["Apply me".to_owned()]));
}

#[tokio::test]
async fn an_apply_must_say_who_applies_and_what() {
    let api = Harness::start().await;
    let said = api.apply(ONE, "", data(&json!({}))).await.refused(422);
    assert_eq!(
        said,
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    let long = format!("fieldManager={}", "x".repeat(129));
    api.apply(ONE, &long, data(&json!({}))).await.refused(422);
    let merge = api.patch("merge", &format!("{ONE}?force=true"), &json!({})).await.refused(422);
    let forbidden = "force: Forbidden: may not be specified for non-apply patch";
    assert!(merge.ends_with(forbidden), "{merge}");
    let scale = api.patch("merge", &format!("{SETS}/sample/scale?force=true"), &json!({})).await.refused(422);
    assert!(scale.ends_with(forbidden), "{scale}");
    for (body, expect) in [
        (
            "apiVersion: v2\nkind: ConfigMap",
            "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1",
        ),
        (
            "apiVersion: v1\nkind: Secret",
            "the kind in the apply patch (Secret) does not match the kind of the path (ConfigMap)",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, managedFields: [{}]}",
            "metadata.managedFields must be nil",
        ),
        ("apiVersion: v1\nkind: ConfigMap", "name must be provided"),
        ("- a", "the body of the request is not an object: send the fields to apply"),
    ] {
        assert_eq!(api.apply(ONE, "fieldManager=me", body).await.refused(400), expect);
    }
    api.get(ONE).await.expect(404);
}

#[tokio::test]
async fn a_configuration_that_is_not_clear_is_refused_with_the_place() {
    let api = Harness::start().await;
    let one = format!("{PODS}/p");
    let mut twice = pod("p");
    twice["spec"]["containers"] = json!([{"name": "c", "image": "a"}, {"name": "c", "image": "b"}]);
    assert_eq!(
        api.apply(&one, "fieldManager=me", twice.to_string()).await.refused(500),
        "failed to create typed patch object (default/p; /v1, Kind=Pod): .spec.containers: duplicate entries for key \
         [name=\"c\"]"
    );
    let strange = data(&json!({})).replace("\"data\"", "\"dato\"");
    let said = api.apply(ONE, "fieldManager=me", strange).await.refused(500);
    assert!(
        said.ends_with("(default/a; /v1, Kind=ConfigMap): .dato: field not declared in schema"),
        "{said}"
    );
    let wrong = data(&json!({"k": 1}));
    let said = api.apply(ONE, "fieldManager=me", wrong).await.refused(400);
    assert!(said.contains("data[k]"), "{said}");
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {}\ndata: {}\n";
    let said = api.apply(ONE, "fieldManager=me&fieldValidation=Strict", twice).await.refused(400);
    assert!(said.starts_with("error strict decoding YAML"), "{said}");
    let made = api.apply(ONE, "fieldManager=me", twice).await;
    assert_eq!(made.warnings.len(), 1, "{:?}", made.warnings);
}

#[tokio::test]
async fn a_dry_run_applies_nothing() {
    let api = Harness::start().await;
    let would = api.apply(ONE, "fieldManager=me&dryRun=All", data(&json!({"k": "1"}))).await.expect(201);
    assert_eq!(would["data"]["k"], "1");
    api.get(ONE).await.expect(404);
    let made = api.apply(ONE, "fieldManager=me", data(&json!({"k": "1"}))).await.expect(201);
    let would = api.apply(ONE, "fieldManager=me&dryRun=All", data(&json!({"k": "2"}))).await.expect(200);
    assert_eq!(would["data"]["k"], "2");
    assert_eq!(api.get(ONE).await.expect(200), made);
}

#[tokio::test]
async fn an_apply_of_another_version_or_another_object_is_refused() {
    let api = Harness::start().await;
    let first = api.apply(ONE, "fieldManager=me", data(&json!({"k": "1"}))).await.expect(201);
    api.apply(ONE, "fieldManager=me", data(&json!({"k": "2"}))).await.expect(200);
    let mut stale = config_map("a");
    stale["metadata"]["resourceVersion"] = first["metadata"]["resourceVersion"].clone();
    let refusal = api.apply(ONE, "fieldManager=me&force=true", stale.to_string()).await.refused(409);
    assert!(refusal.contains("the object has been modified"), "{refusal}");
    let gone = data(&json!({})).replace("\"name\":\"a\"", "\"name\":\"b\",\"uid\":\"1-2\"");
    let other = format!("{CONFIG_MAPS}/b");
    let refusal = api.apply(&other, "fieldManager=me", gone).await.refused(409);
    assert!(refusal.ends_with("specified uid 1-2, and no existing object was found"), "{refusal}");
}

#[tokio::test]
async fn every_write_says_whose_it_is() {
    let api = Harness::start().await;
    let set = sample(registry::by_word("sts").expect("a kind"));
    let one = format!("{SETS}/sample");
    let made = api.send_by("kubectl-create/v1", "POST", &format!("{SETS}?fieldManager=maker"), &set).await;
    let made = made.expect(201);
    assert_eq!(names(&made), ["Update maker"]);
    assert!(made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:replicas"].is_object());
    let labels = json!({"metadata": {"labels": {"x": "y"}}});
    api.send_by("kubectl/v1.32 (linux)", "PATCH", &one, &labels).await.expect(200);
    let status = json!({"status": {"replicas": 1}});
    api.send_by("controller/v1", "PATCH", &format!("{one}/status"), &status).await.expect(200);
    let scale = json!({"spec": {"replicas": 7}});
    api.send_by("hpa", "PATCH", &format!("{one}/scale"), &scale).await.expect(200);
    api.patch("merge", &one, &json!({"metadata": {"annotations": {"by": "nobody"}}})).await.expect(200);
    let after = api.get(&one).await.expect(200);
    let mut shown = owners(&after);
    shown.sort_by(|a, b| a.0.cmp(&b.0));
    let fields = |who: &str| shown.iter().find(|(name, _)| name == who).map(|(_, fields)| fields.clone());
    assert_eq!(fields("Update hpa/scale"), Some(json!({"f:spec": {"f:replicas": {}}})));
    assert_eq!(fields("Update kubectl"), Some(json!({"f:metadata": {"f:labels": {"f:x": {}}}})));
    assert_eq!(fields("Update controller/status"), Some(json!({"f:status": {"f:replicas": {}}})));
    let annotated = json!({"f:metadata": {"f:annotations": {".": {}, "f:by": {}}}});
    assert_eq!(fields("Update test"), Some(annotated), "who sends no name is the user");
    assert!(fields("Update maker").is_some_and(|f| f["f:spec"].get("f:replicas").is_none()), "{shown:?}");
}

#[tokio::test]
async fn a_status_is_applied_by_its_own_path() {
    let api = Harness::start().await;
    let one = format!("{PODS}/p");
    let config = |phase: &str, image: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": image}]}, "status": {"message": phase}})
        .to_string()
    };
    let made = api.apply(&one, "fieldManager=me", config("main", "a")).await.expect(201);
    assert_eq!((made["status"].get("message"), names(&made)), (None, vec!["Apply me".to_owned()]));
    let status = format!("{one}/status");
    api.apply(&format!("{PODS}/q/status"), "fieldManager=me", config("x", "a")).await.refused(404);
    let reported = api.apply(&status, "fieldManager=me", config("said", "b")).await.expect(200);
    assert_eq!(reported["status"]["message"], "said");
    assert_eq!(reported["spec"]["containers"][0]["image"], "a");
    assert_eq!(names(&reported), ["Apply me", "Apply me/status"]);
    // From then on it is kept whose the status is, though stead's own reports are not.
    let patch = json!({"status": {"message": "other"}});
    let patched = api.send_by("node", "PATCH", &status, &patch).await.expect(200);
    assert_eq!(names(&patched), ["Apply me", "Update node/status"]);
}

#[tokio::test]
async fn a_scale_that_is_applied_owns_the_replicas_alone() {
    let api = Harness::start().await;
    let one = format!("{SETS}/sample");
    let scale = |replicas: i64| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "sample"},
            "spec": {"replicas": replicas}})
        .to_string()
    };
    api.apply(&format!("{one}/scale"), "fieldManager=hpa", scale(4)).await.refused(404);
    let mut set = sample(registry::by_word("sts").expect("a kind"));
    set["spec"].as_object_mut().expect("a spec").remove("replicas");
    api.apply(&one, "fieldManager=me", set.to_string()).await.expect(201);
    let scaled = api.apply(&format!("{one}/scale"), "fieldManager=hpa", scale(4)).await.expect(200);
    assert_eq!((&scaled["kind"], &scaled["spec"]["replicas"]), (&json!("Scale"), &json!(4)));
    let after = api.get(&one).await.expect(200);
    let replicas = ("Apply hpa/scale".to_owned(), json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(after["spec"]["replicas"], 4);
    assert!(owners(&after).contains(&replicas), "{:?}", owners(&after));
    set["spec"]["replicas"] = 9.into();
    let refusal = api.apply(&one, "fieldManager=me", set.to_string()).await.refused(409);
    assert_eq!(
        refusal,
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\": .spec.replicas"
    );
    let less = api.apply(&format!("{one}/scale"), "fieldManager=hpa", scale(-1)).await.refused(422);
    assert!(less.contains("spec.replicas: Invalid value: -1"), "{less}");
}

#[tokio::test]
async fn the_reports_of_a_node_and_events_have_no_owners() {
    let api = Harness::start().await;
    let made = api.post(PODS, &pod("p")).await.expect(201);
    let patch = json!({"status": {"message": "up"}});
    let patched = api.patch("merge", &format!("{PODS}/p/status"), &patch).await.expect(200);
    assert_eq!(patched["metadata"]["managedFields"], made["metadata"]["managedFields"]);
    let event = sample(registry::by_word("events").expect("a kind"));
    let event = api.post("/api/v1/namespaces/default/events", &event).await.expect(201);
    assert_eq!(event["metadata"].get("managedFields"), None);
}

#[tokio::test]
async fn a_write_that_changes_nothing_changes_no_owner() {
    let api = Harness::start().await;
    let made = api.send_by("one", "POST", CONFIG_MAPS, &config_map("a")).await.expect(201);
    assert_eq!(api.send_by("two", "PUT", ONE, &made).await.expect(200), made);
    let mut unaware = made.clone();
    unaware["metadata"].as_object_mut().expect("metadata").remove("managedFields");
    assert_eq!(api.send_by("two", "PUT", ONE, &unaware).await.expect(200), made);
}

#[tokio::test]
async fn who_owns_what_can_be_forgotten_and_is_then_kept_from_the_next_apply() {
    let api = Harness::start().await;
    api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let reset = api.patch("merge", ONE, &json!({"metadata": {"managedFields": [{}]}})).await.expect(200);
    assert_eq!(reset["metadata"].get("managedFields"), None);
    let patched = api.patch("merge", ONE, &json!({"data": {"b": "2"}})).await.expect(200);
    assert_eq!(patched["metadata"].get("managedFields"), None);
    let applied = api.apply(ONE, "fieldManager=me", data(&json!({"c": "3"}))).await.expect(200);
    assert_eq!(names(&applied), ["Apply me", "Update before-first-apply"]);
    assert_eq!(applied["data"], json!({"a": "1", "b": "2", "c": "3"}));
}
