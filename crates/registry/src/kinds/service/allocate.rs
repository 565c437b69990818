//! Addresses and node ports: given once, kept for the service's life, free again when it goes.
//!
//! What is taken is read off the other services, so there is no list of allocations that could disagree
//! with them. Which free one is taken is decided by the service's name alone: the same manifest gets the
//! same address on a fresh machine.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use serde_json::{Map, Value, json};

use super::{EXTERNAL_NAME, HEADLESS, LOAD_BALANCER, NODE_PORT, is_external};
use crate::kind::ClusterView;
use crate::value::{copy_to, is_empty, items, number, object, objects_mut, text, truth};

/// The ports of the node that services may get: upstream's default `--service-node-port-range`.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// The first addresses of the range are left to those who ask for one by name (the API's, the DNS server's):
/// upstream's static band (KEP-3070) holds between 16 and 256 of them.
const STATIC_BAND: (u32, u32) = (16, 256);

/// An update that leaves allocated values out keeps them, and one that changes the type drops what the new
/// type cannot have (upstream's `patchAllocatedValues`, `dropTypeDependentFields`).
pub(super) fn keep_allocated(new: &mut Value, old: &Value) {
    let (needed_ip, needs_ip) = (needs_cluster_ip(old), needs_cluster_ip(new));
    let (needed_ports, needs_ports) = (needs_node_ports(old), needs_node_ports(new));
    let was = &old["spec"];
    let Some(spec) = object(new, "spec") else { return };
    if needed_ip && needs_ip {
        let single = spec.get("clusterIP").cloned().unwrap_or_default();
        if is_empty(&single) {
            for field in ["clusterIP", "clusterIPs"] {
                copy_to(spec, field, &was[field]);
            }
        } else if single != was["clusterIP"] && spec.get("clusterIPs") == was.get("clusterIPs") {
            // The client changed the one field only; the list follows.
            spec.insert("clusterIPs".into(), json!([single]));
        }
    }
    if needed_ports {
        let before = items(&was["ports"]);
        for port in objects_mut(spec, "ports") {
            let same =
                |p: &&Value| port.get("port") == p.get("port") && port.get("protocol") == p.get("protocol");
            let kept = before.iter().find(same).map(|p| number(&p["nodePort"])).unwrap_or_default();
            let now = port.get("nodePort").map(number).unwrap_or_default();
            if needs_ports && now == 0 && kept != 0 {
                port.insert("nodePort".into(), kept.into());
            } else if !needs_ports && now == kept {
                port.remove("nodePort");
            }
        }
    }
    let checked = |spec: &Map<String, Value>| {
        let is = |field: &str, value: &str| spec.get(field).is_some_and(|held| held == value);
        is("type", LOAD_BALANCER) && is("externalTrafficPolicy", "Local")
    };
    if needs_health_check(old) && checked(spec) && spec.get("healthCheckNodePort").is_none_or(is_empty) {
        copy_to(spec, "healthCheckNodePort", &was["healthCheckNodePort"]);
    }
    let of_type: [(&str, bool); 4] = [
        ("healthCheckNodePort", checked(spec)),
        ("externalTrafficPolicy", is_external(spec)),
        ("allocateLoadBalancerNodePorts", spec.get("type").is_some_and(|t| t == LOAD_BALANCER)),
        ("loadBalancerClass", spec.get("type").is_some_and(|t| t == LOAD_BALANCER)),
    ];
    for (field, allowed) in of_type {
        if !allowed && spec.get(field) == was.get(field) {
            spec.remove(field);
        }
    }
}

/// Gives the service what it needs and has not got; refuses what another one has.
pub(super) fn allocate(
    service: &mut Value,
    old: Option<&Value>,
    cluster: &dyn ClusterView,
) -> Result<(), Status> {
    let mut errors = Vec::new();
    let own = (service.namespace().to_owned(), service.name().to_owned());
    let others: Vec<&Value> = cluster
        .list("services")
        .iter()
        .filter(|other| (other.namespace(), other.name()) != (own.0.as_str(), own.1.as_str()))
        .collect();
    let salt = hash(&own.0, &own.1);
    if let Some(error) = allocate_cluster_ip(service, old, &others, cluster.service_cidr(), salt) {
        errors.push(error);
    }
    allocate_node_ports(service, &others, salt, &mut errors);
    allocate_health_check_port(service, &others, salt, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("Service", service.name(), &errors)) }
}

