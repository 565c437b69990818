//! What goes with its owners and with its namespace, and what does not.

use planner::garbage_collector::GarbageCollector;
use planner::{Action, Key, Planner};
use serde_json::{Value, json};

use crate::sim::Sim;

fn config_map(name: &str, owners: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default", "ownerReferences": owners}})
}

fn owner(sim: &Sim, name: &str) -> Value {
    let uid = sim.get("ConfigMap", "default", name).expect("the owner")["metadata"]["uid"].clone();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid, "blockOwnerDeletion": true})
}

/// Two owners `a` and `b`, and what they own.
fn family() -> Sim {
    let mut sim = Sim::new();
    sim.make(config_map("a", json!([])));
    sim.make(config_map("b", json!([])));
    let (a, b) = (owner(&sim, "a"), owner(&sim, "b"));
    sim.make(config_map("of-a", json!([a])));
    sim.make(config_map("of-both", json!([a, b])));
    let grandparent = owner(&sim, "of-a");
    sim.make(config_map("of-of-a", json!([grandparent])));
    sim.settle();
    sim
}

#[test]
fn dependents_go_with_their_last_owner() {
    let mut sim = family();
    sim.remove("ConfigMap", "a", &[]);
    sim.settle();
    assert_eq!(sim.names("ConfigMap"), ["b", "of-both"]);
    let left = &sim.get("ConfigMap", "default", "of-both").expect("kept")["metadata"]["ownerReferences"];
    assert_eq!(left[0]["name"], "b");
    assert_eq!(left.as_array().map(Vec::len), Some(1));
    sim.remove("ConfigMap", "b", &[]);
    sim.settle();
    assert_eq!(sim.names("ConfigMap"), Vec::<String>::new());
}

#[test]
fn an_owner_deleted_in_the_foreground_goes_last() {
    let mut sim = family();
    sim.edit("ConfigMap", "of-a", |map| map["metadata"]["finalizers"] = json!(["example.com/slow"]));
    sim.remove("ConfigMap", "a", &["foregroundDeletion"]);
    sim.settle();
    assert!(sim.names("ConfigMap").contains(&"a".to_owned()), "it waits for what is slow");
    sim.log.clear();
    sim.edit("ConfigMap", "of-a", |map| map["metadata"]["finalizers"] = json!([]));
    sim.settle();
    insta::assert_snapshot!(sim.log.join("\n"), @r#"
    gone configmap/of-a
    gone configmap/a
    "#);
}

#[test]
fn foreground_goes_down_to_the_last_dependent_before_the_first_owner_goes() {
    let mut sim = family();
    sim.edit("ConfigMap", "of-of-a", |map| map["metadata"]["finalizers"] = json!(["example.com/slow"]));
    sim.remove("ConfigMap", "a", &["foregroundDeletion"]);
    sim.settle();
    assert_eq!(sim.names("ConfigMap"), ["a", "b", "of-a", "of-both", "of-of-a"]);
    let between = sim.get("ConfigMap", "default", "of-a").expect("it waits")["metadata"].clone();
    assert_eq!(between["finalizers"], json!(["foregroundDeletion"]));
    let kept = &sim.get("ConfigMap", "default", "of-both").expect("kept")["metadata"]["ownerReferences"];
    assert_eq!((kept[0]["name"].as_str(), kept.as_array().map(Vec::len)), (Some("b"), Some(1)));
    sim.log.clear();
    sim.edit("ConfigMap", "of-of-a", |map| map["metadata"]["finalizers"] = json!([]));
    sim.settle();
    assert_eq!(sim.log, ["gone configmap/of-of-a", "gone configmap/of-a", "gone configmap/a"]);
}

#[test]
fn a_dependent_that_does_not_block_its_owner_is_not_waited_for() {
    let mut sim = Sim::new();
    sim.make(config_map("a", json!([])));
    let mut free = owner(&sim, "a");
    free["blockOwnerDeletion"] = false.into();
    sim.make(config_map("of-a", json!([free])));
    sim.settle();
    sim.edit("ConfigMap", "of-a", |map| map["metadata"]["finalizers"] = json!(["example.com/slow"]));
    sim.remove("ConfigMap", "a", &["foregroundDeletion"]);
    sim.settle();
    assert_eq!(sim.names("ConfigMap"), ["of-a"]);
}

#[test]
fn owners_that_own_each_other_do_not_wait_for_ever() {
    let mut sim = Sim::new();
    sim.make(config_map("a", json!([])));
    let of_a = json!([owner(&sim, "a")]);
    sim.make(config_map("b", of_a));
    let of_b = json!([owner(&sim, "b")]);
    sim.edit("ConfigMap", "a", |map| map["metadata"]["ownerReferences"] = of_b);
    sim.settle();
    sim.remove("ConfigMap", "a", &["foregroundDeletion"]);
    sim.settle();
    assert_eq!(sim.names("ConfigMap"), Vec::<String>::new());
}

#[test]
fn an_owner_of_the_same_name_is_not_the_owner() {
    let mut sim = Sim::new();
    sim.make(config_map("a", json!([])));
    let stranger = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "a", "uid": "of-one-before"}]);
    sim.make(config_map("left-behind", stranger));
    sim.settle();
    assert_eq!(sim.names("ConfigMap"), ["a"]);
}

