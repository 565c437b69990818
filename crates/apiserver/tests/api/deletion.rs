//! How objects go: at once, gracefully, held by finalizers.

use serde_json::json;

use crate::harness::{CONFIG_MAPS, Harness, PODS, config_map, pod};

async fn bound_pod(api: &Harness) {
    api.post(PODS, &pod("p")).await.expect(201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"name": "n1"}});
    api.post(&format!("{PODS}/p/binding"), &binding).await.expect(201);
}

#[tokio::test]
async fn an_object_without_finalizers_goes_at_once() {
    let api = Harness::start().await;
    let made = api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let done = api.delete(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!((&done["kind"], &done["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(done["details"]["uid"], made["metadata"]["uid"]);
    assert_eq!(api.delete(&format!("{CONFIG_MAPS}/a")).await.refused(404), "configmaps \"a\" not found");
}

#[tokio::test]
async fn a_finalizer_holds_an_object_until_it_is_taken_off() {
    let api = Harness::start().await;
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["example.com/wait"]);
    api.post(CONFIG_MAPS, &object).await.expect(201);
    let one = format!("{CONFIG_MAPS}/a");
    let marked = api.delete(&one).await.expect(200);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = api.delete(&one).await.expect(200);
    assert_eq!(again, marked, "a second delete changes nothing");
    let more = json!({"metadata": {"finalizers": ["example.com/wait", "example.com/more"]}});
    let refusal = api.patch("merge", &one, &more).await.refused(422);
    assert!(refusal.contains("no new finalizers can be added if the object is being deleted"), "{refusal}");
    api.patch("merge", &one, &json!({"metadata": {"finalizers": []}})).await.expect(200);
    api.get(&one).await.expect(404);
}

#[tokio::test]
async fn a_pod_without_a_node_goes_at_once() {
    let api = Harness::start().await;
    api.post(PODS, &pod("p")).await.expect(201);
    api.delete(&format!("{PODS}/p")).await.expect(200);
    api.get(&format!("{PODS}/p")).await.expect(404);
}

#[tokio::test]
async fn a_bound_pod_has_its_grace_period_which_can_be_shortened_only() {
    let api = Harness::start().await;
    bound_pod(&api).await;
    let one = format!("{PODS}/p");
    let marked = api.delete(&one).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let longer = api.delete(&format!("{one}?gracePeriodSeconds=60")).await.expect(200);
    assert_eq!(longer, marked);
    let shorter = api.delete(&format!("{one}?gracePeriodSeconds=5")).await.expect(200);
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    let (before, after) =
        (&marked["metadata"]["deletionTimestamp"], &shorter["metadata"]["deletionTimestamp"]);
    let second =
        |v: &serde_json::Value| v.as_str().and_then(apimachinery::time::parse).expect("a time").as_second();
    assert_eq!(second(before) - second(after), 25);
    api.delete(&format!("{one}?gracePeriodSeconds=0")).await.expect(200);
    api.get(&one).await.expect(404);
}

#[tokio::test]
async fn a_pod_with_a_finalizer_stays_after_its_grace_period() {
    let api = Harness::start().await;
    bound_pod(&api).await;
    let one = format!("{PODS}/p");
    api.patch("merge", &one, &json!({"metadata": {"finalizers": ["example.com/wait"]}})).await.expect(200);
    let marked = api
        .send("DELETE", &one, &json!({"kind": "DeleteOptions", "gracePeriodSeconds": 0}))
        .await
        .expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    api.patch("merge", &one, &json!({"metadata": {"finalizers": null}})).await.expect(200);
    api.get(&one).await.expect(404);
}

#[tokio::test]
async fn preconditions_protect_another_object_of_that_name() {
    let api = Harness::start().await;
    let made = api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let one = format!("{CONFIG_MAPS}/a");
    for wrong in [json!({"uid": "other"}), json!({"resourceVersion": "1"})] {
        let refusal = api.send("DELETE", &one, &json!({"preconditions": wrong})).await.refused(409);
        assert!(refusal.contains("in the precondition"), "{refusal}");
    }
    let right = json!({"preconditions": {"uid": made["metadata"]["uid"],
        "resourceVersion": made["metadata"]["resourceVersion"]}});
    api.send("DELETE", &one, &right).await.expect(200);
}

#[tokio::test]
async fn propagation_sets_the_garbage_collectors_finalizers() {
    let api = Harness::start().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        api.post(CONFIG_MAPS, &config_map(&policy.to_lowercase())).await.expect(201);
        let one = format!("{CONFIG_MAPS}/{}", policy.to_lowercase());
        let marked = api.send("DELETE", &one, &json!({"propagationPolicy": policy})).await.expect(200);
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
        assert!(marked["metadata"]["deletionTimestamp"].is_string());
        api.send("DELETE", &one, &json!({"propagationPolicy": "Background"})).await.expect(200);
        api.get(&one).await.expect(404);
    }
    let refusal = api.delete(&format!("{CONFIG_MAPS}/x?propagationPolicy=Sideways")).await.refused(422);
    assert_eq!(
        refusal,
        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported values: \
         \"Foreground\", \"Background\", \"Orphan\", \"nil\""
    );
}

#[tokio::test]
async fn the_older_orphan_dependents_means_orphan_or_background_and_stands_alone() {
    let api = Harness::start().await;
    let one = format!("{CONFIG_MAPS}/a");
    api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    // The second delete says nothing: what the first one asked for holds.
    for sent in [json!({"orphanDependents": true}), json!({})] {
        let marked = api.send("DELETE", &one, &sent).await.expect(200);
        assert_eq!(marked["metadata"]["finalizers"], json!(["orphan"]));
    }
    let both = json!({"orphanDependents": true, "propagationPolicy": "Foreground"});
    assert_eq!(
        api.send("DELETE", &one, &both).await.refused(422),
        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"Foreground\": orphanDependents and \
         deletionPropagation cannot be both set"
    );
    api.delete(&format!("{one}?orphanDependents=false")).await.expect(200);
    api.get(&one).await.expect(404);
    api.send("DELETE", &one, &json!(["no", "options"])).await.expect(400);
}

#[tokio::test]
async fn without_a_word_the_finalizers_say_what_becomes_of_the_dependents() {
    let api = Harness::start().await;
    let mut object = config_map("a");
    object["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
    api.post(CONFIG_MAPS, &object).await.expect(201);
    let marked = api.delete(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    assert_eq!(marked["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn a_namespace_that_goes_takes_along_what_nobody_emptied_it_of() {
    let api = Harness::start().await;
    api.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await.expect(201);
    let kinds = ["event", "lease", "poddisruptionbudget", "deployment", "secret"];
    let mut left = Vec::new();
    for word in kinds {
        let kind = registry::by_word(word).expect("a kind");
        let mut object = crate::samples::sample(kind);
        if word == "event" {
            object["involvedObject"]["namespace"] = "n".into();
        }
        let path = crate::contract::collection(kind).replace("/default/", "/n/");
        api.post(&path, &object).await.expect(201);
        left.push(format!("{path}/sample"));
    }
    let mut sent = api.delete("/api/v1/namespaces/n").await.expect(200);
    sent["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/n/finalize?dryRun=All", &sent).await.expect(200);
    for path in &left {
        api.get(path).await.expect(200);
    }
    api.put("/api/v1/namespaces/n/finalize", &sent).await.expect(200);
    for path in &left {
        api.get(path).await.expect(404);
    }
    api.get("/api/v1/namespaces/n").await.expect(404);
}

#[tokio::test]
async fn the_namespaces_that_all_rely_on_stay() {
    let api = Harness::start().await;
    for name in ["default", "kube-system", "kube-public"] {
        let refusal = api.delete(&format!("/api/v1/namespaces/{name}")).await.refused(403);
        assert_eq!(refusal, format!("namespaces \"{name}\" is forbidden: this namespace may not be deleted"));
    }
    let left = api.get("/api/v1/namespaces/default").await.expect(200);
    assert_eq!(left["status"]["phase"], "Active");
}

#[tokio::test]
async fn a_namespace_goes_when_its_own_finalizers_are_gone() {
    let api = Harness::start().await;
    api.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await.expect(201);
    let marked = api.delete("/api/v1/namespaces/n").await.expect(200);
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert_eq!(marked["spec"]["finalizers"], json!(["kubernetes"]));
    assert_eq!(api.delete("/api/v1/namespaces/n").await.expect(200), marked);
    let mut sent = marked;
    sent["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/n/finalize", &sent).await.expect(200);
    api.get("/api/v1/namespaces/n").await.expect(404);
}

#[tokio::test]
async fn a_collection_is_deleted_as_its_selector_says() {
    let api = Harness::start().await;
    for name in ["a", "b", "c"] {
        let mut object = config_map(name);
        object["metadata"]["labels"] = json!({"go": if name == "b" { "no" } else { "yes" }});
        api.post(CONFIG_MAPS, &object).await.expect(201);
    }
    let gone = api.delete(&format!("{CONFIG_MAPS}?labelSelector=go%3Dyes")).await.expect(200);
    assert_eq!(gone["items"].as_array().expect("items").len(), 2);
    let left = api.get(CONFIG_MAPS).await.expect(200);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().expect("items").len(), 1);
}
