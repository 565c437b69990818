//! Kinds that are served in two versions: one object, asked for in either.

use serde_json::{Value, json};

use crate::harness::{Harness, TABLE};

const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const CORE_EVENTS: &str = "/api/v1/namespaces/default/events";
const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

fn event() -> Value {
    json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "It ran.",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "web-0"}, "reason": "Ran", "type": "Normal",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "test", "reportingInstance": "t-1",
        "action": "Run"})
}

#[tokio::test]
async fn an_event_is_one_object_in_both_groups() {
    let api = Harness::start().await;
    let newest = api.get(EVENTS).await.expect(200);
    assert_eq!((&newest["kind"], &newest["apiVersion"]), (&json!("EventList"), &json!("events.k8s.io/v1")));
    let version = newest["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut watch = api.watch(&format!("{EVENTS}?watch=true&resourceVersion={version}")).await;
    let made = api.post(EVENTS, &event()).await.expect(201);
    assert_eq!((&made["apiVersion"], &made["note"]), (&json!("events.k8s.io/v1"), &json!("It ran.")));
    let core = api.get(&format!("{CORE_EVENTS}/e")).await.expect(200);
    assert_eq!((&core["apiVersion"], &core["message"]), (&json!("v1"), &json!("It ran.")));
    assert_eq!(core["involvedObject"]["name"], "web-0");
    assert!(core["note"].is_null() && made["message"].is_null());

    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}});
    let patched = api.patch("strategic-merge", &format!("{EVENTS}/e"), &series).await;
    assert_eq!(patched.expect(200)["series"]["count"], 2);
    assert_eq!(api.get(&format!("{CORE_EVENTS}/e")).await.expect(200)["series"]["count"], 2);
    let selected = |path: &str, field: &str| format!("{path}?fieldSelector={field}%3Dweb-0");
    for path in [selected(EVENTS, "regarding.name"), selected(CORE_EVENTS, "involvedObject.name")] {
        assert_eq!(api.get(&path).await.expect(200)["items"].as_array().map(Vec::len), Some(1), "{path}");
    }
    let refused = api.get(&selected(EVENTS, "involvedObject.name")).await.refused(400);
    assert_eq!(refused, "field label not supported: involvedObject.name");
    api.delete(&format!("{EVENTS}/e")).await.expect(200);
    for word in ["ADDED", "MODIFIED", "DELETED"] {
        let event = watch.next().await.expect("an event");
        assert_eq!(
            (&event["type"], &event["object"]["apiVersion"]),
            (&json!(word), &json!("events.k8s.io/v1"))
        );
        assert!(event["object"]["note"].is_string(), "{event}");
    }
    let wrong =
        api.post(EVENTS, &json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "f"}})).await;
    assert!(wrong.refused(400).contains("does not match the expected API version (events.k8s.io/v1)"));
}

#[tokio::test]
async fn an_autoscaler_of_the_first_version_is_one_of_the_second() {
    let api = Harness::start().await;
    let autoscaler = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"}, "spec": {"maxReplicas": 5, "targetCPUUtilizationPercentage": 60,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    let made = api.post(V1, &autoscaler).await.expect(201);
    assert_eq!(
        (&made["spec"]["minReplicas"], &made["spec"]["targetCPUUtilizationPercentage"]),
        (&json!(1), &json!(60))
    );
    let second = api.get(&format!("{V2}/web")).await.expect(200);
    let target = json!({"type": "Utilization", "averageUtilization": 60});
    assert_eq!(
        second["spec"]["metrics"],
        json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
    );

    let patched = api
        .patch("merge", &format!("{V1}/web"), &json!({"spec": {"targetCPUUtilizationPercentage": 70}}))
        .await;
    assert_eq!(patched.expect(200)["spec"]["targetCPUUtilizationPercentage"], 70);
    let config = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"}, "spec": {"maxReplicas": 9}});
    let headers = [("content-type", "application/apply-patch+yaml")];
    let applied =
        api.call("PATCH", &format!("{V1}/web?fieldManager=a&force=true"), &headers, config.to_string()).await;
    let applied = applied.expect(200);
    let spec = (&applied["spec"]["maxReplicas"], &applied["spec"]["targetCPUUtilizationPercentage"]);
    assert_eq!(spec, (&json!(9), &json!(70)));
    // What is stored has one version, and that is what its fields are owned in.
    let owners = applied["metadata"]["managedFields"].as_array().expect("owners");
    assert!(owners.iter().all(|owner| owner["apiVersion"] == "autoscaling/v2"), "{owners:?}");
    let table = api.get_as(&format!("{V1}/web"), TABLE).await.expect(200);
    assert_eq!(table["rows"][0]["cells"][2], "cpu: <unknown>/70%");
}

/// What v1 has no words for is kept in annotations, in the words of v2.
#[tokio::test]
async fn metrics_that_the_first_version_lacks_stand_in_annotations() {
    let api = Harness::start().await;
    let memory = json!({"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
    let autoscaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"}, "spec": {"maxReplicas": 5, "metrics": [memory],
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    api.post(V2, &autoscaler).await.expect(201);
    let first = api.get(&format!("{V1}/web")).await.expect(200);
    let annotation = &first["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"];
    assert_eq!(*annotation, json!([memory]).to_string());
    api.put(&format!("{V1}/web"), &first).await.expect(200);
    let second = api.get(&format!("{V2}/web")).await.expect(200);
    assert_eq!(
        (&second["spec"]["metrics"], &second["metadata"]["annotations"]),
        (&json!([memory]), &Value::Null)
    );
}
