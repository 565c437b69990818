//! `describe pod`.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::containers;
use super::parts::{Lines, at, controller, items, map, moment, or};

pub(super) fn write(lines: &mut Lines, pod: &Value) {
    lines.field(0, "Name", pod.name());
    lines.field(0, "Namespace", pod.namespace());
    lines.optional(0, "Priority", at(pod, "/spec/priority"));
    lines.optional(0, "Priority Class Name", at(pod, "/spec/priorityClassName"));
    lines.optional(0, "Service Account", at(pod, "/spec/serviceAccountName"));
    let node = at(pod, "/spec/nodeName");
    let host = format!("{node}/{}", at(pod, "/status/hostIP"));
    lines.field(0, "Node", if node.is_empty() { "<none>" } else { &host });
    lines.optional(0, "Start Time", moment(pod, "/status/startTime"));
    lines.labels(0, "Labels", pod.meta_map("labels"));
    lines.annotations(0, pod);
    let phase = at(pod, "/status/phase");
    if pod.is_terminating() && phase != "Failed" && phase != "Succeeded" {
        let since = lines.age(&pod["metadata"]["deletionTimestamp"]);
        lines.field(0, "Status", format!("Terminating (lasts {since})"));
        lines.field(0, "Termination Grace Period", at(pod, "/metadata/deletionGracePeriodSeconds") + "s");
    } else {
        lines.field(0, "Status", phase);
    }
    lines.optional(0, "Reason", at(pod, "/status/reason"));
    lines.optional(0, "Message", at(pod, "/status/message"));
    lines.optional(0, "SeccompProfile", at(pod, "/spec/securityContext/seccompProfile/type"));
    lines.field(0, "IP", at(pod, "/status/podIP"));
    let addresses = items(pod, "/status/podIPs");
    if addresses.is_empty() {
        lines.field(0, "IPs", "<none>");
    } else {
        lines.line(0, "IPs:");
        addresses.iter().for_each(|address| lines.field(1, "IP", at(address, "/ip")));
    }
    lines.optional(0, "Controlled By", controller(pod));
    containers::all(lines, 0, &pod["spec"], Some(pod));
    conditions(lines, pod);
    containers::volumes(lines, 0, &pod["spec"]);
    lines.field(0, "QoS Class", or(at(pod, "/status/qosClass"), "<unset>"));
    lines.labels(0, "Node-Selectors", map(pod, "/spec/nodeSelector"));
    containers::tolerations(lines, 0, &pod["spec"]);
}

fn conditions(lines: &mut Lines, pod: &Value) {
    let conditions = items(pod, "/status/conditions");
    if conditions.is_empty() {
        return;
    }
    lines.line(0, "Conditions:");
    lines.line(1, "Type\tStatus");
    for condition in conditions {
        lines.line(1, format!("{} \t{} ", at(condition, "/type"), at(condition, "/status")));
    }
}
