//! What single kinds do besides being stored: who asks for a certificate, what events say, what can be selected.

use std::io::Read as _;

use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{Harness, PODS, pod};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const NEW_EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const EVENTS: &str = "/api/v1/namespaces/default/events";

#[tokio::test]
async fn ephemeral_containers_join_a_pod_that_is_there() {
    let api = Harness::start().await;
    let mut new = pod("p");
    new["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "busybox"}]);
    let refused = api.post(PODS, &new).await.refused(422);
    assert_eq!(refused, "Pod \"p\" is invalid: spec.ephemeralContainers: Forbidden: cannot be set on create");
    let mut made = api.post(PODS, &pod("p")).await.expect(201);
    made["spec"]["ephemeralContainers"] = new["spec"]["ephemeralContainers"].clone();
    let path = format!("{PODS}/p");
    let refused = api.put(&path, &made).await.refused(422);
    assert!(refused.contains("spec: Forbidden: pod updates may not change fields other than"), "{refused}");
    api.put(&format!("{path}/ephemeralcontainers"), &made).await.expect(200);
}

#[tokio::test]
async fn who_asks_for_a_certificate_is_who_sends_the_request() {
    let api = Harness::start().await;
    let request = json!({"metadata": {"name": "r"}, "spec": {
        "request": "LS0tLS1CRUdJTg==", "signerName": "example.com/s", "usages": ["client auth"],
        "username": "somebody", "groups": ["system:masters"], "uid": "7", "extra": {"a": ["b"]}}});
    let groups = &["system:masters", "system:authenticated"];
    let made = api.send_as("ada", groups, "POST", REQUESTS, &request).await.expect(201);
    assert_eq!(made["spec"]["username"], "ada");
    assert_eq!(made["spec"]["groups"], json!(groups));
    assert_eq!((&made["spec"]["uid"], &made["spec"]["extra"]), (&Value::Null, &Value::Null));
    // As upstream: the spec stays what it is, whatever is sent.
    let change =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"username": "eve", "signerName": "other.com/s"}});
    let path = format!("{REQUESTS}/r");
    let changed = api.patch("merge", &path, &change).await.expect(200);
    assert_eq!(changed["metadata"]["labels"]["a"], "b");
    assert_eq!(changed["spec"], made["spec"]);
    let selected =
        api.get(&format!("{REQUESTS}?fieldSelector=spec.signerName%3Dexample.com/s")).await.expect(200);
    assert_eq!(selected["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn every_kind_can_be_selected_by_what_upstream_selects_it_by() {
    let api = Harness::start().await;
    let offered = |path: &str, field: &str| format!("{path}?fieldSelector={field}%3D0");
    for (path, field) in [
        ("/api/v1/replicationcontrollers", "status.replicas"),
        ("/apis/batch/v1/jobs", "status.successful"),
        ("/apis/resource.k8s.io/v1/resourceslices", "spec.nodeName"),
        ("/apis/resource.k8s.io/v1/resourceslices", "spec.driver"),
        ("/api/v1/nodes", "spec.unschedulable"),
        ("/api/v1/services", "spec.type"),
        ("/api/v1/secrets", "type"),
        ("/api/v1/namespaces", "status.phase"),
    ] {
        api.get(&offered(path, field)).await.expect(200);
        let other = api.get(&offered(path, "spec.nothing")).await.refused(400);
        assert_eq!(other, "field label not supported: spec.nothing", "{path}");
    }
    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    let controller = json!({"metadata": {"name": "rc"}, "spec": {"replicas": 0, "selector": {"a": "b"}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    api.post(controllers, &controller).await.expect(201);
    let count = async |value: &str| {
        let path = format!("{controllers}?fieldSelector=status.replicas%3D{value}");
        api.get(&path).await.expect(200)["items"].as_array().map(Vec::len)
    };
    assert_eq!((count("0").await, count("1").await), (Some(1), Some(0)));
}

#[tokio::test]
async fn events_of_the_new_group_say_all_that_they_must() {
    let api = Harness::start().await;
    let event = json!({"metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal",
        "reason": "Tested", "action": "Testing", "reportingController": "example.com/tester",
        "reportingInstance": "t-1", "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}});
    let refused = |field: &str, value: Value| {
        let mut wrong = event.clone();
        wrong[field] = value;
        wrong["metadata"]["name"] = "wrong".into();
        let api = &api;
        async move { api.post(NEW_EVENTS, &wrong).await.refused(422) }
    };
    api.post(NEW_EVENTS, &event).await.expect(201);
    for (field, value, why) in [
        ("eventTime", Value::Null, "eventTime: Required value"),
        ("type", "Odd".into(), "type: Invalid value: \"\": has invalid value: Odd"),
        ("deprecatedCount", 2.into(), "count: Invalid value: \"\": needs to be unset"),
        ("deprecatedSource", json!({"component": "c"}), "source: Invalid value: \"\": needs to be unset"),
        ("reason", "".into(), "reason: Required value"),
        ("action", "x".repeat(129).into(), "action: Invalid value: \"\": can have at most 128 characters"),
        ("note", "x".repeat(1025).into(), "message: Invalid value: \"\": can have at most 1024 characters"),
        ("reportingController", "".into(), "reportingController: Required value"),
        (
            "series",
            json!({"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}),
            "series.count: Invalid value: \"\": should be at least 2",
        ),
    ] {
        let told = refused(field, value).await;
        assert!(told.contains(why), "{field}: {told}");
    }
    let path = format!("{NEW_EVENTS}/e");
    let told = api.patch("merge", &path, &json!({"reason": "Other"})).await.refused(422);
    assert!(told.contains("reason: Invalid value: \"Other\": field is immutable"), "{told}");
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}});
    api.patch("merge", &path, &series).await.expect(200);
    // In the old group they may say less.
    let old = json!({"metadata": {"name": "old"}, "involvedObject": {"kind": "Pod", "namespace": "default"}, "count": 1});
    api.post(EVENTS, &old).await.expect(201);
}

#[tokio::test]
async fn the_service_of_the_api_leads_to_the_port_that_it_listens_on() {
    let api = Harness::start().await;
    let path = "/api/v1/namespaces/default/services/kubernetes";
    api.api.publish_port(16443).await.expect("published");
    let service = api.get(path).await.expect(200);
    assert_eq!(service["spec"]["ports"][0]["targetPort"], 16443);
    assert_eq!(service["spec"]["ports"][0]["port"], 443);
    let version = service["metadata"]["resourceVersion"].clone();
    api.api.bootstrap().await.expect("started again");
    api.api.publish_port(16443).await.expect("published");
    assert_eq!(api.get(path).await.expect(200)["metadata"]["resourceVersion"], version, "nothing changed");
}

#[tokio::test]
async fn the_old_schema_is_compressed_in_both_forms() {
    let api = Harness::start().await;
    for accept in ["application/json", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"] {
        let headers = [("accept", accept)];
        let plain = api.raw("GET", "/openapi/v2", &headers, "").await;
        assert!(plain.headers().get("content-encoding").is_none());
        let plain = plain.into_body().collect().await.expect("a body").to_bytes();
        let headers = [("accept", accept), ("accept-encoding", "gzip")];
        let packed = api.raw("GET", "/openapi/v2", &headers, "").await;
        assert_eq!(packed.headers()["content-encoding"], "gzip", "{accept}");
        let packed = packed.into_body().collect().await.expect("a body").to_bytes();
        assert!(packed.len() < plain.len() / 4, "{} of {}", packed.len(), plain.len());
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).expect("gzip");
        assert!(unpacked == plain, "{accept}");
    }
}
