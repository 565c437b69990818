//! `events.k8s.io/v1` Event: core's Event by other words.

use super::{Version, rename};
use crate::kind::Kind;
use crate::kinds::event;

/// The table's line.
pub(super) static VERSION: Version = Version {
    served: Kind { group: "events.k8s.io", ..event::KIND },
    stored: &event::KIND,
    field_labels: &[
        ("reason", "reason"),
        ("regarding.kind", "involvedObject.kind"),
        ("regarding.namespace", "involvedObject.namespace"),
        ("regarding.name", "involvedObject.name"),
        ("regarding.uid", "involvedObject.uid"),
        ("regarding.apiVersion", "involvedObject.apiVersion"),
        ("regarding.resourceVersion", "involvedObject.resourceVersion"),
        ("regarding.fieldPath", "involvedObject.fieldPath"),
        ("reportingController", "reportingComponent"),
        ("type", "type"),
    ],
    to_stored: |event| NAMES.iter().for_each(|(new, old)| rename(event, new, old)),
    from_stored: |event| NAMES.iter().for_each(|(new, old)| rename(event, old, new)),
    check_new: event::check_new,
    check_change: event::check_change,
};

/// What both call differently: here, and in core (upstream: `pkg/apis/core/v1` and `pkg/apis/events/v1`,
/// conversion.go).
const NAMES: [(&str, &str); 7] = [
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_event_says_the_same_in_both_versions() {
        let core = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "message": "said",
            "involvedObject": {"kind": "Pod"}, "count": 2, "reportingComponent": "kubelet", "reason": "Tested"});
        let mut event = core.clone();
        VERSION.from_stored(&mut event);
        let expected = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"},
            "note": "said", "regarding": {"kind": "Pod"}, "deprecatedCount": 2, "reportingController": "kubelet",
            "reason": "Tested"});
        assert_eq!(event, expected);
        VERSION.to_stored(&mut event);
        assert_eq!(event, core);
        let odd: Value = json!([1]);
        let mut same = odd.clone();
        VERSION.to_stored(&mut same);
        assert_eq!(same, odd);
    }
}
