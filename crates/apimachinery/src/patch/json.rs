//! JSON patch (RFC 6902) over JSON pointers (RFC 6901).

#[cfg(test)]
mod laws;

use serde_json::Value;

use crate::schema::strict_json::MAX_DEPTH;

/// How many operations one patch may have, as upstream bounds them.
pub const MAX_OPERATIONS: usize = 10_000;

/// How many bytes of JSON the copies of one patch may make: copies of copies grow without bound.
pub const MAX_COPIED_BYTES: usize = 3 << 20;

/// Why a patch cannot be applied. The API answers [`Error::Malformed`] with 400, [`Error::TooLarge`] with 413 and
/// all else with 422.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch is not what RFC 6902 calls one.
    #[error("json patch: operation {index}: {why}")]
    Malformed {
        /// Which operation, from 0.
        index: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The patch is not even a list.
    #[error("json patch: must be a list of operations")]
    NotAList,
    /// More work than one request may ask for.
    #[error("json patch: {what} exceed the limit of {limit}")]
    TooLarge {
        /// Of what there is too much.
        what: &'static str,
        /// How much there may be.
        limit: usize,
    },
    /// A `test` found something else.
    #[error("json patch: operation {index}: testing value {path:?} failed")]
    TestFailed {
        /// Which operation, from 0.
        index: usize,
        /// The pointer tested.
        path: String,
    },
    /// The pointer leads nowhere.
    #[error("json patch: operation {index}: {path:?} does not exist")]
    NoSuchPath {
        /// Which operation, from 0.
        index: usize,
        /// The pointer.
        path: String,
    },
}

/// The object that `patch` makes of `object`. All operations apply or none.
///
/// # Errors
/// When the patch is malformed or too large, a pointer leads nowhere, or a test fails.
pub fn apply(object: &Value, patch: &Value) -> Result<Value, Error> {
    let operations = patch.as_array().ok_or(Error::NotAList)?;
    if operations.len() > MAX_OPERATIONS {
        return Err(Error::TooLarge { what: "operations", limit: MAX_OPERATIONS });
    }
    let mut patched = object.clone();
    let mut copied = 0;
    for (index, operation) in operations.iter().enumerate() {
        Operation { index, fields: operation }.apply(&mut patched, &mut copied)?;
    }
    Ok(patched)
}

struct Operation<'a> {
    index: usize,
    fields: &'a Value,
}

