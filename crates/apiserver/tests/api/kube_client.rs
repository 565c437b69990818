//! A `kube::Client` over the service, with no socket between: what controllers and the node use.

use apiserver::UserInfo;
use futures::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::harness::{Harness, config_map};
use crate::samples::sample;

#[tokio::test]
async fn kube_works_in_process() {
    let harness = Harness::start().await;
    let client = Client::new(harness.api.service(UserInfo::internal("test")), "default");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    assert_eq!(namespaces.list(&ListParams::default()).await.expect("listed").items.len(), 4);

    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let version = maps.list(&ListParams::default()).await.expect("listed").metadata.resource_version;
    let mut watch =
        maps.watch(&WatchParams::default(), &version.expect("a version")).await.expect("watching").boxed();
    let object: ConfigMap = serde_json::from_value(config_map("a")).expect("typed");
    maps.create(&PostParams::default(), &object).await.expect("created");
    let patch = Patch::Merge(json!({"data": {"b": "2"}}));
    let patched = maps.patch("a", &PatchParams::default(), &patch).await.expect("patched");
    assert_eq!(patched.data.expect("data").len(), 2);
    maps.delete("a", &DeleteParams::default()).await.expect("deleted");
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.push(match watch.next().await.expect("an event").expect("no error") {
            WatchEvent::Added(o) => format!("added {}", o.name_any()),
            WatchEvent::Modified(o) => format!("modified {}", o.name_any()),
            WatchEvent::Deleted(o) => format!("deleted {}", o.name_any()),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(seen, ["added a", "modified a", "deleted a"]);
    let error = maps.get("a").await.expect_err("gone");
    assert!(matches!(error, kube::Error::Api(status) if status.code == 404));

    let sets: Api<StatefulSet> = Api::default_namespaced(client);
    let set: StatefulSet =
        serde_json::from_value(sample(registry::by_word("sts").expect("a kind"))).expect("typed");
    sets.create(&PostParams::default(), &set).await.expect("created");
    let status = Patch::Merge(json!({"status": {"replicas": 2, "readyReplicas": 1}}));
    let patched = sets.patch_status("sample", &PatchParams::default(), &status).await.expect("patched");
    assert_eq!(patched.status.expect("a status").ready_replicas, Some(1));
    assert_eq!(sets.get_scale("sample").await.expect("a scale").spec.expect("a spec").replicas, Some(2));
}
