//! The downward API: what a pod may learn about itself (`pkg/fieldpath`, `pkg/api/v1/resource`). Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use apimachinery::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};

use crate::env::Surroundings;

/// The value of a field path such as `metadata.name` or `metadata.labels['app']`; `None` for paths that are
/// not offered.
pub(crate) fn field(pod: &Pod, path: &str, around: Surroundings<'_>) -> Option<String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref()?;
    let plain = |value: &Option<String>| Some(value.clone().unwrap_or_default());
    match path {
        "metadata.name" => plain(&meta.name),
        "metadata.namespace" => plain(&meta.namespace),
        "metadata.uid" => plain(&meta.uid),
        "metadata.labels" => Some(lines(meta.labels.as_ref())),
        "metadata.annotations" => Some(lines(meta.annotations.as_ref())),
        "spec.nodeName" => plain(&spec.node_name),
        "spec.serviceAccountName" => plain(&spec.service_account_name),
        "status.hostIP" | "status.hostIPs" => Some(around.host_ip.to_owned()),
        "status.podIP" | "status.podIPs" => Some(around.pod_ip.to_owned()),
        _ => {
            let (map, key) = path.strip_suffix("']")?.split_once("['")?;
            let map = match map {
                "metadata.labels" => meta.labels.as_ref(),
                "metadata.annotations" => meta.annotations.as_ref(),
                _ => return None,
            };
            Some(map.and_then(|m| m.get(key)).cloned().unwrap_or_default())
        }
    }
}

/// `key="value"` lines, as the downward API's files show maps.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(k, v)| format!("{k}={v:?}")).collect();
    lines.join("\n")
}

/// The value of a resource such as `limits.memory`, divided by the divisor and rounded up. A container
/// without a limit may use the whole node (`MergeContainerResourceLimits`).
pub(crate) fn resource(
    pod: &Pod,
    container: &Container,
    selector: &ResourceFieldSelector,
    around: Surroundings<'_>,
) -> Option<String> {
    let container = match &selector.container_name {
        Some(name) if !name.is_empty() => crate::records::find(pod, name)?,
        _ => Cow::Borrowed(container),
    };
    let (list, resource) = selector.resource.split_once('.')?;
    let resources = container.resources.as_ref();
    let map = match list {
        "limits" => resources.and_then(|r| r.limits.as_ref()),
        "requests" => resources.and_then(|r| r.requests.as_ref()),
        _ => return None,
    };
    let held = match (map.and_then(|m| m.get(resource)), list, resource) {
        (Some(amount), ..) => Quantity::parse(&amount.0).ok()?.milli_value(),
        (None, "limits", "memory") => around.node_memory.saturating_mul(1000),
        (None, "limits", "cpu") => around.node_cpu_millis,
        _ => 0,
    };
    let divisor = selector.divisor.as_ref().map_or("1", |q| q.0.as_str());
    let divisor = if divisor.is_empty() || divisor == "0" { "1" } else { divisor };
    let divisor = Quantity::parse(divisor).ok()?.milli_value().max(1);
    Some((held / divisor + i64::from(held % divisor > 0)).to_string())
}
