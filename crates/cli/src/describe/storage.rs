//! `describe` of claims, volumes and storage classes.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::containers;
use super::parts::{Lines, access_modes, at, items, joined, map, moment, or};

/// Says that a class is the one for claims that name none.
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

fn status(lines: &Lines, object: &Value) -> String {
    if object.is_terminating() {
        return format!("Terminating (lasts {})", lines.age(&object["metadata"]["deletionTimestamp"]));
    }
    at(object, "/status/phase")
}

fn finalizers(object: &Value) -> String {
    format!("[{}]", joined(items(object, "/metadata/finalizers"), " "))
}

pub(super) fn claim(lines: &mut Lines, claim: &Value, pods: &[Value]) {
    lines.field(0, "Name", claim.name());
    lines.field(0, "Namespace", claim.namespace());
    lines.field(0, "StorageClass", at(claim, "/spec/storageClassName"));
    lines.field(0, "Status", status(lines, claim));
    let volume = at(claim, "/spec/volumeName");
    let is_bound = !volume.is_empty();
    lines.field(0, "Volume", volume);
    lines.labels(0, "Labels", claim.meta_map("labels"));
    lines.annotations(0, claim);
    lines.field(0, "Finalizers", finalizers(claim));
    let of_bound = |text: String| if is_bound { text } else { String::new() };
    lines.field(0, "Capacity", of_bound(at(claim, "/status/capacity/storage")));
    lines.field(0, "Access Modes", of_bound(access_modes(items(claim, "/status/accessModes"))));
    lines.optional(0, "VolumeMode", at(claim, "/spec/volumeMode"));
    let users: Vec<String> = pods.iter().map(|pod| pod.name().to_owned()).collect();
    lines.multi(0, "Used By", &users);
    let conditions = items(claim, "/status/conditions");
    if !conditions.is_empty() {
        lines.line(0, "Conditions:");
        lines.line(1, "Type\tStatus\tLastProbeTime\tLastTransitionTime\tReason\tMessage");
        lines.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
        for condition in conditions {
            let cells = [
                at(condition, "/type"),
                at(condition, "/status"),
                moment(condition, "/lastProbeTime"),
                moment(condition, "/lastTransitionTime"),
                at(condition, "/reason"),
                at(condition, "/message"),
            ];
            lines.line(1, cells.join(" \t"));
        }
    }
}

pub(super) fn volume(lines: &mut Lines, volume: &Value) {
    lines.field(0, "Name", volume.name());
    lines.labels(0, "Labels", volume.meta_map("labels"));
    lines.annotations(0, volume);
    lines.field(0, "Finalizers", finalizers(volume));
    lines.field(0, "StorageClass", at(volume, "/spec/storageClassName"));
    lines.field(0, "Status", status(lines, volume));
    let claim = &volume["spec"]["claimRef"];
    let claimed = format!("{}/{}", at(claim, "/namespace"), at(claim, "/name"));
    lines.field(0, "Claim", if claim.is_object() { &claimed } else { "" });
    lines.field(0, "Reclaim Policy", at(volume, "/spec/persistentVolumeReclaimPolicy"));
    lines.field(0, "Access Modes", access_modes(items(volume, "/spec/accessModes")));
    lines.optional(0, "VolumeMode", at(volume, "/spec/volumeMode"));
    lines.field(0, "Capacity", at(volume, "/spec/capacity/storage"));
    node_affinity(lines, volume);
    lines.field(0, "Message", at(volume, "/status/message"));
    lines.line(0, "Source:");
    containers::volume_source(lines, 2, &volume["spec"]);
}

fn node_affinity(lines: &mut Lines, volume: &Value) {
    let terms = items(volume, "/spec/nodeAffinity/required/nodeSelectorTerms");
    if terms.is_empty() {
        return lines.field(0, "Node Affinity", "<none>");
    }
    lines.field(0, "Node Affinity", "");
    lines.field(1, "Required Terms", "");
    for (index, term) in terms.iter().enumerate() {
        let mut wanted = items(term, "/matchExpressions").iter().map(|e| {
            let (key, operator) = (at(e, "/key"), at(e, "/operator").to_lowercase());
            format!("{key} {operator} [{}]", joined(items(e, "/values"), ", "))
        });
        let title = format!("Term {index}");
        lines.field(2, &title, wanted.next().unwrap_or_default());
        wanted.for_each(|more| lines.line(2, format!("\t{more}")));
    }
}

pub(super) fn class(lines: &mut Lines, class: &Value) {
    lines.field(0, "Name", class.name());
    let is_default = class.annotation(DEFAULT_CLASS) == Some("true");
    lines.field(0, "IsDefaultClass", if is_default { "Yes" } else { "No" });
    lines.labels(0, "Annotations", class.meta_map("annotations"));
    lines.field(0, "Provisioner", at(class, "/provisioner"));
    let parameters: Vec<String> = map(class, "/parameters")
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    lines.field(0, "Parameters", or(parameters.join(","), "<none>"));
    let expandable = match class["allowVolumeExpansion"].as_bool() {
        None => "<unset>",
        Some(true) => "True",
        Some(false) => "False",
    };
    lines.field(0, "AllowVolumeExpansion", expandable);
    let options: Vec<String> =
        items(class, "/mountOptions").iter().filter_map(|o| o.as_str().map(str::to_owned)).collect();
    lines.multi(0, "MountOptions", &options);
    lines.field(0, "ReclaimPolicy", at(class, "/reclaimPolicy"));
    lines.field(0, "VolumeBindingMode", at(class, "/volumeBindingMode"));
}
