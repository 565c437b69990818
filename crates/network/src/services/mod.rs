//! Service addresses in nf_tables: cluster IPs, node ports, addresses of load balancers, pods' host ports.
//!
//! A map leads from address, protocol and port to a chain for that *number* of endpoints; the chain draws a
//! random number and a second map leads from there to the endpoint. So services and endpoints are elements
//! of maps, and a change is the difference between two sets of elements, in one transaction: no rule is
//! ever made for a service, and nothing is flushed and filled again, which would lose packets.
//! What kube-proxy's nftables mode does with a chain per service and endpoint (KEP-3866).
//!
//! A port on every address of the host has the address 0.0.0.0 in the maps. Two more kinds of chains stand
//! between the first map and the second: those that keep a client with its endpoint ([`chains`]), and those
//! that let only some sources in.

mod chains;
mod difference;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub(crate) use chains::Chain;
pub(crate) use difference::{Counts, Difference, chains_of};

use crate::cidr::Ipv4Cidr;
use crate::netlink::nft::{DataSpec, ElementData, SetSpec, Table};
use crate::netlink::nft_expr::{CT_STATUS_DNAT, Expressions, Ipv4Field, Is};
use crate::netlink::{Message, NetlinkError, Socket};

const SERVICES: &str = "services";
const ENDPOINTS: &str = "endpoints";
const NO_ENDPOINTS: &str = "no-endpoints";
const HAIRPIN: &str = "hairpin";
/// The endpoints of services whose clients stay with theirs.
const STICKY_ENDPOINTS: &str = "sticky-endpoints";
/// Endpoints that are no pods of this node: their answers must find the way back.
const REMOTE: &str = "remote-endpoints";
/// Which client is with which endpoint; packets fill it, so it is no part of the differences.
const AFFINITY: &str = "affinity";
/// The sets that hold what [`elements`] says.
const SET_NAMES: [&str; 6] = [SERVICES, ENDPOINTS, NO_ENDPOINTS, HAIRPIN, STICKY_ENDPOINTS, REMOTE];
/// Clients whose endpoint is remembered, over all services; others are balanced as if they were new.
const AFFINITY_CLIENTS: u32 = 65_535;

/// Types as the `nft` tool numbers and concatenates them, so that it can show our sets.
const TYPE_IPV4_ADDR: u32 = 7;
const TYPE_INET_PROTO: u32 = 12;
const TYPE_INET_SERVICE: u32 = 13;
const TYPE_MARK: u32 = 19;
const TYPE_SERVICE: u32 = concat(&[TYPE_IPV4_ADDR, TYPE_INET_PROTO, TYPE_INET_SERVICE]);
const TYPE_ENDPOINT: u32 = concat(&[TYPE_IPV4_ADDR, TYPE_INET_SERVICE]);

const fn concat(types: &[u32]) -> u32 {
    let (mut all, mut at) = (0, 0);
    while at < types.len() {
        all = all << 6 | types[at];
        at += 1;
    }
    all
}

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

/// Where a port is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The address; `None`: every address of the host, the loopback's too.
    pub address: Option<Ipv4Addr>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port's number.
    pub port: u16,
}

/// One port of a service at one of its addresses, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRule {
    /// Where it is reached.
    pub at: Frontend,
    /// The endpoints' addresses and target ports; without any, connections are refused.
    pub endpoints: Vec<(Ipv4Addr, u16)>,
    /// Without endpoints, packets get no answer instead of a refusal: there are endpoints, but not for who
    /// comes this way (traffic policy `Local`).
    pub drops_when_empty: bool,
    /// For how many seconds after its last connection a client stays with its endpoint; `None`: it does not.
    pub affinity: Option<u32>,
    /// The ranges that may connect, as addresses and lengths of prefixes; none: everybody may.
    pub sources: Vec<(Ipv4Addr, u8)>,
}

/// Elements by the set that they are in and their key.
pub(crate) type Elements = BTreeMap<(&'static str, Vec<u8>), Option<ElementData>>;

/// What stands for a list of services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) elements: Elements,
    /// The chains that the elements lead to, by name.
    pub(crate) chains: BTreeMap<String, Chain>,
}

/// The sets and maps that [`rules`] and chains look into.
pub(crate) fn sets() -> Vec<SetSpec<'static>> {
    let sticky = concat(&[TYPE_SERVICE, TYPE_IPV4_ADDR]);
    let sticky_endpoint = TYPE_SERVICE << 12 | TYPE_ENDPOINT;
    let remote = concat(&[TYPE_IPV4_ADDR, TYPE_INET_PROTO, TYPE_INET_SERVICE]);
    let endpoint = || Some(DataSpec::Value(TYPE_ENDPOINT, 8));
    let set = |name, id, key, data| SetSpec { name, id, key, data, learns: None };
    vec![
        set(SERVICES, 1, (TYPE_SERVICE, 12), Some(DataSpec::Verdict)),
        set(ENDPOINTS, 2, (TYPE_SERVICE << 6 | TYPE_MARK, 16), endpoint()),
        set(NO_ENDPOINTS, 3, (TYPE_SERVICE, 12), None),
        set(HAIRPIN, 4, (concat(&[TYPE_IPV4_ADDR, TYPE_IPV4_ADDR]), 8), None),
        set(STICKY_ENDPOINTS, 5, (sticky_endpoint, 20), None),
        set(REMOTE, 6, (remote, 12), None),
        SetSpec { learns: Some(AFFINITY_CLIENTS), ..set(AFFINITY, 7, (sticky, 16), endpoint()) },
    ]
}

