//! Bodies: what is understood, forgiven and refused.

use serde_json::json;

use crate::harness::{CONFIG_MAPS, Harness, SETS, config_map};
use crate::samples::sample;

fn set_with_typo() -> serde_json::Value {
    let mut set = sample(registry::by_word("sts").expect("a kind"));
    set["spec"]["replica"] = 3.into();
    set
}

#[tokio::test]
async fn an_unknown_field_is_refused_warned_of_or_dropped() {
    let api = Harness::start().await;
    let refusal = api.post(&format!("{SETS}?fieldValidation=Strict"), &set_with_typo()).await.refused(400);
    assert!(refusal.contains("strict decoding error: unknown field \"spec.replica\""), "{refusal}");
    assert!(refusal.contains("replicas"), "names what was meant: {refusal}");
    let ignored = api.post(&format!("{SETS}?fieldValidation=Ignore&dryRun=All"), &set_with_typo()).await;
    assert!(ignored.warnings.is_empty());
    let warned = api.post(SETS, &set_with_typo()).await;
    assert!(
        warned.warnings[0].starts_with("299 - \"unknown field \\\"spec.replica\\\""),
        "{:?}",
        warned.warnings
    );
    assert!(warned.expect(201)["spec"]["replica"].is_null());
    let patch = json!({"spec": {"replica": 3}});
    let refusal =
        api.patch("merge", &format!("{SETS}/sample?fieldValidation=Strict"), &patch).await.refused(400);
    assert!(refusal.contains("unknown field \"spec.replica\""), "{refusal}");
    api.post(&format!("{SETS}?fieldValidation=Maybe"), &set_with_typo()).await.refused(400);
}

#[tokio::test]
async fn a_wrong_type_is_refused_with_the_path() {
    let api = Harness::start().await;
    let mut set = sample(registry::by_word("sts").expect("a kind"));
    set["spec"]["replicas"] = "three".into();
    let refusal = api.post(SETS, &set).await.refused(400);
    assert!(refusal.contains("spec.replicas: Invalid value: \"three\": must be"), "{refusal}");
}

#[tokio::test]
async fn a_field_that_stands_twice_is_refused_when_strict() {
    let api = Harness::start().await;
    let body = r#"{"metadata": {"name": "a"}, "data": {"x": "1", "x": "2"}}"#;
    let json = [("content-type", "application/json")];
    let reply = api.call("POST", &format!("{CONFIG_MAPS}?fieldValidation=Strict"), &json, body).await;
    assert!(reply.refused(400).contains("strict decoding error: duplicate field \"data.x\""));
    let reply = api.call("POST", CONFIG_MAPS, &json, body).await;
    assert_eq!(reply.expect(201)["data"]["x"], "2");
}

#[tokio::test]
async fn yaml_is_understood() {
    let api = Harness::start().await;
    let yaml = "metadata:\n  name: a\ndata:\n  x: 'true'\n";
    let made = api.call("POST", CONFIG_MAPS, &[("content-type", "application/yaml")], yaml).await.expect(201);
    assert_eq!(made["data"], json!({"x": "true"}));
    for (broken, why) in [("a: [", "line 1: "), ("a: 1\n---\nb: 2\n", "it holds several documents")] {
        let reply = api.call("POST", CONFIG_MAPS, &[("content-type", "application/yaml")], broken).await;
        let refusal = reply.refused(400);
        assert!(refusal.starts_with(&format!("couldn't read the body as YAML: {why}")), "{refusal}");
    }
}

#[tokio::test]
async fn yaml_means_what_kubectl_takes_it_for() {
    let api = Harness::start().await;
    let yaml = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\nautomountServiceAccountToken: off\n---\n";
    let path = "/api/v1/namespaces/default/serviceaccounts";
    let made = api.call("POST", path, &[("content-type", "application/yaml")], yaml).await.expect(201);
    assert_eq!(made["automountServiceAccountToken"], false);
}

#[tokio::test]
async fn a_field_that_stands_twice_in_yaml_is_refused_when_strict() {
    let api = Harness::start().await;
    let body = "metadata:\n  name: a\ndata:\n  x: '1'\n  x: '2'\n";
    let yaml = [("content-type", "application/yaml")];
    let reply = api.call("POST", &format!("{CONFIG_MAPS}?fieldValidation=Strict"), &yaml, body).await;
    assert!(reply.refused(400).contains("strict decoding error: line 5: key \"x\" already set in map"));
    let reply = api.call("POST", CONFIG_MAPS, &yaml, body).await;
    assert_eq!(reply.expect(201)["data"]["x"], "2");
}