fn needs_cluster_ip(service: &Value) -> bool {
    service["spec"]["type"] != EXTERNAL_NAME
}

fn needs_node_ports(service: &Value) -> bool {
    let spec = &service["spec"];
    spec["type"] == NODE_PORT
        || (spec["type"] == LOAD_BALANCER && truth(&spec["allocateLoadBalancerNodePorts"]))
}

fn allocate_cluster_ip(
    service: &mut Value,
    old: Option<&Value>,
    others: &[&Value],
    cidr: &str,
    salt: u32,
) -> Option<FieldError> {
    let was_external_name = old.is_some_and(|old| !needs_cluster_ip(old));
    if !needs_cluster_ip(service) {
        release_addresses(service, old);
        return None;
    }
    let wanted = text(&service["spec"]["clusterIP"]).to_owned();
    let unchanged = old.is_some_and(|old| old["spec"]["clusterIP"] == wanted.as_str());
    if wanted == HEADLESS || (unchanged && !was_external_name && !wanted.is_empty()) {
        return None;
    }
    let path = Path::new("spec").child("clusterIPs");
    let Some(range) = Range::parse(cidr) else {
        return Some(FieldError::invalid(
            &path,
            wanted,
            format!("the service range {cidr:?} is no IPv4 range"),
        ));
    };
    let taken: BTreeSet<&str> = others.iter().map(|s| text(&s["spec"]["clusterIP"])).collect();
    let address = if wanted.is_empty() {
        range.pick(salt, |address| taken.contains(address.to_string().as_str()))
    } else {
        let refuse = |why: String| {
            let words = format!("failed to allocate IP {wanted}: {why}");
            Some(FieldError::invalid(&path, json!([wanted]), words))
        };
        // Validation tells what is no address at all.
        let address = wanted.parse::<Ipv4Addr>().ok()?;
        if !range.contains(address) {
            return refuse(format!(
                "the provided IP ({wanted}) is not in the valid range. The range of valid IPs is {cidr}"
            ));
        }
        if taken.contains(wanted.as_str()) {
            return refuse("provided IP is already allocated".to_owned());
        }
        Some(address)
    };
    let Some(address) = address else {
        return Some(FieldError::invalid(
            &path,
            json!([]),
            format!("failed to allocate a serviceIP: range {cidr} is full"),
        ));
    };
    if let Some(spec) = object(service, "spec") {
        spec.insert("clusterIP".into(), address.to_string().into());
        spec.insert("clusterIPs".into(), json!([address.to_string()]));
    }
    None
}

/// A service that turns into an ExternalName gives up its address, when the client did not say otherwise.
fn release_addresses(service: &mut Value, old: Option<&Value>) {
    let Some(old) = old else { return };
    let Some(spec) = object(service, "spec") else { return };
    if spec.get("clusterIP").unwrap_or(&Value::Null) == &old["spec"]["clusterIP"] {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(field);
        }
    }
}

