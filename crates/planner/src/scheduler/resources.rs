//! What pods ask for and what nodes have (`pkg/scheduler/framework/plugins/noderesources`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use apimachinery::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, ContainerPort, Node, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::pods::{RESIZE_PENDING, condition, container_statuses, spec};

/// Amounts by resource name: millicores for `cpu`, bytes or units for all else.
pub(super) type Amounts<'w> = BTreeMap<&'w str, i64>;

/// A host port that a pod takes: address, protocol, number.
pub(super) type HostPort = (String, String, i32);

/// The resource that counts pods.
const PODS: &str = "pods";

/// Too little of something: millicores for `cpu`, bytes or units for all else.
pub(crate) struct Shortage {
    /// `memory`.
    pub(crate) resource: String,
    /// What the pod asks for.
    pub(crate) requested: i64,
    /// What other pods have asked for.
    pub(crate) used: i64,
    /// What there is for pods.
    pub(crate) capacity: i64,
}

/// The scheduler's words for it.
impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.resource == PODS {
            return f.write_str("Too many pods");
        }
        write!(f, "Insufficient {}", self.resource)
    }
}

/// One node and what is taken of it.
pub(super) struct NodeInfo<'w> {
    /// The node.
    pub(super) node: &'w Node,
    /// What its pods ask for, all together; `pods` counts them.
    pub(super) requested: Amounts<'w>,
    /// What it has for pods.
    pub(super) allocatable: Amounts<'w>,
    /// Host ports that are taken.
    pub(super) host_ports: BTreeSet<HostPort>,
}

impl<'w> NodeInfo<'w> {
    /// A node with nothing on it.
    pub(super) fn new(node: &'w Node) -> Self {
        let status = node.status.as_ref();
        let amounts = status.and_then(|s| s.allocatable.as_ref().or(s.capacity.as_ref()));
        let allocatable = amounts
            .into_iter()
            .flatten()
            .map(|(resource, amount)| (resource.as_str(), parse(resource, &amount.0)))
            .collect();
        Self { node, requested: Amounts::new(), allocatable, host_ports: BTreeSet::new() }
    }

    /// Counts a pod in.
    pub(super) fn add(&mut self, pod: &'w Pod) {
        for (resource, amount) in requests(pod) {
            *self.requested.entry(resource).or_default() += amount;
        }
        *self.requested.entry(PODS).or_default() += 1;
        self.host_ports.extend(host_ports(pod));
    }

    /// What there is too little of for the pod.
    pub(super) fn shortages(&self, pod: &Pod) -> Vec<Shortage> {
        let of = |amounts: &Amounts<'_>, resource: &str| amounts.get(resource).copied().unwrap_or(0);
        let mut wanted = vec![];
        if self.allocatable.contains_key(PODS) {
            wanted.push((PODS, 1));
        }
        wanted.extend(requests(pod).into_iter().filter(|(_, amount)| *amount > 0));
        let short = |(resource, requested): (&str, i64)| {
            let (used, capacity) = (of(&self.requested, resource), of(&self.allocatable, resource));
            let is_short = requested > capacity.saturating_sub(used);
            is_short.then(|| Shortage { resource: resource.to_owned(), requested, used, capacity })
        };
        wanted.into_iter().filter_map(short).collect()
    }

    /// How much of the node would be free with the pod on it, in thousandths: the mean over cpu and memory
    /// (`LeastAllocated`).
    pub(super) fn least_allocated(&self, pod: &Pod) -> i64 {
        let asked = requests(pod);
        let free = ["cpu", "memory"].map(|resource| {
            let of = |amounts: &Amounts<'_>| amounts.get(resource).copied().unwrap_or(0);
            let all = of(&self.allocatable);
            let taken = of(&self.requested).saturating_add(of(&asked));
            if all <= 0 {
                0
            } else {
                i64::try_from(i128::from(all - taken) * 1000 / i128::from(all)).unwrap_or(0)
            }
        });
        free.iter().sum::<i64>() / 2
    }

