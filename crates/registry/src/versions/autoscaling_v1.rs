//! `autoscaling/v1` HorizontalPodAutoscaler: one target for the CPU, and what it cannot say in annotations
//! (upstream: `pkg/apis/autoscaling/v1/conversion.go`).

use serde_json::{Map, Value, json};

use super::Version;
use crate::kind::Kind;
use crate::kinds::stored::autoscaler::HORIZONTAL_POD_AUTOSCALER as STORED;
use crate::value::{is_empty, object_in};

/// The table's line.
pub(super) static VERSION: Version = Version {
    served: Kind { version: "v1", ..STORED },
    stored: &STORED,
    field_labels: &[],
    to_stored,
    from_stored,
    check_new: |_| Vec::new(),
    check_change: |_, _| Vec::new(),
};

/// The field in v2, and the annotation that holds what v1 has no word for.
const KEPT: [(&str, &str, &str); 4] = [
    ("spec", "metrics", "autoscaling.alpha.kubernetes.io/metrics"),
    ("spec", "behavior", "autoscaling.alpha.kubernetes.io/behavior"),
    ("status", "currentMetrics", "autoscaling.alpha.kubernetes.io/current-metrics"),
    ("status", "conditions", "autoscaling.alpha.kubernetes.io/conditions"),
];

/// The list in v2 that the CPU's number stands in, and its field in v1.
const CPU: [(&str, &str, &str, &str); 2] = [
    ("spec", "metrics", "target", "targetCPUUtilizationPercentage"),
    ("status", "currentMetrics", "current", "currentCPUUtilizationPercentage"),
];

fn from_stored(autoscaler: &mut Map<String, Value>) {
    for (part, list, word, field) in CPU {
        let Some(part) = autoscaler.get_mut(part).and_then(Value::as_object_mut) else { continue };
        let Some(metrics) = part.get_mut(list).and_then(Value::as_array_mut) else { continue };
        let Some(at) = metrics.iter().position(|metric| is_cpu(metric, word)) else { continue };
        let percent = metrics.remove(at)["resource"][word]["averageUtilization"].take();
        part.insert(field.to_owned(), percent);
    }
    for (part, field, annotation) in KEPT {
        let part = autoscaler.get_mut(part).and_then(Value::as_object_mut);
        let Some(value) = part.and_then(|part| part.remove(field)).filter(|value| !is_empty(value)) else {
            continue;
        };
        let metadata = object_in(autoscaler, "metadata");
        if let Some(annotations) = metadata.and_then(|metadata| object_in(metadata, "annotations")) {
            annotations.insert(annotation.to_owned(), value.to_string().into());
        }
    }
}

fn to_stored(autoscaler: &mut Map<String, Value>) {
    for (part, field, annotation) in KEPT {
        let annotations = autoscaler.get_mut("metadata").and_then(|m| m.get_mut("annotations"));
        let Some(annotations) = annotations.and_then(Value::as_object_mut) else { continue };
        let Some(text) = annotations.remove(annotation) else { continue };
        // As upstream: what cannot be read is dropped.
        let Ok(value) = serde_json::from_str(text.as_str().unwrap_or_default()) else { continue };
        if let Some(part) = object_in(autoscaler, part) {
            part.insert(field.to_owned(), value);
        }
    }
    for (part, list, word, field) in CPU {
        let Some(part) = autoscaler.get_mut(part).and_then(Value::as_object_mut) else { continue };
        let Some(percent) = part.remove(field).filter(|percent| !percent.is_null()) else { continue };
        let mut numbers = json!({"averageUtilization": percent});
        if word == "target" {
            numbers["type"] = "Utilization".into();
        }
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", word: numbers}});
        if let Some(metrics) = crate::value::list_in(part, list) {
            metrics.push(metric);
        }
    }
    let metadata = autoscaler.get_mut("metadata").and_then(Value::as_object_mut);
    if let Some(metadata) = metadata.filter(|metadata| metadata.get("annotations").is_some_and(is_empty)) {
        metadata.remove("annotations");
    }
}

fn is_cpu(metric: &Value, word: &str) -> bool {
    let resource = &metric["resource"];
    metric["type"] == "Resource"
        && resource["name"] == "cpu"
        && !resource[word]["averageUtilization"].is_null()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_cpu_has_a_field_and_the_rest_stands_in_annotations() {
        let memory = json!({"type": "Resource", "resource": {"name": "memory",
            "target": {"type": "AverageValue", "averageValue": "1Gi"}}});
        let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 70}}});
        let v2 = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "metrics": [memory, cpu], "behavior": {"scaleDown": {"policies": []}}}});
        let mut v1 = v2.clone();
        VERSION.from_stored(&mut v1);
        assert_eq!(
            (&v1["apiVersion"], &v1["spec"]),
            (&json!("autoscaling/v1"), &json!({"maxReplicas": 3, "targetCPUUtilizationPercentage": 70}))
        );
        let annotation = v1["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].as_str();
        assert_eq!(annotation, Some(&*json!([memory]).to_string()));
        VERSION.to_stored(&mut v1);
        assert_eq!(v1, v2);
    }
}
