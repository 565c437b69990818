//! Who gets which place: whoever comes first, and the others are told.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Pod;

use super::{HostAddresses, Place, Proxy, Purpose, Refusal, Rule, port_number, protocol, reasons};
use crate::objects::spoken;
use crate::plan::ObjectRef;
use crate::pods::{address, is_terminal, spec};
use crate::scheduler::ports_on_host;
use crate::world::object_ref;

/// The places that are given so far.
pub(super) struct Places<'h> {
    pub(super) host: &'h HostAddresses,
    pub(super) proxy: Proxy,
}

impl<'h> Places<'h> {
    pub(super) fn new(host: &'h HostAddresses) -> Self {
        Self { host, proxy: Proxy::default() }
    }

    /// Gives a place to whom the rule is for, or says who has it.
    pub(super) fn add(&mut self, rule: Rule) {
        match self.holder(&rule).cloned() {
            None => drop(self.proxy.rules.insert(rule.at, rule)),
            // A service may name the host's address once more among its external ones.
            Some(holder) if holder == rule.owner => {}
            Some(holder) => {
                let by = format!("{} of namespace {}", spoken(&holder), holder.namespace);
                let message = format!("port {} is taken by {by}", rule.at);
                self.refuse(&rule, reasons::PORT_TAKEN, message);
            }
        }
    }

    fn refuse(&mut self, rule: &Rule, reason: &'static str, message: String) {
        let (at, purpose, owner) = (rule.at, rule.purpose, rule.owner.clone());
        self.proxy.refusals.push(Refusal { at, purpose, owner, reason, message });
    }

    /// The address that a load balancer asks for is not the host's.
    pub(super) fn refuse_address(&mut self, rule: &Rule, wanted: &str) {
        let message = format!("spec.loadBalancerIP {wanted} is no address of this host");
        self.refuse(rule, reasons::ADDRESS_NOT_HERE, message);
    }

    /// Every address of the host and one of them are the same place.
    fn holder(&self, rule: &Rule) -> Option<&ObjectRef> {
        let at = rule.at;
        let place = |address| self.proxy.rules.get(&Place { address, ..at });
        let exact = place(at.address);
        let wider = || match at.address {
            Some(ip) if self.is_host(ip) => place(None),
            Some(_) => None,
            None => self
                .host
                .all
                .iter()
                .find_map(|ip| place(Some(*ip)).filter(|r| r.purpose != Purpose::ClusterIp)),
        };
        exact.or_else(wider).map(|rule| &rule.owner)
    }

    fn is_host(&self, ip: Ipv4Addr) -> bool {
        ip.is_loopback() || self.host.all.contains(&ip)
    }

    /// Ports of the host that lead to one pod, as long as it has an address. A pod in the host's network has
    /// them itself.
    pub(super) fn add_host_ports(&mut self, pod: &Pod) {
        let in_host_network = spec(pod).and_then(|spec| spec.host_network).unwrap_or(false);
        let ip = address(pod).and_then(|ip| ip.parse().ok());
        let Some(ip) = ip.filter(|_| !in_host_network && !is_terminal(pod)) else { return };
        for port in ports_on_host(pod) {
            let (Some(number), Some(target)) =
                (port_number(port.host_port), port_number(Some(port.container_port)))
            else {
                continue;
            };
            let address = port.host_ip.as_deref().and_then(|ip| ip.parse::<Ipv4Addr>().ok());
            let address = address.filter(|ip| !ip.is_unspecified());
            self.add(Rule {
                at: Place { address, protocol: protocol(port.protocol.as_deref()), port: number },
                purpose: Purpose::HostPort,
                owner: object_ref(pod),
                endpoints: vec![(ip, target)],
                drops_when_empty: false,
                affinity: None,
                sources: Vec::new(),
            });
        }
    }
}
