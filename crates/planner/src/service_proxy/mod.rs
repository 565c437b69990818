//! What the kernel is to do for services on one node: which address, protocol and port leads to which
//! endpoints (`pkg/proxy`), and which load balancers the node's own address stands for.
//!
//! It is asked for as a whole by the node, which tells it of the host's addresses and afterwards of ports
//! that somebody else has. Endpoints come from EndpointSlices, but a pod that is known to be gone,
//! terminating or not ready is left out before its slice says so: new connections never go to one.

mod balancers;
mod endpoints;
mod health_check;
mod places;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

pub(crate) use balancers::trouble;
pub use balancers::{PORTS_ERROR_CONDITION, statuses};
pub use health_check::HealthCheck;

use crate::endpoint_slice::SERVICE_NAME_LABEL;
use crate::objects::{label, name, namespace};
use crate::plan::ObjectRef;
use crate::pods::node_name;
use crate::world::{World, object_ref};

/// Why a port of the host does not lead to a service. Conditions and events carry them.
pub mod reasons {
    /// A process of the machine, another service or a pod has the port.
    pub const PORT_TAKEN: &str = "PortTaken";
    /// `spec.loadBalancerIP` is no address of the host.
    pub const ADDRESS_NOT_HERE: &str = "AddressNotHere";
}

/// The addresses of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAddresses {
    /// The one that others know it by: load balancers get it.
    pub main: Ipv4Addr,
    /// All of them.
    pub all: Vec<Ipv4Addr>,
}

/// Where a port is reached; `None`: on every address of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The address.
    pub address: Option<Ipv4Addr>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: &'static str,
    /// The port's number.
    pub port: u16,
}

/// What a place is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// `spec.clusterIP`.
    ClusterIp,
    /// `spec.ports[].nodePort`.
    NodePort,
    /// The host's address, for a service of type LoadBalancer.
    Balancer,
    /// `spec.externalIPs`, and addresses that somebody else's load balancer has.
    External,
    /// A pod's `hostPort`.
    HostPort,
}

/// Where a place leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where it is reached.
    pub at: Place,
    /// Why it is there.
    pub purpose: Purpose,
    /// The service or the pod that it is for.
    pub owner: ObjectRef,
    /// Addresses and ports; none: connections are refused.
    pub endpoints: Vec<(Ipv4Addr, u16)>,
    /// There are endpoints, and none of them is for who comes this way: no answer.
    pub drops_when_empty: bool,
    /// For how many seconds a client stays with its endpoint.
    pub affinity: Option<u32>,
    /// Who may connect; none: everybody.
    pub sources: Vec<(Ipv4Addr, u8)>,
}

/// Why an owner does not get a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The place.
    pub at: Place,
    /// What for.
    pub purpose: Purpose,
    /// Whose it would be.
    pub owner: ObjectRef,
    /// One of [`reasons`].
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// All that the kernel is to do, and what cannot be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// By place.
    pub rules: BTreeMap<Place, Rule>,
    /// Places that another one has.
    pub refusals: Vec<Refusal>,
    /// What balancers elsewhere are answered, by port.
    pub health_checks: BTreeMap<u16, HealthCheck>,
}

/// What the kernel is to do on this node.
pub fn plan(world: &World, node: &str, host: &HostAddresses) -> Proxy {
    let slices = slices_by_service(world);
    let mut places = places::Places::new(host);
    let mut services: Vec<&Service> = world.services.iter().map(|service| &**service).collect();
    // Who has an address keeps it, then whoever asked first.
    services.sort_by_key(|service| {
        let meta = &service.metadata;
        (
            !balancers::has_address(service),
            meta.creation_timestamp.as_ref().map(|t| t.0),
            namespace(meta),
            name(meta),
        )
    });
    let (published, others): (Vec<_>, Vec<_>) = services.into_iter().partition(|s| balancers::has_address(s));
    let view = |service| View::new(world, node, service, &slices);
    for service in published {
        view(service).add(&mut places);
    }
    for pod in world.pods.iter().filter(|pod| node_name(pod) == Some(node)) {
        places.add_host_ports(pod);
    }
    for service in others {
        view(service).add(&mut places);
    }
    places.proxy
}

impl Proxy {
    /// Leaves out what cannot be because others have the ports. A load balancer has all of its ports or none.
    #[must_use]
    pub fn without(mut self, taken: &[Place]) -> Self {
        for rule in taken.iter().filter_map(|at| self.rules.get(at)) {
            self.refusals.push(Refusal {
                at: rule.at,
                purpose: rule.purpose,
                owner: rule.owner.clone(),
                reason: reasons::PORT_TAKEN,
                message: format!("port {} is taken by a process of this machine", rule.at),
            });
        }
        let refusals = &self.refusals;
        self.rules.retain(|at, rule| {
            let of_balancer =
                |refusal: &&Refusal| refusal.purpose == Purpose::Balancer && refusal.owner == rule.owner;
            let incomplete = rule.purpose == Purpose::Balancer && refusals.iter().any(|r| of_balancer(&r));
            !incomplete && !taken.contains(at)
        });
        self
    }

