//! What holds for every kind of the table.

mod common;

use std::collections::BTreeSet;

use apimachinery::patch::merge;
use apimachinery::schema::{self, Schema};
use common::{created, documents, files, refusals, sample};
use jiff::Timestamp;
use proptest::prelude::*;
use registry::{ClusterView, KINDS, Kind, Scope, Subresource};
use serde_json::{Value, json};

#[test]
fn every_name_means_one_kind() {
    let mut words = BTreeSet::new();
    for kind in KINDS {
        let mut names: BTreeSet<&str> = kind.short_names.iter().copied().collect();
        names.extend([kind.plural, kind.singular]);
        for word in names {
            assert!(words.insert(word), "{word} means two kinds");
        }
        assert_eq!(kind.singular, kind.kind.to_lowercase(), "{}", kind.kind);
    }
}

#[test]
fn every_kind_is_known_to_the_schema() {
    for kind in KINDS {
        let known = Schema::builtin().gvk(&kind.api_version(), kind.kind);
        assert!(known.is_some(), "{} {}", kind.api_version(), kind.kind);
    }
}

#[test]
fn scale_is_served_exactly_where_it_can_be_told() {
    for kind in KINDS {
        let object = created(kind, sample(kind.plural));
        assert_eq!(kind.has(Subresource::Scale), kind.strategy.scale(&object).is_some(), "{}", kind.kind);
    }
}

#[test]
fn a_sample_of_every_kind_is_accepted_and_keeps_the_schema() {
    for kind in KINDS {
        let object = created(kind, sample(kind.plural));
        assert_eq!(refusals(kind, &object), [""; 0], "{}", kind.kind);
        let type_id = Schema::builtin().gvk(&kind.api_version(), kind.kind).expect("a known kind");
        let checked = schema::check::check(&object, type_id);
        let unknown: Vec<String> = checked.unknown.iter().map(ToString::to_string).collect();
        let wrong: Vec<String> = checked.errors.iter().map(ToString::to_string).collect();
        assert_eq!((unknown, wrong), (Vec::new(), Vec::new()), "{}", kind.kind);
    }
}

#[test]
fn defaults_are_idempotent_and_remove_nothing_that_was_said() {
    for kind in KINDS {
        let said = sample(kind.plural);
        let mut once = said.clone();
        kind.strategy.set_defaults(&mut once);
        let mut twice = once.clone();
        kind.strategy.set_defaults(&mut twice);
        assert_eq!(once, twice, "{}", kind.kind);
        let mut said_again = once.clone();
        merge::apply(&mut said_again, &said);
        kind.strategy.set_defaults(&mut said_again);
        assert_eq!(once, said_again, "{}", kind.kind);
    }
}

#[test]
fn an_update_that_changes_nothing_is_accepted() {
    for kind in KINDS {
        let old = created(kind, sample(kind.plural));
        // The same manifest again, as `kubectl replace` sends it.
        let mut new = sample(kind.plural);
        kind.strategy.set_defaults(&mut new);
        kind.strategy.prepare_for_update(&mut new, &old);
        new["metadata"] = old["metadata"].clone();
        let said = |errors: Vec<_>| errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        // A pod's account is filled in by admission on create only, as upstream.
        if kind.kind == "Pod" {
            for field in ["serviceAccount", "serviceAccountName"] {
                new["spec"][field] = old["spec"][field].clone();
            }
        }
        // A job's selector is made on create only, as upstream.
        if kind.kind == "Job" {
            for field in ["selector", "template"] {
                new["spec"][field] = old["spec"][field].clone();
            }
        }
        assert_eq!(said(kind.strategy.validate_update(&new, &old)), [""; 0], "{}", kind.kind);
        assert_eq!(said(registry::validate_object_meta_update(&new, &old)), [""; 0], "{}", kind.kind);
    }
}

#[test]
fn a_row_has_as_many_cells_as_there_are_columns_and_begins_with_the_name() {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
    for kind in KINDS {
        let columns = kind.strategy.columns();
        for object in [created(kind, sample(kind.plural)), json!({"metadata": {"name": "bare"}}), json!({})] {
            let row = kind.strategy.row(&object, now);
            assert_eq!(row.len(), columns.len(), "{} {object}", kind.kind);
        }
        let names: Vec<&str> = columns.iter().filter(|c| c.format == "name").map(|c| c.name).collect();
        assert_eq!(names, ["Name"], "{}", kind.kind);
    }
}

