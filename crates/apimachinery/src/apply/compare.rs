//! What differs between two versions of an object, field by field (upstream: `typed/compare.go`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::path;
use super::place::Place;
use super::set::{Node, Set};

/// What differs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Comparison {
    /// What is new or has another value.
    pub(super) changed: Set,
    /// What is gone.
    pub(super) removed: Set,
}

/// Compares two objects.
pub(super) fn compare(old: &Value, new: &Value, place: Place) -> Comparison {
    let delta = between(Some(old), Some(new), place);
    Comparison { changed: Set(delta.changed.below), removed: Set(delta.removed.below) }
}

#[derive(Default)]
struct Delta {
    changed: Node,
    removed: Node,
}

impl Delta {
    fn stand_in(self, parent: &mut Self, step: String) {
        self.changed.stand_in(&mut parent.changed.below, step.clone());
        self.removed.stand_in(&mut parent.removed.below, step);
    }
}

fn between(old: Option<&Value>, new: Option<&Value>, place: Place) -> Delta {
    let is_empty = |side: Option<&Value>| match (place, side) {
        (Place::Struct(_) | Place::Map(_), Some(Value::Object(fields))) => fields.is_empty(),
        (Place::Set | Place::Keyed(_), Some(Value::Array(items))) => items.is_empty(),
        (Place::Leaf, _) => false,
        _ => true,
    };
    // What is empty on both sides is told apart as one value: null, empty and absent differ.
    if matches!(place, Place::Leaf) || (is_empty(old) && is_empty(new)) {
        return as_one(old, new);
    }
    let mut delta = match place {
        Place::Set | Place::Keyed(_) => items(old, new, place),
        _ => fields(old, new, place),
    };
    delta.changed.member |= old.is_none();
    delta.removed.member |= new.is_none();
    delta
}

fn as_one(old: Option<&Value>, new: Option<&Value>) -> Delta {
    let mut delta = Delta::default();
    match (old, new) {
        (Some(_), None) => delta.removed.member = true,
        (old, new) => delta.changed.member = old != new,
    }
    delta
}

fn fields(old: Option<&Value>, new: Option<&Value>, place: Place) -> Delta {
    let mut delta = Delta::default();
    let (before, after) = (old.and_then(Value::as_object), new.and_then(Value::as_object));
    let mut field = |name: &String| {
        // A struct that is there has all its fields, as Go has them.
        let old = before.and_then(|fields| fields.get(name).or_else(|| place.unset(name)));
        let new = after.and_then(|fields| fields.get(name).or_else(|| place.unset(name)));
        let inside = place.inside(name).unwrap_or(Place::Leaf);
        between(old, new, inside).stand_in(&mut delta, path::field(name));
    };
    before.into_iter().flat_map(Map::keys).for_each(&mut field);
    let known = |name: &&String| before.is_some_and(|fields| fields.contains_key(*name));
    after.into_iter().flat_map(Map::keys).filter(|name| !known(name)).for_each(field);
    delta
}

fn items(old: Option<&Value>, new: Option<&Value>, place: Place) -> Delta {
    let mut delta = Delta::default();
    let (old, new) = (by_step(old, place), by_step(new, place));
    let nothing = Vec::new();
    let steps: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for step in steps {
        let before = old.get(step).unwrap_or(&nothing);
        let after = new.get(step).unwrap_or(&nothing);
        let mut item = if before.len() > 1 && after.len() > 1 {
            // What stands several times in a list is one value.
            let mut item = Delta::default();
            item.changed.member = before != after;
            item
        } else {
            between(only(before), only(after), place.item())
        };
        item.removed.member |= before.len() > 1 && after.len() <= 1;
        item.changed.member |= after.len() > 1 && before.len() <= 1;
        item.stand_in(&mut delta, step.clone());
    }
    delta
}

fn only<'a>(items: &[&'a Value]) -> Option<&'a Value> {
    match items {
        [item] => Some(item),
        _ => None,
    }
}

/// The items by their step; an item that has none is nobody's.
fn by_step(list: Option<&Value>, place: Place) -> BTreeMap<String, Vec<&Value>> {
    let mut out: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for item in list.and_then(Value::as_array).into_iter().flatten() {
        if let Ok(step) = place.step_to(item) {
            out.entry(step).or_default().push(item);
        }
    }
    out
}
