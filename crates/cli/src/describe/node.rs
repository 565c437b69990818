//! `describe node`.

use apimachinery::meta::ObjectExt;
use apimachinery::quantity::Quantity;
use serde_json::Value;

use super::parts::{Lines, at, items, joined, map, moment, or, shown};

/// What begins the label that names a role.
const ROLE: &str = "node-role.kubernetes.io/";
/// What pods are promised of a node.
const RESOURCES: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Only its sum is told.
const NOT_IN_ROWS: &str = "ephemeral-storage";
/// The fields of `status.nodeInfo` and their titles.
const SYSTEM_INFO: [(&str, &str); 10] = [
    ("machineID", "Machine ID"),
    ("systemUUID", "System UUID"),
    ("bootID", "Boot ID"),
    ("kernelVersion", "Kernel Version"),
    ("osImage", "OS Image"),
    ("operatingSystem", "Operating System"),
    ("architecture", "Architecture"),
    ("containerRuntimeVersion", "Container Runtime Version"),
    ("kubeletVersion", "Kubelet Version"),
    ("kubeProxyVersion", "Kube-Proxy Version"),
];

pub(super) fn write(lines: &mut Lines, node: &Value, pods: &[Value], lease: Option<&Value>) {
    lines.field(0, "Name", node.name());
    let roles: Vec<&str> =
        node.meta_map("labels").into_iter().flatten().filter_map(|(key, _)| key.strip_prefix(ROLE)).collect();
    lines.field(0, "Roles", or(roles.join(","), "<none>"));
    lines.labels(0, "Labels", node.meta_map("labels"));
    lines.annotations(0, node);
    lines.field(0, "CreationTimestamp", moment(node, "/metadata/creationTimestamp"));
    let taints: Vec<String> = items(node, "/spec/taints")
        .iter()
        .map(|taint| {
            let value = at(taint, "/value");
            let value = if value.is_empty() { value } else { format!("={value}") };
            format!("{}{value}:{}", at(taint, "/key"), at(taint, "/effect"))
        })
        .collect();
    lines.multi(0, "Taints", &taints);
    lines.field(0, "Unschedulable", (node["spec"]["unschedulable"] == true).to_string());
    lines.line(0, "Lease:");
    match lease {
        None => lines.field(1, "HolderIdentity", "<unset>"),
        Some(lease) => {
            lines.field(1, "HolderIdentity", at(lease, "/spec/holderIdentity"));
            lines.field(1, "AcquireTime", or(moment(lease, "/spec/acquireTime"), "<unset>"));
            lines.field(1, "RenewTime", or(moment(lease, "/spec/renewTime"), "<unset>"));
        }
    }
    conditions(lines, node);
    lines.line(0, "Addresses:");
    items(node, "/status/addresses").iter().for_each(|a| lines.field(1, &at(a, "/type"), at(a, "/address")));
    for (title, field) in [("Capacity", "/status/capacity"), ("Allocatable", "/status/allocatable")] {
        lines.line(0, format!("{title}:"));
        map(node, field).into_iter().flatten().for_each(|(name, q)| lines.field(1, name, shown(q)));
    }
    lines.line(0, "System Info:");
    for (field, title) in SYSTEM_INFO {
        lines.field(1, title, at(node, &format!("/status/nodeInfo/{field}")));
    }
    lines.optional(0, "PodCIDR", at(node, "/spec/podCIDR"));
    lines.optional(0, "PodCIDRs", joined(items(node, "/spec/podCIDRs"), ","));
    lines.optional(0, "ProviderID", at(node, "/spec/providerID"));
    running(lines, node, pods);
}

fn conditions(lines: &mut Lines, node: &Value) {
    lines.line(0, "Conditions:");
    lines.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    lines.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
    for condition in items(node, "/status/conditions") {
        let cells = [
            at(condition, "/type"),
            at(condition, "/status"),
            moment(condition, "/lastHeartbeatTime"),
            moment(condition, "/lastTransitionTime"),
            at(condition, "/reason"),
            at(condition, "/message"),
        ];
        lines.line(1, cells.join(" \t"));
    }
}

/// The pods that run on the node, and what they have been promised.
fn running(lines: &mut Lines, node: &Value, pods: &[Value]) {
    let pods: Vec<&Value> = pods
        .iter()
        .filter(|pod| !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")))
        .collect();
    lines.field(0, "Non-terminated Pods", format!("({} in total)", pods.len()));
    lines.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    lines.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    let columns: Vec<(&str, &str)> =
        RESOURCES.iter().flat_map(|resource| [("requests", *resource), ("limits", *resource)]).collect();
    let mut totals = vec![Quantity::from_units(0); columns.len()];
    for pod in &pods {
        let mut cells = vec![pod.namespace().to_owned(), pod.name().to_owned(), String::new()];
        for ((bound, resource), total) in columns.iter().zip(&mut totals) {
            let sum = sum(pod, bound, resource);
            *total = total.plus(sum);
            if *resource != NOT_IN_ROWS {
                cells.push(share(sum, node, resource));
            }
        }
        cells.push(lines.age(&pod["metadata"]["creationTimestamp"]));
        lines.line(1, cells.join("\t"));
    }
    lines.line(0, "Allocated resources:");
    lines.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    lines.line(1, "Resource\tRequests\tLimits");
    lines.line(1, "--------\t--------\t------");
    for (row, resource) in RESOURCES.into_iter().enumerate() {
        let [requests, limits] = [totals[row * 2], totals[row * 2 + 1]].map(|q| share(q, node, resource));
        lines.line(1, format!("{resource}\t{requests}\t{limits}"));
    }
}

fn sum(pod: &Value, bound: &str, resource: &str) -> Quantity {
    items(pod, "/spec/containers")
        .iter()
        .filter_map(|container| Quantity::from_value(&container["resources"][bound][resource]).ok())
        .fold(Quantity::from_units(0), Quantity::plus)
}

/// `250m (12%)` of what the node has.
fn share(quantity: Quantity, node: &Value, resource: &str) -> String {
    let whole = Quantity::from_value(&node["status"]["allocatable"][resource]).map(Quantity::milli_value);
    let percent = match whole {
        Ok(whole) if whole > 0 => i128::from(quantity.milli_value()) * 100 / i128::from(whole),
        _ => 0,
    };
    format!("{quantity} ({percent}%)")
}
