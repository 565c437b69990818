//! What holds whatever is written.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;

/// Any fields, as FieldsV1.
fn any_fields() -> impl Strategy<Value = Value> {
    let step = prop_oneof![
        "[a-c]".prop_map(|name| format!("f:{name}")),
        "[a-b]".prop_map(|name| format!("k:{}", json!({"name": name}))),
        (0..3).prop_map(|value| format!("v:{value}")),
        (0..2).prop_map(|index| format!("i:{index}")),
    ];
    let leaf = Just(json!({})).boxed();
    leaf.prop_recursive(4, 30, 4, move |below| {
        (any::<bool>(), prop::collection::btree_map(step.clone(), below, 0..4)).prop_map(|(member, below)| {
            let mut fields: Map<String, Value> = below.into_iter().collect();
            if member && !fields.is_empty() {
                fields.insert(".".to_owned(), json!({}));
            }
            Value::Object(fields)
        })
    })
    .prop_map(|mut fields| {
        fields.as_object_mut().expect("an object").remove(".");
        fields
    })
}

fn any_data() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-d]", "[0-2]", 0..4)
}

/// A template: containers, each with a few variables.
fn any_containers(names: &'static str) -> impl Strategy<Value = Value> {
    let env = prop::collection::btree_map("[A-C]", "[0-2]", 0..3);
    prop::collection::btree_map(names, ("[0-2]", env), 0..3).prop_map(|containers| {
        let env = |env: BTreeMap<String, String>| -> Vec<Value> {
            env.into_iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
        };
        let containers: Vec<Value> = containers
            .into_iter()
            .map(|(name, (image, vars))| json!({"name": name, "image": image, "env": env(vars)}))
            .collect();
        json!({"spec": {"template": {"spec": {"containers": containers}}}})
    })
}

/// The object without who owns what.
fn plain(story: &Story) -> Value {
    let mut object = story.object().clone();
    object["metadata"].as_object_mut().expect("metadata").remove("managedFields");
    object
}

proptest! {
    #[test]
    fn fields_v1_round_trips(value in any_fields()) {
        let set = Set::parse(&value).expect("fields");
        prop_assert_eq!(set.into_value(), value);
    }

    #[test]
    fn sets_obey_the_algebra(a in any_fields(), b in any_fields()) {
        let (a, b) = (Set::parse(&a).expect("fields"), Set::parse(&b).expect("fields"));
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.intersection(&b), b.intersection(&a));
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert!(a.difference(&b).intersection(&b).is_empty());
        prop_assert_eq!(a.union(&a), a.clone());
        let paths = |set: &Set| set.paths().into_iter().collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(paths(&a.union(&b)), &paths(&a) | &paths(&b));
        prop_assert_eq!(paths(&a.difference(&b)), &paths(&a) - &paths(&b));
    }

    #[test]
    fn applying_twice_changes_nothing(before in any_containers("[a-c]"), config in any_containers("[a-c]")) {
        let mut story = Story::of("apps/v1", "StatefulSet");
        story.update("editor", before);
        story.try_apply("a", config.clone(), true).expect("forced");
        let once = story.object().clone();
        story.try_apply("a", config, false).expect("all of it is owned");
        prop_assert_eq!(story.object(), &once);
    }

    #[test]
    fn managers_of_different_fields_never_conflict_and_keep_theirs(
        ours in any_containers("[a-b]"), theirs in any_containers("[c-d]"), ours_later in any_containers("[a-b]"),
    ) {
        let mut story = Story::of("apps/v1", "StatefulSet");
        story.apply("a", ours).apply("b", theirs.clone()).apply("a", ours_later.clone());
        let mut fresh = Story::of("apps/v1", "StatefulSet");
        fresh.apply("a", ours_later).apply("b", theirs);
        let mut containers = [plain(&story), plain(&fresh)].map(|object| {
            object["spec"]["template"]["spec"]["containers"].as_array().cloned().unwrap_or_default()
        });
        containers.iter_mut().for_each(|list| list.sort_by_key(ToString::to_string));
        prop_assert_eq!(&containers[0], &containers[1]);
    }

    #[test]
    fn what_only_one_manager_applies_follows_its_configuration(first in any_data(), second in any_data()) {
        let mut story = Story::of("v1", "ConfigMap");
        story.apply("a", json!({"data": first})).apply("a", json!({"data": second}));
        let data = story.object().get("data").cloned().unwrap_or(json!({}));
        prop_assert_eq!(data, json!(second));
    }

    #[test]
    fn a_plain_write_makes_what_it_changed_its_own(before in any_data(), after in any_data()) {
        let mut story = Story::of("v1", "ConfigMap");
        story.apply("a", json!({"data": before})).update("b", json!({"data": after}));
        let owners = story.owners();
        for (key, value) in &after {
            let owner = if before.get(key) == Some(value) { "Apply a" } else { "Update b" };
            prop_assert!(owners.contains(&format!("{owner} .data.{key}")), "{key} of {owners:?}");
        }
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            prop_assert!(!owners.iter().any(|o| o.ends_with(&format!(".data.{key}"))), "{key} of {owners:?}");
        }
    }
}
