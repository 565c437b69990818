//! What strategies do beside defaults and validation: deletion, binding, scale, and the default class.

mod common;

use apimachinery::meta::ObjectExt;
use apimachinery::patch::merge;
use common::{created, kind, sample};
use registry::{ClusterView, Scale};
use serde_json::{Value, json};

struct Classes(Vec<Value>);

impl ClusterView for Classes {
    fn list(&self, plural: &str) -> &[Value] {
        assert_eq!(plural, "storageclasses");
        &self.0
    }
    fn service_cidr(&self) -> &str {
        "10.43.0.0/16"
    }
}

fn class(name: &str, created: &str, is_default: bool) -> Value {
    json!({"metadata": {"name": name, "creationTimestamp": created, "annotations": {
        "storageclass.kubernetes.io/is-default-class": is_default.to_string()}}})
}

#[test]
fn a_claim_without_a_class_gets_the_newest_default_one() {
    let world = Classes(vec![
        class("old", "2026-01-01T00:00:00Z", true),
        class("new", "2026-01-02T00:00:00Z", true),
        class("newer", "2026-01-03T00:00:00Z", false),
    ]);
    let claims = kind("persistentvolumeclaims");
    let check = |asked: Value, world: &Classes, expect: Value| {
        let mut claim = created(claims, sample("persistentvolumeclaims"));
        merge::apply(&mut claim, &json!({"spec": {"storageClassName": asked}}));
        claims.strategy.admit(&mut claim, None, world).expect("admitted");
        assert_eq!(claim["spec"]["storageClassName"], expect);
    };
    check(Value::Null, &world, "new".into());
    check("old".into(), &world, "old".into());
    check("".into(), &world, "".into());
    check(Value::Null, &Classes(Vec::new()), Value::Null);
}

#[test]
fn a_claim_grows_only_when_its_class_lets_it() {
    let claims = kind("persistentvolumeclaims");
    let mut old = created(claims, sample("persistentvolumeclaims"));
    merge::apply(&mut old, &json!({"spec": {"storageClassName": "c"}, "status": {"phase": "Bound"}}));
    let mut new = old.clone();
    new["spec"]["resources"]["requests"]["storage"] = "20Gi".into();
    let mut class = class("c", "2026-01-01T00:00:00Z", false);
    let refusal =
        claims.strategy.admit(&mut new, Some(&old), &Classes(vec![class.clone()])).expect_err("fixed");
    assert_eq!(refusal.code, 403);
    assert_eq!(
        refusal.message,
        "persistentvolumeclaims \"data-postgres-0\" is forbidden: only dynamically provisioned pvc can be resized \
         and the storageclass that provisions the pvc must support resize"
    );
    class["allowVolumeExpansion"] = true.into();
    claims.strategy.admit(&mut new, Some(&old), &Classes(vec![class])).expect("grows");
}