impl Operation<'_> {
    fn apply(&self, object: &mut Value, copied: &mut usize) -> Result<(), Error> {
        let path = self.pointer("path", "needs a path, a JSON pointer like /spec/replicas")?;
        match self.fields.get("op").and_then(Value::as_str) {
            Some("add") => self.add(object, path, self.value()?.clone()),
            Some("remove") => self.remove(object, path).map(drop),
            Some("replace") => {
                let value = self.value()?.clone();
                Self::check_depth(path, &value)?;
                *self.find_mut(object, path)? = value;
                Ok(())
            }
            Some("move") => {
                let from = self.from()?;
                if path.strip_prefix(from).is_some_and(|rest| rest.starts_with('/')) {
                    return Err(self.malformed("moves a value into itself"));
                }
                let value = self.remove(object, from)?;
                self.add(object, path, value)
            }
            Some("copy") => {
                let from = self.from()?;
                let value = object.pointer(from).ok_or_else(|| self.no_such(from))?.clone();
                *copied += size(&value);
                if *copied > MAX_COPIED_BYTES {
                    return Err(Error::TooLarge { what: "copied bytes", limit: MAX_COPIED_BYTES });
                }
                self.add(object, path, value)
            }
            Some("test") => {
                let found = object.pointer(path).unwrap_or(&Value::Null);
                if equal(found, self.value()?) {
                    return Ok(());
                }
                Err(Error::TestFailed { index: self.index, path: path.to_owned() })
            }
            _ => Err(self.malformed("op must be add, remove, replace, move, copy or test")),
        }
    }

    fn malformed(&self, why: &'static str) -> Error {
        Error::Malformed { index: self.index, why }
    }

    fn no_such(&self, path: &str) -> Error {
        Error::NoSuchPath { index: self.index, path: path.to_owned() }
    }

    fn pointer(&self, field: &str, otherwise: &'static str) -> Result<&str, Error> {
        let pointer = self.fields.get(field).and_then(Value::as_str);
        pointer.filter(|p| p.is_empty() || p.starts_with('/')).ok_or_else(|| self.malformed(otherwise))
    }

    fn from(&self) -> Result<&str, Error> {
        self.pointer("from", "needs a from, a JSON pointer like /spec/replicas")
    }

    /// The value; a `null` counts as one.
    fn value(&self) -> Result<&Value, Error> {
        self.fields.get("value").ok_or_else(|| self.malformed("needs a value"))
    }

    /// Copies of copies could nest without bound, and what nests too deep overflows the stack of its readers.
    fn check_depth(path: &str, value: &Value) -> Result<(), Error> {
        if path.matches('/').count() + depth(value) > MAX_DEPTH {
            return Err(Error::TooLarge { what: "levels of nesting", limit: MAX_DEPTH });
        }
        Ok(())
    }

    fn find_mut<'v>(&self, object: &'v mut Value, path: &str) -> Result<&'v mut Value, Error> {
        object.pointer_mut(path).ok_or_else(|| self.no_such(path))
    }

    fn add(&self, object: &mut Value, path: &str, value: Value) -> Result<(), Error> {
        Self::check_depth(path, &value)?;
        let Some((parent, last)) = path.rsplit_once('/') else {
            *object = value;
            return Ok(());
        };
        match self.find_mut(object, parent)? {
            Value::Object(fields) => {
                fields.insert(unescape(last), value);
                Ok(())
            }
            Value::Array(items) => {
                let at = if last == "-" { Some(items.len()) } else { list_index(last) };
                let at = at.filter(|at| *at <= items.len()).ok_or_else(|| self.no_such(path))?;
                items.insert(at, value);
                Ok(())
            }
            _ => Err(self.no_such(path)),
        }
    }

    fn remove(&self, object: &mut Value, path: &str) -> Result<Value, Error> {
        let Some((parent, last)) = path.rsplit_once('/') else {
            return Err(self.malformed("may not take away the whole object"));
        };
        let removed = match self.find_mut(object, parent)? {
            Value::Object(fields) => fields.remove(&unescape(last)),
            Value::Array(items) => list_index(last).filter(|at| *at < items.len()).map(|at| items.remove(at)),
            _ => None,
        };
        removed.ok_or_else(|| self.no_such(path))
    }
}

fn unescape(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// RFC 6901: digits without a zero in front.
fn list_index(token: &str) -> Option<usize> {
    let plain = token.bytes().all(|b| b.is_ascii_digit()) && (token == "0" || !token.starts_with('0'));
    token.parse().ok().filter(|_| plain)
}

/// Numbers are equal when their amounts are (RFC 6902, 4.6): `1` and `1.0`.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a == b || (a.is_f64() != b.is_f64() && a.as_f64() == b.as_f64())
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// About how many bytes a value is as JSON.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => 2 + items.iter().map(|item| size(item) + 1).sum::<usize>(),
        Value::Object(fields) => 2 + fields.iter().map(|(key, v)| key.len() + size(v) + 4).sum::<usize>(),
        _ => 5,
    }
}

