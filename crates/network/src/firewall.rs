//! The instance's own nf_tables table: masquerading, service addresses, and a way past other people's
//! firewalls.
//!
//! ```text
//! table ip stead-abc123 {
//!     chain guard          keeps pods away from the host's loopback
//!     chain postrouting    pods' traffic to elsewhere leaves with the host's address; so does a pod's to itself
//!     chain prerouting     service addresses, for pods and other machines
//!     chain output         service addresses, for the host
//!     chain forward        refusals for services without endpoints; keeps strangers out when the host does
//!     chain input          refusals, for ports of the host
//!     chain output-filter  refusals, for the host
//! }
//! ```
//!
//! Node ports answer on 127.0.0.1 too, for which the bridge routes loopback addresses
//! (`host::route_loopback`). That alone would let pods reach what listens on the host's loopback only
//! (CVE-2020-8558), so `guard` drops such packets before anything else looks at them. It needs no state:
//! answers that pods really give come from and go to addresses of the bridge, and are translated back later.

use std::net::Ipv4Addr;

use crate::cidr::Ipv4Cidr;
use crate::netlink::nft::{
    BaseChain, ForwardChain, Hook, NFPROTO_IPV4, Table, Verdict, commit, forward_chains,
};
use crate::netlink::nft_expr::{CT_STATE_NEW, CT_STATUS_DNAT, Ipv4Field, Is};
use crate::netlink::{Message, NetlinkError, Socket};
use crate::services;

/// `NF_IP_PRI_RAW`, `NF_IP_PRI_NAT_DST`, `NF_IP_PRI_FILTER` and `NF_IP_PRI_NAT_SRC`.
const PRIORITY_RAW: i32 = -300;
const PRIORITY_NAT_DST: i32 = -100;
const PRIORITY_FILTER: i32 = 0;
const PRIORITY_NAT_SRC: i32 = 100;

/// 127.0.0.0/8.
const LOOPBACK: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0));

const CHAINS: [BaseChain<'static>; 7] = [
    BaseChain { name: "guard", kind: "filter", hook: Hook::Prerouting, priority: PRIORITY_RAW },
    BaseChain { name: "prerouting", kind: "nat", hook: Hook::Prerouting, priority: PRIORITY_NAT_DST },
    BaseChain { name: "output", kind: "nat", hook: Hook::Output, priority: PRIORITY_NAT_DST },
    BaseChain { name: "postrouting", kind: "nat", hook: Hook::Postrouting, priority: PRIORITY_NAT_SRC },
    BaseChain { name: "forward", kind: "filter", hook: Hook::Forward, priority: PRIORITY_FILTER },
    BaseChain { name: "input", kind: "filter", hook: Hook::Input, priority: PRIORITY_FILTER },
    BaseChain { name: "output-filter", kind: "filter", hook: Hook::Output, priority: PRIORITY_FILTER },
];

#[derive(Clone, Debug)]
pub(crate) struct Firewall {
    pub(crate) table: Table,
    bridge: String,
    pub(crate) cidr: Ipv4Cidr,
}

impl Table {
    /// The table bears the bridge's name.
    fn of(bridge: &str) -> Table {
        Table { family: NFPROTO_IPV4, name: bridge.to_owned() }
    }
}

impl Firewall {
    /// The rules for a bridge; they are made by [`Self::ensure`].
    pub(crate) fn new(bridge: &str, cidr: Ipv4Cidr) -> Firewall {
        Firewall { table: Table::of(bridge), bridge: bridge.to_owned(), cidr }
    }

    /// Makes what is missing, in one transaction; elements for services that are there stay.
    pub(crate) fn ensure(&self, socket: &mut Socket) -> Result<(), NetlinkError> {
        let mut dropping = forward_chains(socket)?;
        dropping.retain(|chain| chain.drops);
        let mut messages = vec![self.table.add()];
        messages.extend(services::sets().iter().map(|set| self.table.add_set(set)));
        for chain in CHAINS {
            messages.push(self.table.add_base_chain(chain));
            messages.push(self.table.flush_chain(chain.name));
        }
        messages.extend(self.guard());
        messages.push(self.masquerade());
        messages.push(self.masquerade_loopback());
        messages.extend(services::rules(&self.table));
        if !dropping.is_empty() {
            messages.push(self.keep_strangers_out());
        }
        commit(socket, messages).map_err(|errno| {
            NetlinkError::new(format!("cannot make the nf_tables table {}", self.table.name), errno)
        })?;
        for chain in dropping {
            if let Err(error) = self.pass(socket, &chain) {
                tracing::warn!(table = chain.table.name, chain = chain.name, %error,
                    "a firewall drops forwarded traffic and cannot be told to let pods through");
            }
        }
        Ok(())
    }

    fn guard(&self) -> [Message; 2] {
        [Ipv4Field::Source, Ipv4Field::Destination].map(|field| {
            self.table.append_rule("guard", "the host's loopback is not for pods", |rule| {
                rule.input_interface(Is::Equal, &self.bridge)
                    .ipv4_in(field, Is::Equal, LOOPBACK.0, LOOPBACK.1)
                    .verdict(Verdict::Drop)
            })
        })
    }

    fn masquerade_loopback(&self) -> Message {
        self.table.append_rule("postrouting", "the loopback's ports lead to pods too", |rule| {
            rule.output_interface(Is::Equal, &self.bridge)
                .ipv4_in(Ipv4Field::Source, Is::Equal, LOOPBACK.0, LOOPBACK.1)
                .masquerade()
        })
    }

    fn masquerade(&self) -> Message {
        let (network, mask) = (self.cidr.network(), self.cidr.netmask());
        self.table.append_rule("postrouting", "pods go out with the host's address", |rule| {
            rule.ipv4_in(Ipv4Field::Source, Is::Equal, network, mask)
                .ipv4_in(Ipv4Field::Destination, Is::NotEqual, network, mask)
                .masquerade()
        })
    }

