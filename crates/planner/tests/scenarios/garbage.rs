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
    delete configmap/of-of-a
    gone configmap/of-of-a
    "#);
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
