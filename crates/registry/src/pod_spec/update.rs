//! What of a pod's spec may change (`ValidatePodUpdate`).

use apimachinery::field::{FieldError, Path};
use serde_json::Value;

use crate::check::Errors;
use crate::value::{items, number, same, text};

const UPDATABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What is wrong with changing the spec of a pod from `old` to `new`.
pub(crate) fn validate_pod_spec_update(errors: &mut Errors, new: &Value, old: &Value) {
    let path = Path::new("spec");
    for list in ["containers", "initContainers"] {
        if items(&new[list]).len() != items(&old[list]).len() {
            errors.push(FieldError::forbidden(
                &path.child(list),
                "pod updates may not add or remove containers",
            ));
            return;
        }
    }
    validate_deadline(errors, &path, new, old);
    validate_only_added_tolerations(errors, &path.child("tolerations"), new, old);
    validate_only_deleted_gates(errors, &path.child("schedulingGates"), new, old);
    let changed = changed_fields(new, old);
    if !changed.is_empty() {
        // Upstream ends with a diff of its Go types; the fields' names say as much in one line.
        errors.push(FieldError::forbidden(
            &path,
            format!("{UPDATABLE}; this one changes {}", changed.join(", ")),
        ));
    }
}

/// The fields that differ, once all that may change is made alike.
fn changed_fields(new: &Value, old: &Value) -> Vec<String> {
    let mut munged = new.clone();
    let Some(spec) = munged.as_object_mut() else { return Vec::new() };
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (container, before) in containers.zip(items(&old[list])) {
            if let Some(container) = container.as_object_mut() {
                container.insert("image".into(), before["image"].clone());
            }
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        spec.insert(field.into(), old[field].clone());
    }
    let grace = "terminationGracePeriodSeconds";
    if number(&old[grace]) < 0 && number(&new[grace]) == 1 {
        spec.insert(grace.into(), old[grace].clone());
    }
    let mut changed = Vec::new();
    let names = munged.as_object().into_iter().flatten().map(|(k, _)| k);
    let old_names = old.as_object().into_iter().flatten().map(|(k, _)| k);
    for field in names.chain(old_names) {
        if !changed.contains(field) && !same(&munged[field], &old[field]) {
            changed.push(field.clone());
        }
    }
    changed.iter().map(|field| format!("spec.{field}")).collect()
}

/// The deadline may be set, and brought closer.
fn validate_deadline(errors: &mut Errors, path: &Path, new: &Value, old: &Value) {
    let at = path.child("activeDeadlineSeconds");
    let (new, old) = (&new["activeDeadlineSeconds"], &old["activeDeadlineSeconds"]);
    match (new.as_i64(), old.as_i64()) {
        (Some(after), Some(before)) if after > before => {
            errors.push(FieldError::invalid(&at, after, "must be less than or equal to previous value"));
        }
        (None, Some(_)) => errors.push(FieldError::invalid(
            &at,
            Value::Null,
            "must not update from a positive integer to nil value",
        )),
        _ => {}
    }
}

fn validate_only_added_tolerations(errors: &mut Errors, path: &Path, new: &Value, old: &Value) {
    let without_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(map) = toleration.as_object_mut() {
            map.remove("tolerationSeconds");
        }
        toleration
    };
    let kept = items(&old["tolerations"]).iter().all(|before| {
        let before = without_seconds(before);
        items(&new["tolerations"]).iter().any(|after| same(&without_seconds(after), &before))
    });
    if !kept {
        let words = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden(path, words));
    }
}

fn validate_only_deleted_gates(errors: &mut Errors, path: &Path, new: &Value, old: &Value) {
    for (i, gate) in items(&new["schedulingGates"]).iter().enumerate() {
        if !items(&old["schedulingGates"]).contains(gate) {
            let name = text(&gate["name"]);
            let words = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.push(FieldError::forbidden(&path.index(i).child("name"), words));
        }
    }
}
