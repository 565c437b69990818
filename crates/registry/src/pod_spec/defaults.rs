//! Defaults, as `pkg/apis/core/v1/defaults.go` sets them, and the empty structs that upstream prints
//! wherever its types hold them by value.

use serde_json::{Map, Value, json};

use super::canonical_quantities;
use crate::value::{default_nonzero, default_object, default_to, object_in, objects_mut, text, truth};

type Object = Map<String, Value>;

/// The mode of files in volumes made from Secrets, ConfigMaps and the downward API: 0644.
const DEFAULT_FILE_MODE: i64 = 0o644;

/// What a pod gets beyond its spec's own defaults: requests from limits, service links, host ports.
pub(crate) fn default_pod(spec: &mut Object) {
    for list in ["initContainers", "containers"] {
        for container in objects_mut(spec, list) {
            requests_from_limits(container);
        }
    }
    default_to(spec, "enableServiceLinks", true);
    if spec.get("hostNetwork").is_some_and(truth) {
        for list in ["initContainers", "containers"] {
            for container in objects_mut(spec, list) {
                for port in objects_mut(container, "ports") {
                    let number = port.get("containerPort").and_then(Value::as_i64).unwrap_or_default();
                    default_nonzero(port, "hostPort", number);
                }
            }
        }
    }
}

/// The defaults of the spec of a pod or of a pod template.
pub(crate) fn default_pod_spec(spec: &mut Object) {
    default_to(spec, "restartPolicy", "Always");
    default_to(spec, "dnsPolicy", "ClusterFirst");
    default_to(spec, "schedulerName", "default-scheduler");
    default_to(spec, "terminationGracePeriodSeconds", 30);
    default_object(spec, "securityContext");
    mirror_service_account(spec);
    for volume in objects_mut(spec, "volumes") {
        default_volume(volume);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in objects_mut(spec, list) {
            default_container(container);
        }
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; upstream keeps both alike.
fn mirror_service_account(spec: &mut Object) {
    let name = ["serviceAccountName", "serviceAccount"]
        .iter()
        .map(|field| spec.get(*field).map(text).unwrap_or_default())
        .find(|name| !name.is_empty())
        .map(str::to_owned);
    if let Some(name) = name {
        spec.insert("serviceAccountName".into(), name.clone().into());
        spec.insert("serviceAccount".into(), name.into());
    }
}

fn default_container(container: &mut Object) {
    let image = container.get("image").map(text).unwrap_or_default();
    let policy = if is_latest(image) { "Always" } else { "IfNotPresent" };
    default_to(container, "imagePullPolicy", policy);
    default_to(container, "terminationMessagePath", "/dev/termination-log");
    default_to(container, "terminationMessagePolicy", "File");
    if let Some(resources) = object_in(container, "resources") {
        for list in ["limits", "requests"] {
            canonical_quantities(resources, list);
        }
    }
    for port in objects_mut(container, "ports") {
        default_to(port, "protocol", "TCP");
    }
    for variable in objects_mut(container, "env") {
        if let Some(Value::Object(from)) = variable.get_mut("valueFrom") {
            default_field_refs(from);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(probe)) = container.get_mut(probe) {
            default_probe(probe);
        }
    }
    if let Some(Value::Object(lifecycle)) = container.get_mut("lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(Value::Object(hook)) = lifecycle.get_mut(hook) {
                default_http_get(hook);
            }
        }
    }
}

/// Whether an image's reference means the tag `latest`: said so, or neither tag nor digest given.
fn is_latest(image: &str) -> bool {
    let (reference, digest) = match image.split_once('@') {
        Some((reference, _)) => (reference, true),
        None => (image, false),
    };
    let last = reference.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => !digest && !image.is_empty(),
    }
}

fn requests_from_limits(container: &mut Object) {
    let Some(Value::Object(resources)) = container.get_mut("resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    let Some(requests) = object_in(resources, "requests") else { return };
    for (resource, limit) in limits {
        requests.entry(resource).or_insert(limit);
    }
}

fn default_probe(probe: &mut Object) {
    default_nonzero(probe, "timeoutSeconds", 1);
    default_nonzero(probe, "periodSeconds", 10);
    default_nonzero(probe, "successThreshold", 1);
    default_nonzero(probe, "failureThreshold", 3);
    default_http_get(probe);
    if let Some(Value::Object(grpc)) = probe.get_mut("grpc") {
        grpc.entry("service").or_insert_with(|| "".into());
    }
}

fn default_http_get(handler: &mut Object) {
    if let Some(Value::Object(http)) = handler.get_mut("httpGet") {
        default_to(http, "path", "/");
        default_to(http, "scheme", "HTTP");
    }
}

fn default_field_refs(source: &mut Object) {
    if let Some(Value::Object(field)) = source.get_mut("fieldRef") {
        default_to(field, "apiVersion", "v1");
    }
    if let Some(Value::Object(resource)) = source.get_mut("resourceFieldRef") {
        default_to(resource, "divisor", "0");
    }
}

fn default_volume(volume: &mut Object) {
    let has_source = volume.iter().any(|(key, value)| key != "name" && !value.is_null());
    if !has_source {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(Value::Object(source)) = volume.get_mut(source) {
            default_to(source, "defaultMode", DEFAULT_FILE_MODE);
            for item in objects_mut(source, "items") {
                default_field_refs(item);
            }
            for part in objects_mut(source, "sources") {
                default_projection(part);
            }
        }
    }
    if let Some(Value::Object(path)) = volume.get_mut("hostPath") {
        path.entry("type").or_insert_with(|| "".into());
    }
    if let Some(Value::Object(image)) = volume.get_mut("image") {
        let latest = is_latest(image.get("reference").map(text).unwrap_or_default());
        default_to(image, "pullPolicy", if latest { "Always" } else { "IfNotPresent" });
    }
    let claim_spec = volume
        .get_mut("ephemeral")
        .and_then(|v| v.get_mut("volumeClaimTemplate"))
        .and_then(|v| v.get_mut("spec"))
        .and_then(Value::as_object_mut);
    if let Some(spec) = claim_spec {
        default_claim_spec(spec);
    }
}

fn default_projection(projection: &mut Object) {
    if let Some(Value::Object(token)) = projection.get_mut("serviceAccountToken") {
        default_to(token, "expirationSeconds", 3600);
    }
    if let Some(Value::Object(downward)) = projection.get_mut("downwardAPI") {
        for item in objects_mut(downward, "items") {
            default_field_refs(item);
        }
    }
}

/// The defaults of a claim's spec, of its own, in an ephemeral volume or in a set's template.
pub(crate) fn default_claim_spec(spec: &mut Object) {
    default_to(spec, "volumeMode", "Filesystem");
    if let Some(resources) = object_in(spec, "resources") {
        for list in ["limits", "requests"] {
            canonical_quantities(resources, list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_without_tag_or_digest_mean_latest() {
        let check = |image: &str, expect: bool| assert_eq!(is_latest(image), expect, "{image}");
        check("nginx", true);
        check("nginx:latest", true);
        check("localhost:5000/nginx", true);
        check("localhost:5000/nginx:1.27", false);
        check("nginx@sha256:0123", false);
        check("nginx:latest@sha256:0123", true);
        check("nginx:1.27", false);
    }
}
