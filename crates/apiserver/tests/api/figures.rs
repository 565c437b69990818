//! `/metrics` and metrics.k8s.io: what is counted and measured, by whom it may be read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use apiserver::figures::{FigureSource, Measured, Usage};
use async_trait::async_trait;
use serde_json::json;

use crate::harness::{Harness, Reply, pod};

/// Measures the pod `a`, whose container `main` keeps a quarter of a processor busy, and no other.
struct Source;

fn quarter(name: &str) -> Measured {
    let usage = [(name.to_owned(), Usage { cpu_nanocores: 250_000_000, memory: 8 << 20 })].into();
    Measured { at: "2026-01-01T00:00:00Z".parse().unwrap(), window: Duration::from_millis(1500), usage }
}

#[async_trait]
impl FigureSource for Source {
    async fn text(&self) -> String {
        "# TYPE others gauge\nothers 1\n".to_owned()
    }

    async fn nodes(&self) -> BTreeMap<String, Measured> {
        [("node-1".to_owned(), quarter(""))].into()
    }

    async fn pods(&self) -> BTreeMap<(String, String), Measured> {
        [(("default".to_owned(), "a".to_owned()), quarter("main"))].into()
    }
}

async fn measuring() -> Harness {
    let api = Harness::start().await;
    for name in ["a", "b"] {
        let mut pod = pod(name);
        pod["metadata"]["labels"] = json!({"app": name});
        api.post("/api/v1/namespaces/default/pods", &pod).await.expect(201);
    }
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}});
    api.post("/api/v1/nodes", &node).await.expect(201);
    api.api.show_figures(Arc::new(Source));
    api
}

const METRICS: &str = "/apis/metrics.k8s.io/v1beta1";

#[tokio::test]
async fn pods_and_nodes_are_measured_when_somebody_asks() {
    let api = measuring().await;
    let pods = api.get(&format!("{METRICS}/namespaces/default/pods")).await.expect(200);
    assert_eq!(
        (&pods["kind"], &pods["apiVersion"]),
        (&"PodMetricsList".into(), &"metrics.k8s.io/v1beta1".into())
    );
    assert_eq!(
        pods["items"],
        json!([{"metadata": {"name": "a", "namespace": "default", "labels": {"app": "a"},
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "timestamp": "2026-01-01T00:00:00Z", "window": "1.500s",
            "containers": [{"name": "main", "usage": {"cpu": "250000000n", "memory": "8192Ki"}}]}]),
        "of b nothing is known"
    );
    let none = api.get(&format!("{METRICS}/pods?labelSelector=app%3Db")).await.expect(200);
    assert_eq!(none["items"], json!([]));
    let node = api.get(&format!("{METRICS}/nodes/node-1")).await.expect(200);
    assert_eq!((&node["kind"], &node["usage"]["memory"]), (&"NodeMetrics".into(), &"8192Ki".into()));
    let refusal = api.get(&format!("{METRICS}/namespaces/default/pods/b")).await.refused(404);
    assert_eq!(refusal, "pods.metrics.k8s.io \"b\" not found");
    api.delete(&format!("{METRICS}/nodes/node-1")).await.refused(405);
}

#[tokio::test]
async fn what_is_measured_stands_in_discovery_and_not_in_openapi() {
    let api = Harness::start().await;
    let resources = api.get(METRICS).await.expect(200);
    let named = |name: &str, kind: &str, namespaced: bool| json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]});
    assert_eq!(
        resources["resources"],
        json!([named("nodes", "NodeMetrics", false), named("pods", "PodMetrics", true)])
    );
    let refusal = api.get(&format!("{METRICS}/nodes")).await.refused(503);
    assert_eq!(refusal, "nothing is measured here: this stead runs no node");
    let index = api.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/metrics.k8s.io/v1beta1"]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(api.get(url).await.expect(200)["paths"], json!({}));
}

#[tokio::test]
async fn requests_are_counted_by_what_was_asked_and_answered() {
    let api = measuring().await;
    let read_as =
        async |user: &str, groups: &[&str]| api.call_as(user, groups, "GET", "/metrics", &[], "").await;
    let text = |reply: Reply| reply.expect(200).as_str().expect("text").to_owned();
    let read = text(read_as("admin", &["system:masters"]).await);
    let line = "apiserver_request_total{verb=\"POST\",group=\"\",version=\"v1\",resource=\"pods\",subresource=\"\",\
                scope=\"resource\",code=\"201\"} 2";
    assert!(read.lines().any(|l| l == line), "{read}");
    assert!(read.contains("\nothers 1\n") && read.ends_with("# EOF\n"), "{read}");
    read_as("ada", &[]).await.refused(403);
    let read = text(read_as("ada", &["system:monitoring"]).await);
    let refused = "apiserver_request_total{verb=\"GET\",group=\"\",version=\"\",resource=\"\",subresource=\"\",\
                   scope=\"\",code=\"403\"} 1";
    assert!(read.lines().any(|l| l == refused), "{read}");
}