#[test]
fn an_owner_in_another_namespace_counts_as_gone_and_is_told_of() {
    let mut sim = Sim::new();
    sim.make(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"},
                    "spec": {"finalizers": ["kubernetes"]}}));
    sim.make(config_map("a", json!([])));
    let uid = owner(&sim, "a")["uid"].as_str().expect("a uid").to_owned();
    let mut dependent = config_map("of-a", json!([owner(&sim, "a")]));
    dependent["metadata"]["namespace"] = "team".into();
    sim.make(dependent);
    sim.settle();
    assert!(sim.get("ConfigMap", "team", "of-a").is_none());
    assert_eq!(
        sim.events,
        [format!(
            "OwnerRefInvalidNamespace ownerRef [v1/ConfigMap, namespace: team, name: a, uid: {uid}] does not exist in \
             namespace \"team\""
        )]
    );
}

#[test]
fn what_has_no_namespace_is_never_collected_for_an_owner_that_has_one() {
    let mut sim = Sim::new();
    let gone = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u-1"}]);
    sim.make(
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "example.com/disk",
        "metadata": {"name": "owned", "ownerReferences": gone}}),
    );
    sim.settle();
    assert!(sim.get("StorageClass", "", "owned").is_some());
    let plan = GarbageCollector.plan(&sim.world, &Key::new("", "StorageClass owned"), sim.now);
    assert_eq!(
        plan.waiting_on[0].message,
        "storageclass/owned has no namespace and cannot be owned by configmap/gone, which lives in one: it will never \
         be collected"
    );
}

