//! What happens to an object's metadata when it is made and changed, whatever its kind
//! (upstream: apiserver/pkg/registry/rest/{create,update,delete}.go).

use apimachinery::field::FieldError;
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use apimachinery::time;
use jiff::Timestamp;
use registry::{Kind, Subresource};
use serde_json::{Value, json};

/// Which part of an object an update may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status.
    Main,
    /// The status, and labels, annotations and finalizers (upstream's status strategies let those through).
    Status,
    /// `spec.ephemeralContainers` alone.
    EphemeralContainers,
    /// The containers' `resources` alone.
    Resize,
    /// What the strategy's own function wrote: a binding, a finalize.
    Given,
}

impl Part {
    /// Whether it is of the object's spec, to which defaults, rules and the generation belong.
    pub(crate) fn is_of_spec(self) -> bool {
        matches!(self, Self::Main | Self::EphemeralContainers | Self::Resize)
    }
}

/// Completes a new object before the strategy sees it.
pub(crate) fn begin(kind: &Kind, object: &mut Value, namespace: &str, now: Timestamp, uid: String) {
    if kind.has(Subresource::Status) && !kind.strategy.keeps_status_on_create() {
        remove(object, "status");
    }
    let meta = object.meta_mut();
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation", "selfLink"] {
        meta.remove(field);
    }
    if namespace.is_empty() {
        meta.remove("namespace");
    } else {
        meta.insert("namespace".to_owned(), namespace.into());
    }
    meta.insert("uid".to_owned(), uid.into());
    meta.insert("creationTimestamp".to_owned(), time::format_seconds(now).into());
    if kind.has_generation {
        meta.insert("generation".to_owned(), 1.into());
    }
}

/// Completes a changed object: what clients cannot write is carried over from `old`.
pub(crate) fn carry_over(kind: &Kind, part: Part, new: &mut Value, old: &Value) -> Result<(), Status> {
    let name = old.name();
    if !new.uid().is_empty() && new.uid() != old.uid() {
        let why = format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            new.uid(),
            old.uid()
        );
        return Err(Status::conflict(&kind.resource(), name, &why));
    }
    match part {
        Part::Main if kind.has(Subresource::Status) => copy(new, old, "status"),
        Part::Main | Part::Given => {}
        Part::Status => keep_only_status(new, old),
        Part::EphemeralContainers => keep_only_ephemeral_containers(new, old),
        Part::Resize => keep_only_resize(kind, new, old),
    }
    let meta = new.meta_mut();
    meta.remove("selfLink");
    let mut kept = vec!["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp"];
    kept.extend(["deletionGracePeriodSeconds", "generateName", "generation", "resourceVersion"]);
    if part == Part::Status {
        kept.push("ownerReferences");
    }
    for field in kept {
        match old.get("metadata").and_then(|m| m.get(field)) {
            Some(value) => meta.insert(field.to_owned(), value.clone()),
            None => meta.remove(field),
        };
    }
    new["apiVersion"] = old["apiVersion"].clone();
    new["kind"] = old["kind"].clone();
    Ok(())
}

/// Raises the generation when anything but metadata and status changed.
pub(crate) fn raise_generation(kind: &Kind, new: &mut Value, old: &Value) {
    if kind.has_generation && !same_desire(new, old) {
        let generation = generation(old) + 1;
        new.meta_mut().insert("generation".to_owned(), generation.into());
    }
}

fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or_default()
}

fn same_desire(new: &Value, old: &Value) -> bool {
    let fields = |object: &'_ Value| {
        let fields = object.as_object().into_iter().flatten();
        fields.filter(|(k, _)| !matches!(k.as_str(), "metadata" | "status")).count()
    };
    let (Some(new_fields), count) = (new.as_object(), fields(old)) else { return false };
    fields(new) == count
        && new_fields
            .iter()
            .filter(|(k, _)| !matches!(k.as_str(), "metadata" | "status"))
            .all(|(k, v)| old.get(k) == Some(v))
}

fn keep_only_status(new: &mut Value, old: &Value) {
    let status = new.get_mut("status").map(Value::take);
    let metadata = new.get_mut("metadata").map(Value::take);
    *new = old.clone();
    match status {
        Some(status) => new["status"] = status,
        None => remove(new, "status"),
    }
    if let Some(metadata) = metadata {
        new["metadata"] = metadata;
    }
}

