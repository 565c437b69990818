//! What a StatefulSet does, with real containers: seen through watches, driven by kubectl where there is one and
//! by typed clients otherwise. Nothing here waits by the clock: that something does *not* happen is read from the
//! set's own status, which tells what it has looked at.

#![expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]

mod api;
mod healing;
mod order;
mod ordinals;
mod ownership;
mod storage;
mod updates;
mod words;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::{Home, Objects, condition, is_ready};

/// Runs until it is told to end.
const REST: &str = "trap 'exit 0' TERM; sleep 1000000 & wait";

/// A container that is Ready as soon as it runs.
fn plain() -> Value {
    json!({"name": "main", "image": "busybox", "command": ["sh", "-c", REST]})
}

/// A container that is Ready as long as it has a file, which the test makes ([`mend`]) and takes away
/// ([`spoil`]).
fn held() -> Value {
    json!({"name": "main", "image": "busybox", "command": ["sh", "-c", REST],
        "readinessProbe": {"exec": {"command": ["test", "-f", "/ok"]}, "periodSeconds": 1, "failureThreshold": 1}})
}

/// The same, but it makes the file itself when it begins.
fn probed() -> Value {
    let mut container = held();
    container["command"][2] = format!("touch /ok; {REST}").into();
    container
}

fn mend(home: &Home, pod: &str) {
    home.run(&format!("exec {pod} -- touch /ok"));
}

fn spoil(home: &Home, pod: &str) {
    home.run(&format!("exec {pod} -- rm /ok"));
}

/// A set of so many replicas of a container.
fn set(name: &str, replicas: u32, container: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {"serviceName": name, "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}}})
}

/// The same with a claim for each replica, mounted at `/data`.
fn with_claims(mut set: Value) -> Value {
    set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}]);
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "data", "mountPath": "/data"}]);
    set
}

/// With more of the set's spec.
fn with(mut set: Value, more: Value) -> Value {
    let Value::Object(fields) = more else { panic!("fields of the spec") };
    for (field, value) in fields {
        set["spec"][field] = value;
    }
    set
}

/// A patch of the set's spec.
fn spec(fields: Value) -> Value {
    json!({"spec": fields})
}

/// A patch that makes another revision.
fn version(version: &str) -> Value {
    spec(json!({"template": {"metadata": {"annotations": {"version": version}}}}))
}

/// The version of a pod's template; empty when it has none.
fn version_of(pod: &Pod) -> &str {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get("version")).map_or("", String::as_str)
}

fn versions(pods: &Objects<Pod>) -> BTreeMap<&str, &str> {
    pods.iter().map(|(name, pod)| (name.as_str(), version_of(pod))).collect()
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn runs(pod: &Pod) -> bool {
    phase(pod) == "Running" && pod.metadata.deletion_timestamp.is_none()
}

fn names(pods: &Objects<Pod>) -> Vec<&str> {
    pods.keys().map(String::as_str).collect()
}

fn status(set: &StatefulSet) -> StatefulSetStatus {
    set.status.clone().unwrap_or_default()
}

/// Whether the set's controller has looked at its spec as it is now.
fn is_observed(set: &StatefulSet) -> bool {
    status(set).observed_generation == set.metadata.generation
}

/// Whether all that the set wants is there, updated and available.
fn is_complete(set: &StatefulSet) -> bool {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = status(set);
    is_observed(set)
        && status.replicas == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.current_revision == status.update_revision
}

/// Waits until the set is complete.
fn complete(home: &Home, name: &str) -> StatefulSet {
    home.until_one(name, "the set is complete", is_complete)
}

/// Waits until the set has looked at its spec as it is now.
fn observed(home: &Home, name: &str) -> StatefulSet {
    home.until_one(name, "the set has seen its spec", is_observed)
}

/// Waits until a pod is Ready.
fn ready(home: &Home, pod: &str) -> Pod {
    home.until_one(pod, "the pod is Ready", is_ready)
}

/// Waits until a pod runs, Ready or not.
fn running(home: &Home, pod: &str) -> Pod {
    home.until_one(pod, "the pod runs", runs)
}

/// Waits until exactly these pods are there, and all Ready.
fn only_ready(home: &Home, pods: &[&str]) -> Objects<Pod> {
    home.until(&format!("{pods:?} are there and Ready"), |all: &Objects<Pod>| {
        names(all) == pods && all.values().all(is_ready)
    })
}

/// The pods that are there now.
fn pods(home: &Home) -> Objects<Pod> {
    home.until("a look at the pods", |_| true)
}

/// A condition of the set: its status and reason.
fn standing(set: &StatefulSet, kind: &str) -> Option<(String, String)> {
    let held = status(set).conditions?.into_iter().find(|c| c.type_ == kind)?;
    Some((held.status, held.reason.unwrap_or_default()))
}

/// Whether a condition of the set holds for this reason.
fn stands(set: &StatefulSet, kind: &str, reason: &str) -> bool {
    standing(set, kind) == Some(("True".to_owned(), reason.to_owned()))
}
