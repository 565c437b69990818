//! What a write makes of an object and of its managers (upstream: `merge/update.go` of structured-merge-diff and
//! `managedfields/internal/{fieldmanager,managedfieldsupdater,skipnonapplied,stripmeta,structuredmerge}.go`).

use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::compare::compare;
use super::conflict::Conflict;
use super::last_applied;
use super::managed::{self, Entry, Manager, Operation};
use super::merge::merge;
use super::own::{Duplicates, fields_of};
use super::place::Place;
use super::remove::{remove, with_named_fields};
use super::set::Set;
use crate::meta::ObjectExt;
use crate::schema::TypeId;
use crate::schema::normalize::normalize;
use crate::time;

const FIELD: &str = "managedFields";
/// Who owns what stood in an object of which nobody had kept the owners, when it is first applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Who writes, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// What the client calls itself; empty is `unknown`.
    pub manager: &'a str,
    /// The subresource that it writes to; empty for the object itself.
    pub subresource: &'a str,
    /// The object's `apiVersion`.
    pub api_version: &'a str,
    /// The object's type.
    pub type_id: TypeId,
    /// The time of day.
    pub now: Timestamp,
}

impl Writer<'_> {
    fn manager(&self, operation: Operation) -> Manager {
        Manager {
            name: if self.manager.is_empty() { "unknown" } else { self.manager }.to_owned(),
            operation,
            api_version: self.api_version.to_owned(),
            subresource: self.subresource.to_owned(),
        }
    }

    fn time(&self) -> String {
        time::format_seconds(self.now)
    }

    fn place(&self) -> Place {
        Place::of_type(self.type_id)
    }
}

/// Why a configuration is not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It would take fields from others; they are sorted by manager.
    #[error("{}", super::conflict::message(.0))]
    Conflicts(Vec<Conflict>),
    /// It does not fit its type: unknown fields, items that stand twice.
    #[error("{0}")]
    Malformed(String),
}

/// Keeps `metadata.managedFields` of `new`, which came of `live` by another write than an apply; `live` is `None`
/// for an object that is created. What the writer changed becomes its own and nobody else's.
///
/// `new` may say `managedFields` itself, as who moves ownership does; a list with one empty entry forgets all. An
/// object whose owners nobody keeps stays so until it is applied.
pub fn update(live: Option<&Value>, new: &mut Value, writer: &Writer<'_>) {
    let sent = new.meta_mut().remove(FIELD).unwrap_or_default();
    let kept = live.map_or(&Value::Null, |live| &live["metadata"][FIELD]);
    let mut entries = before(kept, &sent, writer);
    if entries.is_empty() && live.is_some() {
        return;
    }
    own_changes(live.unwrap_or(&json!({})), new, &mut entries, writer.manager(Operation::Update), writer);
    managed::cap(&mut entries);
    store(new, entries);
}

/// The managers that a plain write begins with.
fn before(kept: &Value, sent: &Value, writer: &Writer<'_>) -> Vec<Entry> {
    let known = || managed::decode(kept).unwrap_or_default();
    if !writer.subresource.is_empty() || sent == kept {
        return known();
    }
    if managed::is_reset(sent) {
        return Vec::new();
    }
    match managed::decode(sent) {
        Ok(entries) if !entries.is_empty() => entries,
        _ => known(),
    }
}

/// Gives the manager what differs between the two.
fn own_changes(live: &Value, new: &Value, entries: &mut Vec<Entry>, manager: Manager, writer: &Writer<'_>) {
    let comparison = compare(live, new, writer.place());
    let changed = comparison.changed.difference(kept_by_server());
    for entry in entries.iter_mut() {
        entry.fields = entry.fields.difference(&changed).difference(&comparison.removed);
    }
    if changed.is_empty() {
        return;
    }
    match entries.iter_mut().find(|entry| entry.manager.is(&manager)) {
        Some(own) => {
            own.fields = own.fields.union(&changed);
            own.time = writer.time();
        }
        None => entries.push(Entry { manager, time: writer.time(), fields: changed }),
    }
    entries.retain(|entry| !entry.fields.is_empty());
}