    /// The first host port that the pod wants and that is taken.
    pub(super) fn port_conflict(&self, pod: &Pod) -> Option<i32> {
        let is_taken = |(address, protocol, port): &HostPort| {
            self.host_ports.iter().any(|(held_address, held_protocol, held_port)| {
                let overlap = address == held_address || address == ANY || held_address == ANY;
                overlap && protocol == held_protocol && port == held_port
            })
        };
        host_ports(pod).find(is_taken).map(|(_, _, port)| port)
    }
}

/// All addresses of a host.
const ANY: &str = "0.0.0.0";

/// Those of the containers and the sidecars (`schedutil.GetHostPorts`).
fn host_ports(pod: &Pod) -> impl Iterator<Item = HostPort> {
    ports_on_host(pod).filter_map(|port| {
        let address = port.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| ANY.to_owned());
        Some((address, port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), port.host_port?))
    })
}

/// The ports of containers and sidecars that are to be the host's too.
pub(crate) fn ports_on_host(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let is_sidecar = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    let containers = spec(pod)
        .into_iter()
        .flat_map(move |s| s.init_containers.iter().flatten().filter(is_sidecar).chain(&s.containers));
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    ports.filter(|port| port.host_port.is_some_and(|number| number > 0))
}

/// What a pod asks for: all containers and sidecars together, or the greediest init container with the
/// sidecars that were started before it, whichever is more; and the overhead (`resourcehelper.PodRequests`).
pub(super) fn requests(pod: &Pod) -> Amounts<'_> {
    let Some(spec) = spec(pod) else { return Amounts::new() };
    let mut running = Amounts::new();
    for container in &spec.containers {
        add(&mut running, held_requests(pod, container));
    }
    let mut sidecars = Amounts::new();
    let mut at_start = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let asked = held_requests(pod, container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sidecars, asked);
            at_least(&mut at_start, &sidecars);
        } else {
            let mut with = sidecars.clone();
            add(&mut with, asked);
            at_least(&mut at_start, &with);
        }
    }
    add(&mut running, sidecars);
    at_least(&mut running, &at_start);
    let overhead = spec.overhead.iter().flatten().map(|(k, v)| (k.as_str(), parse(k, &v.0)));
    add(&mut running, overhead.collect());
    running
}

/// What a container asks for, or still has where a resize is under way, whichever is more; what cannot be had counts
/// for nothing (`determineContainerReqs` of `resourcehelper`).
fn held_requests<'p>(pod: &'p Pod, container: &'p Container) -> Amounts<'p> {
    let status = container_statuses(pod).find(|status| status.name == container.name);
    let held = status.and_then(|status| status.resources.as_ref()?.requests.as_ref());
    let allocated = status.and_then(|status| status.allocated_resources.as_ref());
    let asked = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    let refused = condition(pod, RESIZE_PENDING).and_then(|pending| pending.reason.as_deref());
    let has_any = held.is_some() || allocated.is_some();
    let mut most = if refused == Some("Infeasible") && has_any { Amounts::new() } else { amounts(asked) };
    at_least(&mut most, &amounts(allocated));
    at_least(&mut most, &amounts(held));
    most
}

fn amounts(list: Option<&BTreeMap<String, Text>>) -> Amounts<'_> {
    let entries = list.into_iter().flatten();
    entries.map(|(resource, amount)| (resource.as_str(), parse(resource, &amount.0))).collect()
}

fn add<'w>(to: &mut Amounts<'w>, more: Amounts<'w>) {
    for (resource, amount) in more {
        let sum = to.entry(resource).or_default();
        *sum = sum.saturating_add(amount);
    }
}

fn at_least<'w>(to: &mut Amounts<'w>, least: &Amounts<'w>) {
    for (resource, amount) in least {
        let held = to.entry(resource).or_default();
        *held = (*held).max(*amount);
    }
}

fn parse(resource: &str, amount: &str) -> i64 {
    let Ok(amount) = Quantity::parse(amount) else { return 0 };
    if resource == "cpu" { amount.milli_value() } else { amount.value() }
}
