//! The services that the kernel has been told of: what is there, what is to be there, and what leads from one
//! to the other.

use std::collections::{BTreeSet, HashMap};

use rustix::io::Errno;

use crate::firewall::Firewall;
use crate::netlink::{NetlinkError, Socket, conntrack, nft};
use crate::services::{self, Counts, Difference, Elements, Frontend, Protocol, ServiceRule};

/// What is known of the kernel's side. It is known only after the kernel took it.
pub(crate) struct ServiceRules {
    pub(crate) socket: Socket,
    held: Held,
    chains: BTreeSet<String>,
    set: Vec<ServiceRule>,
}

/// The elements that the kernel has.
enum Held {
    /// Those of services from before, or of who knows whom.
    Loaded(Elements),
    /// Those of the services that were set last.
    Counted(Counts),
}

impl ServiceRules {
    /// With what the kernel has already.
    pub(crate) fn open(socket: Socket, firewall: &Firewall) -> Result<ServiceRules, NetlinkError> {
        let held = Held::Loaded(Elements::new());
        let mut rules = ServiceRules { socket, held, chains: BTreeSet::new(), set: Vec::new() };
        rules.load(firewall)?;
        Ok(rules)
    }

    fn load(&mut self, firewall: &Firewall) -> Result<(), NetlinkError> {
        let elements = services::load(&firewall.table, &mut self.socket)?;
        self.chains = services::chains_of(&elements);
        self.held = Held::Loaded(elements);
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
        // Should this fail half-way, nothing of what was known holds.
        self.held = Held::Loaded(Elements::new());
        self.chains.clear();
        firewall.ensure(&mut self.socket)?;
        self.load(firewall)?;
        self.apply(firewall, rules).map_err(|errno| NetlinkError::new("cannot set service addresses", errno))
    }

    fn apply(&mut self, firewall: &Firewall, rules: &[ServiceRule]) -> Result<(), Errno> {
        let pods = firewall.cidr;
        let (gone, come) = match &self.held {
            Held::Loaded(_) => (Vec::new(), rules.iter().collect()),
            Held::Counted(_) => (lacking(&self.set, rules), lacking(rules, &self.set)),
        };
        let difference = match &self.held {
            Held::Loaded(is) => Difference::between(is, &services::wanted(rules, pods), &self.chains),
            Held::Counted(counts) => Difference::of_change(&gone, &come, counts, pods, &self.chains),
        };
        nft::commit(&mut self.socket, difference.messages(&firewall.table))?;
        match &mut self.held {
            Held::Loaded(_) => self.held = Held::Counted(Counts::of(rules, pods)),
            Held::Counted(counts) => counts.change(&gone, &come, pods),
        }
        self.chains.extend(difference.chains.into_keys());
        if let Err(error) = move_flows(&mut self.socket, &come) {
            tracing::warn!("connections to endpoints that are gone stay: {error}");
        }
        self.set = rules.to_vec();
        Ok(())
    }
}

/// The rules of `all` that `others` has not got, or not so.
fn lacking<'r>(all: &'r [ServiceRule], others: &[ServiceRule]) -> Vec<&'r ServiceRule> {
    let others: HashMap<Frontend, &ServiceRule> = others.iter().map(|rule| (rule.at, rule)).collect();
    all.iter().filter(|rule| others.get(&rule.at) != Some(rule)).collect()
}

/// UDP has no connections that would end: a client that goes on sending from one port goes on reaching the
/// endpoint that it had, or nobody where there was none. So those flows of changed services that lead
/// elsewhere than they would now are forgotten, and go on as new ones.
fn move_flows(socket: &mut Socket, changed: &[&ServiceRule]) -> Result<(), NetlinkError> {
    let udp = changed.iter().filter(|rule| rule.at.protocol == Protocol::Udp);
    let changed: HashMap<_, &[_]> =
        udp.map(|rule| ((rule.at.address, rule.at.port), &rule.endpoints[..])).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let mut stale = conntrack::connections(socket)?;
    stale.retain(|flow| {
        let (address, port) = flow.destination;
        let translated = flow.endpoint != flow.destination;
        let exact = changed.get(&(Some(address), port));
        // On the host's addresses, a flow that was not translated is some process's own.
        let endpoints = exact.or_else(|| changed.get(&(None, port)).filter(|_| translated));
        flow.protocol == Protocol::Udp as u8 && endpoints.is_some_and(|all| !all.contains(&flow.endpoint))
    });
    conntrack::forget(socket, &stale)
}
