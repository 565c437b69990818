//! What a Service must obey (`ValidateService`, `ValidateServiceUpdate`).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use serde_json::{Map, Value, json};

use super::{CLUSTER_IP, EXTERNAL_NAME, HEADLESS, LOAD_BALANCER, NODE_PORT, is_external, is_headless};
use crate::check::{self, Errors};
use crate::value::{is_empty, items, number, text};

/// The longest that a client's affinity may last: a day, in seconds.
const MAX_AFFINITY_SECONDS: i64 = 86_400;

pub(super) fn validate(service: &Value) -> Errors {
    let (mut errors, path, spec) = (Errors::new(), Path::new("spec"), &service["spec"]);
    let kind = text(&spec["type"]);
    if is_empty(&spec["ports"]) && !is_headless(service) && kind != EXTERNAL_NAME {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    match kind {
        LOAD_BALANCER | NODE_PORT if is_headless(service) => errors.push(FieldError::invalid(
            &path.child("clusterIPs").index(0),
            HEADLESS,
            format!("may not be set to 'None' for {kind} services"),
        )),
        EXTERNAL_NAME => validate_external_name(&mut errors, &path, spec),
        _ => {}
    }
    validate_ports(&mut errors, &path.child("ports"), spec);
    check::labels(&mut errors, &path.child("selector"), &spec["selector"]);
    validate_affinity(&mut errors, &path, spec);
    if kind != EXTERNAL_NAME {
        validate_addresses(&mut errors, &path, spec);
    }
    for (i, ip) in items(&spec["externalIPs"]).iter().enumerate() {
        check::ip(&mut errors, &path.child("externalIPs").index(i), text(ip));
    }
    let kinds = &[CLUSTER_IP, EXTERNAL_NAME, LOAD_BALANCER, NODE_PORT];
    check::one_of(&mut errors, &path.child("type"), &spec["type"], kinds);
    validate_policies(&mut errors, &path, spec);
    errors
}

fn validate_external_name(errors: &mut Errors, path: &Path, spec: &Value) {
    for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if !is_empty(&spec[field]) {
            let words = "may not be set for ExternalName services";
            errors.push(FieldError::forbidden(&path.child(field), words));
        }
    }
    let name = text(&spec["externalName"]);
    let at = path.child("externalName");
    check::required_name(errors, &at, name.strip_suffix('.').unwrap_or(name), names::dns1123_subdomain);
}

fn validate_ports(errors: &mut Errors, path: &Path, spec: &Value) {
    let ports = items(&spec["ports"]);
    let (mut seen_names, mut seen, mut seen_node_ports) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (i, port) in ports.iter().enumerate() {
        let at = path.index(i);
        let (name, protocol) = (text(&port["name"]), text(&port["protocol"]));
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(&at.child("name"), ""));
            }
        } else {
            check::name(errors, &at.child("name"), name, names::dns1123_label);
            if !seen_names.insert(name) {
                errors.push(FieldError::duplicate(&at.child("name"), name));
            }
        }
        check::port_number(errors, &at.child("port"), &port["port"]);
        check::one_of(errors, &at.child("protocol"), &port["protocol"], &["SCTP", "TCP", "UDP"]);
        check::port_number_or_name(errors, &at.child("targetPort"), &port["targetPort"]);
        if !is_empty(&port["appProtocol"]) {
            let app = text(&port["appProtocol"]);
            check::name(errors, &at.child("appProtocol"), app, names::qualified_name);
        }
        let node_port = number(&port["nodePort"]);
        if node_port != 0 {
            let at = at.child("nodePort");
            if spec["type"] == CLUSTER_IP {
                let words = "may not be used when `type` is 'ClusterIP'";
                errors.push(FieldError::forbidden(&at, words));
            }
            if !seen_node_ports.insert((protocol, node_port)) {
                errors.push(FieldError::duplicate(&at, node_port));
            }
        }
        if !seen.insert((protocol, number(&port["port"]))) {
            let key = json!({"protocol": protocol, "port": port["port"]});
            errors.push(FieldError::duplicate(&at, key));
        }
    }
}

fn validate_affinity(errors: &mut Errors, path: &Path, spec: &Value) {
    let affinity = &spec["sessionAffinity"];
    check::one_of(errors, &path.child("sessionAffinity"), affinity, &["ClientIP", "None"]);
    let at = path.child("sessionAffinityConfig");
    if affinity == "None" && !spec["sessionAffinityConfig"].is_null() {
        let words = "must not be set when session affinity is None";
        errors.push(FieldError::forbidden(&at, words));
    }
    let timeout = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    if affinity == "ClientIP" && !(1..=MAX_AFFINITY_SECONDS).contains(&number(timeout)) {
        let words = format!("must be greater than 0 and less than {MAX_AFFINITY_SECONDS}");
        let at = at.child("clientIP").child("timeoutSeconds");
        errors.push(FieldError::invalid(&at, timeout.clone(), words));
    }
}

