//! The chains that the map of services leads to. What a chain does follows from its name alone, so one that
//! is there never has to change, and chains are shared by all services that want the same.

use std::fmt::Write;
use std::net::Ipv4Addr;

use super::{AFFINITY, ENDPOINTS, STICKY_ENDPOINTS, ServiceRule, load_service};
use crate::netlink::Message;
use crate::netlink::nft::{Table, Verdict};
use crate::netlink::nft_expr::{Expressions, Ipv4Field, Is};

/// A chain that decides where a new connection goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    /// One of the endpoints.
    Balance(Balance),
    /// Goes on only for sources in these ranges.
    From(Vec<(Ipv4Addr, u8)>, Balance),
}

/// How one of some endpoints is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Balance {
    /// How many there are.
    pub(crate) endpoints: usize,
    /// The port is one on every address of the host.
    pub(crate) any_of_host: bool,
    /// For how many seconds a client stays with its endpoint.
    pub(crate) affinity: Option<u32>,
}

impl Chain {
    /// The one that a service with endpoints leads to.
    pub(super) fn of(service: &ServiceRule) -> Chain {
        let balance = Balance {
            endpoints: service.endpoints.len(),
            any_of_host: service.at.address.is_none(),
            affinity: service.affinity,
        };
        if service.sources.is_empty() {
            Chain::Balance(balance)
        } else {
            Chain::From(service.sources.clone(), balance)
        }
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Chain::Balance(balance) => balance.name(),
            Chain::From(ranges, balance) => {
                let text: String = ranges.iter().fold(String::new(), |mut text, (network, len)| {
                    let _ = write!(text, "{network}/{len} ");
                    text
                });
                format!("from-{:016x}-{}", fnv(&text), balance.name())
            }
        }
    }

    /// The chain itself after those that its rules lead to.
    pub(super) fn with_what_it_leads_to(self) -> Vec<Chain> {
        match &self {
            Chain::Balance(_) => vec![self],
            Chain::From(_, balance) => vec![Chain::Balance(*balance), self],
        }
    }

    /// Makes the chain, empty.
    pub(super) fn add(&self, table: &Table) -> Vec<Message> {
        let name = self.name();
        vec![table.add_chain(&name), table.flush_chain(&name)]
    }

    /// Fills the chain.
    pub(super) fn rules(&self, table: &Table) -> Vec<Message> {
        let name = self.name();
        match self {
            Chain::Balance(balance) => balance.rules(table, &name),
            Chain::From(ranges, balance) => {
                let target = balance.name();
                let allow = |(network, len): &(Ipv4Addr, u8)| {
                    let mask = u32::MAX.checked_shl(32 - u32::from(*len)).unwrap_or(0);
                    let first = Ipv4Addr::from_bits(network.to_bits() & mask);
                    table.append_rule(&name, "who may connect", |rule| {
                        rule.ipv4_in(Ipv4Field::Source, Is::Equal, first, Ipv4Addr::from_bits(mask))
                            .verdict(Verdict::Goto(&target))
                    })
                };
                let others = table.append_rule(&name, "nobody else", |rule| rule.verdict(Verdict::Drop));
                ranges.iter().map(allow).chain([others]).collect()
            }
        }
    }
}

impl Balance {
    pub(crate) fn name(self) -> String {
        let mut name = format!("endpoints-{}", self.endpoints);
        if self.any_of_host {
            name.push_str("-host");
        }
        if let Some(seconds) = self.affinity {
            let _ = write!(name, "-sticky-{seconds}");
        }
        name
    }

    /// Where the connection goes is in registers 8 and 9 when a rule ends.
    fn rules(self, table: &Table, name: &str) -> Vec<Message> {
        let modulus = u32::try_from(self.endpoints).unwrap_or(u32::MAX);
        let service = |rule| load_service(rule, self.any_of_host);
        let client = |rule| service(rule).load_ipv4(Ipv4Field::Source, 3);
        let draw = |rule: Expressions| rule.load_random(modulus, 3).map_to_register(ENDPOINTS, 8);
        let mut rules = Vec::new();
        if let Some(seconds) = self.affinity {
            // The endpoint that the client has been with, as long as it is one. The time runs anew.
            rules.push(table.append_rule(name, "the same as before", |rule| {
                client(rule)
                    .map_to_register(AFFINITY, 8)
                    .map_to_register(AFFINITY, 3)
                    .in_set(STICKY_ENDPOINTS)
                    .load_ipv4(Ipv4Field::Source, 3)
                    .remember(AFFINITY, 8, seconds)
                    .dnat(8, 9)
            }));
            // Remembering does not replace what is remembered.
            rules.push(table.append_rule(name, "that one is gone", |rule| {
                client(rule).map_to_register(AFFINITY, 8).forget(AFFINITY, 8)
            }));
            rules.push(table.append_rule(name, "one of them from now on", |rule| {
                draw(service(rule)).load_ipv4(Ipv4Field::Source, 3).remember(AFFINITY, 8, seconds).dnat(8, 9)
            }));
        }
        rules.push(table.append_rule(name, "one of them", |rule| draw(service(rule)).dnat(8, 9)));
        rules
    }
}

/// FNV-1a.
fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