#[test]
fn selectable_fields_are_the_same_for_every_object_of_a_kind() {
    for kind in KINDS {
        let names = |object: &Value| -> Vec<&str> {
            kind.strategy.selectable_fields(object).into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&created(kind, sample(kind.plural))), names(&json!({})), "{}", kind.kind);
    }
}

#[test]
fn the_first_objects_are_accepted() {
    let objects = registry::bootstrap_objects("10.43.0.0/16");
    for object in &objects {
        let (api_version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
        let kind = registry::by_gvk(api_version.expect("a version"), kind.expect("a kind")).expect("known");
        assert_eq!(refusals(kind, &created(kind, object.clone())), [""; 0], "{object}");
        assert_eq!(kind.strategy.warnings(object), [""; 0], "{object}");
        let has_namespace = object["metadata"]["namespace"].is_string();
        assert_eq!(kind.scope == Scope::Namespaced, has_namespace, "{object}");
    }
    let names: Vec<&Value> = objects.iter().map(|o| &o["metadata"]["name"]).collect();
    assert_eq!(
        names[..6],
        ["default", "kube-system", "kube-public", "kube-node-lease", "standard", "kubernetes"]
    );
    assert!(objects[6..].iter().all(|object| object["apiVersion"] == "rbac.authorization.k8s.io/v1"));
}

#[test]
fn the_examples_are_accepted_without_a_warning() {
    for file in files("../../../examples") {
        for mut object in documents::<Value>(&format!("../../../examples/{file}.yaml")) {
            let (version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
            let kind = registry::by_gvk(version.expect("a version"), kind.expect("a kind")).expect("known");
            if kind.scope == Scope::Namespaced {
                object["metadata"]["namespace"] = "default".into();
            }
            let object = created(kind, object);
            assert_eq!(refusals(kind, &object), [""; 0], "{file}");
            assert_eq!(kind.strategy.warnings(&object), [""; 0], "{file}");
        }
    }
}

struct Empty;

impl ClusterView for Empty {
    fn list(&self, _plural: &str) -> &[Value] {
        &[]
    }
    fn service_cidr(&self) -> &str {
        "10.43.0.0/16"
    }
}

/// Everything that a strategy can be asked.
fn ask_everything(kind: &Kind, object: &Value, other: &Value) {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
    let strategy = kind.strategy;
    let mut new = object.clone();
    strategy.set_defaults(&mut new);
    strategy.prepare_for_create(&mut new);
    strategy.prepare_for_update(&mut new, other);
    // Refusals are as good as acceptance here.
    let _ = strategy.admit(&mut new, Some(other), &Empty);
    let _ = strategy.bind(&mut new, other, now);
    strategy.validate(&new);
    strategy.validate(object);
    strategy.validate_update(&new, other);
    strategy.validate_status(object, other);
    strategy.warnings(&new);
    strategy.row(object, now);
    strategy.selectable_fields(object);
    strategy.default_grace_period(object);
    strategy.scale(object);
    strategy.set_replicas(&mut new, 1);
    strategy.mark_terminating(&mut new);
    strategy.is_held(&new);
    strategy.finalize(&mut new, other);
    registry::validate_object_meta(kind, object);
    registry::validate_object_meta_update(object, other);
}

/// Replaces one value somewhere in the object by another.
fn replaced(object: &Value, at: usize, by: &Value) -> Value {
    fn walk(value: &mut Value, at: &mut usize, by: &Value) {
        if *at == 0 {
            *value = by.clone();
        }
        *at = at.wrapping_sub(1);
        match value {
            Value::Array(list) => list.iter_mut().for_each(|v| walk(v, at, by)),
            Value::Object(map) => map.values_mut().for_each(|v| walk(v, at, by)),
            _ => {}
        }
    }
    let (mut object, mut at) = (object.clone(), at);
    walk(&mut object, &mut at, by);
    object
}

fn odd_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, 1, "x", {}])),
        Just(json!({"a": 1, "": null})),
    ]
}

proptest! {
    #[test]
    fn no_object_however_odd_makes_a_strategy_panic(
        index in 0..KINDS.len(), at in 0usize..120, by in odd_value(), at_other in 0usize..120, by_other in odd_value(),
    ) {
        let kind = KINDS[index];
        let whole = created(kind, sample(kind.plural));
        ask_everything(kind, &replaced(&whole, at, &by), &replaced(&whole, at_other, &by_other));
    }
}
