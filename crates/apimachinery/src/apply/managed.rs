//! `metadata.managedFields`: who owns what (upstream: `managedfields/internal/{managedfields,capmanagers}.go`).

use std::cmp::Reverse;

use serde_json::{Map, Value, json};

use super::set::{Malformed, Set};

/// How many entries of plain writes an object has; the oldest are put together (upstream:
/// `DefaultMaxUpdateManagers`).
const MAX_UPDATE_MANAGERS: usize = 10;
/// Who owns what the entries owned that were put together.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It applied a configuration that speaks of them.
    Apply,
    /// It wrote them otherwise.
    Update,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who owns fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// What it calls itself: `kubectl`.
    pub name: String,
    /// How it came to own them.
    pub operation: Operation,
    /// The version in which the fields are named.
    pub api_version: String,
    /// The part of the object that it wrote: `status`; empty for the object itself.
    pub subresource: String,
}

impl Manager {
    /// Whether two entries are one manager's: who applies is the same in every version.
    pub(super) fn is(&self, other: &Self) -> bool {
        let same_version = self.operation == Operation::Apply || self.api_version == other.api_version;
        same_version
            && self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
    }
}

/// One manager's fields.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: Manager,
    /// RFC 3339 in UTC to the second; so texts sort as times do. Empty when nobody knows.
    pub(super) time: String,
    pub(super) fields: Set,
}

/// Why `managedFields` that a client sent is not taken; the object keeps what it had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("an entry has no operation, apiVersion or fieldsType that is known")]
    Entry,
    #[error(transparent)]
    Fields(#[from] Malformed),
}

/// Reads the list; `null` is an empty one.
pub(super) fn decode(list: &Value) -> Result<Vec<Entry>, Unusable> {
    let mut entries: Vec<Entry> = Vec::new();
    for item in list.as_array().into_iter().flatten() {
        let text = |field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(Unusable::Entry),
        };
        if text("apiVersion").is_empty() || text("fieldsType") != "FieldsV1" {
            return Err(Unusable::Entry);
        }
        let manager = Manager {
            name: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
        };
        let fields = item.get("fieldsV1").map_or(Ok(Set::default()), Set::parse)?;
        match entries.iter_mut().find(|entry| entry.manager.is(&manager)) {
            Some(same) => same.fields = same.fields.union(&fields),
            None => entries.push(Entry { manager, time: text("time"), fields }),
        }
    }
    Ok(entries)
}

/// The list in its order: those who applied first, each group by time; without those who own nothing.
pub(super) fn encode(mut entries: Vec<Entry>) -> Option<Value> {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| a.rank().cmp(&b.rank()));
    (!entries.is_empty()).then(|| entries.into_iter().map(Entry::into_value).collect())
}

impl Entry {
    /// What decides where it stands in the list.
    fn rank(&self) -> (Operation, &str, &str, &str, &str) {
        let Manager { name, operation, api_version, subresource } = &self.manager;
        (*operation, &self.time, name, api_version, subresource)
    }

    fn into_value(self) -> Value {
        let mut out = Map::new();
        let mut put = |field: &str, value: Value| out.insert(field.to_owned(), value);
        put("manager", self.manager.name.into());
        put("operation", self.manager.operation.word().into());
        put("apiVersion", self.manager.api_version.into());
        put("fieldsType", "FieldsV1".into());
        put("fieldsV1", self.fields.into_value());
        if !self.time.is_empty() {
            put("time", self.time.into());
        }
        if !self.manager.subresource.is_empty() {
            put("subresource", self.manager.subresource.into());
        }
        Value::Object(out)
    }
}

/// Puts the oldest entries of plain writes together until there are no more than the bound, one for each version.
pub(super) fn cap(entries: &mut Vec<Entry>) {
    let is_update = |entry: &Entry| entry.manager.operation == Operation::Update;
    let mut over = entries.iter().filter(|e| is_update(e)).count().saturating_sub(MAX_UPDATE_MANAGERS);
    if over == 0 {
        return;
    }
    // Newest first, so that the oldest are at the end, where they can be taken off.
    let (mut updates, mut kept): (Vec<Entry>, Vec<Entry>) = entries.drain(..).partition(is_update);
    updates.sort_by_cached_key(|entry| Reverse((entry.time.clone(), entry.manager.clone())));
    let mut ancient: Vec<Entry> = Vec::new();
    while let Some(oldest) = updates.pop() {
        match ancient.iter_mut().find(|e| e.manager.api_version == oldest.manager.api_version) {
            Some(bucket) if over > 0 => {
                bucket.fields = bucket.fields.union(&oldest.fields);
                bucket.time = oldest.time;
                ANCIENT.clone_into(&mut bucket.manager.name);
                bucket.manager.subresource.clear();
                over -= 1;
            }
            None if over > 0 => ancient.push(oldest),
            _ => kept.push(oldest),
        }
    }
    kept.append(&mut ancient);
    *entries = kept;
}

/// Whether two values of `managedFields` say the same, whenever it was written.
pub fn same_but_for_times(left: &Value, right: &Value) -> bool {
    let plain = |list: &Value| match list {
        Value::Array(entries) => {
            let mut entries = entries.clone();
            for entry in &mut entries {
                entry.as_object_mut().map(|entry| entry.remove("time"));
            }
            // Their order depends on the times.
            entries.sort_by_cached_key(Value::to_string);
            Value::Array(entries)
        }
        other => other.clone(),
    };
    plain(left) == plain(right)
}

/// Whether the client asks to forget who owns what: one empty entry (upstream: `isResetManagedFields`).
pub(super) fn is_reset(list: &Value) -> bool {
    *list == json!([{}])
}
