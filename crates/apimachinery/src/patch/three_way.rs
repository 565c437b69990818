//! The patches of a client-side apply: from what was applied last, what shall be applied now, and what is
//! there. Fields that others set stay; fields that were applied last and are no longer wanted go
//! (`strategicpatch.CreateThreeWayMergePatch`, `jsonmergepatch.CreateThreeWayJSONMergePatch`).
//!
//! Unlike upstream, which merges two patches into a third, this applies them one after the other to what is
//! there and takes the difference: the same outcome, and a patch that names nothing that stays.

use serde_json::{Map, Value};

use super::merge;
use super::place::Place;
use super::strategic::{self, Changes, Error};
use crate::schema::TypeId;

/// The strategic merge patch that brings `current` to what `modified` wants. `original` is what was applied
/// last; an empty object when nothing was.
///
/// # Errors
/// When one of the objects is none, or a list's item lacks its key.
pub fn three_way_strategic(
    original: &Value,
    modified: &Value,
    current: &Value,
    type_id: TypeId,
) -> Result<Value, Error> {
    let wanted = wanted_strategic(original, modified, current, type_id)?;
    Ok(strategic::two_way(current, &wanted, type_id))
}

fn wanted_strategic(
    original: &Value,
    modified: &Value,
    current: &Value,
    type_id: TypeId,
) -> Result<Value, Error> {
    let place = Place::of_type(type_id);
    let object = |value: &Value, which: &str| match value {
        Value::Object(fields) => Ok(fields.clone()),
        _ => Err(Error::WrongType { field: which.to_owned(), expected: "an object" }),
    };
    let original = object(original, "last applied configuration")?;
    let modified = object(modified, "modified object")?;
    let mut wanted = current.clone();

    let deletions = strategic::diff(&original, &modified, place, Changes::DeletionsOnly);
    strategic::apply(&mut wanted, &Value::Object(deletions), type_id)?;
    let pruned = object(&wanted, "current object")?;
    let additions = strategic::diff(&pruned, &modified, place, Changes::WithoutDeletions);
    strategic::apply(&mut wanted, &Value::Object(additions), type_id)?;
    Ok(wanted)
}

/// As [`three_way_strategic`], for kinds whose fields are not known: a JSON merge patch.
pub fn three_way_merge(original: &Value, modified: &Value, current: &Value) -> Value {
    let mut wanted = current.clone();
    merge::apply(&mut wanted, &deletions(original, modified));
    // Applied as a patch, the modified object sets all that it has and removes what it sets to null.
    merge::apply(&mut wanted, modified);
    merge::diff(current, &wanted)
}

/// The merge patch that removes what `modified` lacks.
fn deletions(original: &Value, modified: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (original, modified) else {
        return Value::Object(Map::new());
    };
    let gone = before.iter().filter_map(|(key, before)| match after.get(key) {
        None => Some((key.clone(), Value::Null)),
        Some(after) if before.is_object() && after.is_object() => {
            Some((key.clone(), deletions(before, after)))
        }
        Some(_) => None,
    });
    Value::Object(gone.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Schema;

    fn deployment() -> TypeId {
        Schema::builtin().gvk("apps/v1", "Deployment").expect("a built-in kind")
    }

    #[track_caller]
    fn check(
        original: impl Into<Value>,
        modified: impl Into<Value>,
        current: impl Into<Value>,
        expect: impl Into<Value>,
    ) {
        let patch = three_way_strategic(&original.into(), &modified.into(), &current.into(), deployment());
        assert_eq!(patch, Ok(expect.into()));
    }

    fn pod(spec: impl Into<Value>) -> Value {
        json!({"spec": {"template": {"spec": spec.into()}}})
    }

    #[test]
    fn what_others_set_stays_and_what_is_no_longer_wanted_goes() {
        check(
            json!({"spec": {"replicas": 1, "paused": true}}),
            json!({"spec": {"replicas": 2}}),
            json!({"spec": {"replicas": 5, "paused": true, "revisionHistoryLimit": 10}}),
            json!({"spec": {"replicas": 2, "paused": null}}),
        );
    }

    #[test]
    fn nothing_changed_is_an_empty_patch() {
        let applied = pod(json!({"containers": [{"name": "a", "image": "x"}]}));
        let current = pod(
            json!({"containers": [{"name": "a", "image": "x", "imagePullPolicy": "Always"}, {"name": "sidecar"}]}),
        );
        check(applied.clone(), applied, current, json!({}));
    }

    #[test]
    fn items_of_others_stay_in_merged_lists() {
        check(
            pod(json!({"containers": [{"name": "a", "image": "x"}, {"name": "b"}]})),
            pod(json!({"containers": [{"name": "a", "image": "y"}]})),
            pod(
                json!({"containers": [{"name": "sidecar"}, {"name": "a", "image": "x", "tty": true}, {"name": "b"}]}),
            ),
            pod(json!({
                "$setElementOrder/containers": [{"name": "sidecar"}, {"name": "a"}],
                "containers": [{"name": "a", "image": "y"}, {"name": "b", "$patch": "delete"}],
            })),
        );
    }

    #[test]
    fn one_member_of_a_union_replaces_the_other_whoever_set_it() {
        check(
            json!({"spec": {"strategy": {"type": "RollingUpdate"}}}),
            json!({"spec": {"strategy": {"type": "Recreate"}}}),
            json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}),
            json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate", "rollingUpdate": null}}}),
        );
        check(
            json!({}),
            pod(json!({"volumes": [{"name": "v", "emptyDir": {}}]})),
            pod(json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]})),
            pod(json!({
                "$setElementOrder/volumes": [{"name": "v"}],
                "volumes": [{"name": "v", "emptyDir": {}, "configMap": null, "$retainKeys": ["emptyDir", "name"]}],
            })),
        );
    }

    #[test]
    fn explicit_nulls_remove() {
        check(
            json!({}),
            json!({"spec": {"replicas": null}}),
            json!({"spec": {"replicas": 1}}),
            json!({"spec": {"replicas": null}}),
        );
    }

    #[test]
    fn kinds_that_are_not_known_merge_as_json() {
        let patch = three_way_merge(
            &json!({"spec": {"a": 1, "b": {"c": 1}, "list": [1]}}),
            &json!({"spec": {"b": {"d": 2}, "list": [2]}}),
            &json!({"spec": {"a": 1, "b": {"c": 1, "theirs": 1}, "list": [1], "x": 1}}),
        );
        assert_eq!(patch, json!({"spec": {"a": null, "b": {"c": null, "d": 2}, "list": [2]}}));
    }
}
