//! The quality-of-service class (`pkg/apis/core/v1/helper/qos`).

use serde_json::Value;

use super::resources::quantity_sign;
use crate::value::{entries, items};

/// `Guaranteed` when every container limits cpu and memory and requests as much, `BestEffort` when none
/// asks for either, else `Burstable`. Reads a spec with its defaults filled in.
pub(crate) fn qos_class(spec: &Value) -> &'static str {
    let containers = || items(&spec["containers"]).iter().chain(items(&spec["initContainers"]));
    let asks = |list: &Value| entries(list).any(|(name, value)| counts(name, value));
    if !containers().any(|c| asks(&c["resources"]["requests"]) || asks(&c["resources"]["limits"])) {
        return "BestEffort";
    }
    let guaranteed = containers().all(|container| {
        let resources = &container["resources"];
        ["cpu", "memory"].iter().all(|name| {
            let limit = &resources["limits"][name];
            let request = &resources["requests"][name];
            counts(name, limit) && (request.is_null() || super::resources::equal(request, limit))
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}

/// Whether the entry is a positive amount of cpu or memory: nothing else counts.
fn counts(name: &str, value: &Value) -> bool {
    matches!(name, "cpu" | "memory") && quantity_sign(value).is_some_and(|sign| sign > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn class_follows_requests_and_limits() {
        let check = |resources: Value, expect: &str| {
            let spec = json!({"containers": [{"resources": resources}]});
            assert_eq!(qos_class(&spec), expect, "{resources}");
        };
        check(json!({}), "BestEffort");
        check(json!({"requests": {"ephemeral-storage": "1Gi"}}), "BestEffort");
        check(json!({"requests": {"cpu": "0"}}), "BestEffort");
        check(json!({"requests": {"cpu": "100m"}}), "Burstable");
        check(json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed");
        check(
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1Gi"}}),
            "Guaranteed",
        );
        check(
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}),
            "Burstable",
        );
    }
}