#[test]
fn a_pod_is_given_its_grace_period_once_it_may_be_running() {
    let pods = kind("pods");
    let check = |change: Value, expect: i64| {
        let mut pod = created(pods, sample("pods"));
        merge::apply(&mut pod, &change);
        assert_eq!(pods.strategy.default_grace_period(&pod), Some(expect), "{change}");
    };
    check(json!({}), 0);
    check(json!({"spec": {"nodeName": "n1"}}), 30);
    check(json!({"spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 5}}), 5);
    check(json!({"spec": {"nodeName": "n1", "terminationGracePeriodSeconds": -1}}), 1);
    check(json!({"spec": {"nodeName": "n1"}, "status": {"phase": "Succeeded"}}), 0);
    assert_eq!(kind("services").strategy.default_grace_period(&sample("services")), None);
}

#[test]
fn a_pod_is_bound_once_and_not_on_its_way_out() {
    let pods = kind("pods");
    let now = "2026-01-01T12:00:00Z".parse().expect("a time");
    let binding =
        json!({"metadata": {"annotations": {"why": "room"}}, "target": {"kind": "Node", "name": "n1"}});
    let mut pod = created(pods, sample("pods"));
    pods.strategy.bind(&mut pod, &binding, now).expect("bound");
    assert_eq!(pod["spec"]["nodeName"], "n1");
    assert_eq!(pod.annotation("why"), Some("room"));
    assert_eq!(
        pod["status"]["conditions"],
        json!([{"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-01T12:00:00Z"}])
    );
    let again = pods.strategy.bind(&mut pod, &binding, now).expect_err("already bound");
    assert_eq!(again, "pod app is already assigned to node \"n1\"");
    let mut leaving = created(pods, sample("pods"));
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T11:00:00Z".into();
    let refused = pods.strategy.bind(&mut leaving, &binding, now).expect_err("leaving");
    assert_eq!(refused, "pod app is being deleted, cannot be assigned to a host");
    kind("services").strategy.bind(&mut leaving, &binding, now).expect_err("no pod");
}

#[test]
fn a_set_tells_its_scale_and_takes_a_new_one() {
    let sets = kind("statefulsets");
    let mut set = created(sets, sample("statefulsets"));
    set["status"]["replicas"] = 2.into();
    let scale = Scale { spec_replicas: 3, status_replicas: 2, selector: "app=postgres".to_owned() };
    assert_eq!(sets.strategy.scale(&set), Some(scale));
    sets.strategy.set_replicas(&mut set, 5);
    assert_eq!(set["spec"]["replicas"], 5);
}

#[test]
fn a_namespace_stays_until_its_contents_are_gone() {
    let namespaces = kind("namespaces");
    let mut namespace = created(namespaces, sample("namespaces"));
    namespaces.strategy.mark_terminating(&mut namespace);
    assert_eq!(namespace["status"]["phase"], "Terminating");
    assert!(namespaces.strategy.is_held(&namespace));
    // An ordinary update cannot let it go, a finalize can.
    let mut update = namespace.clone();
    update["spec"]["finalizers"] = json!([]);
    namespaces.strategy.prepare_for_update(&mut update, &namespace);
    assert!(namespaces.strategy.is_held(&update));
    namespaces.strategy.finalize(&mut namespace, &json!({"spec": {"finalizers": []}}));
    assert!(!namespaces.strategy.is_held(&namespace));
}

#[test]
fn a_pod_gone_back_to_its_manifest_keeps_what_admission_gave_it() {
    let pods = kind("pods");
    let old = created(pods, sample("pods"));
    let mut new = sample("pods");
    pods.strategy.set_defaults(&mut new);
    pods.strategy.prepare_for_update(&mut new, &old);
    for field in ["priority", "preemptionPolicy", "tolerations"] {
        assert_eq!(new["spec"][field], old["spec"][field], "{field}");
    }
}

#[test]
fn field_selectors_see_what_upstream_lets_them() {
    let check = |plural: &str, change: Value, field: &str, expect: &str| {
        let kind = kind(plural);
        let mut object = created(kind, sample(plural));
        merge::apply(&mut object, &change);
        let fields = kind.strategy.selectable_fields(&object);
        let found = fields.iter().find(|(name, _)| *name == field).map(|(_, value)| value.as_str());
        assert_eq!(found, Some(expect), "{plural} {field}");
    };
    check("pods", json!({"spec": {"nodeName": "n1"}}), "spec.nodeName", "n1");
    check("pods", json!({}), "spec.nodeName", "");
    check("pods", json!({}), "status.phase", "Pending");
    check("pods", json!({}), "spec.hostNetwork", "false");
    check("events", json!({}), "involvedObject.name", "web-0");
    check("events", json!({}), "source", "kubelet");
    check("events", json!({"source": null, "reportingComponent": "stead"}), "source", "stead");
    check("secrets", json!({}), "type", "Opaque");
    check("namespaces", json!({}), "status.phase", "Active");
    check("nodes", json!({}), "spec.unschedulable", "false");
}