    /// The places that nobody else on this machine may have: those at addresses of the host.
    pub fn claims(&self, host: &HostAddresses) -> Vec<Place> {
        let on_host = |at: &Place| at.address.is_none_or(|ip| ip.is_loopback() || host.all.contains(&ip));
        let rules = self.rules.values().filter(|rule| rule.purpose != Purpose::ClusterIp);
        rules.map(|rule| rule.at).filter(on_host).collect()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)?;
        self.address.map_or(Ok(()), |address| write!(f, " of {address}"))
    }
}

/// A protocol as it is written in places.
fn protocol(name: Option<&str>) -> &'static str {
    match name {
        Some("UDP") => "UDP",
        Some("SCTP") => "SCTP",
        _ => "TCP",
    }
}

fn port_number(number: Option<i32>) -> Option<u16> {
    number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number != 0)
}

type Slices<'w> = BTreeMap<(&'w str, &'w str), Vec<&'w EndpointSlice>>;

fn slices_by_service(world: &World) -> Slices<'_> {
    let mut all = Slices::new();
    for slice in world.endpoint_slices.iter().filter(|slice| slice.address_type == "IPv4") {
        if let Some(service) = label(&slice.metadata, SERVICE_NAME_LABEL) {
            all.entry((namespace(&slice.metadata), service)).or_default().push(slice);
        }
    }
    all
}

/// A service and what is known of its endpoints.
struct View<'w> {
    world: &'w World,
    node: &'w str,
    service: &'w Service,
    slices: &'w [&'w EndpointSlice],
}

impl<'w> View<'w> {
    fn new(world: &'w World, node: &'w str, service: &'w Service, slices: &'w Slices<'w>) -> Self {
        let key = (namespace(&service.metadata), name(&service.metadata));
        Self { world, node, service, slices: slices.get(&key).map_or(&[], Vec::as_slice) }
    }

    fn add(&self, places: &mut places::Places<'_>) {
        let Some(spec) = &self.service.spec else { return };
        // `None` and the empty string are no addresses: headless, or not allocated.
        let Some(cluster_ip) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok()) else { return };
        if spec.type_.as_deref() == Some("ExternalName") {
            return;
        }
        places.proxy.health_checks.extend(self.health_check(spec));
        let balancer = balancers::addresses(self.service, places.host);
        for port in spec.ports.iter().flatten() {
            let Some(number) = port_number(Some(port.port)) else { continue };
            let rule = |address, port_number, purpose| self.rule(spec, port, address, port_number, purpose);
            places.add(rule(Some(cluster_ip), number, Purpose::ClusterIp));
            if let Some(node_port) = port_number(port.node_port) {
                places.add(rule(None, node_port, Purpose::NodePort));
            }
            for ip in spec.external_ips.iter().flatten().filter_map(|ip| ip.parse().ok()) {
                places.add(rule(Some(ip), number, Purpose::External));
            }
            match &balancer {
                Ok((purpose, addresses)) => {
                    for address in addresses {
                        places.add(rule(Some(*address), number, *purpose));
                    }
                }
                Err(address) => places.refuse_address(&rule(None, number, Purpose::Balancer), address),
            }
        }
    }

    fn rule(
        &self,
        spec: &ServiceSpec,
        port: &ServicePort,
        address: Option<Ipv4Addr>,
        number: u16,
        purpose: Purpose,
    ) -> Rule {
        let policy = if purpose == Purpose::ClusterIp {
            &spec.internal_traffic_policy
        } else {
            &spec.external_traffic_policy
        };
        let local = policy.as_deref() == Some("Local");
        let endpoints = self.endpoints(port, local);
        let sticky = spec.session_affinity.as_deref() == Some("ClientIP");
        let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
        let seconds = config.and_then(|ip| ip.timeout_seconds).unwrap_or(DEFAULT_AFFINITY_SECONDS);
        let balanced = spec.type_.as_deref() == Some("LoadBalancer")
            && matches!(purpose, Purpose::Balancer | Purpose::External);
        let ranges = spec.load_balancer_source_ranges.iter().flatten().filter(|_| balanced);
        Rule {
            at: Place { address, protocol: protocol(port.protocol.as_deref()), port: number },
            purpose,
            owner: object_ref(self.service),
            drops_when_empty: local && endpoints.is_empty() && !self.endpoints(port, false).is_empty(),
            endpoints,
            affinity: sticky.then(|| u32::try_from(seconds).unwrap_or(0)),
            sources: ranges.filter_map(|range| parse_range(range.trim())).collect(),
        }
    }
}

/// Upstream's default, for services from before it was written down.
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

fn parse_range(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (network, len) = text.split_once('/')?;
    Some((network.parse().ok()?, len.parse().ok().filter(|len| *len <= 32)?))
}
