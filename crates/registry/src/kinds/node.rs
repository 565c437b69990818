//! `v1` Node.

use std::collections::BTreeSet;

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::names;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy, Subresource};
use crate::pod_spec::{TAINT_EFFECTS, canonical_quantities, validate_quantity};
use crate::print::{self, AGE, NAME, NONE, UNKNOWN, column, wide};
use crate::value::{default_to, entries, is_empty, items, object, text, truth};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    categories: &[],
    scope: Scope::Cluster,
    subresources: &[Subresource::Status, Subresource::Proxy],
    ephemeral: false,
    late_status: true,
    has_generation: false,
    strategy: &Rules,
};

/// Labels that begin so name a role of the node.
const ROLE_LABEL_PREFIX: &str = "node-role.kubernetes.io/";
/// The label whose value names a role of the node.
const ROLE_LABEL: &str = "kubernetes.io/role";

const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "string", "Whether the node is ready, and takes pods."),
    column("Roles", "string", "The roles of the node."),
    AGE,
    column("Version", "string", "The version of the node's agent."),
    wide("Internal-IP", "string", "The node's address inside the cluster."),
    wide("External-IP", "string", "The node's address outside the cluster."),
    wide("OS-Image", "string", "The operating system, as it calls itself."),
    wide("Kernel-Version", "string", "The kernel's version."),
    wide("Container-Runtime", "string", "What runs the containers, and its version."),
];

/// Upstream: `pkg/registry/core/node`, `ValidateNode`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, node: &mut Value) {
        if let Some(spec) = object(node, "spec") {
            default_pod_cidrs(spec);
        }
        if let Some(status) = object(node, "status") {
            for list in ["capacity", "allocatable"] {
                canonical_quantities(status, list);
            }
            if let Some(capacity) = status.get("capacity").cloned() {
                default_to(status, "allocatable", capacity);
            }
        }
    }

    fn keeps_status_on_create(&self) -> bool {
        true
    }

    fn validate(&self, node: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        validate_taints(&mut errors, &Path::new("spec").child("taints"), &node["spec"]["taints"]);
        for list in ["capacity", "allocatable"] {
            for (resource, value) in entries(&node["status"][list]) {
                let path = Path::new("status").child(list).child(resource);
                validate_quantity(&mut errors, &path, value);
            }
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        for (field, shown) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
            let (after, before) = (&new["spec"][field], &old["spec"][field]);
            if !is_empty(before) && after != before {
                errors.push(FieldError::forbidden(
                    &Path::new("spec").child(field),
                    format!("node updates may not change {shown} except from \"\" to valid"),
                ));
            }
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, node: &Value, now: Timestamp) -> Vec<Value> {
        let info = &node["status"]["nodeInfo"];
        let or_unknown =
            |value: &Value| -> Value { if is_empty(value) { UNKNOWN.into() } else { value.clone() } };
        vec![
            print::name(node),
            status_words(node).into(),
            roles(node).into(),
            print::age(node, now),
            text(&info["kubeletVersion"]).into(),
            print::or_none(address(node, "InternalIP")),
            print::or_none(address(node, "ExternalIP")),
            or_unknown(&info["osImage"]),
            or_unknown(&info["kernelVersion"]),
            or_unknown(&info["containerRuntimeVersion"]),
        ]
    }

    fn selectable_fields(&self, node: &Value) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", truth(&node["spec"]["unschedulable"]).to_string())]
    }
}

/// `podCIDR` is the first of `podCIDRs`; either may be given.
fn default_pod_cidrs(spec: &mut Map<String, Value>) {
    let single = spec.get("podCIDR").filter(|cidr| !is_empty(cidr)).cloned();
    let first = spec.get("podCIDRs").and_then(|cidrs| cidrs.get(0)).cloned();
    match (single, first) {
        (Some(cidr), None) => {
            spec.insert("podCIDRs".into(), json!([cidr]));
        }
        (None, Some(cidr)) => {
            spec.insert("podCIDR".into(), cidr);
        }
        _ => {}
    }
}

fn validate_taints(errors: &mut Errors, path: &Path, taints: &Value) {
    let mut seen = BTreeSet::new();
    for (i, taint) in items(taints).iter().enumerate() {
        let at = path.index(i);
        let (key, effect) = (text(&taint["key"]), text(&taint["effect"]));
        check::name(errors, &at.child("key"), key, names::qualified_name);
        check::name(errors, &at.child("value"), text(&taint["value"]), names::label_value);
        check::one_of(errors, &at.child("effect"), &taint["effect"], TAINT_EFFECTS);
        if !seen.insert((key, effect)) {
            let mut error = FieldError::duplicate(&at, taint.clone());
            error.detail = "taints must be unique by key and effect pair".to_owned();
            errors.push(error);
        }
    }
}

fn status_words(node: &Value) -> String {
    let ready = items(&node["status"]["conditions"]).iter().find(|c| c["type"] == "Ready");
    let word = match ready {
        Some(condition) if condition["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if truth(&node["spec"]["unschedulable"]) { format!("{word},SchedulingDisabled") } else { word.to_owned() }
}

fn roles(node: &Value) -> String {
    let roles: BTreeSet<&str> = node
        .meta_map("labels")
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix(ROLE_LABEL_PREFIX) {
            Some(role) => Some(role),
            None if key == ROLE_LABEL => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() {
        return NONE.to_owned();
    }
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    items(&node["status"]["addresses"])
        .iter()
        .find(|address| address["type"] == kind)
        .map(|address| text(&address["address"]))
        .unwrap_or_default()
}
