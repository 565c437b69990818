//! How objects that exist from the first start on are brought up to date at each start (upstream:
//! `pkg/registry/rbac/reconciliation`): what is missing is added, and what somebody added stays.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::{Rule, uncovered};
use crate::value::{entries, items, object};

/// The annotation that says whether an object is kept up to date; anything but `true` says no.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// `existing` with what it lacks of `expected`; `None` when it lacks nothing or is not to be touched.
pub fn reconcile(expected: &Value, existing: &Value) -> Option<Value> {
    if existing.annotation(AUTOUPDATE) != Some("true") {
        return None;
    }
    let mut new = existing.clone();
    for map in ["labels", "annotations"] {
        for (key, value) in entries(&expected["metadata"][map]) {
            if existing["metadata"][map].get(key).is_none()
                && let Some(map) = object(&mut new["metadata"], map)
            {
                map.insert(key.clone(), value.clone());
            }
        }
    }
    if expected["aggregationRule"].is_object() {
        // The rules are the aggregation's business.
        if existing["aggregationRule"].is_null() {
            new["aggregationRule"] = expected["aggregationRule"].clone();
        }
    } else {
        let missing = uncovered(&Rule::all_of(existing), &Rule::all_of(expected));
        append(&mut new, "rules", missing.iter().map(Rule::to_value).collect());
    }
    let subjects = items(&expected["subjects"]).iter();
    let there = items(&existing["subjects"]);
    append(&mut new, "subjects", subjects.filter(|subject| !there.contains(subject)).cloned().collect());
    (new != *existing).then_some(new)
}

fn append(to: &mut Value, field: &str, more: Vec<Value>) {
    if more.is_empty() {
        return;
    }
    let mut all = items(&to[field]).to_vec();
    all.extend(more);
    to[field] = all.into();
}
