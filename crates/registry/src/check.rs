//! The checks that validation is made of: each adds to a list what it finds wrong, in upstream's words
//! (`k8s.io/apimachinery/pkg/util/validation`, `pkg/api/validation`).

use std::net::IpAddr;

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use serde_json::Value;

use crate::value::{entries, is_empty, items, same, text};

/// What was found wrong so far.
pub(crate) type Errors = Vec<FieldError>;

/// The text must obey the rule.
pub(crate) fn name(errors: &mut Errors, path: &Path, value: &str, rule: impl Fn(&str) -> Result<(), String>) {
    if let Err(why) = rule(value) {
        errors.push(FieldError::invalid(path, value, why));
    }
}

/// The text must be there and obey the rule.
pub(crate) fn required_name(
    errors: &mut Errors,
    path: &Path,
    value: &str,
    rule: impl Fn(&str) -> Result<(), String>,
) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        name(errors, path, value, rule);
    }
}

/// Something must be there.
pub(crate) fn required(errors: &mut Errors, path: &Path, value: &Value) {
    if is_empty(value) {
        errors.push(FieldError::required(path, ""));
    }
}

/// The text must be there and be one of an enumeration's.
pub(crate) fn one_of(errors: &mut Errors, path: &Path, value: &Value, supported: &[&str]) {
    if is_empty(value) {
        errors.push(FieldError::required(path, ""));
    } else {
        one_of_if_set(errors, path, value, supported);
    }
}

/// The text must be one of an enumeration's when it is there.
pub(crate) fn one_of_if_set(errors: &mut Errors, path: &Path, value: &Value, supported: &[&str]) {
    if !is_empty(value) && !supported.contains(&text(value)) {
        errors.push(FieldError::not_supported(path, value.clone(), supported));
    }
}

/// The number must not be negative; absent is fine.
pub(crate) fn nonnegative(errors: &mut Errors, path: &Path, value: &Value) {
    if value.as_i64().is_some_and(|n| n < 0) {
        errors.push(FieldError::invalid(path, value.clone(), "must be greater than or equal to 0"));
    }
}

/// The number must lie in the range, ends included; absent is fine.
pub(crate) fn in_range(errors: &mut Errors, path: &Path, value: &Value, low: i64, high: i64) {
    if value.as_i64().is_some_and(|n| n < low || n > high) {
        errors.push(FieldError::invalid(
            path,
            value.clone(),
            format!("must be between {low} and {high}, inclusive"),
        ));
    }
}

/// The number must be one of a port.
pub(crate) fn port_number(errors: &mut Errors, path: &Path, value: &Value) {
    if let Err(why) = names::port_number(value.as_i64().unwrap_or_default()) {
        errors.push(FieldError::invalid(path, shown_number(value), why));
    }
}

/// The value must be a port's number or name.
pub(crate) fn port_number_or_name(errors: &mut Errors, path: &Path, value: &Value) {
    match value.as_str() {
        Some(word) => name(errors, path, word, names::port_name),
        None => port_number(errors, path, value),
    }
}

/// Absent numbers are shown as 0, as upstream's zero values are.
fn shown_number(value: &Value) -> Value {
    if value.is_null() { 0.into() } else { value.clone() }
}

/// The keys and values must be those of labels.
pub(crate) fn labels(errors: &mut Errors, path: &Path, map: &Value) {
    for (key, value) in entries(map) {
        name(errors, path, key, names::qualified_name);
        name(errors, path, text(value), names::label_value);
    }
}