/// `ValidateServiceClusterIPsRelatedFields`, for a cluster of one IPv4 range.
fn validate_addresses(errors: &mut Errors, path: &Path, spec: &Value) {
    let (single, list) = (text(&spec["clusterIP"]), items(&spec["clusterIPs"]));
    let at = path.child("clusterIPs");
    if let Some(first) = list.first()
        && text(first) != single
    {
        let words = "first value must match `clusterIP`";
        errors.push(FieldError::invalid(&at, spec["clusterIPs"].clone(), words));
    }
    if list.len() > 1 {
        let words = "may only hold 1 value: the cluster is configured for one IP family";
        errors.push(FieldError::invalid(&at, spec["clusterIPs"].clone(), words));
    }
    if !matches!(single, "" | HEADLESS) && single.parse::<Ipv4Addr>().is_err() {
        check::ip(errors, &at.index(0), single);
        if errors.last().is_none_or(|e| e.field != at.index(0)) {
            let words = "the cluster is configured for IPv4 addresses only";
            errors.push(FieldError::invalid(&at.index(0), single, words));
        }
    }
    let policies = &["PreferDualStack", "RequireDualStack", "SingleStack"];
    check::one_of_if_set(errors, &path.child("ipFamilyPolicy"), &spec["ipFamilyPolicy"], policies);
    if spec["ipFamilyPolicy"] == "RequireDualStack" {
        let words = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid(&path.child("ipFamilyPolicy"), "RequireDualStack", words));
    }
    for (i, family) in items(&spec["ipFamilies"]).iter().enumerate() {
        let at = path.child("ipFamilies").index(i);
        check::one_of(errors, &at, family, &["IPv4", "IPv6"]);
        // Headless services without a selector may say any family: nobody allocates for them.
        if family == "IPv6" && single != HEADLESS {
            let words = "not configured on this cluster";
            errors.push(FieldError::invalid(&at, "IPv6", words));
        }
    }
}

fn validate_policies(errors: &mut Errors, path: &Path, spec: &Value) {
    let empty = Map::new();
    let external = is_external(spec.as_object().unwrap_or(&empty));
    let (at, policy) = (path.child("externalTrafficPolicy"), &spec["externalTrafficPolicy"]);
    if external {
        check::one_of(errors, &at, policy, &["Cluster", "Local"]);
    } else if !is_empty(policy) {
        let words = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(&at, policy.clone(), words));
    }
    let (at, policy) = (path.child("internalTrafficPolicy"), &spec["internalTrafficPolicy"]);
    check::one_of_if_set(errors, &at, policy, &["Cluster", "Local"]);
    validate_health_check_port(errors, path, spec);
    validate_source_ranges(errors, path, spec);
    if spec["type"] != LOAD_BALANCER {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass", "loadBalancerSourceRanges"] {
            if !is_empty(&spec[field]) {
                let words = "may only be used when `type` is 'LoadBalancer'";
                errors.push(FieldError::forbidden(&path.child(field), words));
            }
        }
    }
}

fn validate_health_check_port(errors: &mut Errors, path: &Path, spec: &Value) {
    let at = path.child("healthCheckNodePort");
    let number = number(&spec["healthCheckNodePort"]);
    let checked = spec["type"] == LOAD_BALANCER && spec["externalTrafficPolicy"] == "Local";
    if number < 0 {
        errors.push(FieldError::invalid(&at, number, "must be greater than or equal to 0"));
    } else if number > 0 && !checked {
        let words = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.push(FieldError::invalid(&at, number, words));
    }
}

/// `ValidateLoadBalancerSourceRanges`: upstream trims them before it looks.
fn validate_source_ranges(errors: &mut Errors, path: &Path, spec: &Value) {
    for (i, range) in items(&spec["loadBalancerSourceRanges"]).iter().enumerate() {
        let range = text(range);
        let parts = range.trim().split_once('/');
        let length = parts.and_then(|(ip, len)| Some((ip.parse::<IpAddr>().ok()?, len.parse::<u8>().ok()?)));
        let fits = length.is_some_and(|(ip, len)| len <= if ip.is_ipv4() { 32 } else { 128 });
        if !fits {
            let words = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
            errors.push(FieldError::invalid(&path.child("loadBalancerSourceRanges").index(i), range, words));
        }
    }
}

pub(super) fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let address_of = |service: &Value| text(&service["spec"]["clusterIP"]).to_owned();
    let (before, after) = (address_of(old), address_of(new));
    let changes_kind = old["spec"]["type"] == EXTERNAL_NAME || new["spec"]["type"] == EXTERNAL_NAME;
    if !changes_kind && !before.is_empty() && before != after {
        errors.push(FieldError::invalid(
            &Path::new("spec").child("clusterIPs").index(0),
            json!([after]),
            "may not change once set",
        ));
    }
    let path = Path::new("spec");
    let is_balancer = |service: &Value| service["spec"]["type"] == LOAD_BALANCER;
    if is_balancer(old) && is_balancer(new) {
        for field in ["loadBalancerClass", "healthCheckNodePort"] {
            let (before, after) = (&old["spec"][field], &new["spec"][field]);
            let comes_or_goes = field == "healthCheckNodePort" && (is_empty(before) || is_empty(after));
            if before != after && !comes_or_goes {
                errors.push(FieldError::invalid(
                    &path.child(field),
                    after.clone(),
                    "may not change once set",
                ));
            }
        }
    }
    errors
}
