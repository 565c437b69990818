//! What a set's claims ask for may grow: `spec.volumeClaimTemplates[].spec.resources.requests.storage`. Upstream
//! forbids every change there (kubernetes 68737, KEP-4650).

use std::cmp::Ordering;

use apimachinery::field::{FieldError, Path};
use serde_json::{Value, json};

use crate::kinds::persistent_volume_claim::{compare, request};
use crate::value::{items, text};

/// Refuses templates that ask for less than before.
pub(super) fn validate(new: &Value, old: &Value) -> Vec<FieldError> {
    let path = Path::new("spec").child("volumeClaimTemplates");
    let pairs = templates(&new["spec"]).iter().zip(templates(&old["spec"])).enumerate();
    let shrinks = pairs.filter(|(_, (after, before))| {
        same_name(after, before) && compare(request(after), request(before)) == Some(Ordering::Less)
    });
    shrinks
        .map(|(i, (after, before))| {
            let at = path.index(i).child("spec").child("resources").child("requests").child("storage");
            let words = format!("volumes do not shrink: ask for {} or more", text(request(before)));
            FieldError::invalid(&at, request(after).clone(), words)
        })
        .collect()
}

/// Puts the sizes of `old` into the templates of `spec`, so that what else has changed can be seen.
pub(super) fn take_sizes(spec: &mut Value, old: &Value) {
    let before = templates(&old["spec"]);
    let Some(after) = spec.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut) else { return };
    for (after, before) in after.iter_mut().zip(before) {
        if same_name(after, before) && !request(after).is_null() && !request(before).is_null() {
            after["spec"]["resources"]["requests"]["storage"] = json!(request(before));
        }
    }
}

fn templates(spec: &Value) -> &[Value] {
    items(&spec["volumeClaimTemplates"])
}

fn same_name(a: &Value, b: &Value) -> bool {
    a["metadata"]["name"] == b["metadata"]["name"]
}

#[cfg(test)]
mod tests {
    use crate::kind::Strategy;
    use crate::kinds::stateful_set::Rules;

    use super::*;

    fn set(storage: &[&str]) -> Value {
        let template = |(i, storage): (usize, &&str)| {
            json!({"metadata": {"name": format!("data{i}")},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}})
        };
        let templates: Vec<Value> = storage.iter().enumerate().map(template).collect();
        json!({"metadata": {"name": "db"}, "spec": {"volumeClaimTemplates": templates}})
    }

    fn refusals(new: &Value, old: &Value) -> Vec<String> {
        Rules.validate_update(new, old).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_claims_ask_for_may_grow_and_nothing_else_may_change() {
        assert_eq!(refusals(&set(&["2Gi", "1Gi"]), &set(&["1Gi", "1024Mi"])), [""; 0]);
        assert_eq!(
            refusals(&set(&["2Gi", "512Mi"]), &set(&["1Gi", "1Gi"])),
            [
                "spec.volumeClaimTemplates[1].spec.resources.requests.storage: Invalid value: \"512Mi\": volumes do \
              not shrink: ask for 1Gi or more"
            ]
        );
        for other in [set(&["2Gi"]), set(&["1Gi", "1Gi", "1Gi"])] {
            assert!(refusals(&other, &set(&["1Gi", "1Gi"]))[0].starts_with("spec: Forbidden: updates to"));
        }
        let mut renamed = set(&["1Gi"]);
        renamed["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"] = json!(["ReadWriteMany"]);
        assert!(refusals(&renamed, &set(&["1Gi"]))[0].starts_with("spec: Forbidden: updates to"));
    }
}
