//! A configuration put into an object (upstream: `typed/merge.go`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::place::Place;

/// The live value with the configuration's on top: fields and items that the configuration does not speak of stay.
pub(super) fn merge(live: Option<&Value>, config: &Value, place: Place) -> Value {
    match (place, live, config) {
        (Place::Struct(_) | Place::Map(_), Some(Value::Object(live)), Value::Object(config)) => {
            fields(live, config, place)
        }
        (Place::Struct(_) | Place::Map(_), None | Some(Value::Null), Value::Object(config)) => {
            fields(&Map::new(), config, place)
        }
        (Place::Set | Place::Keyed(_), Some(Value::Array(live)), Value::Array(config))
            if !config.is_empty() =>
        {
            items(live, config, place)
        }
        // To speak of a map or a list and to say nothing about what is in it takes nothing out of it.
        (Place::Struct(_) | Place::Map(_), Some(live @ Value::Object(inside)), Value::Null)
            if !inside.is_empty() =>
        {
            live.clone()
        }
        (Place::Set | Place::Keyed(_), Some(live @ Value::Array(inside)), Value::Null | Value::Array(_))
            if !inside.is_empty() =>
        {
            live.clone()
        }
        _ => config.clone(),
    }
}

fn fields(live: &Map<String, Value>, config: &Map<String, Value>, place: Place) -> Value {
    let mut out = live.clone();
    for (name, value) in config {
        let inside = place.inside(name).unwrap_or(Place::Leaf);
        let merged = merge(live.get(name), value, inside);
        out.insert(name.clone(), merged);
    }
    Value::Object(out)
}

/// Merges two lists. Items of both stand as the configuration orders them; items of the live list alone stay where
/// they stood among those.
fn items(live: &[Value], config: &[Value], place: Place) -> Value {
    let step = |item: &Value| place.step_to(item).unwrap_or_default();
    let live_steps: Vec<String> = live.iter().map(step).collect();
    let config_steps: Vec<String> = config.iter().map(step).collect();
    let configured: BTreeSet<&String> = config_steps.iter().collect();
    let mut known: BTreeMap<&String, Option<&Value>> = BTreeMap::new();
    for (step, item) in live_steps.iter().zip(live) {
        // An item that stands twice is not merged with: it is not clear with which.
        known.entry(step).and_modify(|item| *item = None).or_insert(Some(item));
    }
    let mut shared = config_steps.iter().filter(|step| known.contains_key(step)).peekable();
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let (mut at_live, mut at_config) = (0, 0);
    while at_live < live.len() || at_config < config.len() {
        let ours = live_steps.get(at_live);
        let theirs = config_steps.get(at_config);
        match (ours, theirs) {
            (Some(ours), _) if !configured.contains(ours) => {
                out.push(live[at_live].clone());
                at_live += 1;
            }
            // It is in the configuration, and its turn comes or came there.
            (Some(ours), Some(theirs))
                if ours != theirs && shared.peek().is_some_and(|next| *next != ours) =>
            {
                at_live += 1;
            }
            (Some(_), None) => at_live += 1,
            (ours, Some(theirs)) => {
                let merged = known.get(theirs).copied().flatten();
                out.push(merge(merged, &config[at_config], place.item()));
                at_config += 1;
                at_live += usize::from(ours == Some(theirs));
                if shared.peek() == Some(&theirs) {
                    shared.next();
                }
            }
            (None, None) => unreachable!("one of the lists has items left"),
        }
    }
    Value::Array(out)
}
