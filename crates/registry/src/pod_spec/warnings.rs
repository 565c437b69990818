//! What upstream's API takes and stead's node and scheduler do not act on: said when the object is
//! written, not found out when it does not do what it says.

use apimachinery::field::Path;
use serde_json::Value;

use super::volumes::sources;
use crate::value::{is_empty, items, truth};

/// The sources of volumes that stead's node makes.
const VOLUMES: &[&str] =
    &["configMap", "downwardAPI", "emptyDir", "hostPath", "persistentVolumeClaim", "projected", "secret"];

/// The parts of projected volumes that stead's node makes.
const PROJECTIONS: &[&str] = &["configMap", "downwardAPI", "secret", "serviceAccountToken"];

/// One sentence for each field of the spec that stead does not act on.
pub(crate) fn pod_spec_warnings(path: &Path, spec: &Value) -> Vec<String> {
    let mut found = Vec::new();
    pod_fields(&mut found, path, spec);
    for (i, volume) in items(&spec["volumes"]).iter().enumerate() {
        let at = path.child("volumes").index(i);
        for (kind, source) in sources(volume) {
            if !VOLUMES.contains(&kind) {
                found.push(at.child(kind));
            }
            for (j, part) in items(&source["sources"]).iter().enumerate() {
                let parts = part.as_object().into_iter().flatten();
                found.extend(
                    parts
                        .filter(|(part, _)| !PROJECTIONS.contains(&part.as_str()))
                        .map(|(part, _)| at.child(kind).child("sources").index(j).child(part)),
                );
            }
        }
    }
    for list in ["initContainers", "containers"] {
        for (i, container) in items(&spec[list]).iter().enumerate() {
            let at = path.child(list).index(i);
            container_fields(&mut found, &at, container);
        }
    }
    found.iter().map(|at| format!("{at}: stead does not act on this field yet")).collect()
}

fn pod_fields(found: &mut Vec<Path>, path: &Path, spec: &Value) {
    for field in [
        "ephemeralContainers",
        "overhead",
        "priorityClassName",
        "resourceClaims",
        "resources",
        "runtimeClassName",
        "schedulingGates",
        "topologySpreadConstraints",
    ] {
        if !is_empty(&spec[field]) {
            found.push(path.child(field));
        }
    }
    if truth(&spec["setHostnameAsFQDN"]) {
        found.push(path.child("setHostnameAsFQDN"));
    }
    if spec["hostUsers"] == false {
        found.push(path.child("hostUsers"));
    }
    for field in ["podAffinity", "podAntiAffinity"] {
        if !is_empty(&spec["affinity"][field]) {
            found.push(path.child("affinity").child(field));
        }
    }
    security_fields(found, &path.child("securityContext"), &spec["securityContext"]);
}

fn container_fields(found: &mut Vec<Path>, path: &Path, container: &Value) {
    if !is_empty(&container["restartPolicyRules"]) {
        found.push(path.child("restartPolicyRules"));
    }
    for (i, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        let at = path.child("volumeMounts").index(i);
        if matches!(mount["mountPropagation"].as_str(), Some("Bidirectional" | "HostToContainer")) {
            found.push(at.child("mountPropagation"));
        }
        if matches!(mount["recursiveReadOnly"].as_str(), Some("Enabled" | "IfPossible")) {
            found.push(at.child("recursiveReadOnly"));
        }
    }
    security_fields(found, &path.child("securityContext"), &container["securityContext"]);
}

fn security_fields(found: &mut Vec<Path>, path: &Path, context: &Value) {
    for field in ["appArmorProfile", "seLinuxOptions", "windowsOptions"] {
        if !is_empty(&context[field]) {
            found.push(path.child(field));
        }
    }
    if context["procMount"] == "Unmasked" {
        found.push(path.child("procMount"));
    }
}