#[test]
fn a_new_set_takes_over_what_was_orphaned_and_its_claims_follow_the_policy() {
    let mut sim = Sim::new();
    let set = "set replicas=2 parallel claims when-deleted=Delete when-scaled=Delete";
    crate::script::perform(&mut sim, set);
    sim.settle();
    sim.ready("web-0");
    sim.ready("web-1");
    sim.settle();
    let owners = |sim: &Sim, kind: &str, name: &str| {
        let refs = sim.get(kind, "default", name).expect(name)["metadata"]["ownerReferences"].clone();
        refs.as_array()
            .into_iter()
            .flatten()
            .map(|o| o["uid"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let first = sim.get("StatefulSet", "default", "web").expect("the set")["metadata"]["uid"].clone();
    sim.remove("StatefulSet", "web", &["orphan"]);
    sim.settle();
    assert!(sim.get("StatefulSet", "default", "web").is_none());
    for (kind, name) in [("Pod", "web-0"), ("PersistentVolumeClaim", "data-web-0")] {
        assert_eq!(owners(&sim, kind, name), Vec::<String>::new(), "{name}");
    }
    crate::script::perform(&mut sim, set);
    sim.settle();
    let second = sim.get("StatefulSet", "default", "web").expect("the set")["metadata"]["uid"].clone();
    assert_ne!(first, second);
    let second = vec![second.as_str().expect("a uid").to_owned()];
    for name in ["web-0", "web-1"] {
        assert_eq!(owners(&sim, "Pod", name), second);
        assert_eq!(owners(&sim, "PersistentVolumeClaim", &format!("data-{name}")), second);
    }
    crate::script::perform(&mut sim, "replicas 1");
    sim.settle();
    sim.finish("web-1");
    sim.settle();
    assert_eq!(sim.names("PersistentVolumeClaim"), ["data-web-0"], "it went with the pod of the ordinal");
    sim.remove("StatefulSet", "web", &[]);
    sim.settle();
    sim.finish("web-0");
    sim.settle();
    assert_eq!(sim.names("PersistentVolumeClaim"), Vec::<String>::new());
}

#[test]
fn a_set_deleted_in_the_foreground_goes_after_its_pods_and_those_after_the_claims_that_go_with_them() {
    let mut sim = Sim::new();
    crate::script::perform(&mut sim, "set replicas=3 claims when-scaled=Delete");
    for pod in ["web-0", "web-1", "web-2"] {
        sim.settle();
        sim.ready(pod);
    }
    sim.settle();
    crate::script::perform(&mut sim, "replicas 1");
    sim.settle();
    sim.remove("StatefulSet", "web", &["foregroundDeletion"]);
    sim.settle();
    let condemned = &sim.get("Pod", "default", "web-1").expect("it runs still")["metadata"];
    assert_eq!(condemned["finalizers"], json!(["foregroundDeletion"]), "its claim goes with it");
    assert_eq!(sim.names("StatefulSet"), ["web"]);
    sim.log.clear();
    for pod in ["web-2", "web-0", "web-1"] {
        sim.edit("Pod", pod, |pod| pod["status"]["phase"] = "Succeeded".into());
        sim.settle();
    }
    insta::assert_snapshot!(sim.log.join("\n"), @r"
    gone pod/web-2
    delete claim/data-web-2
    gone claim/data-web-2
    delete the data of data-web-2
    delete volume
    gone volume
    gone pod/web-0
    gone claim/data-web-1
    gone pod/web-1
    gone statefulset/web
    delete the data of data-web-1
    delete volume
    gone volume
    ");
    assert_eq!(sim.names("PersistentVolumeClaim"), ["data-web-0"], "whenDeleted is Retain");
}

#[test]
fn an_owner_deleted_with_orphan_leaves_its_dependents() {
    let mut sim = family();
    sim.remove("ConfigMap", "a", &["orphan"]);
    sim.settle();
    assert_eq!(sim.names("ConfigMap"), ["b", "of-a", "of-both", "of-of-a"]);
    let orphan = sim.get("ConfigMap", "default", "of-a").expect("kept");
    assert_eq!(orphan["metadata"]["ownerReferences"], json!([]));
}

#[test]
fn owners_of_kinds_that_nobody_here_knows_count_as_there() {
    let mut sim = Sim::new();
    let stranger = json!([{"apiVersion": "example.com/v1", "kind": "Database", "name": "db", "uid": "u"}]);
    sim.make(config_map("kept", stranger));
    let same_word = json!([{"apiVersion": "example.com/v1", "kind": "ConfigMap", "name": "x", "uid": "u"}]);
    sim.make(config_map("kept-too", same_word));
    sim.settle();
    assert_eq!(sim.names("ConfigMap"), ["kept", "kept-too"]);
}

#[test]
fn nothing_is_deleted_before_the_api_itself_says_that_the_owner_is_gone() {
    let mut sim = Sim::new();
    let gone = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u-1"}]);
    sim.make(config_map("dependent", gone));
    let plan = GarbageCollector.plan(&sim.world, &Key::new("default", "ConfigMap dependent"), sim.now);
    let [Action::ExpectGone(owner), Action::Delete { target, resource_version, .. }] =
        plan.actions.as_slice()
    else {
        panic!("{:#?}", plan.actions);
    };
    assert!(!plan.independent);
    assert_eq!((owner.uid.as_str(), target.name.as_str()), ("u-1", "dependent"));
    assert!(resource_version.is_some());
}

#[test]
fn a_namespace_goes_with_all_that_is_in_it() {
    let mut sim = Sim::new();
    sim.make(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"},
                    "spec": {"finalizers": ["kubernetes"]}}));
    sim.settle();
    assert!(sim.get("ServiceAccount", "team", "default").is_some());
    sim.make(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "team",
                    "finalizers": ["example.com/slow"]}}));
    sim.remove("Namespace", "team", &[]);
    sim.settle();
    assert!(sim.get("ServiceAccount", "team", "default").is_none());
    assert!(sim.get("Namespace", "", "team").is_some(), "it waits for what is slow");
    sim.log.clear();
    sim.edit_in("ConfigMap", "team", "a", |map| map["metadata"]["finalizers"] = json!([]));
    sim.settle();
    assert_eq!(sim.log, ["gone configmap/a", "gone namespace/team"]);
}

