//! Create, put, patch, scale, bind: what is completed, kept and refused.

use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Harness, PODS, SETS, config_map, pod};
use crate::samples::sample;

fn set() -> Value {
    sample(registry::by_word("sts").expect("a kind"))
}

#[tokio::test]
async fn a_stale_put_is_refused_and_an_unversioned_one_is_not() {
    let api = Harness::start().await;
    let first = api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let one = format!("{CONFIG_MAPS}/a");
    api.patch("merge", &one, &json!({"data": {"b": "2"}})).await.expect(200);
    assert_eq!(
        api.put(&one, &first).await.refused(409),
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes \
         to the latest version and try again"
    );
    let replaced = api.put(&one, &config_map("a")).await.expect(200);
    assert_eq!(replaced["data"], json!({"a": "1"}));
}

#[tokio::test]
async fn a_patch_with_a_stale_version_is_refused() {
    let api = Harness::start().await;
    let first = api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let one = format!("{CONFIG_MAPS}/a");
    let patch =
        json!({"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "data": {"b": "2"}});
    api.patch("merge", &one, &patch).await.expect(200);
    api.patch("merge", &one, &patch).await.refused(409);
}

#[tokio::test]
async fn concurrent_patches_all_take_effect() {
    let api = Harness::start().await;
    api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let one = format!("{CONFIG_MAPS}/a");
    let patches = (0..10).map(|n| json!({"data": {format!("k{n}"): "x"}})).collect::<Vec<_>>();
    let replies = futures::future::join_all(patches.iter().map(|p| api.patch("merge", &one, p))).await;
    for reply in replies {
        reply.expect(200);
    }
    let data = api.get(&one).await.expect(200)["data"].clone();
    assert_eq!(data.as_object().expect("data").len(), 11);
}

#[tokio::test]
async fn generation_rises_with_the_spec_alone() {
    let api = Harness::start().await;
    assert_eq!(api.post(SETS, &set()).await.expect(201)["metadata"]["generation"], 1);
    let one = format!("{SETS}/sample");
    let labelled = api.patch("merge", &one, &json!({"metadata": {"labels": {"x": "y"}}})).await.expect(200);
    assert_eq!(labelled["metadata"]["generation"], 1);
    let status = json!({"status": {"replicas": 2}});
    let reported = api.patch("merge", &format!("{one}/status"), &status).await.expect(200);
    assert_eq!(
        (&reported["metadata"]["generation"], &reported["status"]["replicas"]),
        (&json!(1), &json!(2))
    );
    let scaled = api.patch("merge", &one, &json!({"spec": {"replicas": 5}})).await.expect(200);
    assert_eq!(scaled["metadata"]["generation"], 2);
}

#[tokio::test]
async fn the_main_path_keeps_the_status_and_the_status_path_keeps_the_rest() {
    let api = Harness::start().await;
    api.post(SETS, &set()).await.expect(201);
    let one = format!("{SETS}/sample");
    let both = json!({"spec": {"replicas": 7}, "status": {"replicas": 3}});
    let main = api.patch("merge", &one, &both).await.expect(200);
    assert_eq!((&main["spec"]["replicas"], &main["status"]["replicas"]), (&json!(7), &json!(0)));
    let both =
        json!({"spec": {"replicas": 9}, "status": {"replicas": 3}, "metadata": {"annotations": {"a": "b"}}});
    let status = api.patch("merge", &format!("{one}/status"), &both).await.expect(200);
    assert_eq!((&status["spec"]["replicas"], &status["status"]["replicas"]), (&json!(7), &json!(3)));
    assert_eq!(status["metadata"]["annotations"]["a"], "b");
}

#[tokio::test]
async fn what_only_the_server_says_cannot_be_written() {
    let api = Harness::start().await;
    let made = api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let patch = json!({"metadata": {"creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9,
        "deletionTimestamp": "2001-01-01T00:00:00Z", "managedFields": [{"manager": "me"}]}});
    let patched = api.patch("merge", &format!("{CONFIG_MAPS}/a"), &patch).await.expect(200);
    assert_eq!(patched, made);
    let other_uid = json!({"metadata": {"uid": "11111111-1111-1111-1111-111111111111"}});
    let refusal = api.patch("merge", &format!("{CONFIG_MAPS}/a"), &other_uid).await.refused(409);
    assert!(refusal.contains("Precondition failed: UID in precondition"), "{refusal}");
}

#[tokio::test]
async fn names_can_be_generated() {
    let api = Harness::start().await;
    let mut object = config_map("");
    object["metadata"] = json!({"generateName": "a-"});
    let made = api.post(CONFIG_MAPS, &object).await.expect(201);
    let name = made["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("a-") && name.len() == 7, "{name}");
    let namespace = json!({"metadata": {"generateName": "n-"}});
    let namespace = api.post("/api/v1/namespaces", &namespace).await.expect(201);
    assert_eq!(namespace["metadata"]["labels"]["kubernetes.io/metadata.name"], namespace["metadata"]["name"]);
    object["metadata"] = json!({});
    let refusal = api.post(CONFIG_MAPS, &object).await.refused(422);
    assert!(refusal.contains("metadata.name: Required value: name or generateName is required"), "{refusal}");
}

#[tokio::test]
async fn an_object_needs_an_open_namespace() {
    let api = Harness::start().await;
    let refusal = api.post("/api/v1/namespaces/nowhere/configmaps", &config_map("a")).await.refused(404);
    assert_eq!(refusal, "namespaces \"nowhere\" not found");
    let namespace = json!({"metadata": {"name": "going"}});
    api.post("/api/v1/namespaces", &namespace).await.expect(201);
    api.delete("/api/v1/namespaces/going").await.expect(200);
    let reply = api.post("/api/v1/namespaces/going/configmaps", &config_map("a")).await.expect(403);
    assert_eq!(
        reply["message"],
        "configmaps \"a\" is forbidden: unable to create new content in namespace going because it is being terminated"
    );
    assert_eq!(reply["details"]["causes"][0]["reason"], "NamespaceTerminating");
}

#[tokio::test]
async fn a_body_for_another_place_is_refused() {
    let api = Harness::start().await;
    api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let mut elsewhere = config_map("a");
    elsewhere["metadata"]["namespace"] = "other".into();
    assert_eq!(
        api.post(CONFIG_MAPS, &elsewhere).await.refused(400),
        "the namespace of the provided object does not match the namespace sent on the request"
    );
    assert_eq!(
        api.put(&format!("{CONFIG_MAPS}/a"), &config_map("b")).await.refused(400),
        "the name of the object (b) does not match the name on the URL (a)"
    );
    assert_eq!(
        api.post(PODS, &set()).await.refused(400),
        "the API version in the data (apps/v1) does not match the expected API version (v1)"
    );
    let refusal = api.post(PODS, &config_map("a")).await.refused(400);
    assert!(refusal.starts_with("ConfigMap in version \"v1\" cannot be handled as a Pod"), "{refusal}");
}

#[tokio::test]
async fn dry_runs_say_what_would_be_and_change_nothing() {
    let api = Harness::start().await;
    let made = api.post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("a")).await.expect(201);
    assert!(made["metadata"]["uid"].is_string() && made["metadata"]["resourceVersion"].is_null());
    api.get(&format!("{CONFIG_MAPS}/a")).await.expect(404);
    let kept = api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    api.post(&format!("{CONFIG_MAPS}?dryRun=All"), &config_map("a")).await.expect(409);
    let one = format!("{CONFIG_MAPS}/a?dryRun=All");
    let patched = api.patch("merge", &one, &json!({"data": {"b": "2"}})).await.expect(200);
    assert_eq!(patched["data"]["b"], "2");
    api.delete(&one).await.expect(200);
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/a")).await.expect(200), kept);
    let refusal = api.post(&format!("{CONFIG_MAPS}?dryRun=Some"), &config_map("b")).await.refused(400);
    assert!(refusal.starts_with("dryRun: Unsupported value: \"Some\""), "{refusal}");
}

#[tokio::test]
async fn scale_reads_and_writes_replicas() {
    let api = Harness::start().await;
    api.post(SETS, &set()).await.expect(201);
    let scale = format!("{SETS}/sample/scale");
    let mut read = api.get(&scale).await.expect(200);
    assert_eq!((&read["kind"], &read["apiVersion"]), (&json!("Scale"), &json!("autoscaling/v1")));
    assert_eq!((&read["spec"]["replicas"], &read["status"]["selector"]), (&json!(2), &json!("app=db")));
    read["spec"]["replicas"] = 5.into();
    assert_eq!(api.put(&scale, &read).await.expect(200)["spec"]["replicas"], 5);
    api.put(&scale, &read).await.refused(409);
    let unversioned = json!({"metadata": {"name": "sample"}, "spec": {"replicas": 0}});
    assert_eq!(api.put(&scale, &unversioned).await.expect(200)["spec"]["replicas"], 0);
    let patched = api.patch("merge", &scale, &json!({"spec": {"replicas": 3}})).await.expect(200);
    assert_eq!(patched["spec"]["replicas"], 3);
    let stored = api.get(&format!("{SETS}/sample")).await.expect(200);
    assert_eq!((&stored["spec"]["replicas"], &stored["metadata"]["generation"]), (&json!(3), &json!(4)));
    let refusal = api.patch("merge", &scale, &json!({"spec": {"replicas": -1}})).await.refused(422);
    assert!(
        refusal.contains("spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_pod_is_bound_once() {
    let api = Harness::start().await;
    api.post(PODS, &pod("p")).await.expect(201);
    let binding = |node: &str| {
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": node}})
    };
    let path = format!("{PODS}/p/binding");
    assert_eq!(api.post(&path, &binding("n1")).await.expect(201)["status"], "Success");
    let bound = api.get(&format!("{PODS}/p")).await.expect(200);
    assert_eq!(bound["spec"]["nodeName"], "n1");
    let conditions = bound["status"]["conditions"].as_array().expect("conditions");
    assert!(
        conditions.iter().any(|c| c["type"] == "PodScheduled" && c["status"] == "True"),
        "{conditions:?}"
    );
    let refusal = api.post(&path, &binding("n2")).await.refused(409);
    assert!(refusal.contains("already assigned to node"), "{refusal}");
}

#[tokio::test]
async fn patches_that_do_not_fit_are_refused_with_the_reason() {
    let api = Harness::start().await;
    api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let one = format!("{CONFIG_MAPS}/a");
    let test = json!([{"op": "test", "path": "/data/a", "value": "2"}]);
    let refusal = api.patch("json", &one, &test).await.refused(422);
    assert!(refusal.contains("testing value \"/data/a\" failed"), "{refusal}");
    api.patch("json", &one, &json!([{"op": "fly", "path": "/data"}])).await.refused(400);
    api.patch("merge", &one, &json!(["a"])).await.refused(400);
    let refusal = api.patch("strange", &one, &json!({})).await.refused(415);
    assert!(refusal.contains("application/strategic-merge-patch+json"), "{refusal}");
    api.patch("merge", &format!("{CONFIG_MAPS}/b"), &json!({})).await.refused(404);
    assert_eq!(api.get(&one).await.expect(200)["data"], json!({"a": "1"}));
}

#[tokio::test]
async fn the_roots_certificates_are_published_and_renewed() {
    let api = Harness::start().await;
    let path = "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt";
    for pem in ["first", "first", "second"] {
        api.api.publish_root_ca(pem).await.expect("published");
        let map = api.get(path).await.expect(200);
        assert_eq!(map["data"], json!({"ca.crt": pem}));
        let about =
            map["metadata"]["annotations"]["kubernetes.io/description"].as_str().expect("a description");
        assert!(about.starts_with("Contains a CA bundle"), "{about}");
    }
}

#[tokio::test]
async fn a_put_makes_what_is_not_there_for_the_kinds_that_upstream_lets_it() {
    let api = Harness::start().await;
    for (word, expect) in [
        ("lease", 201),
        ("endpoints", 201),
        ("event", 201),
        ("service", 201),
        ("role", 201),
        ("clusterrole", 201),
        ("rolebinding", 201),
        ("clusterrolebinding", 201),
        ("configmap", 404),
        ("secret", 404),
        ("sts", 404),
        ("endpointslice", 404),
    ] {
        let kind = registry::by_word(word).expect("a kind");
        let one = format!("{}/sample", crate::contract::collection(kind));
        let mut object = sample(kind);
        api.put(&format!("{one}?dryRun=All"), &object).await.expect(expect);
        api.get(&one).await.expect(404);
        let made = api.put(&one, &object).await.expect(expect);
        if expect == 201 {
            assert!(made["metadata"]["uid"].is_string(), "{word}");
            api.put(&one, &made).await.expect(200);
            // What is gone does not come back under the name of what it was.
            api.delete(&one).await.expect(200);
            object["metadata"]["uid"] = made["metadata"]["uid"].clone();
            api.put(&one, &object).await.refused(409);
        }
    }
}

#[tokio::test]
async fn a_collection_is_deleted_by_pages_and_not_at_all_in_a_dry_run() {
    let api = Harness::start().await;
    for name in ["a", "b", "c"] {
        api.post(CONFIG_MAPS, &config_map(name)).await.expect(201);
    }
    let count = |list: Value| list["items"].as_array().expect("items").len();
    assert_eq!(count(api.delete(&format!("{CONFIG_MAPS}?dryRun=All")).await.expect(200)), 3);
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]});
    assert_eq!(count(api.send("DELETE", CONFIG_MAPS, &options).await.expect(200)), 3);
    assert_eq!(count(api.delete(&format!("{CONFIG_MAPS}?limit=2")).await.expect(200)), 2);
    assert_eq!(count(api.get(CONFIG_MAPS).await.expect(200)), 1);
    let one = "fieldSelector=metadata.name%3Dzzz";
    assert_eq!(count(api.delete(&format!("{CONFIG_MAPS}?{one}")).await.expect(200)), 0);
    assert_eq!(count(api.get(CONFIG_MAPS).await.expect(200)), 1);
}

#[tokio::test]
async fn names_that_are_all_taken_are_told_as_such() {
    let api = Harness::with_random(apimachinery::inject::Random::new(|| 0)).await;
    let object = json!({"metadata": {"generateName": "a-"}});
    let made = api.post(CONFIG_MAPS, &object).await.expect(201);
    assert_eq!(made["metadata"]["name"], "a-bbbbb");
    let reply = api.post(CONFIG_MAPS, &object).await.expect(409);
    assert_eq!(
        reply["message"],
        "configmaps \"a-bbbbb\" already exists, the server was not able to generate a unique name for the object"
    );
    assert_eq!(
        (&reply["reason"], &reply["details"]["retryAfterSeconds"]),
        (&json!("AlreadyExists"), &json!(1))
    );
}

#[tokio::test]
async fn annotations_and_owners_have_their_rules_on_every_write() {
    let api = Harness::start().await;
    api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let one = format!("{CONFIG_MAPS}/a");
    let large = json!({"metadata": {"annotations": {"a": "x".repeat(256 << 10)}}});
    let refusal = api.patch("merge", &one, &large).await.refused(422);
    assert!(
        refusal.contains("metadata.annotations: Too long: may not be more than 262144 bytes"),
        "{refusal}"
    );
    let owner = |name: &str, controller: bool| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name,
        "uid": "11111111-1111-1111-1111-111111111111", "controller": controller, "blockOwnerDeletion": true})
    };
    let two = json!({"metadata": {"ownerReferences": [owner("b", true), owner("c", true)]}});
    let refusal = api.patch("merge", &one, &two).await.refused(422);
    assert!(refusal.contains("only one reference can have Controller set to true"), "{refusal}");
    let both = json!({"metadata": {"ownerReferences": [owner("b", true), owner("c", false)]}});
    api.patch("merge", &one, &both).await.expect(200);
    let label = json!({"metadata": {"labels": {"-a": "b", "c": "d e"}}});
    let refusal = api.patch("merge", &one, &label).await.refused(422);
    assert!(
        refusal.contains("metadata.labels: Invalid value: \"-a\"") && refusal.contains("\"d e\""),
        "{refusal}"
    );
    for (field, value) in [("name", "b"), ("namespace", "other")] {
        api.patch("merge", &one, &json!({"metadata": {field: value}})).await.refused(400);
    }
    assert_eq!(api.get(&one).await.expect(200)["metadata"]["annotations"], Value::Null);
}