/// How many lists and objects stand in one another.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(object: impl Into<Value>, patch: impl Into<Value>, expect: Result<Value, &str>) {
        let found = apply(&object.into(), &patch.into()).map_err(|e| e.to_string());
        assert_eq!(found, expect.map_err(str::to_owned));
    }

    #[test]
    fn operations_follow_the_rfc() {
        let add = |path: &str| json!([{"op": "add", "path": path, "value": 9}]);
        check(json!({"a": 1}), add("/b"), Ok(json!({"a": 1, "b": 9})));
        check(json!({"a": 1}), add("/a"), Ok(json!({"a": 9})));
        check(json!({"a": [1, 2]}), add("/a/1"), Ok(json!({"a": [1, 9, 2]})));
        check(json!({"a": [1, 2]}), add("/a/-"), Ok(json!({"a": [1, 2, 9]})));
        check(json!({}), add("/x~1y~0z"), Ok(json!({"x/y~z": 9})));
        check(json!({"a": 1}), add(""), Ok(json!(9)));
        check(json!({"a": [1, 2]}), json!([{"op": "remove", "path": "/a/0"}]), Ok(json!({"a": [2]})));
        check(
            json!({"a": 1}),
            json!([{"op": "replace", "path": "/a", "value": null}]),
            Ok(json!({"a": null})),
        );
        check(
            json!({"a": {"b": 1}}),
            json!([{"op": "move", "from": "/a/b", "path": "/c"}]),
            Ok(json!({"a": {}, "c": 1})),
        );
        check(
            json!({"a": [1]}),
            json!([{"op": "copy", "from": "/a", "path": "/b"}]),
            Ok(json!({"a": [1], "b": [1]})),
        );
        check(
            json!({"a": {"b": [1]}}),
            json!([{"op": "test", "path": "/a", "value": {"b": [1.0]}}]),
            Ok(json!({"a": {"b": [1]}})),
        );
        check(json!({}), json!([{"op": "test", "path": "/a", "value": null}]), Ok(json!({})));
    }

    #[test]
    fn what_cannot_be_done_is_told() {
        let one = |op: &str, path: &str| json!([{"op": op, "path": path, "from": path, "value": 1}]);
        check(
            json!({"a": 2}),
            one("test", "/a"),
            Err(r#"json patch: operation 0: testing value "/a" failed"#),
        );
        check(json!({}), one("remove", "/a"), Err(r#"json patch: operation 0: "/a" does not exist"#));
        check(json!({}), one("replace", "/a"), Err(r#"json patch: operation 0: "/a" does not exist"#));
        check(json!({}), one("add", "/a/b"), Err(r#"json patch: operation 0: "/a" does not exist"#));
        check(
            json!({"a": [1]}),
            one("add", "/a/2"),
            Err(r#"json patch: operation 0: "/a/2" does not exist"#),
        );
        check(
            json!({"a": [1]}),
            one("add", "/a/00"),
            Err(r#"json patch: operation 0: "/a/00" does not exist"#),
        );
        check(json!({"a": 1}), one("add", "/a/b"), Err(r#"json patch: operation 0: "/a/b" does not exist"#));
        check(
            json!({}),
            one("grow", "/a"),
            Err("json patch: operation 0: op must be add, remove, replace, move, copy or test"),
        );
        check(
            json!({}),
            one("add", "a"),
            Err("json patch: operation 0: needs a path, a JSON pointer like /spec/replicas"),
        );
        check(json!({}), json!([{"op": "add", "path": "/a"}]), Err("json patch: operation 0: needs a value"));
        check(json!({}), json!({"op": "add"}), Err("json patch: must be a list of operations"));
        check(
            json!({"a": {}}),
            json!([{"op": "move", "from": "/a", "path": "/a/b"}]),
            Err("json patch: operation 0: moves a value into itself"),
        );
    }

    #[test]
    fn a_failed_operation_leaves_nothing_behind() {
        let patch =
            json!([{"op": "add", "path": "/b", "value": 1}, {"op": "test", "path": "/a", "value": 2}]);
        assert!(matches!(apply(&json!({"a": 1}), &patch), Err(Error::TestFailed { index: 1, .. })));
    }

    #[test]
    fn copies_of_copies_are_bounded() {
        let big = json!({"b": ["x".repeat(1000)]});
        let double = json!({"op": "copy", "from": "/b", "path": "/b/-"});
        let patch = Value::Array(vec![double; 64]);
        assert!(matches!(apply(&big, &patch), Err(Error::TooLarge { what: "copied bytes", .. })));
        let nest = json!({"op": "copy", "from": "", "path": "/a"});
        let patch = Value::Array(vec![nest; 1000]);
        assert!(matches!(apply(&json!({}), &patch), Err(Error::TooLarge { what: "levels of nesting", .. })));
        let many = Value::Array(vec![json!({"op": "test", "path": "/b", "value": 1}); MAX_OPERATIONS + 1]);
        assert!(matches!(apply(&big, &many), Err(Error::TooLarge { what: "operations", .. })));
    }
}
