//! What is checked of every object's `metadata`, whatever its kind
//! (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::names;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::kind::Kind;
use crate::value::{entries, items, list_in, text, truth};

/// The most that all annotations of an object may hold together, in bytes.
const TOTAL_ANNOTATION_SIZE_LIMIT: usize = 256 << 10;

/// What is wrong with the metadata of an object of the kind: its name, labels, annotations, owners and
/// finalizers. Whether it must have a namespace is the handlers' business: they know the path.
pub fn validate_object_meta(kind: &Kind, object: &Value) -> Vec<FieldError> {
    let path = Path::new("metadata");
    let mut errors = Errors::new();
    let (name, generate_name) = (object.name(), object.meta_str("generateName"));
    if !generate_name.is_empty() {
        // A suffix follows: a trailing dash or dot is fine.
        let prefix = generate_name.strip_suffix('-').map(|p| format!("{p}a"));
        let checked = prefix.as_deref().unwrap_or(generate_name);
        if let Err(why) = kind.strategy.validate_name(checked) {
            errors.push(FieldError::invalid(&path.child("generateName"), generate_name, why));
        }
    }
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), "name or generateName is required"));
    } else {
        check::name(&mut errors, &path.child("name"), name, |n| kind.strategy.validate_name(n));
    }
    let meta = &object["metadata"];
    check::nonnegative(&mut errors, &path.child("generation"), &meta["generation"]);
    check::labels(&mut errors, &path.child("labels"), &meta["labels"]);
    validate_annotations(&mut errors, &path.child("annotations"), &meta["annotations"]);
    validate_owner_references(&mut errors, &path.child("ownerReferences"), &meta["ownerReferences"]);
    validate_finalizers(&mut errors, &path.child("finalizers"), &meta["finalizers"]);
    errors
}

/// What is wrong with changing the metadata of `old` to that of `new`. The handlers keep what clients
/// cannot write; this looks at what they can.
pub fn validate_object_meta_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let path = Path::new("metadata");
    let mut errors = Errors::new();
    for field in ["name", "namespace", "uid", "creationTimestamp"] {
        let (new, old) = (&new["metadata"][field], &old["metadata"][field]);
        check::immutable(&mut errors, &path.child(field), new, old);
    }
    if old.is_terminating() {
        let before = items(&old["metadata"]["finalizers"]);
        let added: Vec<&str> = items(&new["metadata"]["finalizers"])
            .iter()
            .filter(|finalizer| !before.contains(finalizer))
            .map(text)
            .collect();
        if !added.is_empty() {
            errors.push(FieldError::forbidden(
                &path.child("finalizers"),
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
                ),
            ));
        }
    }
    errors
}

/// Annotations: keys and total size. Used for objects and for pod templates.
pub(crate) fn validate_annotations(errors: &mut Errors, path: &Path, annotations: &Value) {
    let mut total = 0;
    for (key, value) in entries(annotations) {
        // Upstream compares in lower case: annotation keys were once case-insensitive.
        if let Err(why) = names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(path, key.as_str(), why));
        }
        total += key.len() + text(value).len();
    }
    if total > TOTAL_ANNOTATION_SIZE_LIMIT {
        errors.push(FieldError::too_long(path, TOTAL_ANNOTATION_SIZE_LIMIT));
    }
}

fn validate_owner_references(errors: &mut Errors, path: &Path, references: &Value) {
    let mut controller: Option<&str> = None;
    for (i, reference) in items(references).iter().enumerate() {
        let at = path.index(i);
        for (field, detail) in [
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ] {
            if text(&reference[field]).is_empty() {
                errors.push(FieldError::invalid(&at.child(field), "", detail));
            }
        }
        if reference["apiVersion"] == "v1" && reference["kind"] == "Event" {
            // Upstream: `BannedOwners`. Events are forgotten, and would take all with them.
            let words = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(path, reference.clone(), words));
        }
        if truth(&reference["controller"]) {
            let name = text(&reference["name"]);
            match controller {
                Some(first) => errors.push(FieldError::invalid(
                    path,
                    references.clone(),
                    format!(
                        "only one reference can have Controller set to true, found \"true\" in references \
                         for {first} and {name}"
                    ),
                )),
                None => controller = Some(name),
            }
        }
    }
}

fn validate_finalizers(errors: &mut Errors, path: &Path, finalizers: &Value) {
    for finalizer in items(finalizers) {
        check::name(errors, path, text(finalizer), names::qualified_name);
    }
    let has = |name: &str| items(finalizers).iter().any(|f| f == name);
    if has("orphan") && has("foregroundDeletion") {
        errors.push(FieldError::invalid(
            path,
            finalizers.clone(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
}

/// Adds a finalizer that is not there yet.
pub(crate) fn add_finalizer(object: &mut Value, finalizer: &str) {
    if let Some(list) = list_in(object.meta_mut(), "finalizers")
        && !list.iter().any(|f| f == finalizer)
    {
        list.push(finalizer.into());
    }
}
