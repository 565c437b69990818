//! `describe service`.

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::parts::{Lines, at, items, joined, map, or, shown};

pub(super) fn write(lines: &mut Lines, service: &Value, slices: &[Value]) {
    lines.field(0, "Name", service.name());
    lines.field(0, "Namespace", service.namespace());
    lines.labels(0, "Labels", service.meta_map("labels"));
    lines.annotations(0, service);
    let selector: Vec<String> = map(service, "/spec/selector")
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", shown(value)))
        .collect();
    lines.field(0, "Selector", or(selector.join(","), "<none>"));
    lines.field(0, "Type", at(service, "/spec/type"));
    lines.optional(0, "IP Family Policy", at(service, "/spec/ipFamilyPolicy"));
    lines.field(0, "IP Families", or(joined(items(service, "/spec/ipFamilies"), ","), "<none>"));
    lines.field(0, "IP", at(service, "/spec/clusterIP"));
    lines.field(0, "IPs", or(joined(items(service, "/spec/clusterIPs"), ","), "<none>"));
    lines.optional(0, "External IPs", joined(items(service, "/spec/externalIPs"), ","));
    lines.optional(0, "External Name", at(service, "/spec/externalName"));
    for port in items(service, "/spec/ports") {
        let name = or(at(port, "/name"), "<unset>");
        let protocol = at(port, "/protocol");
        lines.line(0, format!("Port:\t{name}\t{}/{protocol}", at(port, "/port")));
        lines.field(0, "TargetPort", format!("{}/{protocol}", at(port, "/targetPort")));
        if port["nodePort"].as_i64().is_some_and(|port| port != 0) {
            lines.line(0, format!("NodePort:\t{name}\t{}/{protocol}", at(port, "/nodePort")));
        }
        lines.field(0, "Endpoints", endpoints(slices, &at(port, "/name")));
    }
    lines.field(0, "Session Affinity", at(service, "/spec/sessionAffinity"));
    lines.optional(0, "External Traffic Policy", at(service, "/spec/externalTrafficPolicy"));
    lines.optional(0, "Internal Traffic Policy", at(service, "/spec/internalTrafficPolicy"));
}

/// `10.0.0.1:80,10.0.0.2:80 + 3 more...`: those that are ready, the first three by name.
fn endpoints(slices: &[Value], port_name: &str) -> String {
    if slices.is_empty() {
        return "<none>".to_owned();
    }
    let mut all = Vec::new();
    for slice in slices {
        let Some(port) = items(slice, "/ports").iter().find(|port| at(port, "/name") == port_name) else {
            continue;
        };
        for endpoint in items(slice, "/endpoints") {
            if endpoint["conditions"]["ready"] != false {
                let addresses = items(endpoint, "/addresses");
                all.extend(
                    addresses.iter().map(|address| format!("{}:{}", shown(address), at(port, "/port"))),
                );
            }
        }
    }
    const MOST: usize = 3;
    let more = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    let text = all.join(",");
    if more > 0 { format!("{text} + {more} more...") } else { text }
}