    /// Where the host's firewall drops forwarded traffic, other machines get no new connections to pods
    /// although that firewall is told to let pods' traffic through.
    fn keep_strangers_out(&self) -> Message {
        self.table.append_rule("forward", "as the host's own policy is", |rule| {
            rule.output_interface(Is::Equal, &self.bridge)
                .input_interface(Is::NotEqual, &self.bridge)
                .ct_state(Is::Equal, CT_STATE_NEW)
                .ct_status(Is::NotEqual, CT_STATUS_DNAT)
                .verdict(Verdict::Drop)
        })
    }

    /// Lets pods' traffic through a chain that would drop it: an `accept` elsewhere does not count there.
    /// Only expressions that iptables-nft itself uses, so that it can go on listing its table.
    fn pass(&self, socket: &mut Socket, chain: &ForwardChain) -> Result<(), NetlinkError> {
        let comment = self.comment();
        if !chain.table.rules_with_comment(socket, &chain.name, &comment)?.is_empty() {
            return Ok(());
        }
        let from = chain.table.insert_rule(&chain.name, &comment, |rule| {
            rule.input_interface(Is::Equal, &self.bridge).counter().verdict(Verdict::Accept)
        });
        let to = chain.table.insert_rule(&chain.name, &comment, |rule| {
            rule.output_interface(Is::Equal, &self.bridge).counter().verdict(Verdict::Accept)
        });
        commit(socket, vec![from, to])
            .map_err(|errno| NetlinkError::new(format!("cannot add rules to chain {}", chain.name), errno))
    }

    fn comment(&self) -> String {
        comment(&self.bridge)
    }
}

/// Removes the table of a bridge, and the rules for it in other people's.
pub(crate) fn remove(bridge: &str, socket: &mut Socket) -> Result<(), NetlinkError> {
    for chain in forward_chains(socket)? {
        let handles = chain.table.rules_with_comment(socket, &chain.name, &comment(bridge))?;
        let deletions =
            handles.into_iter().map(|handle| chain.table.delete_rule(&chain.name, handle)).collect();
        commit(socket, deletions).map_err(|errno| {
            NetlinkError::new(format!("cannot remove rules from chain {}", chain.name), errno)
        })?;
    }
    let table = Table::of(bridge);
    // Adding it first makes the deletion succeed when it was not there.
    commit(socket, vec![table.add(), table.delete()])
        .map_err(|errno| NetlinkError::new(format!("cannot remove the nf_tables table {bridge}"), errno))
}

/// What tells the rules for a bridge from others in a foreign chain.
fn comment(bridge: &str) -> String {
    format!("pods of {bridge}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::{Namespace, ip, on_a_host};
    use crate::netlink::nft::set_policy_drop;
    use crate::{Config, Network, PodRef};

    /// What iptables and Docker make: a forward chain that drops by policy.
    fn make_a_firewall_that_drops() -> Table {
        let table = Table { family: NFPROTO_IPV4, name: "filter".into() };
        let chain =
            BaseChain { name: "FORWARD", kind: "filter", hook: Hook::Forward, priority: PRIORITY_FILTER };
        let messages = vec![table.add(), set_policy_drop(table.add_base_chain(chain))];
        commit(&mut Socket::netfilter().unwrap(), messages).unwrap();
        table
    }

    #[test]
    fn a_firewall_that_drops_is_told_once_and_is_left_as_it_was() {
        on_a_host(|| async {
            let other = make_a_firewall_that_drops();
            let mut socket = Socket::netfilter().unwrap();
            let firewall = Firewall::new("stead-abcdef", "10.42.0.0/24".parse().unwrap());
            let rules = |socket: &mut Socket| {
                other.rules_with_comment(socket, "FORWARD", &firewall.comment()).unwrap().len()
            };
            firewall.ensure(&mut socket).unwrap();
            assert_eq!(rules(&mut socket), 2);
            firewall.ensure(&mut socket).unwrap();
            assert_eq!(rules(&mut socket), 2, "not again after a restart");
            remove("stead-abcdef", &mut socket).unwrap();
            assert_eq!(rules(&mut socket), 0);
        });
    }

    #[test]
    fn pods_get_through_a_firewall_that_drops() {
        on_a_host(|| async {
            make_a_firewall_that_drops();
            let outside = Namespace::new();
            ip(&format!("link add up0 type veth peer name eth0 netns {}", outside.tid));
            ip("addr add 198.51.100.1/24 dev up0");
            ip("link set up0 up");
            outside.run(|| {
                ip("addr add 198.51.100.2/24 dev eth0");
                ip("link set eth0 up");
            });
            outside.serve(80, None);

            let dir = tempfile::tempdir().unwrap();
            let config = Config {
                dir: dir.path().to_owned(),
                pod_cidr: "10.42.0.0/24".parse().unwrap(),
                instance: "abcdef".into(),
                mtu: None,
                notes: dir.path().join("sysctls"),
            };
            let network = Network::open(&config).unwrap();
            let (a, b) = (Namespace::new(), Namespace::new());
            for (uid, pod) in [("a", &a), ("b", &b)] {
                let pod_ref = PodRef { uid: uid.into(), namespace: "default".into(), name: uid.into() };
                network.attach(pod_ref, pod.tid).await.unwrap();
            }
            b.serve(80, None);
            assert_eq!(a.ask(Ipv4Addr::new(10, 42, 0, 3), 80).unwrap(), "10.42.0.2");
            assert_eq!(a.ask(Ipv4Addr::new(198, 51, 100, 2), 80).unwrap(), "198.51.100.1");
        });
    }
}
