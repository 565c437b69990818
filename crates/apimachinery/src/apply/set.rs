//! Sets of fields, kept as the JSON that FieldsV1 is (upstream: `fieldpath/{set,serialize}.go`).
//!
//! A key is a step, its value what stands below it. `{}` is a field of the set with nothing below; where fields
//! below belong to the set too, `".": {}` says that the field itself does. A step that leads nowhere never stands.

use serde_json::{Map, Value};

use super::path::{self, ITSELF};

/// A set of fields of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set(pub(super) Map<String, Value>);

/// FieldsV1 that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "fieldsV1: {0:?} is no step of a path: it must begin with f:, k:, v: or i:, and an object must follow"
)]
pub(super) struct Malformed(pub(super) String);

impl Set {
    /// Reads FieldsV1. An error when a key is no step, or a value no object.
    pub(super) fn parse(fields: &Value) -> Result<Self, Malformed> {
        let Value::Object(fields) = fields else { return Err(Malformed(fields.to_string())) };
        let mut out = Map::new();
        for (step, below) in fields.iter().filter(|(step, _)| *step != ITSELF) {
            let Value::Object(inside) = below else { return Err(Malformed(step.clone())) };
            let canonical = path::canonical(step).ok_or_else(|| Malformed(step.clone()))?;
            let node = Node {
                member: inside.is_empty() || inside.contains_key(ITSELF),
                below: Self::parse(below)?.0,
            };
            node.stand_in(&mut out, canonical);
        }
        Ok(Self(out))
    }

    /// The set as FieldsV1.
    pub(super) fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// Whether no field belongs to it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields of either.
    pub(super) fn union(&self, other: &Self) -> Self {
        Self(combine(&self.0, &other.0, |left, right| left || right))
    }

    /// The fields of both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        Self(combine(&self.0, &other.0, |left, right| left && right))
    }

    /// The fields that the other does not have. A field below one that the other has stays.
    pub(super) fn difference(&self, other: &Self) -> Self {
        Self(combine(&self.0, &other.0, |left, right| left && !right))
    }

    /// The paths of its fields, as conflicts show them, in order.
    pub(super) fn paths(&self) -> Vec<String> {
        fn collect(fields: &Map<String, Value>, above: &str, out: &mut Vec<String>) {
            for (step, below) in fields.iter().filter(|(step, _)| *step != ITSELF) {
                let here = format!("{above}{}", path::show(step));
                if is_member(below) {
                    out.push(here.clone());
                }
                if let Value::Object(below) = below {
                    collect(below, &here, out);
                }
            }
        }
        let mut out = Vec::new();
        collect(&self.0, "", &mut out);
        out
    }
}

/// Whether a field whose value in the JSON is this belongs to the set, and not only fields below it.
pub(super) fn is_member(below: &Value) -> bool {
    below.as_object().is_none_or(|fields| fields.is_empty() || fields.contains_key(ITSELF))
}

/// A field under construction.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The field itself belongs to the set.
    pub(super) member: bool,
    /// What belongs to it below.
    pub(super) below: Map<String, Value>,
}

impl Node {
    /// A field with nothing below.
    pub(super) fn leaf() -> Self {
        Self { member: true, below: Map::new() }
    }

    /// Puts it among the fields of its parent, if anything of it belongs to the set.
    pub(super) fn stand_in(mut self, parent: &mut Map<String, Value>, step: String) {
        if !self.member && self.below.is_empty() {
            return;
        }
        if self.member && !self.below.is_empty() {
            self.below.insert(ITSELF.to_owned(), Value::Object(Map::new()));
        }
        parent.insert(step, Value::Object(self.below));
    }
}

/// The fields for which `keep` says so, told whether each stands in the left and in the right set.
fn combine(
    left: &Map<String, Value>,
    right: &Map<String, Value>,
    keep: fn(bool, bool) -> bool,
) -> Map<String, Value> {
    let mut out = Map::new();
    for (step, ours) in left.iter().filter(|(step, _)| *step != ITSELF) {
        match (ours, right.get(step)) {
            (_, None) if keep(true, false) => {
                out.insert(step.clone(), ours.clone());
            }
            (Value::Object(below), Some(theirs @ Value::Object(their_below))) => {
                let member = keep(is_member(ours), is_member(theirs));
                let below = combine(below, their_below, keep);
                Node { member, below }.stand_in(&mut out, step.clone());
            }
            _ => {}
        }
    }
    if keep(false, true) {
        let only_theirs = right.iter().filter(|(step, _)| *step != ITSELF && !left.contains_key(*step));
        out.extend(only_theirs.map(|(step, theirs)| (step.clone(), theirs.clone())));
    }
    out
}