fn allocate_node_ports(service: &mut Value, others: &[&Value], salt: u32, errors: &mut Vec<FieldError>) {
    if !needs_node_ports(service) {
        // A service that no longer has node ports gives them up; of a ClusterIP that asks for one,
        // validation speaks.
        return;
    }
    let mut taken = node_ports(others.iter().copied());
    let path = Path::new("spec").child("ports");
    let Some(spec) = object(service, "spec") else { return };
    let explicit =
        |port: &Map<String, Value>| port.get("nodePort").and_then(Value::as_i64).unwrap_or_default();
    for (i, port) in objects_mut(spec, "ports").enumerate() {
        let (number, at) = (explicit(port), path.index(i).child("nodePort"));
        let protocol = port.get("protocol").map(text).unwrap_or_default().to_owned();
        if number == 0 {
            continue;
        }
        if !NODE_PORTS.contains(&number) {
            let words = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                NODE_PORTS.start(),
                NODE_PORTS.end()
            );
            errors.push(FieldError::invalid(&at, number, words));
        } else if !taken.insert((protocol, number)) {
            errors.push(FieldError::invalid(&at, number, "provided port is already allocated"));
        }
    }
    for (i, port) in objects_mut(spec, "ports").enumerate() {
        if explicit(port) != 0 {
            continue;
        }
        let protocol = port.get("protocol").map(text).unwrap_or_default().to_owned();
        let start = i64::from(salt) + i64::try_from(i).unwrap_or_default();
        match free_node_port(start, &protocol, &taken) {
            Some(number) => {
                taken.insert((protocol, number));
                port.insert("nodePort".into(), number.into());
            }
            None => errors.push(FieldError::invalid(
                &path.index(i).child("nodePort"),
                0,
                "failed to allocate a nodePort: range is full",
            )),
        }
    }
}

/// The ports of the node that services have, by protocol; those of health checks are TCP's.
fn node_ports<'a>(services: impl Iterator<Item = &'a Value>) -> BTreeSet<(String, i64)> {
    let of = |service: &'a Value| {
        let ports = items(&service["spec"]["ports"]).iter();
        let ports = ports.map(|port| (text(&port["protocol"]).to_owned(), number(&port["nodePort"])));
        ports.chain([("TCP".to_owned(), number(&service["spec"]["healthCheckNodePort"]))])
    };
    services.flat_map(of).filter(|(_, number)| *number != 0).collect()
}

/// A free one, searched from where `start` points.
fn free_node_port(start: i64, protocol: &str, taken: &BTreeSet<(String, i64)>) -> Option<i64> {
    let all = NODE_PORTS.end() - NODE_PORTS.start() + 1;
    let mut numbers = (0..all).map(|step| NODE_PORTS.start() + (start + step) % all);
    numbers.find(|number| !taken.contains(&(protocol.to_owned(), *number)))
}

/// A port where other machines may ask whether there is an endpoint on this node: a load balancer that sends
/// traffic only to nodes with one (`allocHealthCheckNodePort`).
fn allocate_health_check_port(
    service: &mut Value,
    others: &[&Value],
    salt: u32,
    errors: &mut Vec<FieldError>,
) {
    let needs = needs_health_check(service);
    let own = node_ports(std::iter::once(&*service));
    let taken: BTreeSet<(String, i64)> = node_ports(others.iter().copied()).into_iter().collect();
    let at = Path::new("spec").child("healthCheckNodePort");
    let Some(spec) = object(service, "spec") else { return };
    let wanted = spec.get("healthCheckNodePort").map(number).unwrap_or_default();
    if !needs || errors.iter().any(|error| error.field.to_string().starts_with("spec.ports")) {
        return;
    }
    if wanted == 0 {
        let taken = taken.into_iter().chain(own).collect();
        match free_node_port(i64::from(salt), "TCP", &taken) {
            Some(free) => drop(spec.insert("healthCheckNodePort".into(), free.into())),
            None => errors.push(FieldError::invalid(&at, 0, "failed to allocate a nodePort: range is full")),
        }
    } else if !NODE_PORTS.contains(&wanted) || taken.contains(&("TCP".to_owned(), wanted)) {
        let words = format!(
            "failed to allocate requested HealthCheck NodePort {wanted}: provided port is already allocated"
        );
        errors.push(FieldError::invalid(&at, wanted, words));
    }
}

/// Upstream's `NeedsHealthCheck`.
fn needs_health_check(service: &Value) -> bool {
    service["spec"]["type"] == LOAD_BALANCER && service["spec"]["externalTrafficPolicy"] == "Local"
}

/// An IPv4 range in CIDR form.
struct Range {
    first: u32,
    size: u32,
}

