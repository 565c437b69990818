//! The way from client-side to server-side apply: what kubectl applied on the client's side, as its annotation says,
//! is no conflict for kubectl itself (upstream: `managedfields/internal/lastapplied{manager,updater}.go`).

use serde_json::Value;

use super::compare::compare;
use super::own::{Duplicates, fields_of};
use super::place::Place;
use super::set::Set;
use crate::meta::ObjectExt;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The only manager that the annotation speaks for; who calls itself otherwise has chosen not to be.
const KUBECTL: &str = "kubectl";

/// The fields that the annotation sets and that still have its values: the manager may take them from others.
pub(super) fn may_take(live: &Value, manager: &str, place: Place) -> Set {
    let config: Option<Value> = live
        .annotation(LAST_APPLIED)
        .filter(|_| manager == KUBECTL)
        .and_then(|text| serde_json::from_str(text).ok());
    let Some(config) = config else { return Set::default() };
    let Ok(fields) = fields_of(&config, place, Duplicates::OwnedAsOne) else { return Set::default() };
    let drifted = compare(&config, live, place);
    fields.difference(&drifted.changed).difference(&drifted.removed)
}

/// Keeps the annotation, where there is one, at what is applied, for who goes back to client-side apply.
pub(super) fn renew(object: &mut Value, config: &Value, manager: &str) {
    if manager != KUBECTL || object.annotation(LAST_APPLIED).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(Value::Object(annotations)) = config.meta_mut().get_mut("annotations") {
        annotations.remove(LAST_APPLIED);
    }
    let text = format!("{config}\n");
    if let Some(Value::Object(annotations)) = object.meta_mut().get_mut("annotations") {
        annotations.insert(LAST_APPLIED.to_owned(), text.into());
    }
}
