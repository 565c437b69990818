//! `describe statefulset`.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::containers;
use super::parts::{Lines, at, items, joined, map, moment, or};
use crate::output::table;

pub(super) fn write(lines: &mut Lines, set: &Value, pods: &[Value]) {
    lines.field(0, "Name", set.name());
    lines.field(0, "Namespace", set.namespace());
    lines.field(0, "CreationTimestamp", moment(set, "/metadata/creationTimestamp"));
    lines.field(0, "Selector", selector(&set["spec"]["selector"]));
    lines.labels(0, "Labels", set.meta_map("labels"));
    lines.annotations(0, set);
    let (desired, total) = (or(at(set, "/spec/replicas"), "1"), or(at(set, "/status/replicas"), "0"));
    lines.field(0, "Replicas", format!("{desired} desired | {total} total"));
    lines.field(0, "Update Strategy", at(set, "/spec/updateStrategy/type"));
    lines.optional(1, "Partition", at(set, "/spec/updateStrategy/rollingUpdate/partition"));
    lines.optional(1, "MaxUnavailable", at(set, "/spec/updateStrategy/rollingUpdate/maxUnavailable"));
    lines.field(0, "Pods Status", pods_status(pods));
    containers::pod_template(lines, &set["spec"]["template"]);
    claim_templates(lines, items(set, "/spec/volumeClaimTemplates"));
    conditions(lines, items(set, "/status/conditions"));
}

/// As for Deployments, and with the sentence behind the reason: it says what the set waits for.
fn conditions(lines: &mut Lines, conditions: &[Value]) {
    if conditions.is_empty() {
        return;
    }
    lines.line(0, "Conditions:");
    lines.line(1, "Type\tStatus\tReason\tMessage");
    lines.line(1, "----\t------\t------\t-------");
    for condition in conditions {
        let cells = ["/type", "/status", "/reason", "/message"].map(|field| at(condition, field));
        lines.line(1, cells.join("\t").trim_end());
    }
}

/// `app=web,tier in (a,b)`.
fn selector(selector: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    for (key, value) in map(selector, "/matchLabels").into_iter().flatten() {
        parts.push(format!("{key}={}", value.as_str().unwrap_or_default()));
    }
    for expression in items(selector, "/matchExpressions") {
        let (key, values) = (at(expression, "/key"), joined(items(expression, "/values"), ","));
        parts.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key,
        });
    }
    parts.join(",")
}

fn pods_status(pods: &[Value]) -> String {
    let count = |phases: &[&str]| {
        pods.iter()
            .filter(|pod| phases.contains(&pod["status"]["phase"].as_str().unwrap_or_default()))
            .count()
    };
    format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        count(&["Running"]),
        count(&["Pending"]),
        count(&["Succeeded"]),
        count(&["Failed"])
    )
}

fn claim_templates(lines: &mut Lines, templates: &[Value]) {
    if templates.is_empty() {
        return lines.field(0, "Volume Claims", "<none>");
    }
    lines.line(0, "Volume Claims:");
    for template in templates {
        lines.field(1, "Name", template.name());
        lines.field(1, "StorageClass", at(template, "/spec/storageClassName"));
        lines.field(1, "Labels", table::labels(template));
        lines.annotations(1, template);
        lines.field(1, "Capacity", or(at(template, "/spec/resources/requests/storage"), "<default>"));
        lines.field(1, "Access Modes", format!("[{}]", joined(items(template, "/spec/accessModes"), " ")));
    }
}
