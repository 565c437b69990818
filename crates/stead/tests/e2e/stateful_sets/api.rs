//! What the API offers for sets besides the sets themselves.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, EvictParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::*;
use crate::harness::Home;

#[test]
fn the_scale_subresource_is_read_replaced_and_patched() {
    let home = Home::new("api-scale");
    home.create::<StatefulSet>(set("db", 1, plain()));
    complete(&home, "db");
    let sets = home.all::<StatefulSet>();
    let mut scale = home.ask(sets.get_scale("db"));
    assert_eq!(scale.spec.as_ref().unwrap().replicas, Some(1));
    let seen = scale.status.clone().unwrap();
    assert_eq!((seen.replicas, seen.selector.as_deref()), (1, Some("app=db")));
    scale.spec.as_mut().unwrap().replicas = Some(2);
    let answer = home.ask(sets.replace_scale("db", &PostParams::default(), &scale));
    assert_eq!(answer.spec.unwrap().replicas, Some(2));
    complete(&home, "db");
    let patch = json!({"spec": {"replicas": 3}});
    home.ask(sets.patch_scale("db", &PatchParams::default(), &Patch::Merge(&patch)));
    complete(&home, "db");
    assert_eq!(names(&pods(&home)), ["db-0", "db-1", "db-2"]);
}

#[test]
fn a_collection_is_listed_patched_and_deleted_by_its_label() {
    let home = Home::new("api-collection");
    for (name, tier) in [("one", "a"), ("two", "a"), ("three", "b")] {
        let mut set = set(name, 1, plain());
        set["metadata"]["labels"] = json!({"tier": tier});
        home.create::<StatefulSet>(set);
    }
    let sets = home.all::<StatefulSet>();
    let of_tier = ListParams::default().labels("tier=a");
    let listed = || -> Vec<String> {
        home.ask(sets.list(&of_tier)).items.into_iter().filter_map(|set| set.metadata.name).collect()
    };
    assert_eq!(listed(), ["one", "two"]);
    let patch = spec(json!({"replicas": 0, "template": {"metadata": {"annotations": {"version": "2"}}}}));
    let patched = home.patch::<StatefulSet>("one", &patch);
    assert_eq!(patched.spec.unwrap().replicas, Some(0));
    complete(&home, "one");
    home.ask(sets.delete_collection(&DeleteParams::default(), &of_tier));
    home.until("the others are gone", |all: &Objects<StatefulSet>| all.keys().eq(["three"]));
    home.until("their pods, too", |all: &Objects<Pod>| names(all) == ["three-0"]);
    assert_eq!(listed(), [""; 0]);
}

/// The condition of somebody else, as the set has it now.
fn foreign(set: &StatefulSet, kind: &str) -> Option<String> {
    status(set).conditions?.into_iter().find(|c| c.type_ == kind)?.message
}

#[test]
fn conditions_of_others_survive_in_the_status() {
    let home = Home::new("api-status");
    home.create::<StatefulSet>(set("db", 1, plain()));
    complete(&home, "db");
    let sets = home.all::<StatefulSet>();
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "reason": "Test", "message": "set by a test"});
    let mut held = serde_json::to_value(home.ask(sets.get_status("db"))).unwrap();
    let Value::Array(conditions) = &mut held["status"]["conditions"] else { panic!("conditions") };
    conditions.push(condition("StatusUpdate"));
    let held: StatefulSet = serde_json::from_value(held).unwrap();
    home.ask(sets.replace_status("db", &PostParams::default(), &held));
    let patch = json!({"status": {"conditions": [condition("StatusPatch")]}});
    home.ask(sets.patch_status("db", &PatchParams::default(), &Patch::Strategic(&patch)));
    home.run("scale sts db --replicas=2");
    let set = complete(&home, "db");
    for kind in ["StatusUpdate", "StatusPatch"] {
        assert_eq!(foreign(&set, kind).as_deref(), Some("set by a test"), "{kind}");
    }
    assert!(stands(&set, "Available", "AllReplicasAvailable"));
}

#[test]
fn a_pod_is_available_once_it_has_been_ready_for_long_enough() {
    let home = Home::new("api-min-ready");
    home.create::<StatefulSet>(with(set("db", 2, plain()), json!({"minReadySeconds": 2})));
    home.until_one("db", "Ready and not available", |set: &StatefulSet| {
        status(set).ready_replicas == Some(1) && status(set).available_replicas == Some(0)
    });
    assert_eq!(names(&pods(&home)), ["db-0"], "the next waits until it is available");
    let waited = home.until_one("db", "the next is made", |set: &StatefulSet| status(set).replicas == 2);
    assert_eq!(status(&waited).available_replicas, Some(1));
    complete(&home, "db");
    let set = home.patch::<StatefulSet>("db", &spec(json!({"minReadySeconds": 3600})));
    assert_eq!(set.metadata.generation, Some(2));
    home.until_one("db", "none has been Ready for that long", |set: &StatefulSet| {
        is_observed(set) && status(set).available_replicas == Some(0) && status(set).ready_replicas == Some(2)
    });
}

#[test]
fn an_eviction_waits_for_the_disruption_budget() {
    let home = Home::new("api-eviction");
    home.create::<StatefulSet>(set("db", 2, plain()));
    complete(&home, "db");
    home.create::<PodDisruptionBudget>(json!({"metadata": {"name": "db"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "db"}}}}));
    let allowed = |count: i32| {
        home.until_one("db", "the budget is counted", |budget: &PodDisruptionBudget| {
            let status = budget.status.as_ref();
            status.is_some_and(|s| {
                s.disruptions_allowed == Some(count) && s.observed_generation == budget.metadata.generation
            })
        });
    };
    allowed(0);
    let before = home.get::<Pod>("db-1");
    let all = home.all::<Pod>();
    let refused = home.try_ask(all.evict("db-1", &EvictParams::default())).expect_err("there is no budget");
    let kube::Error::Api(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.code, 429, "{refused:?}");
    assert!(refused.message.contains("disruption budget"), "{refused:?}");
    home.patch::<PodDisruptionBudget>("db", &spec(json!({"minAvailable": 1})));
    allowed(1);
    home.ask(all.evict("db-1", &EvictParams::default()));
    home.until_one("db-1", "the set makes another", |pod: &Pod| uid(pod) != uid(&before) && is_ready(pod));
    allowed(1);
}
