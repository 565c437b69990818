//! Fields taken out of an object (upstream: `typed/remove.go`).

use serde_json::{Map, Value};

use super::path::{self, ITSELF};
use super::place::Place;
use super::set::{Set, is_member};

/// The value without the fields of the set. What nothing is left of is `null`.
pub(super) fn remove(value: &Value, fields: &Set, place: Place) -> Value {
    without(value, &fields.0, place)
}

fn without(value: &Value, fields: &Map<String, Value>, place: Place) -> Value {
    // What is left of a value whose step is this; `None` when it goes.
    let left = |step: &str, value: &Value| match fields.get(step) {
        Some(below) if is_member(below) => None,
        Some(Value::Object(below)) => Some(without(value, below, place.step(step))),
        _ => Some(value.clone()),
    };
    match (place, value) {
        (Place::Struct(_) | Place::Map(_), Value::Object(inside)) if !inside.is_empty() => {
            let kept = inside.iter().filter_map(|(name, value)| {
                left(&path::field(name), value).map(|value| (name.clone(), value))
            });
            let kept: Map<String, Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        (Place::Set | Place::Keyed(_), Value::Array(items)) if !items.is_empty() => {
            let step = |item: &Value| place.step_to(item).unwrap_or_default();
            let kept: Vec<Value> = items.iter().filter_map(|item| left(&step(item), item)).collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        _ => value.clone(),
    }
}

/// The set, and each named field that something of the set stands below; entries of maps and items of lists are
/// not (upstream: `Set.EnsureNamedFieldsAreMembers`).
pub(super) fn with_named_fields(fields: &Set, place: Place) -> Set {
    Set(named(&fields.0, place))
}

fn named(fields: &Map<String, Value>, place: Place) -> Map<String, Value> {
    let mut out = Map::new();
    for (step, below) in fields {
        let mut inside = below.as_object().map(|below| named(below, place.step(step))).unwrap_or_default();
        let is_named = path::field_name(step)
            .is_some_and(|name| matches!(place, Place::Struct(_)) && place.inside(name).is_some());
        if is_named && !inside.is_empty() {
            inside.insert(ITSELF.to_owned(), Value::Object(Map::new()));
        }
        out.insert(step.clone(), Value::Object(inside));
    }
    out
}
