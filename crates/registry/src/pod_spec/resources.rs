//! Amounts of resources: their canonical form and the rules for requests and limits.

use std::cmp::Ordering;

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use apimachinery::quantity::Quantity;
use serde_json::{Map, Value};

use crate::check::{self, Errors};
use crate::value::entries;

/// Writes every amount of the list under `key` in its canonical form, as upstream's decoding does
/// (`0.5` becomes `500m`). Text that is no amount is left for validation to refuse.
pub(crate) fn canonical_quantities(map: &mut Map<String, Value>, key: &str) {
    let Some(Value::Object(list)) = map.get_mut(key) else { return };
    for value in list.values_mut() {
        if let Ok(quantity) = Quantity::from_value(value) {
            *value = quantity.to_string().into();
        }
    }
}

/// 1, 0 or -1; `None` for what is no amount.
pub(super) fn quantity_sign(value: &Value) -> Option<i32> {
    let quantity = Quantity::from_value(value).ok()?;
    Some(if quantity.is_zero() {
        0
    } else if quantity.is_negative() {
        -1
    } else {
        1
    })
}

/// Whether the value is an amount of nothing.
pub(crate) fn is_zero_quantity(value: &Value) -> bool {
    quantity_sign(value) == Some(0)
}

/// Whether two amounts are the same, however they are written.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    compare(a, b) == Some(Ordering::Equal)
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    Some(Quantity::from_value(a).ok()?.cmp(&Quantity::from_value(b).ok()?))
}

/// The value must be an amount, and not a negative one.
pub(crate) fn validate_quantity(errors: &mut Errors, path: &Path, value: &Value) {
    match quantity_sign(value) {
        None => errors.push(FieldError::invalid(
            path,
            value.clone(),
            "must be a quantity: a number, or one with a suffix (e.g. 500m, 1.5Gi)",
        )),
        Some(-1) => {
            errors.push(FieldError::invalid(path, value.clone(), "must be greater than or equal to 0"));
        }
        Some(_) => {}
    }
}

/// `resources` of a container (`ValidateContainerResourceRequirements`).
pub(super) fn validate_container_resources(errors: &mut Errors, path: &Path, resources: &Value) {
    let (limits, requests) = (&resources["limits"], &resources["requests"]);
    for (list, map) in [("limits", limits), ("requests", requests)] {
        for (resource, value) in entries(map) {
            let at = path.child(list).key(resource);
            validate_resource_name(errors, &at, resource);
            validate_quantity(errors, &at, value);
        }
    }
    for (resource, request) in entries(requests) {
        let limit = &limits[resource.as_str()];
        let at = path.child("requests");
        if limit.is_null() {
            if !overcommits(resource) {
                errors.push(FieldError::required(
                    &path.child("limits"),
                    "Limit must be set for non overcommitable resources",
                ));
            }
            continue;
        }
        let words = match compare(request, limit) {
            Some(Ordering::Greater) if overcommits(resource) => "must be less than or equal to",
            Some(Ordering::Greater | Ordering::Less) if !overcommits(resource) => "must be equal to",
            _ => continue,
        };
        let shown = limit.as_str().map_or_else(|| limit.to_string(), str::to_owned);
        errors.push(FieldError::invalid(
            &at,
            request.clone(),
            format!("{words} {resource} limit of {shown}"),
        ));
    }
}

/// Whether more of a resource may be promised than there is: what Kubernetes itself knows, but huge pages.
fn overcommits(resource: &str) -> bool {
    let native = !resource.contains('/') || resource.starts_with("kubernetes.io/");
    native && !resource.starts_with("hugepages-")
}

fn validate_resource_name(errors: &mut Errors, path: &Path, resource: &str) {
    if let Err(why) = names::qualified_name(resource) {
        errors.push(FieldError::invalid(path, resource, why));
        return;
    }
    let standard =
        matches!(resource, "cpu" | "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
    if !resource.contains('/') && !standard {
        errors.push(FieldError::invalid(
            path,
            resource,
            "must be a standard resource type or fully qualified",
        ));
        errors.push(FieldError::invalid(path, resource, "must be a standard resource for containers"));
    } else if resource.starts_with("requests.") {
        errors.push(FieldError::invalid(path, resource, "doesn't follow extended resource name standard"));
    }
}

/// `resources` of a whole pod: only their form; stead does not act on them.
pub(super) fn validate_pod_resources(errors: &mut Errors, path: &Path, resources: &Value) {
    for list in ["limits", "requests"] {
        for (resource, value) in entries(&resources[list]) {
            let at = path.child(list).key(resource);
            check::one_of(errors, &at, &resource.as_str().into(), &["cpu", "memory"]);
            validate_quantity(errors, &at, value);
        }
    }
}
