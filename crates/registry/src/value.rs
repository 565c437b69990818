//! Reading and filling in JSON objects without ever panicking on one of the wrong shape: the schema check
//! runs before, but nothing here relies on it. Reading goes by `value["a"]["b"]`, which is null when absent.

use serde_json::{Map, Value};

/// The text; empty when absent.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The integer; 0 when absent.
pub(crate) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// The boolean; false when absent.
pub(crate) fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}

/// The list's items; none when absent.
pub(crate) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The map's entries; none when absent.
pub(crate) fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Whether the value says nothing: absent, null, or an empty text, list or map. Upstream's omitempty drops
/// these, and its semantic equality takes them for equal.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The object under `key` to write to, made when absent; `None` when something else stands there.
pub(crate) fn object<'a>(parent: &'a mut Value, key: &str) -> Option<&'a mut Map<String, Value>> {
    object_in(parent.as_object_mut()?, key)
}

/// As [`object`], in a map.
pub(crate) fn object_in<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
) -> Option<&'a mut Map<String, Value>> {
    let value = parent.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// Makes `key` say what `value` says; nothing, when that is null.
pub(crate) fn copy_to(map: &mut Map<String, Value>, key: &str, value: &Value) {
    if value.is_null() {
        map.remove(key);
    } else {
        map.insert(key.to_owned(), value.clone());
    }
}

/// Sets a field, whatever stood there.
pub(crate) fn set(parent: &mut Value, key: &str, value: impl Into<Value>) {
    if let Some(map) = parent.as_object_mut() {
        map.insert(key.to_owned(), value.into());
    }
}

/// The list under `key` to write to, made when absent; `None` when something else stands there.
pub(crate) fn list_in<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Vec<Value>> {
    let value = parent.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    value.as_array_mut()
}

/// The items of the list under `key` that are objects, to write to.
pub(crate) fn objects_mut<'a>(
    parent: &'a mut Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    parent.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Sets `key` when it is absent, null or an empty text.
pub(crate) fn default_to(map: &mut Map<String, Value>, key: &str, value: impl Into<Value>) {
    let absent = match map.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    };
    if absent {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets the number `key` when it is absent or 0: for fields that upstream does not keep as pointers.
pub(crate) fn default_nonzero(map: &mut Map<String, Value>, key: &str, value: i64) {
    if map.get(key).is_none_or(|v| v.is_null() || v.as_i64() == Some(0)) {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets `key` to an empty object when absent: structs that upstream always prints.
pub(crate) fn default_object(map: &mut Map<String, Value>, key: &str) {
    default_to(map, key, Value::Object(Map::new()));
}

/// Semantic equality as upstream's `apiequality.Semantic`: absent and empty are the same.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            x.iter().all(|(k, v)| same(v, y.get(k).unwrap_or(&Value::Null)))
                && y.iter().all(|(k, v)| x.contains_key(k) || same(&Value::Null, v))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| same(a, b)),
        _ if a == b => true,
        _ => is_blank(a) && is_blank(b),
    }
}

/// Whether the value holds nothing at any depth: what absence means the same as.
fn is_blank(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(is_blank),
        _ => is_empty(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_and_empty_are_the_same_and_zero_is_not() {
        let check = |a: Value, b: Value, expect: bool| {
            assert_eq!(same(&a, &b), expect, "{a} and {b}");
            assert_eq!(same(&b, &a), expect, "{b} and {a}");
        };
        check(json!({"a": 1}), json!({"a": 1, "b": null, "c": [], "d": {}, "e": ""}), true);
        check(json!({"a": {"b": {"c": ""}}}), json!({}), true);
        check(json!({"a": 0}), json!({}), false);
        check(json!({"a": false}), json!({}), false);
        check(json!([1, 2]), json!([2, 1]), false);
        check(json!(null), json!([]), true);
        check(json!({"a": "x"}), json!({"a": "y"}), false);
    }

    #[test]
    fn defaults_never_replace_and_never_panic() {
        let mut object = json!({"spec": {"a": "", "b": 0, "c": "kept"}, "status": "of the wrong type"});
        let spec = super::object(&mut object, "spec").expect("an object");
        default_to(spec, "a", "filled");
        default_to(spec, "b", 7);
        default_to(spec, "c", "lost");
        default_nonzero(spec, "d", 3);
        assert_eq!(object["spec"], json!({"a": "filled", "b": 0, "c": "kept", "d": 3}));
        assert!(super::object(&mut object, "status").is_none());
    }
}
