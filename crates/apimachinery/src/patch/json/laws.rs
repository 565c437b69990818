//! RFC 6902 once more, as plainly as it can be said: every operation builds a new document. What the one and the other
//! make of any patch is compared.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::patch::strategic::tests::any_json;

/// The document with what stands at the pointer replaced by what `change` makes of it; `None` when that fails.
fn at(document: &Value, tokens: &[String], change: &dyn Fn(&Value, &str) -> Option<Value>) -> Option<Value> {
    match tokens {
        [] => None,
        [last] => change(document, last),
        [first, rest @ ..] => match document {
            Value::Object(fields) => {
                let inner = at(fields.get(first)?, rest, change)?;
                let mut fields = fields.clone();
                fields.insert(first.clone(), inner);
                Some(Value::Object(fields))
            }
            Value::Array(items) => {
                let index: usize = first.parse().ok()?;
                let inner = at(items.get(index)?, rest, change)?;
                let (before, after) = items.split_at(index);
                Some([before, &[inner], &after[1..]].concat().into())
            }
            _ => None,
        },
    }
}

fn get(document: &Value, tokens: &[String]) -> Option<Value> {
    tokens
        .iter()
        .try_fold(document, |value, token| match value {
            Value::Object(fields) => fields.get(token),
            Value::Array(items) => items.get(token.parse::<usize>().ok()?),
            _ => None,
        })
        .cloned()
}

fn add(document: &Value, tokens: &[String], value: &Value) -> Option<Value> {
    if tokens.is_empty() {
        return Some(value.clone());
    }
    at(document, tokens, &|parent, token| match parent {
        Value::Object(fields) => {
            let others = fields.iter().filter(|(key, _)| *key != token);
            let others = others.map(|(key, value)| (key.clone(), value.clone()));
            Some(Value::Object(others.chain([(token.to_owned(), value.clone())]).collect()))
        }
        Value::Array(items) => {
            let index = if token == "-" { items.len() } else { token.parse().ok()? };
            let (before, after) = items.split_at_checked(index)?;
            Some([before, std::slice::from_ref(value), after].concat().into())
        }
        _ => None,
    })
}

fn remove(document: &Value, tokens: &[String]) -> Option<Value> {
    at(document, tokens, &|parent, token| match parent {
        Value::Object(fields) if fields.contains_key(token) => {
            let others = fields.iter().filter(|(key, _)| *key != token);
            Some(Value::Object(others.map(|(key, value)| (key.clone(), value.clone())).collect()))
        }
        Value::Array(items) => {
            let index = token.parse().ok().filter(|index| *index < items.len())?;
            Some([&items[..index], &items[index + 1..]].concat().into())
        }
        _ => None,
    })
}

fn model(document: &Value, operation: &Op) -> Option<Value> {
    let Op { op, path, from, value } = operation;
    match *op {
        "add" => add(document, path, value),
        "remove" => remove(document, path),
        "replace" if path.is_empty() => Some(value.clone()),
        "replace" => add(&remove(document, path)?, path, value),
        "copy" => add(document, path, &get(document, from)?),
        // RFC 6902 section 4.4: the from location must not be a proper prefix of the path location.
        "move" if path.len() > from.len() && path.starts_with(from) => None,
        "move" if path == from => get(document, from).map(|_| document.clone()),
        "move" => add(&remove(document, from)?, path, &get(document, from)?),
        // Upstream's library: what is not there is null.
        _ => (get(document, path).unwrap_or_default() == *value).then(|| document.clone()),
    }
}

#[derive(Clone, Debug)]
struct Op {
    op: &'static str,
    path: Vec<String>,
    from: Vec<String>,
    value: Value,
}

impl Op {
    fn to_json(&self) -> Value {
        let pointer = |tokens: &[String]| tokens.iter().map(|token| format!("/{token}")).collect::<String>();
        json!({"op": self.op, "path": pointer(&self.path), "from": pointer(&self.from), "value": self.value})
    }
}

fn any_op() -> impl Strategy<Value = Op> {
    let tokens = || prop::collection::vec("[a-d]|0|1|-", 1..4);
    let op = prop::sample::select(vec!["add", "remove", "replace", "move", "copy", "test"]);
    (op, tokens(), tokens(), any_json()).prop_map(|(op, path, from, value)| Op { op, path, from, value })
}

proptest! {
    #[test]
    fn any_patch_makes_what_the_rfc_says(document in any_json(), ops in prop::collection::vec(any_op(), 1..4)) {
        let patch: Value = ops.iter().map(Op::to_json).collect();
        let expect = ops.iter().try_fold(document.clone(), |document, op| model(&document, op));
        prop_assert_eq!(apply(&document, &patch).ok(), expect, "{}", patch);
    }
}