#[tokio::test]
async fn protobuf_is_understood() {
    let api = Harness::start().await;
    // runtime.Unknown { typeMeta: { v1, ConfigMap }, raw: ConfigMap { metadata: { name: "a" }, data: { x: y } } }
    let raw: &[u8] = b"\x0a\x03\x0a\x01a\x12\x06\x0a\x01x\x12\x01y";
    let mut body = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12".to_vec();
    body.push(u8::try_from(raw.len()).expect("short"));
    body.extend_from_slice(raw);
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    let made = api.call("POST", CONFIG_MAPS, &protobuf, body).await.expect(201);
    assert_eq!((&made["metadata"]["name"], &made["data"]), (&json!("a"), &json!({"x": "y"})));
    api.call("POST", CONFIG_MAPS, &protobuf, "k8s\0\x0a\x7f").await.refused(400);
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_depth() {
    let api = Harness::start().await;
    let json = [("content-type", "application/json")];
    let large = format!(r#"{{"data": {{"a": "{}"}}}}"#, "x".repeat(3 << 20));
    let refusal = api.call("POST", CONFIG_MAPS, &json, large).await.refused(413);
    assert!(refusal.contains("limit is 3145728 bytes"), "{refusal}");
    for media_type in ["application/json", "application/yaml"] {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        api.call("POST", CONFIG_MAPS, &[("content-type", media_type)], deep).await.refused(400);
    }
}

#[tokio::test]
async fn other_bodies_are_refused_plainly() {
    let api = Harness::start().await;
    let refusal = api.call("POST", CONFIG_MAPS, &[("content-type", "text/html")], "<a>").await.refused(415);
    assert!(refusal.contains("accepted media types include: application/json"), "{refusal}");
    let refusal = api.call("POST", CONFIG_MAPS, &[], "").await.refused(400);
    assert_eq!(refusal, "the body of the request is empty: send a ConfigMap in v1");
    let json = [("content-type", "application/json")];
    let refusal = api.call("POST", CONFIG_MAPS, &json, "[]").await.refused(400);
    assert_eq!(refusal, "the body of the request is not an object: send a ConfigMap in v1");
    api.call("POST", CONFIG_MAPS, &json, "{").await.refused(400);
    api.send("PUT", CONFIG_MAPS, &config_map("a")).await.refused(405);
    api.get("/api/v1/namespaces/default/teapots").await.refused(404);
}

/// The pointers of everything inside a value.
fn pointers(value: &serde_json::Value, at: &str, found: &mut Vec<String>) {
    let children: Vec<(String, &serde_json::Value)> = match value {
        serde_json::Value::Object(map) => map.iter().map(|(k, v)| (k.replace('/', "~1"), v)).collect(),
        serde_json::Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    for (key, child) in children {
        let path = format!("{at}/{key}");
        pointers(child, &path, found);
        found.push(path);
    }
}

#[tokio::test]
async fn no_value_anywhere_makes_the_server_fail() {
    let api = Harness::start().await;
    let strange = [
        json!(null),
        json!(""),
        json!("\u{0}/ä"),
        json!(-1),
        json!(1.5),
        json!(i64::MAX),
        json!([]),
        json!({}),
        json!([null]),
        json!({"": null}),
        json!(true),
    ];
    for kind in registry::KINDS {
        let all = crate::contract::collection(kind);
        let whole = sample(kind);
        let mut places = Vec::new();
        pointers(&whole, "", &mut places);
        for place in &places {
            for value in &strange {
                let mut broken = whole.clone();
                *broken.pointer_mut(place).expect("a place") = value.clone();
                let reply = api.post(&format!("{all}?dryRun=All"), &broken).await;
                assert!(reply.code < 500, "{} {place} = {value}: {}", kind.kind, reply.body);
            }
        }
        api.post(&all, &whole).await.expect(201);
        for place in &places {
            for value in &strange {
                let patch = json!([{"op": "replace", "path": place, "value": value}]);
                let reply = api.patch("json", &format!("{all}/sample?dryRun=All"), &patch).await;
                assert!(reply.code < 500, "{} patched {place} = {value}: {}", kind.kind, reply.body);
            }
        }
    }
}
