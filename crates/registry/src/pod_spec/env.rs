//! Environment variables, and the fields that they and downward API volumes may refer to.

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::value::{is_empty, items, text};

/// Where a field of the pod is referred to from: not all fields can be had everywhere.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A variable of a container.
    Variable,
    /// A file of a downward API volume.
    Volume,
}

const VARIABLE_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const VOLUME_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// `env` of a container.
pub(super) fn validate_env(errors: &mut Errors, path: &Path, list: &Value) {
    for (i, variable) in items(list).iter().enumerate() {
        let at = path.index(i);
        check::required_name(errors, &at.child("name"), text(&variable["name"]), names::env_var_name);
        let from = &variable["valueFrom"];
        if !from.is_null() {
            validate_value_from(errors, &at.child("valueFrom"), from, text(&variable["value"]));
        }
    }
}

fn validate_value_from(errors: &mut Errors, path: &Path, from: &Value, value: &str) {
    let given = |source: &str| !from[source].is_null();
    let mut sources = 0;
    if given("fieldRef") {
        sources += 1;
        validate_field_ref(errors, &path.child("fieldRef"), &from["fieldRef"], Place::Variable);
    }
    if given("resourceFieldRef") {
        sources += 1;
        let at = path.child("resourceFieldRef");
        validate_resource_field_ref(errors, &at, &from["resourceFieldRef"], Place::Variable);
    }
    for source in ["configMapKeyRef", "secretKeyRef"] {
        if given(source) {
            sources += 1;
            let (at, reference) = (path.child(source), &from[source]);
            check::name(errors, &at.child("name"), text(&reference["name"]), names::dns1123_subdomain);
            check::required_name(errors, &at.child("key"), text(&reference["key"]), names::config_map_key);
        }
    }
    // fileKeyRef is accepted by upstream behind a gate; stead does not act on it.
    if given("fileKeyRef") {
        sources += 1;
    }
    if sources == 0 {
        errors.push(FieldError::invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        ));
    } else if !value.is_empty() {
        errors.push(FieldError::invalid(path, "", "may not be specified when `value` is not empty"));
    } else if sources > 1 {
        errors.push(FieldError::invalid(path, "", "may not have more than one field specified at a time"));
    }
}

/// `fieldRef` (`validateObjectFieldSelector`).
pub(super) fn validate_field_ref(errors: &mut Errors, path: &Path, reference: &Value, place: Place) {
    let field = text(&reference["fieldPath"]);
    let at = path.child("fieldPath");
    if field.is_empty() {
        errors.push(FieldError::required(&at, ""));
        return;
    }
    if let Some((base, key)) = field.strip_suffix("']").and_then(|f| f.split_once("['")) {
        match base {
            "metadata.annotations" => {
                check::name(errors, path, &key.to_lowercase(), names::qualified_name);
            }
            "metadata.labels" => check::name(errors, path, key, names::qualified_name),
            _ => errors.push(FieldError::invalid(path, base, "does not support subscript")),
        }
        return;
    }
    let supported = if place == Place::Variable { VARIABLE_FIELDS } else { VOLUME_FIELDS };
    if supported.contains(&field) {
        return;
    }
    if VARIABLE_FIELDS.contains(&field) || VOLUME_FIELDS.contains(&field) {
        errors.push(FieldError::not_supported(&at, field, supported));
    } else {
        errors.push(FieldError::invalid(
            &at,
            field,
            format!("error converting fieldPath: field label not supported: {field}"),
        ));
    }
}

/// `resourceFieldRef` (`validateContainerResourceFieldSelector`).
pub(super) fn validate_resource_field_ref(errors: &mut Errors, path: &Path, reference: &Value, place: Place) {
    let resource = text(&reference["resource"]);
    if place == Place::Volume && is_empty(&reference["containerName"]) {
        errors.push(FieldError::required(&path.child("containerName"), ""));
    } else if resource.is_empty() {
        errors.push(FieldError::required(&path.child("resource"), ""));
    } else if !RESOURCES.contains(&resource)
        && !resource.starts_with("limits.hugepages-")
        && !resource.starts_with("requests.hugepages-")
    {
        errors.push(FieldError::not_supported(&path.child("resource"), resource, RESOURCES));
    }
    validate_divisor(errors, &path.child("divisor"), resource, text(&reference["divisor"]));
}

fn validate_divisor(errors: &mut Errors, path: &Path, resource: &str, divisor: &str) {
    const BYTES: &[&str] =
        &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    if matches!(divisor, "" | "0") {
        return;
    }
    let (allowed, what): (&[&str], &str) = match resource.split_once('.').map(|(_, rest)| rest) {
        Some("cpu") => (&["1m", "1"], "cpu"),
        Some("memory") => (BYTES, "memory"),
        Some("ephemeral-storage") => (BYTES, "local ephemeral storage"),
        _ => (BYTES, "hugepages"),
    };
    if allowed.contains(&divisor) {
        return;
    }
    let words = if what == "cpu" {
        "only divisor's values 1m and 1 are supported with the cpu resource".to_owned()
    } else {
        format!("only divisor's values {} are supported with the {what} resource", BYTES.join(", "))
    };
    errors.push(FieldError::invalid(path, resource, words));
}

/// `envFrom` of a container.
pub(super) fn validate_env_from(errors: &mut Errors, path: &Path, list: &Value) {
    for (i, source) in items(list).iter().enumerate() {
        let at = path.index(i);
        let prefix = text(&source["prefix"]);
        if !prefix.is_empty() {
            check::name(errors, &at.child("prefix"), prefix, names::env_var_name);
        }
        let mut sources = 0;
        for reference in ["configMapRef", "secretRef"] {
            if !source[reference].is_null() {
                sources += 1;
                let at = at.child(reference).child("name");
                let name = text(&source[reference]["name"]);
                check::required_name(errors, &at, name, names::dns1123_subdomain);
            }
        }
        match sources {
            0 => errors.push(FieldError::invalid(
                path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            1 => {}
            _ => errors.push(FieldError::invalid(
                path,
                "",
                "may not have more than one field specified at a time",
            )),
        }
    }
}