impl Range {
    fn parse(cidr: &str) -> Option<Self> {
        let (address, bits) = cidr.split_once('/')?;
        let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
        let bits: u32 = bits.parse().ok().filter(|bits| (8..=30).contains(bits))?;
        let size = 1u32 << (32 - bits);
        Some(Self { first: address & !(size - 1), size })
    }

    /// Whether the address can be a service's: in the range, and neither its first nor its last.
    fn contains(&self, address: Ipv4Addr) -> bool {
        let offset = u32::from(address).wrapping_sub(self.first);
        offset > 0 && offset < self.size - 1
    }

    /// A free address, searched from where `salt` points, first above the static band and then in it.
    fn pick(&self, salt: u32, is_taken: impl Fn(Ipv4Addr) -> bool) -> Option<Ipv4Addr> {
        let usable = self.size - 2;
        let band = (self.size / 16).clamp(STATIC_BAND.0, STATIC_BAND.1).min(usable);
        let upper =
            (0..usable - band).map(|step| 1 + band + (salt % (usable - band) + step) % (usable - band));
        upper
            .chain(1..=band)
            .map(|offset| Ipv4Addr::from(self.first + offset))
            .find(|address| !is_taken(*address))
    }
}

/// FNV-1a: the same on every machine and in every release.
fn hash(namespace: &str, name: &str) -> u32 {
    let bytes = namespace.bytes().chain([b'/']).chain(name.bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::super::CLUSTER_IP;
    use super::*;

    struct World(Vec<Value>, &'static str);

    impl ClusterView for World {
        fn list(&self, plural: &str) -> &[Value] {
            assert_eq!(plural, "services");
            &self.0
        }
        fn service_cidr(&self) -> &str {
            self.1
        }
    }

    fn service(name: &str, spec: &Value) -> Value {
        json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec})
    }

    fn cluster_ip(service: &Value) -> &str {
        text(&service["spec"]["clusterIP"])
    }

    #[test]
    fn every_service_gets_an_address_of_its_own_until_none_is_left() {
        let mut world = World(Vec::new(), "10.43.0.0/27");
        let mut seen = BTreeSet::new();
        for i in 0..30 {
            let mut new = service(&format!("s{i}"), &json!({"type": CLUSTER_IP}));
            allocate(&mut new, None, &world).expect("a free address");
            assert!(seen.insert(cluster_ip(&new).to_owned()), "{new} twice");
            assert_eq!(new["spec"]["clusterIPs"], json!([cluster_ip(&new)]));
            world.0.push(new);
        }
        let mut one_more = service("late", &json!({"type": CLUSTER_IP}));
        let refusal = allocate(&mut one_more, None, &world).expect_err("31 do not fit");
        assert!(refusal.message.contains("range 10.43.0.0/27 is full"), "{}", refusal.message);
        world.0.pop();
        allocate(&mut one_more, None, &world).expect("the one that was freed");
    }

    #[test]
    fn the_same_service_gets_the_same_address_on_a_fresh_machine() {
        let pick = || {
            let mut new = service("web", &json!({"type": CLUSTER_IP}));
            allocate(&mut new, None, &World(Vec::new(), "10.43.0.0/16")).expect("free");
            cluster_ip(&new).to_owned()
        };
        assert_eq!(pick(), pick());
    }

    #[test]
    fn an_address_asked_for_is_given_or_refused_in_upstreams_words() {
        let check = |ip: &str, expect: &str| {
            let taken = service("dns", &json!({"type": CLUSTER_IP, "clusterIP": "10.43.0.10"}));
            let mut new = service("web", &json!({"type": CLUSTER_IP, "clusterIP": ip, "clusterIPs": [ip]}));
            let outcome = allocate(&mut new, None, &World(vec![taken], "10.43.0.0/16"));
            let said = outcome.map_or_else(|s| s.message, |()| cluster_ip(&new).to_owned());
            assert_eq!(said, expect);
        };
        check("10.43.0.11", "10.43.0.11");
        check("None", "None");
        check(
            "10.43.0.10",
            "Service \"web\" is invalid: spec.clusterIPs: Invalid value: [\"10.43.0.10\"]: failed to allocate IP \
             10.43.0.10: provided IP is already allocated",
        );
        check(
            "10.44.0.1",
            "Service \"web\" is invalid: spec.clusterIPs: Invalid value: [\"10.44.0.1\"]: failed to allocate IP \
             10.44.0.1: the provided IP (10.44.0.1) is not in the valid range. The range of valid IPs is 10.43.0.0/16",
        );
    }

    #[test]
    fn node_ports_are_given_kept_and_never_shared() {
        let spec = |node_port: i64| json!({"type": NODE_PORT, "ports": [{"port": 80, "protocol": "TCP", "nodePort": node_port}]});
        let mut world = World(Vec::new(), "10.43.0.0/16");
        let mut first = service("a", &spec(0));
        allocate(&mut first, None, &world).expect("a port");
        let port = number(&first["spec"]["ports"][0]["nodePort"]);
        assert!(NODE_PORTS.contains(&port));
        world.0.push(first.clone());
        let mut again = service("b", &spec(port));
        let refusal = allocate(&mut again, None, &world).expect_err("taken").message;
        assert!(refusal.contains("spec.ports[0].nodePort"), "{refusal}");
        assert!(refusal.ends_with("provided port is already allocated"), "{refusal}");
        let refusal = allocate(&mut service("c", &spec(80)), None, &world).expect_err("low").message;
        assert!(refusal.ends_with("The range of valid ports is 30000-32767"), "{refusal}");
        // A put of the original manifest keeps both.
        let mut update =
            service("a", &json!({"type": NODE_PORT, "ports": [{"port": 80, "protocol": "TCP"}]}));
        keep_allocated(&mut update, &first);
        allocate(&mut update, Some(&first), &world).expect("its own");
        assert_eq!(update["spec"]["ports"][0]["nodePort"], port);
        assert_eq!(update["spec"]["clusterIP"], first["spec"]["clusterIP"]);
    }

    #[test]
    fn a_load_balancer_that_is_asked_where_its_pods_are_gets_a_port_for_that() {
        let spec = |change: Value| {
            let mut spec = json!({"type": LOAD_BALANCER, "externalTrafficPolicy": "Local",
                "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]});
            spec.as_object_mut().expect("fields").extend(change.as_object().cloned().unwrap_or_default());
            spec
        };
        let mut world = World(Vec::new(), "10.43.0.0/16");
        let mut first = service("a", &spec(json!({})));
        allocate(&mut first, None, &world).expect("a port");
        let port = number(&first["spec"]["healthCheckNodePort"]);
        assert!(NODE_PORTS.contains(&port) && port != 30_080, "{port}");
        world.0.push(first.clone());
        let mut again = service("b", &spec(json!({"healthCheckNodePort": port, "ports": []})));
        let refusal = allocate(&mut again, None, &world).expect_err("taken").message;
        assert!(refusal.contains("spec.healthCheckNodePort"), "{refusal}");
        assert!(refusal.ends_with("provided port is already allocated"), "{refusal}");
        // A put of the original manifest keeps it, and another policy gives it up.
        let mut update = service("a", &spec(json!({})));
        keep_allocated(&mut update, &first);
        assert_eq!(update["spec"]["healthCheckNodePort"], port);
        let mut update =
            service("a", &spec(json!({"externalTrafficPolicy": "Cluster", "healthCheckNodePort": port})));
        keep_allocated(&mut update, &first);
        assert_eq!(update["spec"]["healthCheckNodePort"], Value::Null);
    }

    #[test]
    fn an_external_name_gives_its_address_up() {
        let old =
            service("a", &json!({"type": CLUSTER_IP, "clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"]}));
        let mut new = old.clone();
        new["spec"]["type"] = EXTERNAL_NAME.into();
        allocate(&mut new, Some(&old), &World(vec![old.clone()], "10.43.0.0/16")).expect("fine");
        assert_eq!(new["spec"], json!({"type": EXTERNAL_NAME}));
    }
}
