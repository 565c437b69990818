//! Where a pod may run: tolerations, affinity, spreading.

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::value::{is_empty, items, number, text};

/// The effects of taints.
pub(crate) const TAINT_EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// `tolerations` (`ValidateTolerations`).
pub(super) fn validate_tolerations(errors: &mut Errors, path: &Path, list: &Value) {
    for (i, toleration) in items(list).iter().enumerate() {
        let at = path.index(i);
        let (key, value) = (text(&toleration["key"]), text(&toleration["value"]));
        let operator = text(&toleration["operator"]);
        if !key.is_empty() {
            check::name(errors, &at.child("key"), key, names::qualified_name);
        } else if operator != "Exists" {
            errors.push(FieldError::invalid(
                &at.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
        if !toleration["tolerationSeconds"].is_null() && toleration["effect"] != "NoExecute" {
            errors.push(FieldError::invalid(
                &at.child("effect"),
                text(&toleration["effect"]),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            ));
        }
        match operator {
            "" | "Equal" => check::name(errors, &at.child("operator"), value, names::label_value),
            "Exists" if !value.is_empty() => errors.push(FieldError::invalid(
                &at.child("operator"),
                value,
                "value must be empty when `operator` is 'Exists'",
            )),
            "Exists" => {}
            other => {
                errors.push(FieldError::not_supported(&at.child("operator"), other, &["Equal", "Exists"]));
            }
        }
        check::one_of_if_set(errors, &at.child("effect"), &toleration["effect"], TAINT_EFFECTS);
    }
}

/// `affinity` (`validateAffinity`).
pub(super) fn validate_affinity(errors: &mut Errors, path: &Path, affinity: &Value) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let node = &affinity["nodeAffinity"];
    let at = path.child("nodeAffinity");
    if !node[REQUIRED].is_null() {
        validate_node_selector(errors, &at.child(REQUIRED), &node[REQUIRED]);
    }
    for (i, term) in items(&node[PREFERRED]).iter().enumerate() {
        let at = at.child(PREFERRED).index(i);
        validate_weight(errors, &at, term);
        validate_node_selector_term(errors, &at.child("preference"), &term["preference"]);
    }
    for which in ["podAffinity", "podAntiAffinity"] {
        let (at, pods) = (path.child(which), &affinity[which]);
        for (i, term) in items(&pods[REQUIRED]).iter().enumerate() {
            validate_pod_affinity_term(errors, &at.child(REQUIRED).index(i), term);
        }
        for (i, term) in items(&pods[PREFERRED]).iter().enumerate() {
            let at = at.child(PREFERRED).index(i);
            validate_weight(errors, &at, term);
            validate_pod_affinity_term(errors, &at.child("podAffinityTerm"), &term["podAffinityTerm"]);
        }
    }
}

fn validate_weight(errors: &mut Errors, at: &Path, term: &Value) {
    let weight = number(&term["weight"]);
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(&at.child("weight"), weight, "must be in the range 1-100"));
    }
}

fn validate_pod_affinity_term(errors: &mut Errors, path: &Path, term: &Value) {
    check::label_selector(errors, &path.child("labelSelector"), &term["labelSelector"]);
    check::label_selector(errors, &path.child("namespaceSelector"), &term["namespaceSelector"]);
    let at = path.child("topologyKey");
    if is_empty(&term["topologyKey"]) {
        errors.push(FieldError::required(&at, "can not be empty"));
    } else {
        check::name(errors, &at, text(&term["topologyKey"]), names::qualified_name);
    }
}

/// A `core/v1.NodeSelector`, of a pod's affinity or of a volume's (`ValidateNodeSelector`).
pub(crate) fn validate_node_selector(errors: &mut Errors, path: &Path, selector: &Value) {
    let path = path.child("nodeSelectorTerms");
    let terms = items(&selector["nodeSelectorTerms"]);
    if terms.is_empty() {
        errors.push(FieldError::required(&path, "must have at least one node selector term"));
    }
    for (i, term) in terms.iter().enumerate() {
        validate_node_selector_term(errors, &path.index(i), term);
    }
}

fn validate_node_selector_term(errors: &mut Errors, path: &Path, term: &Value) {
    for (i, requirement) in items(&term["matchExpressions"]).iter().enumerate() {
        let at = path.child("matchExpressions").index(i);
        validate_node_requirement(errors, &at, requirement);
    }
    for (i, requirement) in items(&term["matchFields"]).iter().enumerate() {
        let at = path.child("matchFields").index(i);
        match text(&requirement["operator"]) {
            "In" | "NotIn" if items(&requirement["values"]).len() != 1 => {
                errors.push(FieldError::required(
                    &at.child("values"),
                    "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                ));
            }
            "In" | "NotIn" => {}
            other => errors.push(not_an_operator(&at, other)),
        }
        if requirement["key"] != "metadata.name" {
            let key = text(&requirement["key"]);
            errors.push(FieldError::invalid(&at.child("key"), key, "not a valid field selector key"));
        }
    }
}

fn validate_node_requirement(errors: &mut Errors, path: &Path, requirement: &Value) {
    let values = items(&requirement["values"]);
    let at = path.child("values");
    match text(&requirement["operator"]) {
        "In" | "NotIn" => {
            if values.is_empty() {
                let words = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(&at, words));
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let words = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(&at, words));
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                let words = "must be specified single value when `operator` is 'Lt' or 'Gt'";
                errors.push(FieldError::required(&at, words));
            }
        }
        other => errors.push(not_an_operator(path, other)),
    }
    check::name(errors, &path.child("key"), text(&requirement["key"]), names::qualified_name);
    for (i, value) in values.iter().enumerate() {
        check::name(errors, &at.index(i), text(value), names::label_value);
    }
}

fn not_an_operator(at: &Path, operator: &str) -> FieldError {
    FieldError::invalid(&at.child("operator"), operator, "not a valid selector operator")
}

/// `topologySpreadConstraints`.
pub(super) fn validate_topology_spread(errors: &mut Errors, path: &Path, list: &Value) {
    for (i, constraint) in items(list).iter().enumerate() {
        let at = path.index(i);
        let skew = number(&constraint["maxSkew"]);
        if skew <= 0 {
            errors.push(FieldError::invalid(&at.child("maxSkew"), skew, "must be greater than zero"));
        }
        let key = &constraint["topologyKey"];
        if is_empty(key) {
            errors.push(FieldError::required(&at.child("topologyKey"), "can not be empty"));
        } else {
            check::name(errors, &at.child("topologyKey"), text(key), names::qualified_name);
        }
        let action = &constraint["whenUnsatisfiable"];
        if !matches!(text(action), "DoNotSchedule" | "ScheduleAnyway") {
            errors.push(FieldError::not_supported(
                &at.child("whenUnsatisfiable"),
                text(action),
                &["DoNotSchedule", "ScheduleAnyway"],
            ));
        }
        check::label_selector(errors, &at.child("labelSelector"), &constraint["labelSelector"]);
    }
}
