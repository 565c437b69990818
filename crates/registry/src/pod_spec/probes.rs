//! Probes and lifecycle hooks (`validateProbe`, `validateHandler`, `validateLifecycle`).

use apimachinery::field::{FieldError, Path};
use serde_json::Value;

use crate::check::{self, Errors};
use crate::value::{is_empty, items, number, text};

/// The probes of a container.
pub(super) fn validate_probes(errors: &mut Errors, path: &Path, container: &Value) {
    for which in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = &container[which];
        if probe.is_null() {
            continue;
        }
        let at = path.child(which);
        validate_handler(errors, &at, probe, &["exec", "httpGet", "tcpSocket", "grpc"], None);
        for field in
            ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            check::nonnegative(errors, &at.child(field), &probe[field]);
        }
        let grace = &probe["terminationGracePeriodSeconds"];
        let at_grace = at.child("terminationGracePeriodSeconds");
        if grace.as_i64().is_some_and(|seconds| seconds <= 0) {
            errors.push(FieldError::invalid(&at_grace, grace.clone(), "must be greater than 0"));
        }
        if which == "readinessProbe" {
            if !grace.is_null() {
                errors.push(FieldError::invalid(
                    &at_grace,
                    grace.clone(),
                    "must not be set for readinessProbes",
                ));
            }
        } else if number(&probe["successThreshold"]) != 1 {
            errors.push(FieldError::invalid(
                &at.child("successThreshold"),
                probe["successThreshold"].clone(),
                "must be 1",
            ));
        }
    }
}

/// The hooks of a container; `grace_period` is the pod's, in seconds.
pub(super) fn validate_lifecycle(errors: &mut Errors, path: &Path, lifecycle: &Value, grace_period: i64) {
    for hook in ["postStart", "preStop"] {
        if !lifecycle[hook].is_null() {
            let kinds = &["exec", "httpGet", "tcpSocket", "sleep"];
            validate_handler(errors, &path.child(hook), &lifecycle[hook], kinds, Some(grace_period));
        }
    }
}

fn validate_handler(
    errors: &mut Errors,
    path: &Path,
    handler: &Value,
    kinds: &[&str],
    grace_period: Option<i64>,
) {
    let mut found = kinds.iter().filter(|kind| !handler[**kind].is_null());
    let Some(kind) = found.next() else {
        errors.push(FieldError::required(path, "must specify a handler type"));
        return;
    };
    for more in found {
        errors.push(FieldError::forbidden(&path.child(more), "may not specify more than 1 handler type"));
    }
    let (at, action) = (path.child(kind), &handler[*kind]);
    match *kind {
        "exec" => check::required(errors, &at.child("command"), &action["command"]),
        "httpGet" => validate_http_get(errors, &at, action),
        "sleep" => {
            let (seconds, grace) = (number(&action["seconds"]), grace_period.unwrap_or_default());
            if seconds < 0 || seconds > grace {
                errors.push(FieldError::invalid(
                    &at,
                    seconds,
                    format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"),
                ));
            }
        }
        _ => check::port_number_or_name(errors, &at.child("port"), &action["port"]),
    }
}

fn validate_http_get(errors: &mut Errors, path: &Path, action: &Value) {
    check::required(errors, &path.child("path"), &action["path"]);
    check::port_number_or_name(errors, &path.child("port"), &action["port"]);
    let scheme = &action["scheme"];
    if is_empty(scheme) || !["HTTP", "HTTPS"].contains(&text(scheme)) {
        errors.push(FieldError::not_supported(&path.child("scheme"), scheme.clone(), &["HTTP", "HTTPS"]));
    }
    for header in items(&action["httpHeaders"]) {
        check::name(errors, &path.child("httpHeaders"), text(&header["name"]), http_header_name);
    }
}

/// `IsHTTPHeaderName`.
fn http_header_name(value: &str) -> Result<(), String> {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Ok(());
    }
    Err("a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used \
         for validation is '[-A-Za-z0-9]+')"
        .to_owned())
}
