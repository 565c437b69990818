//! `v1` Pod.

mod account;
mod row;

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use apimachinery::{names, time};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::check;
use crate::kind::{Column, Kind, Scope, Strategy, Subresource};
use crate::pod_spec::{self, For};
use crate::value::{copy_to, default_to, is_empty, items, list_in, object, object_in, set, text, truth};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    scope: Scope::Namespaced,
    subresources: &[
        Subresource::Status,
        Subresource::Log,
        Subresource::Exec,
        Subresource::Attach,
        Subresource::PortForward,
        Subresource::Proxy,
        Subresource::EphemeralContainers,
        Subresource::Resize,
        Subresource::Binding,
        Subresource::Eviction,
    ],
    ephemeral: false,
    late_status: true,
    has_generation: true,
    strategy: &Rules,
};

/// How long a pod stays on a node that is not ready or cannot be reached, in seconds
/// (upstream's admission plugin DefaultTolerationSeconds).
const DEFAULT_TOLERATION_SECONDS: i64 = 300;

/// Upstream: `pkg/registry/core/pod/strategy.go`, `pkg/apis/core/v1/defaults.go`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, pod: &mut Value) {
        if let Some(spec) = object(pod, "spec") {
            pod_spec::default_pod_spec(spec);
            pod_spec::default_pod(spec);
        }
    }

    /// Also what upstream's admission plugins ServiceAccount, Priority and DefaultTolerationSeconds fill in.
    fn consults(&self, pod: &Value) -> Option<(&'static str, String)> {
        Some(("serviceaccounts", account::of(pod)))
    }

    fn consult(&self, pod: &mut Value, consulted: Option<&Value>, suffix: &str) -> Result<(), Status> {
        account::complete(pod, consulted, suffix)
    }

    fn prepare_for_create(&self, pod: &mut Value) {
        if let Some(spec) = object(pod, "spec") {
            default_to(spec, "serviceAccountName", "default");
            default_to(spec, "serviceAccount", "default");
            default_to(spec, "priority", 0);
            default_to(spec, "preemptionPolicy", "PreemptLowerPriority");
            tolerate_node_faults(spec);
        }
        let qos_class = pod_spec::qos_class(&pod["spec"]);
        set(pod, "status", json!({"phase": "Pending", "qosClass": qos_class}));
    }

    /// What admission filled in stays when the client leaves it out.
    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        if let Some(spec) = object(new, "spec") {
            for field in ["priority", "preemptionPolicy"] {
                if spec.get(field).is_none_or(is_empty) {
                    copy_to(spec, field, &old["spec"][field]);
                }
            }
            tolerate_node_faults(spec);
        }
    }

    fn validate(&self, pod: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        pod_spec::validate_pod_spec(&mut errors, &Path::new("spec"), &pod["spec"], For::Pod);
        errors
    }

    /// Those that look at a pod come when it is there (upstream: `ValidatePodCreate`).
    fn validate_create(&self, pod: &Value) -> Vec<FieldError> {
        let list = "ephemeralContainers";
        if items(&pod["spec"][list]).is_empty() {
            return Vec::new();
        }
        vec![FieldError::forbidden(&Path::new("spec").child(list), "cannot be set on create")]
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        pod_spec::validate_pod_spec_update(&mut errors, &new["spec"], &old["spec"]);
        errors
    }

    fn validate_ephemeral_containers(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        pod_spec::validate_ephemeral_containers_update(&mut errors, &new["spec"], &old["spec"]);
        errors
    }

    fn resize(&self, stored: &mut Value, sent: &Value) {
        pod_spec::take_over_resize(&mut stored["spec"], &sent["spec"]);
    }

    fn validate_resize(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        pod_spec::validate_resize(&mut errors, new, old);
        errors
    }

    /// Upstream: `ValidatePodStatusUpdate`, but for what its own kubelet alone can get wrong.
    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let (mut errors, path, status) = (Vec::new(), Path::new("status"), &new["status"]);
        let nominated = text(&status["nominatedNodeName"]);
        if !nominated.is_empty() {
            let at = path.child("nominatedNodeName");
            check::name(&mut errors, &at, nominated, names::dns1123_subdomain);
        }
        for list in ["podIPs", "hostIPs"] {
            for (i, address) in items(&status[list]).iter().enumerate() {
                check::ip(&mut errors, &path.child(list).index(i), text(&address["ip"]));
            }
        }
        for (i, condition) in items(&status["conditions"]).iter().enumerate() {
            let at = path.child("conditions").index(i).child("type");
            check::name(&mut errors, &at, text(&condition["type"]), names::qualified_name);
        }
        errors
    }

    fn warnings(&self, pod: &Value) -> Vec<String> {
        pod_spec::pod_spec_warnings(&Path::new("spec"), &pod["spec"])
    }

    fn columns(&self) -> &'static [Column] {
        row::COLUMNS
    }

    fn row(&self, pod: &Value, now: Timestamp) -> Vec<Value> {
        row::row(pod, now)
    }

    fn selectable_fields(&self, pod: &Value) -> Vec<(&'static str, String)> {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        vec![
            ("spec.nodeName", text(&spec["nodeName"]).to_owned()),
            ("spec.restartPolicy", text(&spec["restartPolicy"]).to_owned()),
            ("spec.schedulerName", text(&spec["schedulerName"]).to_owned()),
            ("spec.serviceAccountName", text(&spec["serviceAccountName"]).to_owned()),
            ("spec.hostNetwork", truth(&spec["hostNetwork"]).to_string()),
            ("status.phase", text(&status["phase"]).to_owned()),
            ("status.podIP", text(&status["podIP"]).to_owned()),
            ("status.nominatedNodeName", text(&status["nominatedNodeName"]).to_owned()),
        ]
    }

    fn default_grace_period(&self, pod: &Value) -> Option<i64> {
        let spec = &pod["spec"];
        if text(&spec["nodeName"]).is_empty()
            || matches!(text(&pod["status"]["phase"]), "Succeeded" | "Failed")
        {
            return Some(0);
        }
        let seconds = spec["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
        // A negative grace period is read as the shortest one.
        Some(if seconds < 0 { 1 } else { seconds })
    }

    /// Upstream: `BindingREST.setPodNodeAndMetadata` and `assignPod`.
    fn bind(&self, pod: &mut Value, binding: &Value, now: Timestamp) -> Result<(), String> {
        let name = pod.name().to_owned();
        if pod.is_terminating() {
            return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
        }
        let bound = text(&pod["spec"]["nodeName"]);
        if !bound.is_empty() {
            return Err(format!("pod {name} is already assigned to node {bound:?}"));
        }
        let target = &binding["target"];
        if !matches!(text(&target["kind"]), "" | "Node") || text(&target["name"]).is_empty() {
            return Err("a binding's target must be a Node, by name".to_owned());
        }
        for map in ["annotations", "labels"] {
            for (key, value) in binding.meta_map(map).into_iter().flatten() {
                if let Some(own) = object_in(pod.meta_mut(), map) {
                    own.insert(key.clone(), value.clone());
                }
            }
        }
        if let Some(spec) = object(pod, "spec") {
            spec.insert("nodeName".into(), target["name"].clone());
        }
        set_scheduled(pod, now);
        Ok(())
    }
}

fn set_scheduled(pod: &mut Value, now: Timestamp) {
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": time::format_seconds(now),
    });
    let Some(list) = object(pod, "status").and_then(|status| list_in(status, "conditions")) else { return };
    list.retain(|c| c["type"] != "PodScheduled");
    list.push(condition);
}

fn tolerate_node_faults(spec: &mut Map<String, Value>) {
    let Some(tolerations) = list_in(spec, "tolerations") else { return };
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = tolerations.iter().any(|toleration| {
            let (its_key, effect) = (text(&toleration["key"]), text(&toleration["effect"]));
            (its_key.is_empty() || its_key == key) && matches!(effect, "" | "NoExecute")
        });
        if !tolerated {
            tolerations.push(json!({
                "key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": DEFAULT_TOLERATION_SECONDS,
            }));
        }
    }
}
