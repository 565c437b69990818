//! The services that the kernel has been told of: what is there, what is to be there, and what leads from one
//! to the other.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;

use rustix::io::Errno;

use crate::firewall::Firewall;
use crate::netlink::{NetlinkError, Socket, conntrack, nft};
use crate::services::{self, Difference, Elements, Protocol, ServiceRule};

/// What is known of the kernel's side. It is known only after the kernel took it.
pub(crate) struct ServiceRules {
    pub(crate) socket: Socket,
    elements: Elements,
    chains: BTreeSet<String>,
    set: Vec<ServiceRule>,
}

impl ServiceRules {
    /// With what the kernel has already.
    pub(crate) fn open(socket: Socket, firewall: &Firewall) -> Result<ServiceRules, NetlinkError> {
        let mut rules =
            ServiceRules { socket, elements: Elements::new(), chains: BTreeSet::new(), set: Vec::new() };
        rules.load(firewall)?;
        Ok(rules)
    }

    fn load(&mut self, firewall: &Firewall) -> Result<(), NetlinkError> {
        self.elements = services::load(&firewall.table, &mut self.socket)?;
        self.chains = services::chains_of(&self.elements);
        Ok(())
    }

    /// Makes the kernel's services these and no others.
    pub(crate) fn set(&mut self, firewall: &Firewall, rules: &[ServiceRule]) -> Result<(), NetlinkError> {
        if self.apply(firewall, rules).is_ok() {
            return Ok(());
        }
        // Somebody changed the table under us (a firewall was reloaded): put it right and compare anew.
        self.put_back(firewall, rules)
    }

    /// Makes what is missing of the firewall and of the services that were set last.
    pub(crate) fn restore(&mut self, firewall: &Firewall) -> Result<(), NetlinkError> {
        let rules = self.set.clone();
        self.put_back(firewall, &rules)
    }

    fn put_back(&mut self, firewall: &Firewall, rules: &[ServiceRule]) -> Result<(), NetlinkError> {
        firewall.ensure(&mut self.socket)?;
        self.load(firewall)?;
        self.apply(firewall, rules).map_err(|errno| NetlinkError::new("cannot set service addresses", errno))
    }

    fn apply(&mut self, firewall: &Firewall, rules: &[ServiceRule]) -> Result<(), Errno> {
        let shall = services::wanted(rules, firewall.cidr);
        let difference = Difference::between(&self.elements, &shall, &self.chains);
        nft::commit(&mut self.socket, difference.messages(&firewall.table))?;
        self.chains.extend(difference.chains.into_keys());
        self.elements = shall.elements;
        let before = std::mem::replace(&mut self.set, rules.to_vec());
        if let Err(error) = self.move_flows(&before) {
            tracing::warn!("connections to endpoints that are gone stay: {error}");
        }
        Ok(())
    }

    /// UDP has no connections that would end: a client that goes on sending from one port goes on reaching the
    /// endpoint that it had, or nobody where there was none. So those flows of changed services that lead
    /// elsewhere than they would now are forgotten, and go on as new ones.
    fn move_flows(&mut self, before: &[ServiceRule]) -> Result<(), NetlinkError> {
        let udp = |rule: &&ServiceRule| rule.at.protocol == Protocol::Udp;
        let known: HashMap<_, _> = before.iter().filter(udp).map(|rule| (rule.at, &rule.endpoints)).collect();
        let changed: HashMap<(Option<Ipv4Addr>, u16), &[(Ipv4Addr, u16)]> = self
            .set
            .iter()
            .filter(udp)
            .filter(|rule| known.get(&rule.at) != Some(&&rule.endpoints))
            .map(|rule| ((rule.at.address, rule.at.port), &rule.endpoints[..]))
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        let mut stale = conntrack::connections(&mut self.socket)?;
        stale.retain(|flow| {
            let (address, port) = flow.destination;
            let exact = changed.get(&(Some(address), port));
            let endpoints =
                exact.or_else(|| changed.get(&(None, port)).filter(|_| flow.endpoint != flow.destination));
            flow.protocol == Protocol::Udp as u8 && endpoints.is_some_and(|all| !all.contains(&flow.endpoint))
        });
        conntrack::forget(&mut self.socket, &stale)
    }
}
