//! The instance's own nf_tables table: masquerading, service addresses, and a way past other people's
//! firewalls.
//!
//! ```text
//! table ip stead-abc123 {
//!     chain postrouting    pods' traffic to elsewhere leaves with the host's address; so does a pod's to itself
//!     chain prerouting     service addresses, for pods and other machines
//!     chain output         service addresses, for the host
//!     chain forward        refusals for services without endpoints; keeps strangers out when the host does
//!     chain output-filter  refusals, for the host
//! }
//! ```

use crate::cidr::Ipv4Cidr;
use crate::netlink::nft::{
    BaseChain, DroppingChain, Hook, NFPROTO_IPV4, Table, Verdict, commit, dropping_forward_chains,
};
use crate::netlink::nft_expr::{CT_STATE_NEW, CT_STATUS_DNAT, Ipv4Field, Is};
use crate::netlink::{Message, NetlinkError, Socket};
use crate::services;

/// `NF_IP_PRI_NAT_DST`, `NF_IP_PRI_FILTER` and `NF_IP_PRI_NAT_SRC`.
const PRIORITY_NAT_DST: i32 = -100;
const PRIORITY_FILTER: i32 = 0;
const PRIORITY_NAT_SRC: i32 = 100;

const CHAINS: [BaseChain<'static>; 5] = [
    BaseChain { name: "prerouting", kind: "nat", hook: Hook::Prerouting, priority: PRIORITY_NAT_DST },
    BaseChain { name: "output", kind: "nat", hook: Hook::Output, priority: PRIORITY_NAT_DST },
    BaseChain { name: "postrouting", kind: "nat", hook: Hook::Postrouting, priority: PRIORITY_NAT_SRC },
    BaseChain { name: "forward", kind: "filter", hook: Hook::Forward, priority: PRIORITY_FILTER },
    BaseChain { name: "output-filter", kind: "filter", hook: Hook::Output, priority: PRIORITY_FILTER },
];

#[derive(Clone, Debug)]
pub(crate) struct Firewall {
    pub(crate) table: Table,
    bridge: String,
    cidr: Ipv4Cidr,
}

impl Firewall {
    /// The table bears the bridge's name.
    pub(crate) fn new(bridge: &str, cidr: Ipv4Cidr) -> Firewall {
        let table = Table { family: NFPROTO_IPV4, name: bridge.to_owned() };
        Firewall { table, bridge: bridge.to_owned(), cidr }
    }

    /// Makes what is missing, in one transaction; elements for services that are there stay.
    pub(crate) fn ensure(&self, socket: &mut Socket) -> Result<(), NetlinkError> {
        let dropping = dropping_forward_chains(socket)?;
        let mut messages = vec![self.table.add()];
        messages.extend(services::sets().iter().map(|set| self.table.add_set(set)));
        for chain in CHAINS {
            messages.push(self.table.add_base_chain(chain));
            messages.push(self.table.flush_chain(chain.name));
        }
        messages.push(self.masquerade());
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

    /// Removes the table, and the rules in other people's.
    pub(crate) fn remove(&self, socket: &mut Socket) -> Result<(), NetlinkError> {
        for chain in dropping_forward_chains(socket)? {
            let handles = chain.table.rules_with_comment(socket, &chain.name, &self.comment())?;
            let deletions =
                handles.into_iter().map(|handle| chain.table.delete_rule(&chain.name, handle)).collect();
            commit(socket, deletions).map_err(|errno| {
                NetlinkError::new(format!("cannot remove rules from chain {}", chain.name), errno)
            })?;
        }
        // Adding it first makes the deletion succeed when it was not there.
        commit(socket, vec![self.table.add(), self.table.delete()]).map_err(|errno| {
            NetlinkError::new(format!("cannot remove the nf_tables table {}", self.table.name), errno)
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
    fn pass(&self, socket: &mut Socket, chain: &DroppingChain) -> Result<(), NetlinkError> {
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
        format!("pods of {}", self.bridge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::nft::set_policy_drop;

    /// What iptables and Docker make: a forward chain that drops by policy.
    const DOCKERS: BaseChain<'static> =
        BaseChain { name: "FORWARD", kind: "filter", hook: Hook::Forward, priority: PRIORITY_FILTER };

    #[test]
    fn a_firewall_that_drops_lets_pods_through_once_and_is_left_as_it_was() {
        std::thread::spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("tests need root");
            let mut socket = Socket::netfilter().unwrap();
            let other = Table { family: NFPROTO_IPV4, name: "filter".into() };
            let chain = set_policy_drop(other.add_base_chain(DOCKERS));
            commit(&mut socket, vec![other.add(), chain]).unwrap();

            let firewall = Firewall::new("stead-abcdef", "10.42.0.0/24".parse().unwrap());
            let rules = || {
                let comment = firewall.comment();
                other
                    .rules_with_comment(&mut Socket::netfilter().unwrap(), "FORWARD", &comment)
                    .unwrap()
                    .len()
            };
            assert_eq!(rules(), 0);
            firewall.ensure(&mut socket).unwrap();
            assert_eq!(rules(), 2);
            firewall.ensure(&mut socket).unwrap();
            assert_eq!(rules(), 2, "not again after a restart");
            firewall.remove(&mut socket).unwrap();
            assert_eq!(rules(), 0);
        })
        .join()
        .unwrap();
    }
}
