//! Secrets and ConfigMaps that a pod needs and that are not there, or lack a key.

use serde_json::{Value, json};

use super::{container, set_with, why};
use crate::sim::Sim;

fn make(sim: &mut Sim, kind: &str, name: &str, data: Value) {
    sim.make(json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "data": data}));
}

#[test]
fn a_secret_in_the_environment_is_named_and_then_its_key() {
    let mut sim = set_with("set replicas=1", |spec| {
        spec["containers"][0]["env"] = json!([{"name": "PASSWORD", "valueFrom": {
            "secretKeyRef": {"name": "postgres-secret", "key": "password"}}}]);
    });
    let waiting =
        json!({"reason": "CreateContainerConfigError", "message": "secret \"postgres-secret\" not found"});
    container(&mut sim, "web-0", &json!({"state": {"waiting": waiting}}));
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-0 is Ready
    └ pod/web-0 cannot start: what it refers to is missing
      └ secret/postgres-secret does not exist
        → create it: stead create secret generic postgres-secret --from-literal=password=VALUE
    "#);
    make(&mut sim, "Secret", "postgres-secret", json!({"pass": "eA=="}));
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 cannot start: what it refers to is missing
    └ secret/postgres-secret has no key "password"; it has pass
      → add the key, or name one that is there: stead edit secret postgres-secret
    "#);
}

#[test]
fn a_config_map_in_the_environment_is_named_and_then_its_key() {
    let mut sim = set_with("set replicas=1", |spec| {
        spec["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
        spec["containers"][0]["env"] = json!([{"name": "MODE", "valueFrom": {
            "configMapKeyRef": {"name": "modes", "key": "mode"}}}]);
    });
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 cannot start: what it refers to is missing
    └ configmap/modes does not exist
      → create it: stead create configmap modes --from-literal=mode=VALUE
    └ configmap/settings does not exist
      → create it: stead create configmap settings --from-literal=KEY=VALUE
    "#);
    make(&mut sim, "ConfigMap", "settings", json!({}));
    make(&mut sim, "ConfigMap", "modes", json!({}));
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 cannot start: what it refers to is missing
    └ configmap/modes has no key "mode"; it has none
      → add the key, or name one that is there: stead edit configmap modes
    "#);
}

#[test]
fn files_of_volumes_are_looked_for_too() {
    let mut sim = set_with("set replicas=1", |spec| {
        spec["volumes"] = json!([
            {"name": "tls", "secret": {"secretName": "tls", "items": [{"key": "tls.key", "path": "key"}]}},
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "all", "projected": {"sources": [
                {"configMap": {"name": "extra", "items": [{"key": "a.conf", "path": "a"}]}},
                {"secret": {"name": "may-lack", "optional": true}},
            ]}},
        ]);
    });
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 cannot start: what it refers to is missing
    └ configmap/conf does not exist
      → create it: stead create configmap conf --from-literal=KEY=VALUE
    └ configmap/extra does not exist
      → create it: stead create configmap extra --from-literal=a.conf=VALUE
    └ secret/tls does not exist
      → create it: stead create secret generic tls --from-literal=tls.key=VALUE
    "#);
    make(&mut sim, "Secret", "tls", json!({"tls.crt": "eA=="}));
    make(&mut sim, "ConfigMap", "conf", json!({"web.conf": "x"}));
    make(&mut sim, "ConfigMap", "extra", json!({"b.conf": "x"}));
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 cannot start: what it refers to is missing
    └ configmap/extra has no key "a.conf"; it has b.conf
      → add the key, or name one that is there: stead edit configmap extra
    └ secret/tls has no key "tls.key"; it has tls.crt
      → add the key, or name one that is there: stead edit secret tls
    "#);
}

#[test]
fn nothing_is_missed_that_may_be_missing() {
    let sim = set_with("set replicas=1", |spec| {
        spec["containers"][0]["envFrom"] = json!([{"secretRef": {"name": "x", "optional": true}}]);
    });
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @"pod/web-0 is being started by node node-a");
}
