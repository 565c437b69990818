//! Service addresses (ClusterIP) in nf_tables.
//!
//! A map leads from address, protocol and port to a chain for that *number* of endpoints; the chain draws a
//! random number and a second map leads from there to the endpoint. So services and endpoints are elements
//! of maps, and a change is the difference between two sets of elements, in one transaction: no rule is
//! ever made for a service, and nothing is flushed and filled again, which would lose packets.
//! What kube-proxy's nftables mode does with a chain per service and endpoint (KEP-3866).

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::netlink::nft::{DataSpec, Element, ElementData, SetSpec, Table};
use crate::netlink::nft_expr::{CT_STATUS_DNAT, Expressions, Ipv4Field, Is};
use crate::netlink::{Message, NetlinkError, Socket};

const SERVICES: &str = "services";
const ENDPOINTS: &str = "endpoints";
const NO_ENDPOINTS: &str = "no-endpoints";
const HAIRPIN: &str = "hairpin";
const SET_NAMES: [&str; 4] = [SERVICES, ENDPOINTS, NO_ENDPOINTS, HAIRPIN];

/// Types as the `nft` tool numbers and concatenates them, so that it can show our sets.
const TYPE_IPV4_ADDR: u32 = 7;
const TYPE_INET_PROTO: u32 = 12;
const TYPE_INET_SERVICE: u32 = 13;
const TYPE_MARK: u32 = 19;
const TYPE_SERVICE: u32 = (TYPE_IPV4_ADDR << 6 | TYPE_INET_PROTO) << 6 | TYPE_INET_SERVICE;

/// A transport protocol; the number is the one in the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// `TCP`
    Tcp = 6,
    /// `UDP`
    Udp = 17,
    /// `SCTP`
    Sctp = 132,
}

/// One port of a service and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRule {
    /// `spec.clusterIP`.
    pub cluster_ip: Ipv4Addr,
    /// `spec.ports[].port`.
    pub port: u16,
    /// `spec.ports[].protocol`.
    pub protocol: Protocol,
    /// The ready endpoints' addresses and target ports; without any, connections are refused.
    pub endpoints: Vec<(Ipv4Addr, u16)>,
}

/// Elements by the set that they are in and their key.
pub(crate) type Elements = BTreeMap<(&'static str, Vec<u8>), Option<ElementData>>;

/// The sets and maps that [`rules`] look into.
pub(crate) fn sets() -> [SetSpec<'static>; 4] {
    let endpoint = DataSpec::Value(TYPE_IPV4_ADDR << 6 | TYPE_INET_SERVICE, 8);
    [
        SetSpec { name: SERVICES, id: 1, key: (TYPE_SERVICE, 12), data: Some(DataSpec::Verdict) },
        SetSpec { name: ENDPOINTS, id: 2, key: (TYPE_SERVICE << 6 | TYPE_MARK, 16), data: Some(endpoint) },
        SetSpec { name: NO_ENDPOINTS, id: 3, key: (TYPE_SERVICE, 12), data: None },
        SetSpec { name: HAIRPIN, id: 4, key: (TYPE_IPV4_ADDR << 6 | TYPE_IPV4_ADDR, 8), data: None },
    ]
}

/// The rules that all services share.
pub(crate) fn rules(table: &Table) -> Vec<Message> {
    let to_endpoint = |chain| {
        table.append_rule(chain, "service addresses", |rule| load_service(rule).map_to_verdict(SERVICES))
    };
    let refuse = |chain| {
        table.append_rule(chain, "no endpoints", |rule| load_service(rule).in_set(NO_ENDPOINTS).reject())
    };
    let hairpin = table.append_rule("postrouting", "a pod that reaches itself through a service", |rule| {
        rule.ct_status(Is::Equal, CT_STATUS_DNAT)
            .load_ipv4(Ipv4Field::Source, 0)
            .load_ipv4(Ipv4Field::Destination, 1)
            .in_set(HAIRPIN)
            .masquerade()
    });
    vec![
        to_endpoint("prerouting"),
        to_endpoint("output"),
        refuse("forward"),
        refuse("output-filter"),
        hairpin,
    ]
}

/// Destination, protocol and port into registers 0 to 2.
fn load_service(rule: Expressions) -> Expressions {
    rule.load_ipv4(Ipv4Field::Destination, 0).load_protocol(1).load_destination_port(2)
}

/// The elements that stand for these services.
pub(crate) fn elements(services: &[ServiceRule]) -> Elements {
    let mut elements = Elements::new();
    for service in services {
        let key = service.key();
        if service.endpoints.is_empty() {
            elements.insert((NO_ENDPOINTS, key), None);
            continue;
        }
        let chain = chain_name(service.endpoints.len());
        elements.insert((SERVICES, key.clone()), Some(ElementData::Goto(chain)));
        for (index, (ip, port)) in (0u32..).zip(&service.endpoints) {
            let endpoint_key = [&key[..], &index.to_ne_bytes()].concat();
            let endpoint = [&ip.octets()[..], &port.to_be_bytes(), &[0, 0]].concat();
            elements.insert((ENDPOINTS, endpoint_key), Some(ElementData::Value(endpoint)));
            elements.insert((HAIRPIN, [ip.octets(), ip.octets()].concat()), None);
        }
    }
    elements
}

impl ServiceRule {
    /// The fields of a concatenated key begin at multiples of four bytes.
    fn key(&self) -> Vec<u8> {
        let mut key = self.cluster_ip.octets().to_vec();
        key.extend([self.protocol as u8, 0, 0, 0]);
        key.extend(self.port.to_be_bytes());
        key.extend([0, 0]);
        key
    }
}

fn chain_name(endpoints: usize) -> String {
    format!("endpoints-{endpoints}")
}

/// The elements that the kernel has, for instance from before a restart.
pub(crate) fn load(table: &Table, socket: &mut Socket) -> Result<Elements, NetlinkError> {
    let mut elements = Elements::new();
    for set in SET_NAMES {
        for element in table.list_elements(socket, set)? {
            elements.insert((set, element.key), element.data);
        }
    }
    Ok(elements)
}

/// What leads from one state to another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Numbers of endpoints for which there is no chain yet.
    pub(crate) chains: BTreeSet<usize>,
    pub(crate) removed: BTreeMap<&'static str, Vec<Element>>,
    pub(crate) added: BTreeMap<&'static str, Vec<Element>>,
}

