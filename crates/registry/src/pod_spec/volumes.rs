//! Volumes: their sources (`ValidateVolumes`, `validateVolumeSource`).

use std::collections::BTreeMap;

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use serde_json::Value;

use super::env::{self, Place};
use super::resources::quantity_sign;
use crate::check::{self, Errors};
use crate::value::{entries, is_empty, items, text};

/// Volumes by name, with where each comes from. Claims of a set's templates count as volumes too.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a Value>;

/// What hostPath may promise to find.
const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];

/// Checks the list and returns the volumes that containers may mount.
pub(super) fn validate_volumes<'a>(errors: &mut Errors, path: &Path, list: &'a Value) -> Volumes<'a> {
    let mut volumes = Volumes::new();
    for (i, volume) in items(list).iter().enumerate() {
        let at = path.index(i);
        let mut found = Errors::new();
        validate_source(&mut found, &at, volume);
        let name = text(&volume["name"]);
        check::required_name(&mut found, &at.child("name"), name, names::dns1123_label);
        if volumes.contains_key(name) {
            found.push(FieldError::duplicate(&at.child("name"), name));
        }
        if found.is_empty() {
            volumes.insert(name, volume);
        } else {
            errors.append(&mut found);
        }
    }
    volumes
}

/// Where a volume comes from: the field that is set besides the name.
pub(super) fn sources(volume: &Value) -> impl Iterator<Item = (&str, &Value)> {
    entries(volume)
        .filter(|(key, value)| *key != "name" && !value.is_null())
        .map(|(key, value)| (key.as_str(), value))
}

fn validate_source(errors: &mut Errors, path: &Path, volume: &Value) {
    let mut found = sources(volume);
    let Some((kind, source)) = found.next() else {
        errors.push(FieldError::required(path, "must specify a volume type"));
        return;
    };
    for (more, _) in found {
        errors.push(FieldError::forbidden(&path.child(more), "may not specify more than 1 volume type"));
    }
    let path = path.child(kind);
    match kind {
        "emptyDir" if quantity_sign(&source["sizeLimit"]).is_some_and(|sign| sign < 0) => {
            let words = "SizeLimit field must be a valid resource quantity";
            errors.push(FieldError::forbidden(&path.child("sizeLimit"), words));
        }
        "hostPath" => validate_host_path(errors, &path, source),
        "persistentVolumeClaim" => check::required(errors, &path.child("claimName"), &source["claimName"]),
        "secret" => {
            check::required(errors, &path.child("secretName"), &source["secretName"]);
            validate_files(errors, &path, source);
        }
        "configMap" => {
            check::required(errors, &path.child("name"), &source["name"]);
            validate_files(errors, &path, source);
        }
        "downwardAPI" => {
            validate_mode(errors, &path.child("defaultMode"), &source["defaultMode"]);
            validate_downward_items(errors, &path, &source["items"]);
        }
        "projected" => validate_projected(errors, &path, source),
        "nfs" => {
            check::required(errors, &path.child("server"), &source["server"]);
            check::required(errors, &path.child("path"), &source["path"]);
        }
        "csi" => check::required(errors, &path.child("driver"), &source["driver"]),
        "ephemeral" => {
            check::required(errors, &path.child("volumeClaimTemplate"), &source["volumeClaimTemplate"]);
        }
        // The others are of storage that stead cannot reach; `pod_spec_warnings` says so.
        _ => {}
    }
}

/// `hostPath`, of a pod's volume or of a PersistentVolume.
pub(crate) fn validate_host_path(errors: &mut Errors, path: &Path, source: &Value) {
    let host_path = text(&source["path"]);
    if host_path.is_empty() {
        errors.push(FieldError::required(&path.child("path"), ""));
        return;
    }
    check::no_backsteps(errors, &path.child("path"), host_path);
    check::one_of_if_set(errors, &path.child("type"), &source["type"], HOST_PATH_TYPES);
}

/// The files that a Secret's or ConfigMap's keys become.
fn validate_files(errors: &mut Errors, path: &Path, source: &Value) {
    validate_mode(errors, &path.child("defaultMode"), &source["defaultMode"]);
    for (i, item) in items(&source["items"]).iter().enumerate() {
        let at = path.child("items").index(i);
        check::required(errors, &at.child("key"), &item["key"]);
        validate_file_path(errors, &at, item);
        validate_mode(errors, &at.child("mode"), &item["mode"]);
    }
}

fn validate_file_path(errors: &mut Errors, at: &Path, item: &Value) {
    let file = text(&item["path"]);
    if file.is_empty() {
        errors.push(FieldError::required(&at.child("path"), ""));
        return;
    }
    check::local_descending_path(errors, &at.child("path"), file);
    // Files whose name begins so are the projection's own.
    if file.starts_with("..") && !file.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(&at.child("path"), file, "must not start with '..'"));
    }
}

fn validate_mode(errors: &mut Errors, path: &Path, mode: &Value) {
    if mode.as_i64().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        errors.push(FieldError::invalid(
            path,
            mode.clone(),
            "must be a number between 0 and 0777 (octal), both inclusive",
        ));
    }
}

fn validate_downward_items(errors: &mut Errors, path: &Path, list: &Value) {
    for (i, item) in items(list).iter().enumerate() {
        // Upstream leaves the index out of these paths; with it, the reader finds the line.
        let at = path.child("items").index(i);
        validate_file_path(errors, &at, item);
        validate_mode(errors, &at.child("mode"), &item["mode"]);
        let (field, resource) = (&item["fieldRef"], &item["resourceFieldRef"]);
        match (is_empty(field), is_empty(resource)) {
            (true, true) => {
                errors.push(FieldError::required(&at, "one of fieldRef and resourceFieldRef is required"));
            }
            (false, false) => errors.push(FieldError::invalid(
                &at,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            )),
            (false, true) => {
                env::validate_field_ref(errors, &at.child("fieldRef"), field, Place::Volume);
            }
            (true, false) => env::validate_resource_field_ref(
                errors,
                &at.child("resourceFieldRef"),
                resource,
                Place::Volume,
            ),
        }
    }
}

fn validate_projected(errors: &mut Errors, path: &Path, source: &Value) {
    validate_mode(errors, &path.child("defaultMode"), &source["defaultMode"]);
    for (i, part) in items(&source["sources"]).iter().enumerate() {
        let at = path.child("sources").index(i);
        let mut kinds = entries(part).filter(|(_, value)| !value.is_null());
        let Some((kind, value)) = kinds.next() else {
            errors.push(FieldError::required(&at, "must specify a volume type"));
            continue;
        };
        for (more, _) in kinds {
            errors.push(FieldError::forbidden(&at.child(more), "may not specify more than 1 volume type"));
        }
        let at = at.child(kind);
        match kind.as_str() {
            "secret" | "configMap" => {
                check::required(errors, &at.child("name"), &value["name"]);
                validate_files(errors, &at, value);
            }
            "downwardAPI" => validate_downward_items(errors, &at, &value["items"]),
            "serviceAccountToken" => check::required(errors, &at.child("path"), &value["path"]),
            _ => {}
        }
    }
}