/// What `config` makes of `live`, and who owns what then; `live` is `None` when the object is created. Fields that
/// the manager applied before, does not apply now and nobody else owns are gone.
///
/// # Errors
/// When the configuration does not fit its type, or unless `force`d when it changes what others own.
pub fn apply(
    live: Option<&Value>,
    config: &Value,
    force: bool,
    writer: &Writer<'_>,
) -> Result<Value, Refusal> {
    let place = writer.place();
    let wanted = fields_of(config, place, Duplicates::Refused).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Refusal::Malformed(match faults.as_slice() {
            [one] => one.clone(),
            many => format!("errors:\n  {}", many.join("\n  ")),
        })
    })?;
    let nothing = json!({"apiVersion": config["apiVersion"], "kind": config["kind"]});
    let mut live = live.unwrap_or(&nothing).clone();
    let kept = live.meta_mut().remove(FIELD).unwrap_or_default();
    let mut entries = managed::decode(&kept).unwrap_or_default();
    if entries.is_empty() {
        let unknown = Writer { manager: BEFORE_FIRST_APPLY, ..*writer };
        let written = part_of(&live, writer.subresource);
        own_changes(&nothing, &written, &mut entries, unknown.manager(Operation::Update), &unknown);
    }
    let manager = writer.manager(Operation::Apply);
    let at = entries.iter().position(|entry| entry.manager.is(&manager));
    let last = at.map(|at| entries.remove(at));
    let merged = merge(Some(&live), config, place);
    let mut object = match &last {
        Some(last) => prune(&merged, &last.fields, &wanted, &entries, place),
        None => merged,
    };
    // What is empty is absent in Go's types, and so no change.
    normalize(&mut object, writer.type_id);
    take_over(&live, &object, force, &mut entries, writer)?;
    last_applied::renew(&mut object, config, writer.manager);

    let fields = wanted.difference(kept_by_server());
    let time = match last {
        Some(last) if last.fields == fields && object == live => last.time,
        _ => writer.time(),
    };
    entries.push(Entry { manager, time, fields });
    store(&mut object, entries);
    Ok(object)
}

/// What a writer to the subresource can have written: the status alone, or all but the status.
fn part_of(object: &Value, subresource: &str) -> Value {
    let mut part = object.clone();
    if let Some(fields) = part.as_object_mut() {
        fields.retain(|name, _| match name.as_str() {
            "apiVersion" | "kind" | "metadata" => true,
            name => (name == "status") == (subresource == "status"),
        });
    }
    part
}

/// Takes what the configuration changes from its owners, if they are asked at all.
fn take_over(
    live: &Value,
    object: &Value,
    force: bool,
    entries: &mut [Entry],
    writer: &Writer<'_>,
) -> Result<(), Refusal> {
    let comparison = compare(live, object, writer.place());
    let conflicts = |allowed: &Set| {
        let taken = comparison.changed.difference(allowed);
        let mut conflicts: Vec<Conflict> = Vec::new();
        for Entry { manager, fields, .. } in entries.iter() {
            let paths = fields.intersection(&taken).paths();
            conflicts.extend(paths.into_iter().map(|path| Conflict { manager: manager.clone(), path }));
        }
        conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
        conflicts
    };
    if !force && !conflicts(&Set::default()).is_empty() {
        let conflicts = conflicts(&last_applied::may_take(live, writer.manager, writer.place()));
        if !conflicts.is_empty() {
            return Err(Refusal::Conflicts(conflicts));
        }
    }
    for entry in entries {
        entry.fields = entry.fields.difference(&comparison.changed).difference(&comparison.removed);
    }
    Ok(())
}

/// Takes out of the merged object what the manager applied `last`, does not want any more, and nobody else owns
/// (upstream: `Updater.prune`).
fn prune(merged: &Value, last: &Set, wanted: &Set, others: &[Entry], place: Place) -> Value {
    let with_names = |fields: &Set| with_named_fields(fields, place);
    // The merged object was read from the store or is applied: what does not fit its type is nobody's.
    let all =
        |object: &Value| with_names(&fields_of(object, place, Duplicates::OwnedAsOne).unwrap_or_default());
    let everything = all(merged);
    let last = with_names(last);
    let pruned = remove(merged, &last, place);
    let owned = others.iter().fold(wanted.clone(), |owned, entry| owned.union(&entry.fields));
    // What somebody owns comes back, and what stood below a removed field without being the manager's.
    let pruned = remove(merged, &everything.difference(&all(&pruned)).difference(&with_names(&owned)), place);
    remove(merged, &everything.difference(&all(&pruned)).intersection(&last), place)
}

fn store(object: &mut Value, entries: Vec<Entry>) {
    if let Some(list) = managed::encode(entries) {
        object.meta_mut().insert(FIELD.to_owned(), list);
    }
}

/// The fields that nobody owns but the server (upstream: `stripMetaManager`).
fn kept_by_server() -> &'static Set {
    static FIELDS: OnceLock<Set> = OnceLock::new();
    FIELDS.get_or_init(|| {
        let fields = json!({"f:apiVersion": {}, "f:kind": {}, "f:metadata": {".": {}, "f:name": {},
            "f:namespace": {}, "f:creationTimestamp": {}, "f:selfLink": {}, "f:uid": {}, "f:generation": {},
            "f:managedFields": {}, "f:resourceVersion": {}}});
        Set::parse(&fields).unwrap_or_default()
    })
}