#[test]
fn every_namespace_has_the_roots_certificates_and_gets_them_back() {
    let mut sim = Sim::new();
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": ["kubernetes"]}});
    sim.make(namespace("kube-system"));
    sim.settle();
    assert!(sim.get("ConfigMap", "default", "kube-root-ca.crt").is_none(), "nothing is published yet");
    sim.make(json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"ca.crt": "first"},
        "metadata": {"name": "kube-root-ca.crt", "namespace": "kube-system", "annotations": {"about": "it"}}}));
    sim.settle();
    sim.make(namespace("team"));
    sim.settle();
    let held = |sim: &Sim, place: &str| {
        sim.get("ConfigMap", place, "kube-root-ca.crt").expect(place)["data"].clone()
    };
    for place in ["default", "kube-system", "team"] {
        assert_eq!(held(&sim, place), json!({"ca.crt": "first"}), "{place}");
    }
    sim.edit_in("ConfigMap", "team", "kube-root-ca.crt", |map| {
        map["data"] = json!({"ca.crt": "forged", "more": "x"});
    });
    sim.remove("ConfigMap", "kube-root-ca.crt", &[]);
    sim.settle();
    assert_eq!(
        (held(&sim, "team"), held(&sim, "default")),
        (json!({"ca.crt": "first"}), json!({"ca.crt": "first"}))
    );
    sim.edit_in("ConfigMap", "kube-system", "kube-root-ca.crt", |map| {
        map["data"] = json!({"ca.crt": "second"});
    });
    sim.settle();
    assert_eq!(held(&sim, "team"), json!({"ca.crt": "second"}));
    sim.remove("Namespace", "team", &[]);
    sim.settle();
    assert!(sim.get("Namespace", "", "team").is_none());
}

#[test]
fn a_set_in_a_namespace_that_goes_makes_nothing_new() {
    let mut sim = Sim::new();
    crate::script::perform(&mut sim, "set replicas=2 parallel claims");
    sim.settle();
    sim.ready("web-0");
    sim.ready("web-1");
    sim.settle();
    sim.remove("Namespace", "default", &[]);
    sim.settle();
    sim.log.clear();
    sim.finish("web-0");
    sim.settle();
    sim.finish("web-1");
    sim.settle();
    assert!(!sim.log.iter().any(|line| line.starts_with("create")), "{:#?}", sim.log);
    assert!(sim.get("Namespace", "", "default").is_none());
}
