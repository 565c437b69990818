//! Finding the strategic merge patch between two objects.

use serde_json::{Map, Value};

use super::{DELETE_FROM_LIST, DIRECTIVE, RETAIN_KEYS, SET_ORDER, identity};
use crate::patch::place::{Facts, Place};

/// Which differences a patch shall tell.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::patch) enum Changes {
    All,
    /// What `modified` has more or otherwise; not what it lacks.
    WithoutDeletions,
    /// What `modified` lacks; nothing else.
    DeletionsOnly,
}

impl Changes {
    fn adds(self) -> bool {
        self != Self::DeletionsOnly
    }

    fn deletes(self) -> bool {
        self != Self::WithoutDeletions
    }
}

pub(in crate::patch) fn diff(
    original: &Map<String, Value>,
    modified: &Map<String, Value>,
    place: Place,
    changes: Changes,
) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, after) in modified {
        match original.get(key) {
            Some(before) if before == after => {}
            Some(before) => diff_field(&mut patch, key, before, after, &place.field(key), changes),
            None if changes.adds() => {
                patch.insert(key.clone(), after.clone());
            }
            None => {}
        }
    }
    if changes.deletes() {
        for key in original.keys().filter(|key| !modified.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    patch
}

fn diff_field(
    patch: &mut Map<String, Value>,
    key: &str,
    before: &Value,
    after: &Value,
    facts: &Facts,
    changes: Changes,
) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) if !facts.replaces && !is_opaque(facts) => {
            let inner = diff_object(before, after, facts, changes);
            if !inner.is_empty() {
                patch.insert(key.to_owned(), Value::Object(inner));
            }
        }
        (Value::Array(before), Value::Array(after)) if facts.merges => match facts.merge_key {
            Some(merge_key) => diff_items(patch, key, merge_key, (before, after), facts, changes),
            None => diff_scalars(patch, key, (before, after), changes),
        },
        _ if changes.adds() => {
            patch.insert(key.to_owned(), after.clone());
        }
        _ => {}
    }
}

fn is_opaque(facts: &Facts) -> bool {
    matches!(facts.place, Place::Opaque)
}

/// As [`diff`], and says which keys remain where the struct asks for it: it is a union, of which one member's
/// coming means the others' going, whoever set them.
fn diff_object(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    facts: &Facts,
    changes: Changes,
) -> Map<String, Value> {
    let mut patch = diff(before, after, facts.place, changes);
    let differs = !patch.is_empty() || before.keys().any(|key| !after.contains_key(key));
    if facts.retains_keys && differs {
        let mut keys: Vec<&str> =
            after.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        if !keys.is_empty() {
            patch.insert(RETAIN_KEYS.to_owned(), keys.into_iter().map(Value::from).collect());
        }
    }
    patch
}

fn diff_scalars(
    patch: &mut Map<String, Value>,
    key: &str,
    (before, after): (&[Value], &[Value]),
    changes: Changes,
) {
    let missing_in = |from: &[Value], list: &[Value]| -> Vec<Value> {
        from.iter().filter(|value| !list.contains(value)).cloned().collect()
    };
    let added = if changes.adds() { missing_in(after, before) } else { Vec::new() };
    let deleted = if changes.deletes() { missing_in(before, after) } else { Vec::new() };
    let reordered = changes.adds();
    if !added.is_empty() {
        patch.insert(key.to_owned(), Value::Array(added));
    }
    let deletes = !deleted.is_empty();
    if deletes {
        patch.insert(format!("{DELETE_FROM_LIST}{key}"), Value::Array(deleted));
    }
    if deletes || reordered {
        patch.insert(format!("{SET_ORDER}{key}"), Value::Array(after.to_vec()));
    }
}

fn diff_items(
    patch: &mut Map<String, Value>,
    key: &str,
    merge_key: &'static str,
    (before, after): (&[Value], &[Value]),
    facts: &Facts,
    changes: Changes,
) {
    if !can_be_told_apart(before, merge_key) || !can_be_told_apart(after, merge_key) {
        // Items with equal keys (a port for TCP and UDP) cannot be merged one by one.
        if changes.adds() {
            let marker = Value::Object(Map::from_iter([(DIRECTIVE.to_owned(), "replace".into())]));
            patch.insert(key.to_owned(), std::iter::once(marker).chain(after.iter().cloned()).collect());
        }
        return;
    }
    if before.is_empty() && changes.adds() {
        patch.insert(key.to_owned(), Value::Array(after.to_vec()));
        return;
    }
    let find = |list: &'_ [Value], id: &Value| {
        list.iter().position(|item| identity(item, Some(merge_key)) == Some(id))
    };
    let mut items = Vec::new();
    for item in after {
        let Some(id) = identity(item, Some(merge_key)) else { continue };
        match find(before, id).map(|at| (&before[at], item)) {
            Some((Value::Object(before), Value::Object(after))) => {
                let mut inner = diff_object(before, after, facts, changes);
                if !inner.is_empty() {
                    inner.insert(merge_key.to_owned(), id.clone());
                    items.push(Value::Object(inner));
                }
            }
            _ if changes.adds() => items.push(item.clone()),
            _ => {}
        }
    }
    if changes.deletes() {
        let gone = before.iter().filter_map(|item| identity(item, Some(merge_key)));
        for id in gone.filter(|id| find(after, id).is_none()) {
            let fields = [(merge_key.to_owned(), id.clone()), (DIRECTIVE.to_owned(), "delete".into())];
            items.push(Value::Object(Map::from_iter(fields)));
        }
    }
    if !items.is_empty() || changes.adds() {
        let order = after.iter().filter_map(|item| identity(item, Some(merge_key)));
        let order = order.map(|id| Value::Object(Map::from_iter([(merge_key.to_owned(), id.clone())])));
        patch.insert(format!("{SET_ORDER}{key}"), order.collect());
    }
    if !items.is_empty() {
        patch.insert(key.to_owned(), Value::Array(items));
    }
}

fn can_be_told_apart(items: &[Value], merge_key: &str) -> bool {
    items.iter().enumerate().all(|(at, item)| {
        let id = identity(item, Some(merge_key));
        id.is_some() && !items[..at].iter().any(|other| identity(other, Some(merge_key)) == id)
    })
}