/// The rules that all services share.
pub(crate) fn rules(table: &Table) -> Vec<Message> {
    let mut messages = Vec::new();
    for chain in ["prerouting", "output"] {
        messages.push(table.append_rule(chain, "service addresses", |rule| {
            load_service(rule, false).map_to_verdict(SERVICES)
        }));
        messages.push(table.append_rule(chain, "ports of the host", |rule| {
            load_service(rule.destined_for_this_host(), true).map_to_verdict(SERVICES)
        }));
    }
    for chain in ["forward", "input", "output-filter"] {
        messages.push(table.append_rule(chain, "no endpoints", |rule| {
            load_service(rule, false).in_set(NO_ENDPOINTS).reject()
        }));
    }
    for chain in ["input", "output-filter"] {
        messages.push(table.append_rule(chain, "ports of the host without endpoints", |rule| {
            load_service(rule.destined_for_this_host(), true).in_set(NO_ENDPOINTS).reject()
        }));
    }
    messages.push(table.append_rule("postrouting", "a pod that reaches itself through a service", |rule| {
        rule.ct_status(Is::Equal, CT_STATUS_DNAT)
            .load_ipv4(Ipv4Field::Source, 0)
            .load_ipv4(Ipv4Field::Destination, 1)
            .in_set(HAIRPIN)
            .masquerade()
    }));
    messages.push(table.append_rule(
        "postrouting",
        "an endpoint elsewhere answers by way of the host",
        |rule| {
            load_service(
                rule.ct_status(Is::Equal, CT_STATUS_DNAT).output_interface(Is::NotEqual, "lo"),
                false,
            )
            .in_set(REMOTE)
            .masquerade()
        },
    ));
    messages
}

/// Destination, protocol and port into registers 0 to 2; on every address of the host, that is 0.0.0.0.
fn load_service(rule: Expressions, any_of_host: bool) -> Expressions {
    let rule = if any_of_host {
        rule.load_constant(Ipv4Addr::UNSPECIFIED.octets(), 0)
    } else {
        rule.load_ipv4(Ipv4Field::Destination, 0)
    };
    rule.load_protocol(1).load_destination_port(2)
}

/// The elements and chains that stand for these services, where pods have these addresses.
pub(crate) fn wanted(services: &[ServiceRule], pods: Ipv4Cidr) -> Wanted {
    let mut wanted = Wanted::default();
    for service in services {
        wanted.add(service, pods);
    }
    wanted
}

impl Wanted {
    fn add(&mut self, service: &ServiceRule, pods: Ipv4Cidr) {
        let key = service.at.key();
        if service.endpoints.is_empty() {
            let dropped = service.drops_when_empty;
            let (set, data) =
                if dropped { (SERVICES, Some(ElementData::Drop)) } else { (NO_ENDPOINTS, None) };
            self.elements.insert((set, key), data);
            return;
        }
        let chain = Chain::of(service);
        self.elements.insert((SERVICES, key.clone()), Some(ElementData::Goto(chain.name())));
        for chain in chain.with_what_it_leads_to() {
            self.chains.insert(chain.name(), chain);
        }
        for (index, (ip, port)) in (0u32..).zip(&service.endpoints) {
            let endpoint = [&ip.octets()[..], &port.to_be_bytes(), &[0, 0]].concat();
            if service.affinity.is_some() {
                self.elements.insert((STICKY_ENDPOINTS, [&key[..], &endpoint].concat()), None);
            }
            let at = [&key[..], &index.to_ne_bytes()].concat();
            self.elements.insert((ENDPOINTS, at), Some(ElementData::Value(endpoint)));
            if pods.contains(*ip) {
                self.elements.insert((HAIRPIN, [ip.octets(), ip.octets()].concat()), None);
            } else {
                let remote = Frontend { address: Some(*ip), port: *port, ..service.at };
                self.elements.insert((REMOTE, remote.key()), None);
            }
        }
    }
}

impl Frontend {
    /// The fields of a concatenated key begin at multiples of four bytes.
    fn key(&self) -> Vec<u8> {
        let mut key = self.address.unwrap_or(Ipv4Addr::UNSPECIFIED).octets().to_vec();
        key.extend([self.protocol as u8, 0, 0, 0]);
        key.extend(self.port.to_be_bytes());
        key.extend([0, 0]);
        key
    }
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
