//! JSON merge patch (RFC 7396): what the patch names is set, what it sets to `null` goes, lists are replaced.

use serde_json::{Map, Value};

/// Changes `target` as `patch` says.
pub fn apply(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { unreachable!("made an object above") };
    for (key, change) in patch {
        match (change, fields.get_mut(key)) {
            (Value::Null, _) => {
                fields.remove(key);
            }
            (change, Some(value)) => apply(value, change),
            (change, None) => {
                let mut value = Value::Null;
                apply(&mut value, change);
                fields.insert(key.clone(), value);
            }
        }
    }
}

/// The patch that makes `modified` of `original`; an empty object when they are equal. A merge patch cannot set
/// a field to `null`: such fields of `modified` are removed.
pub fn diff(original: &Value, modified: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (original, modified) else {
        return modified.clone();
    };
    let mut patch = Map::new();
    for (key, after) in after {
        match before.get(key) {
            Some(before) if before == after => {}
            Some(before) if before.is_object() && after.is_object() => {
                patch.insert(key.clone(), diff(before, after));
            }
            _ => {
                patch.insert(key.clone(), after.clone());
            }
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::patch::strategic::tests::any_json;

    #[track_caller]
    fn check(target: impl Into<Value>, patch: impl Into<Value>, expect: impl Into<Value>) {
        let mut target = target.into();
        apply(&mut target, &patch.into());
        assert_eq!(target, expect.into());
    }

    #[test]
    fn merging_follows_the_rfcs_table() {
        check(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}));
        check(json!({"a": "b"}), json!({"a": null}), json!({}));
        check(json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"}));
        check(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}));
        check(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}));
        check(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}));
        check(json!(["a"]), json!(["c"]), json!(["c"]));
        check(json!({"a": "b"}), json!(null), json!(null));
        check(json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1}));
        check(json!([1]), json!({"a": "b", "c": null}), json!({"a": "b"}));
        check(json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}));
    }

    proptest! {
        #[test]
        fn a_diff_restores_the_object(original in any_json(), modified in any_json()) {
            let patch = diff(&original, &modified);
            let mut restored = original;
            apply(&mut restored, &patch);
            prop_assert_eq!(restored, modified);
        }

        #[test]
        fn a_patch_never_touches_a_sibling(sibling in any_json(), original in any_json(), change in any_json()) {
            let mut object = json!({"sibling": sibling, "changed": original});
            apply(&mut object, &json!({"changed": change}));
            prop_assert_eq!(&object["sibling"], &sibling);
        }
    }
}
