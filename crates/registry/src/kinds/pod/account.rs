//! What a pod gets of its service account: its image pull secrets, and the volume by which it reaches the API
//! (upstream: `plugin/pkg/admission/serviceaccount`).

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use serde_json::{Map, Value, json};

use crate::bootstrap::ROOT_CA;
use crate::tokens::POD_SECONDS;
use crate::value::{is_empty, items, list_in, objects_mut, text};

/// Every namespace has this one, soon after it was made.
const DEFAULT: &str = "default";
/// What the volume's name begins with.
const VOLUME: &str = "kube-api-access-";
/// Where programs look for the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The name of the pod's service account.
pub(super) fn of(pod: &Value) -> String {
    text(&pod["spec"]["serviceAccountName"]).to_owned()
}

/// Completes a new pod by its service account; `suffix` makes the volume's name its own. `default` may be missing:
/// it is made a moment after its namespace.
pub(super) fn complete(pod: &mut Value, account: Option<&Value>, suffix: &str) -> Result<(), Status> {
    let name = of(pod);
    if account.is_none() && name != DEFAULT {
        let namespace = pod.namespace();
        let why =
            format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(Status::forbidden("pods", pod.name(), &why));
    }
    let said = |object: &Value| object["automountServiceAccountToken"].as_bool();
    let wanted = said(&pod["spec"]).or_else(|| account.and_then(said)).unwrap_or(true);
    let secrets = account.map_or(Value::Null, |account| account["imagePullSecrets"].clone());
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
    if !is_empty(&secrets) && spec.get("imagePullSecrets").is_none_or(is_empty) {
        spec.insert("imagePullSecrets".to_owned(), secrets);
    }
    if wanted {
        mount(spec, suffix);
    }
    Ok(())
}

fn mount(spec: &mut Map<String, Value>, suffix: &str) {
    let there = spec.get("volumes").map(items).unwrap_or_default();
    let known = there.iter().map(|volume| text(&volume["name"])).find(|name| name.starts_with(VOLUME));
    let (name, is_new) = known.map_or((format!("{VOLUME}{suffix}"), true), |name| (name.to_owned(), false));
    let mut used = false;
    for containers in ["initContainers", "containers"] {
        for container in objects_mut(spec, containers) {
            let Some(mounts) = list_in(container, "volumeMounts") else { continue };
            if !mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                mounts.push(json!({"mountPath": MOUNT_PATH, "name": name, "readOnly": true}));
                used = true;
            }
        }
    }
    if used
        && is_new
        && let Some(volumes) = list_in(spec, "volumes")
    {
        volumes.push(volume(&name));
    }
}

fn volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": POD_SECONDS, "path": "token"}},
        {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace",
            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}
