//! Which fields a configuration speaks of (upstream: `typed/tofieldset.go`, `typed/validate.go`).

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::path;
use super::place::Place;
use super::set::{Node, Set};

/// What is wrong with a configuration, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    path: String,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// What to do with an item that stands twice in a list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Duplicates {
    /// It is a fault: a configuration that is applied must be clear.
    Refused,
    /// The item is owned as a whole: objects may hold such lists.
    OwnedAsOne,
}

/// The fields that the value speaks of.
pub(super) fn fields_of(value: &Value, place: Place, duplicates: Duplicates) -> Result<Set, Vec<Fault>> {
    let mut reader = Reader { duplicates, faults: Vec::new() };
    let mut trail = Vec::new();
    let node = reader.node(value, place, &mut trail);
    if reader.faults.is_empty() { Ok(Set(node.below)) } else { Err(reader.faults) }
}

struct Reader {
    duplicates: Duplicates,
    faults: Vec<Fault>,
}

impl Reader {
    fn node(&mut self, value: &Value, place: Place, trail: &mut Vec<String>) -> Node {
        match (place, value) {
            (Place::Leaf, _) => Node::leaf(),
            (_, Value::Null) => Node::default(),
            (Place::Struct(_) | Place::Map(_), Value::Object(_)) => self.fields(value, place, trail),
            (Place::Set | Place::Keyed(_), Value::Array(items)) => self.items(items, place, trail),
            (Place::Struct(_) | Place::Map(_), _) => self.fault(trail, format!("expected map, got {value}")),
            (Place::Set | Place::Keyed(_), _) => self.fault(trail, format!("expected list, got {value}")),
        }
    }

    fn fault(&mut self, trail: &[String], what: String) -> Node {
        let path = trail.iter().map(|step| path::show(step)).collect();
        self.faults.push(Fault { path, what });
        Node::default()
    }

    fn fields(&mut self, value: &Value, place: Place, trail: &mut Vec<String>) -> Node {
        let mut out = Node::default();
        for (name, value) in value.as_object().into_iter().flatten() {
            trail.push(path::field(name));
            match place.inside(name) {
                None => {
                    self.fault(trail, "field not declared in schema".to_owned());
                }
                Some(inside) => {
                    let mut node = self.node(value, inside, trail);
                    let is_empty =
                        value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty);
                    node.member |= is_empty || matches!(place, Place::Map(_));
                    node.stand_in(&mut out.below, path::field(name));
                }
            }
            trail.pop();
        }
        out
    }

    fn items(&mut self, items: &[Value], place: Place, trail: &mut Vec<String>) -> Node {
        let mut out = Node::default();
        let mut seen = BTreeSet::new();
        for (at, item) in items.iter().enumerate() {
            let step = match place.step_to(item) {
                Ok(step) => step,
                Err(what) => {
                    self.fault(trail, format!("element {at}: {what}"));
                    continue;
                }
            };
            if !seen.insert(step.clone()) {
                if self.duplicates == Duplicates::Refused {
                    self.fault(trail, format!("duplicate entries for key {}", path::show(&step)));
                }
                Node::leaf().stand_in(&mut out.below, step);
                continue;
            }
            trail.push(step.clone());
            let node = self.node(item, place.item(), trail);
            trail.pop();
            Node { member: true, ..node }.stand_in(&mut out.below, step);
        }
        out
    }
}