/// A `meta/v1.LabelSelector`: operators, keys and values.
pub(crate) fn label_selector(errors: &mut Errors, path: &Path, selector: &Value) {
    labels(errors, &path.child("matchLabels"), &selector["matchLabels"]);
    for (i, term) in items(&selector["matchExpressions"]).iter().enumerate() {
        let path = path.child("matchExpressions").index(i);
        let values = items(&term["values"]);
        match text(&term["operator"]) {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                &path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                &path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                &path.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
        name(errors, &path.child("key"), text(&term["key"]), names::qualified_name);
        for (j, value) in values.iter().enumerate() {
            name(errors, &path.child("values").index(j), text(value), names::label_value);
        }
    }
}

/// The text must be an IP address.
pub(crate) fn ip(errors: &mut Errors, path: &Path, value: &str) {
    if value.parse::<IpAddr>().is_err() {
        errors.push(FieldError::invalid(
            path,
            value,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ));
    }
}

/// The value must not change.
pub(crate) fn immutable(errors: &mut Errors, path: &Path, new: &Value, old: &Value) {
    if !same(new, old) {
        errors.push(FieldError::invalid(path, new.clone(), "field is immutable"));
    }
}

/// A path inside something else: relative, without `..`.
pub(crate) fn local_descending_path(errors: &mut Errors, path: &Path, value: &str) {
    if value.starts_with('/') {
        errors.push(FieldError::invalid(path, value, "must be a relative path"));
    }
    no_backsteps(errors, path, value);
}

/// A path without `..`.
pub(crate) fn no_backsteps(errors: &mut Errors, path: &Path, value: &str) {
    if value.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(path, value, "must not contain '..'"));
    }
}

/// A number of things, or a share of them from 0 to 100 per cent; absent is fine
/// (`ValidatePositiveIntOrPercent`, `IsNotMoreThan100Percent`).
pub(crate) fn int_or_percent(errors: &mut Errors, path: &Path, value: &Value) {
    let Some(share) = value.as_str() else { return nonnegative(errors, path, value) };
    let digits = share.strip_suffix('%').filter(|d| !d.is_empty() && d.bytes().all(|b| b.is_ascii_digit()));
    let words = match digits.map(str::parse::<u32>) {
        None => {
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', \
             regex used for validation is '[0-9]+%')"
        }
        Some(Ok(0..=100)) => return,
        Some(_) => "must not be greater than 100%",
    };
    errors.push(FieldError::invalid(path, share, words));
}

/// The longest `reason` and `message` of a condition, in bytes.
const MAX_REASON: usize = 1024;
const MAX_MESSAGE: usize = 32 * 1024;

/// A list of `meta/v1.Condition`, each type once (`ValidateConditions`).
pub(crate) fn conditions(errors: &mut Errors, path: &Path, conditions: &Value) {
    for (i, condition) in items(conditions).iter().enumerate() {
        let (at, kind) = (path.index(i), &condition["type"]);
        if items(conditions)[..i].iter().any(|before| before["type"] == *kind) {
            errors.push(FieldError::duplicate(&at.child("type"), kind.clone()));
        }
        name(errors, &at.child("type"), text(kind), names::qualified_name);
        let status = &condition["status"];
        if !matches!(text(status), "True" | "False" | "Unknown") {
            let supported = &["False", "True", "Unknown"];
            errors.push(FieldError::not_supported(&at.child("status"), text(status), supported));
        }
        let observed = &condition["observedGeneration"];
        if observed.as_i64().is_some_and(|n| n < 0) {
            let words = "must be greater than or equal to zero";
            errors.push(FieldError::invalid(&at.child("observedGeneration"), observed.clone(), words));
        }
        if is_empty(&condition["lastTransitionTime"]) {
            errors.push(FieldError::required(&at.child("lastTransitionTime"), "must be set"));
        }
        condition_reason(errors, &at.child("reason"), text(&condition["reason"]));
        if text(&condition["message"]).len() > MAX_MESSAGE {
            errors.push(FieldError::too_long(&at.child("message"), MAX_MESSAGE));
        }
    }
}

fn condition_reason(errors: &mut Errors, path: &Path, reason: &str) {
    if reason.is_empty() {
        errors.push(FieldError::required(path, "must be set"));
        return;
    }
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b',' | b':');
    let begins = reason.starts_with(|c: char| c.is_ascii_alphabetic());
    let ends = reason.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if !begins || !ends || !reason.bytes().all(inner) {
        let words = "a condition reason must start with alphabetic character, optionally followed by a string of \
            alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or \
            'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is \
            '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')";
        errors.push(FieldError::invalid(path, reason, words));
    }
    if reason.len() > MAX_REASON {
        errors.push(FieldError::too_long(path, MAX_REASON));
    }
}
