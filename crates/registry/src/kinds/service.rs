//! `v1` Service.

mod allocate;
mod validate;

use apimachinery::field::FieldError;
use apimachinery::names;
use apimachinery::status::Status;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::kind::{ClusterView, Column, Kind, Scope, Strategy, Subresource};
use crate::print::{self, AGE, NAME, NONE, column, wide};
use crate::value::{default_to, is_empty, items, number, object, object_in, objects_mut, set, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    scope: Scope::Namespaced,
    subresources: &[Subresource::Status, Subresource::Proxy],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

const CLUSTER_IP: &str = "ClusterIP";
const NODE_PORT: &str = "NodePort";
const LOAD_BALANCER: &str = "LoadBalancer";
const EXTERNAL_NAME: &str = "ExternalName";
/// What `clusterIP` holds when a service has no address of its own: headless.
const HEADLESS: &str = "None";

/// How long a client's affinity lasts, in seconds.
const DEFAULT_AFFINITY_SECONDS: i64 = 10_800;

const COLUMNS: &[Column] = &[
    NAME,
    column("Type", "string", "How the service can be reached."),
    column("Cluster-IP", "string", "The service's address in the cluster; None when it has none."),
    column("External-IP", "string", "Addresses outside the cluster that lead to the service."),
    column("Port(s)", "string", "The service's ports, with the node's port where there is one."),
    AGE,
    wide("Selector", "string", "The labels of the pods behind the service."),
];

/// Upstream: `pkg/registry/core/service`, `pkg/apis/core/v1/defaults.go`.
struct Rules;

impl Strategy for Rules {
    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn set_defaults(&self, service: &mut Value) {
        let Some(spec) = object(service, "spec") else { return };
        default_to(spec, "type", CLUSTER_IP);
        default_to(spec, "sessionAffinity", "None");
        if spec.get("sessionAffinity").is_some_and(|a| a == "None") {
            spec.remove("sessionAffinityConfig");
        } else if let Some(config) = object_in(spec, "sessionAffinityConfig")
            && let Some(client_ip) = object_in(config, "clientIP")
        {
            default_to(client_ip, "timeoutSeconds", DEFAULT_AFFINITY_SECONDS);
        }
        for port in objects_mut(spec, "ports") {
            default_to(port, "protocol", "TCP");
            let target = port.get("targetPort").unwrap_or(&Value::Null);
            if is_empty(target) || target == 0 {
                let number = port.get("port").cloned().unwrap_or_default();
                port.insert("targetPort".into(), number);
            }
        }
        let kind = spec.get("type").map(text).unwrap_or_default().to_owned();
        if is_external(spec) {
            default_to(spec, "externalTrafficPolicy", "Cluster");
        }
        if kind != EXTERNAL_NAME {
            default_to(spec, "internalTrafficPolicy", "Cluster");
        }
        if kind == LOAD_BALANCER {
            default_to(spec, "allocateLoadBalancerNodePorts", true);
        }
        default_addresses(spec, &kind);
    }

    fn prepare_for_create(&self, service: &mut Value) {
        set(service, "status", json!({"loadBalancer": {}}));
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        allocate::keep_allocated(new, old);
    }

    fn validate(&self, service: &Value) -> Vec<FieldError> {
        validate::validate(service)
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        validate::validate_update(new, old)
    }

    /// A label: services become the first part of a DNS name. Since 1.34 upstream takes a leading digit too
    /// (KEP-5311).
    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::dns1123_label(name)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, service: &Value, now: Timestamp) -> Vec<Value> {
        let spec = &service["spec"];
        let cluster_ip = match items(&spec["clusterIPs"]).first() {
            Some(first) => text(first),
            None => text(&spec["clusterIP"]),
        };
        vec![
            print::name(service),
            spec["type"].clone(),
            print::or_none(cluster_ip),
            external_ip(service).into(),
            ports(&spec["ports"]).into(),
            print::age(service, now),
            print::labels(&spec["selector"]).into(),
        ]
    }

    fn selectable_fields(&self, service: &Value) -> Vec<(&'static str, String)> {
        let spec = &service["spec"];
        vec![
            ("spec.clusterIP", text(&spec["clusterIP"]).to_owned()),
            ("spec.type", text(&spec["type"]).to_owned()),
        ]
    }

    fn admission_reads(&self) -> &'static [&'static str] {
        &["services"]
    }

    fn admit(&self, new: &mut Value, old: Option<&Value>, cluster: &dyn ClusterView) -> Result<(), Status> {
        allocate::allocate(new, old, cluster)
    }
}

/// Whether the service can be reached from outside the cluster.
fn is_external(spec: &Map<String, Value>) -> bool {
    let kind = spec.get("type").map(text).unwrap_or_default();
    matches!(kind, NODE_PORT | LOAD_BALANCER)
        || (kind == CLUSTER_IP && spec.get("externalIPs").is_some_and(|ips| !is_empty(ips)))
}

/// One family, as stead's networks have one; `clusterIP` and the first of `clusterIPs` are the same.
fn default_addresses(spec: &mut Map<String, Value>, kind: &str) {
    if kind == EXTERNAL_NAME {
        return;
    }
    let single = spec.get("clusterIP").filter(|ip| !is_empty(ip)).cloned();
    let first = spec.get("clusterIPs").and_then(|ips| ips.get(0)).filter(|ip| !is_empty(ip)).cloned();
    match (single, first) {
        (Some(ip), None) => {
            spec.insert("clusterIPs".into(), json!([ip]));
        }
        (None, Some(ip)) => {
            spec.insert("clusterIP".into(), ip);
        }
        _ => {}
    }
    default_to(spec, "ipFamilyPolicy", "SingleStack");
    if spec.get("ipFamilies").is_none_or(is_empty) {
        spec.insert("ipFamilies".into(), json!(["IPv4"]));
    }
}

/// Upstream's `getServiceExternalIP`.
fn external_ip(service: &Value) -> String {
    let spec = &service["spec"];
    let mut addresses: Vec<&str> = Vec::new();
    match text(&spec["type"]) {
        EXTERNAL_NAME => return text(&spec["externalName"]).to_owned(),
        LOAD_BALANCER => {
            let ingress = items(&service["status"]["loadBalancer"]["ingress"]);
            addresses.extend(ingress.iter().map(|point| match text(&point["ip"]) {
                "" => text(&point["hostname"]),
                ip => ip,
            }));
        }
        _ => {}
    }
    addresses.extend(items(&spec["externalIPs"]).iter().map(text));
    match (addresses.is_empty(), text(&spec["type"])) {
        (true, LOAD_BALANCER) => "<pending>".to_owned(),
        (true, _) => NONE.to_owned(),
        (false, _) => addresses.join(","),
    }
}

/// `80/TCP,443:30443/TCP`.
fn ports(list: &Value) -> String {
    let shown: Vec<String> = items(list)
        .iter()
        .map(|port| {
            let (own, node, protocol) =
                (number(&port["port"]), number(&port["nodePort"]), text(&port["protocol"]));
            if node > 0 { format!("{own}:{node}/{protocol}") } else { format!("{own}/{protocol}") }
        })
        .collect();
    if shown.is_empty() { NONE.to_owned() } else { shown.join(",") }
}

/// Whether the service has no address of its own.
fn is_headless(service: &Value) -> bool {
    service["spec"]["clusterIP"] == HEADLESS
}