/// Of the metadata, only which version is meant.
fn keep_only_ephemeral_containers(new: &mut Value, old: &Value) {
    const LIST: &str = "ephemeralContainers";
    let list = new.get_mut("spec").and_then(|spec| spec.get_mut(LIST)).map(Value::take);
    *new = old.clone();
    match (list, new.get_mut("spec").and_then(Value::as_object_mut)) {
        (Some(list), Some(spec)) => drop(spec.insert(LIST.to_owned(), list)),
        (None, Some(spec)) => drop(spec.remove(LIST)),
        (_, None) => {}
    }
}

/// Of the metadata, only which version is meant.
fn keep_only_resize(kind: &Kind, new: &mut Value, old: &Value) {
    let sent = std::mem::replace(new, old.clone());
    kind.strategy.resize(new, &sent);
}

/// Marks an object as being deleted: `grace` seconds from now.
pub(crate) fn mark_terminating(kind: &Kind, object: &mut Value, now: Timestamp, grace: i64) {
    let deadline = now.checked_add(jiff::SignedDuration::from_secs(grace)).unwrap_or(now);
    set_deletion(object, deadline, grace);
    // As upstream: being deleted is a change of what is wanted.
    if kind.has_generation {
        let generation = generation(object) + 1;
        object.meta_mut().insert("generation".to_owned(), generation.into());
    }
    kind.strategy.mark_terminating(object);
}

/// Brings the end of an object that is being deleted forward to `grace` seconds after the deletion was asked
/// for. Whether that changed anything.
pub(crate) fn shorten_grace(object: &mut Value, grace: i64) -> bool {
    let Some(before) = grace_period(object) else { return false };
    if grace >= before {
        return false;
    }
    let asked = time::parse(object.meta_str("deletionTimestamp")).map(|deadline| {
        deadline.checked_sub(jiff::SignedDuration::from_secs(before - grace)).unwrap_or(deadline)
    });
    if let Some(deadline) = asked {
        set_deletion(object, deadline, grace);
    }
    true
}

fn set_deletion(object: &mut Value, deadline: Timestamp, grace: i64) {
    let meta = object.meta_mut();
    meta.insert("deletionTimestamp".to_owned(), time::format_seconds(deadline).into());
    meta.insert("deletionGracePeriodSeconds".to_owned(), grace.into());
}

/// `metadata.deletionGracePeriodSeconds`.
pub(crate) fn grace_period(object: &Value) -> Option<i64> {
    object["metadata"]["deletionGracePeriodSeconds"].as_i64()
}

/// Whether nothing keeps a terminating object any more (upstream: `ShouldDeleteDuringUpdate`).
pub(crate) fn may_go(kind: &Kind, object: &Value) -> bool {
    object.is_terminating()
        && grace_period(object).unwrap_or_default() == 0
        && finalizers(object).is_empty()
        && !kind.strategy.is_held(object)
}

/// `metadata.finalizers`.
pub(crate) fn finalizers(object: &Value) -> Vec<&str> {
    object["metadata"]["finalizers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Replaces `metadata.finalizers`.
pub(crate) fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    if finalizers.is_empty() {
        object.meta_mut().remove("finalizers");
    } else {
        object.meta_mut().insert("finalizers".to_owned(), json!(finalizers));
    }
}

/// What is wrong with a changed object and was not wrong before: an object that an older release let in stays
/// writable, above all for who takes its finalizers off (as KEP-4008 has it for custom resources).
pub(crate) fn news(kind: &Kind, mut errors: Vec<FieldError>, old: &Value) -> Vec<FieldError> {
    if !errors.is_empty() {
        let mut known = registry::validate_object_meta(kind, old);
        known.extend(kind.strategy.validate(old));
        known.extend(kind.strategy.validate_status(old, old));
        errors.retain(|error| !known.contains(error));
    }
    errors
}

/// 422 when there are errors.
pub(crate) fn refuse_invalid(kind: &Kind, object: &Value, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&kind.group_kind(), object.name(), errors))
}

fn copy(new: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => new[field] = value.clone(),
        None => remove(new, field),
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Some(map) = object.as_object_mut() {
        map.remove(field);
    }
}