/// The difference between what is and what shall be, given which chains there are.
pub(crate) fn difference(is: &Elements, shall: &Elements, chains: &BTreeSet<usize>) -> Difference {
    let mut difference = Difference::default();
    let element = |key: &[u8], data: &Option<ElementData>| Element { key: key.to_vec(), data: data.clone() };
    for (at, data) in is {
        if shall.get(at) != Some(data) {
            difference.removed.entry(at.0).or_default().push(element(&at.1, data));
        }
    }
    for (at, data) in shall {
        if is.get(at) != Some(data) {
            difference.added.entry(at.0).or_default().push(element(&at.1, data));
        }
    }
    difference.chains = chains_of(shall).difference(chains).copied().collect();
    difference
}

/// The numbers of endpoints whose chains these elements lead to. Chains are never removed.
pub(crate) fn chains_of(elements: &Elements) -> BTreeSet<usize> {
    let chain = |data: &Option<ElementData>| match data {
        Some(ElementData::Goto(chain)) => chain.strip_prefix("endpoints-")?.parse().ok(),
        _ => None,
    };
    elements.values().filter_map(chain).collect()
}

impl Difference {
    /// The messages of one transaction: chains first, then what goes, then what comes.
    pub(crate) fn messages(&self, table: &Table) -> Vec<Message> {
        let mut messages = Vec::new();
        for endpoints in &self.chains {
            let chain = chain_name(*endpoints);
            let modulus = u32::try_from(*endpoints).unwrap_or(u32::MAX);
            messages.push(table.add_chain(&chain));
            messages.push(table.flush_chain(&chain));
            messages.push(table.append_rule(&chain, "one of them", |rule| {
                load_service(rule).load_random(modulus, 3).map_to_register(ENDPOINTS, 4).dnat(4, 5)
            }));
        }
        for (set, elements) in &self.removed {
            messages.extend(table.delete_elements(set, elements));
        }
        for (set, elements) in &self.added {
            messages.extend(table.add_elements(set, elements));
        }
        messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(last: u8, endpoints: &[u8]) -> ServiceRule {
        ServiceRule {
            cluster_ip: Ipv4Addr::new(10, 43, 0, last),
            port: 80,
            protocol: Protocol::Tcp,
            endpoints: endpoints.iter().map(|pod| (Ipv4Addr::new(10, 42, 0, *pod), 8080)).collect(),
        }
    }

    /// How many elements go from and come into each set.
    fn counts(difference: &Difference) -> Vec<(&'static str, usize, usize)> {
        let count = |side: &BTreeMap<&'static str, Vec<Element>>, set| {
            side.get(set).map_or(0, |elements| elements.len())
        };
        SET_NAMES
            .into_iter()
            .map(|set| (set, count(&difference.removed, set), count(&difference.added, set)))
            .filter(|(_, removed, added)| removed + added > 0)
            .collect()
    }

    #[test]
    fn the_same_services_make_no_difference() {
        let services = elements(&[service(1, &[2, 3]), service(2, &[])]);
        let chains = BTreeSet::from([2]);
        assert_eq!(difference(&services, &services, &chains), Difference::default());
    }

    #[test]
    fn a_new_endpoint_touches_only_its_service() {
        let is = elements(&[service(1, &[2, 3]), service(2, &[4])]);
        let shall = elements(&[service(1, &[2, 3, 5]), service(2, &[4])]);
        let difference = difference(&is, &shall, &BTreeSet::from([1, 2]));
        assert_eq!(counts(&difference), [(SERVICES, 1, 1), (ENDPOINTS, 0, 1), (HAIRPIN, 0, 1)]);
        assert_eq!(difference.chains, BTreeSet::from([3]));
    }

    #[test]
    fn a_service_that_loses_its_last_endpoint_refuses() {
        let is = elements(&[service(1, &[2])]);
        let difference = difference(&is, &elements(&[service(1, &[])]), &BTreeSet::from([1]));
        assert_eq!(
            counts(&difference),
            [(SERVICES, 1, 0), (ENDPOINTS, 1, 0), (NO_ENDPOINTS, 0, 1), (HAIRPIN, 1, 0)]
        );
        assert_eq!(difference.chains, BTreeSet::new());
    }
}
