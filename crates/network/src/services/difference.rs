//! What leads from one list of services to another.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Chain, Elements, ServiceRule, Wanted, wanted};
use crate::cidr::Ipv4Cidr;
use crate::netlink::Message;
use crate::netlink::nft::{Element, ElementData, Table};

/// What leads from one state to another.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Chains that are not there yet.
    pub(crate) chains: BTreeMap<String, Chain>,
    pub(crate) removed: BTreeMap<&'static str, Vec<Element>>,
    pub(crate) added: BTreeMap<&'static str, Vec<Element>>,
}

/// How many services each element stands for; endpoints may be several services'.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts(HashMap<(&'static str, Vec<u8>), usize>);

impl Counts {
    pub(crate) fn of(rules: &[ServiceRule], pods: Ipv4Cidr) -> Counts {
        let mut counts = Counts::default();
        counts.change(&[], &rules.iter().collect::<Vec<_>>(), pods);
        counts
    }

    /// After these services went and those came.
    pub(crate) fn change(&mut self, gone: &[&ServiceRule], come: &[&ServiceRule], pods: Ipv4Cidr) {
        for at in come.iter().flat_map(|rule| elements_of(rule, pods).into_keys()) {
            *self.0.entry(at).or_default() += 1;
        }
        for at in gone.iter().flat_map(|rule| elements_of(rule, pods).into_keys()) {
            if let Entry::Occupied(mut held) = self.0.entry(at) {
                *held.get_mut() -= 1;
                if *held.get() == 0 {
                    held.remove();
                }
            }
        }
    }
}

fn elements_of(rule: &ServiceRule, pods: Ipv4Cidr) -> Elements {
    wanted(std::slice::from_ref(rule), pods).elements
}

/// An element that services gain or lose.
#[derive(Default)]
struct Turn {
    gone: usize,
    come: usize,
    was: Option<ElementData>,
    shall: Option<ElementData>,
}

impl Difference {
    /// What it takes when these services go and those come, given how many there are for each element. The
    /// same as [`Difference::between`] all before and all after, without looking at those that stay.
    pub(crate) fn of_change(
        gone: &[&ServiceRule],
        come: &[&ServiceRule],
        counts: &Counts,
        pods: Ipv4Cidr,
        chains: &BTreeSet<String>,
    ) -> Difference {
        let mut turns: BTreeMap<(&'static str, Vec<u8>), Turn> = BTreeMap::new();
        for (at, data) in gone.iter().flat_map(|rule| elements_of(rule, pods)) {
            let turn = turns.entry(at).or_default();
            turn.gone += 1;
            turn.was = data;
        }
        let mut difference = Difference::default();
        for rule in come {
            let wanted = wanted(std::slice::from_ref(*rule), pods);
            for (at, data) in wanted.elements {
                let turn = turns.entry(at).or_default();
                turn.come += 1;
                turn.shall = data;
            }
            difference.chains.extend(wanted.chains.into_iter().filter(|(name, _)| !chains.contains(name)));
        }
        for ((set, key), turn) in turns {
            let before = counts.0.get(&(set, key.clone())).copied().unwrap_or_default();
            let after = before + turn.come - turn.gone.min(before);
            let another = turn.gone > 0 && turn.come > 0 && turn.was != turn.shall;
            let element = |data: &Option<ElementData>| Element { key: key.clone(), data: data.clone() };
            if before > 0 && (after == 0 || another) {
                difference.removed.entry(set).or_default().push(element(&turn.was));
            }
            if after > 0 && (before == 0 || another) {
                difference.added.entry(set).or_default().push(element(&turn.shall));
            }
        }
        difference
    }

    /// The difference between what is and what shall be, given the names of the chains that there are.
    pub(crate) fn between(is: &Elements, shall: &Wanted, chains: &BTreeSet<String>) -> Difference {
        let mut difference = Difference::default();
        let element =
            |key: &[u8], data: &Option<ElementData>| Element { key: key.to_vec(), data: data.clone() };
        for (at, data) in is {
            if shall.elements.get(at) != Some(data) {
                difference.removed.entry(at.0).or_default().push(element(&at.1, data));
            }
        }
        for (at, data) in &shall.elements {
            if is.get(at) != Some(data) {
                difference.added.entry(at.0).or_default().push(element(&at.1, data));
            }
        }
        let missing = shall.chains.iter().filter(|(name, _)| !chains.contains(*name));
        difference.chains = missing.map(|(name, chain)| (name.clone(), chain.clone())).collect();
        difference
    }

    /// The messages of one transaction: chains first, then what goes, then what comes.
    pub(crate) fn messages(&self, table: &Table) -> Vec<Message> {
        let mut messages: Vec<Message> = self.chains.values().flat_map(|chain| chain.add(table)).collect();
        messages.extend(self.chains.values().flat_map(|chain| chain.rules(table)));
        for (set, elements) in &self.removed {
            messages.extend(table.delete_elements(set, elements));
        }
        for (set, elements) in &self.added {
            messages.extend(table.add_elements(set, elements));
        }
        messages
    }
}

/// The names of the chains that these elements lead to. Chains are never removed.
pub(crate) fn chains_of(elements: &Elements) -> BTreeSet<String> {
    let chain = |data: &Option<ElementData>| match data {
        Some(ElementData::Goto(chain)) => Some(chain.clone()),
        _ => None,
    };
    elements.values().filter_map(chain).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::{
        ENDPOINTS, Frontend, HAIRPIN, NO_ENDPOINTS, Protocol, REMOTE, SERVICES, SET_NAMES, STICKY_ENDPOINTS,
    };
    use super::*;

    fn service(last: u8, endpoints: &[u8]) -> ServiceRule {
        ServiceRule {
            at: Frontend { address: Some(Ipv4Addr::new(10, 43, 0, last)), port: 80, protocol: Protocol::Tcp },
            endpoints: endpoints.iter().map(|pod| (Ipv4Addr::new(10, 42, 0, *pod), 8080)).collect(),
            drops_when_empty: false,
            affinity: None,
            sources: Vec::new(),
        }
    }

    fn all(services: &[ServiceRule]) -> Wanted {
        wanted(services, "10.42.0.0/24".parse().unwrap())
    }

    #[test]
    fn looking_at_what_changes_finds_the_same_as_looking_at_all() {
        let mut far = service(3, &[]);
        far.endpoints = vec![(Ipv4Addr::new(192, 0, 2, 7), 5432)];
        let mut sticky = service(2, &[2, 3]);
        sticky.affinity = Some(60);
        let states = [
            vec![],
            vec![service(1, &[2, 3]), service(2, &[2, 3])],
            vec![service(1, &[3]), sticky.clone(), far.clone()],
            vec![service(1, &[]), sticky, service(4, &[2])],
            vec![far, service(1, &[4, 3, 2])],
            vec![service(4, &[])],
        ];
        let pods = "10.42.0.0/24".parse().unwrap();
        for before in &states {
            for after in &states {
                let (is, shall) = (all(before), all(after));
                let gone: Vec<_> = before.iter().filter(|rule| !after.contains(rule)).collect();
                let come: Vec<_> = after.iter().filter(|rule| !before.contains(rule)).collect();
                let mut counts = Counts::of(before, pods);
                let chains = is.chains.keys().cloned().collect();
                let found = Difference::of_change(&gone, &come, &counts, pods, &chains);
                assert_eq!(found, from(&is, &shall), "{before:?} to {after:?}");
                counts.change(&gone, &come, pods);
                assert_eq!(counts, Counts::of(after, pods));
            }
        }
    }

    fn from(is: &Wanted, shall: &Wanted) -> Difference {
        Difference::between(&is.elements, shall, &is.chains.keys().cloned().collect())
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

    fn chains(difference: &Difference) -> Vec<&str> {
        difference.chains.keys().map(String::as_str).collect()
    }

    #[test]
    fn the_same_services_make_no_difference() {
        let services = all(&[service(1, &[2, 3]), service(2, &[])]);
        assert_eq!(from(&services, &services), Difference::default());
    }

    #[test]
    fn a_new_endpoint_touches_only_its_service() {
        let is = all(&[service(1, &[2, 3]), service(2, &[4])]);
        let shall = all(&[service(1, &[2, 3, 5]), service(2, &[4])]);
        let difference = from(&is, &shall);
        assert_eq!(counts(&difference), [(SERVICES, 1, 1), (ENDPOINTS, 0, 1), (HAIRPIN, 0, 1)]);
        assert_eq!(chains(&difference), ["endpoints-3"]);
    }

    #[test]
    fn a_service_that_loses_its_last_endpoint_refuses() {
        let is = all(&[service(1, &[2])]);
        let difference = from(&is, &all(&[service(1, &[])]));
        assert_eq!(
            counts(&difference),
            [(SERVICES, 1, 0), (ENDPOINTS, 1, 0), (NO_ENDPOINTS, 0, 1), (HAIRPIN, 1, 0)]
        );
        assert_eq!(chains(&difference), [""; 0]);
    }

    #[test]
    fn a_service_whose_policy_leaves_nobody_answers_nothing() {
        let mut nobody = service(1, &[]);
        nobody.drops_when_empty = true;
        assert_eq!(counts(&from(&all(&[]), &all(&[nobody]))), [(SERVICES, 0, 1)]);
    }

    #[test]
    fn affinity_is_a_chain_of_its_own_and_knows_its_endpoints() {
        let mut sticky = service(1, &[2, 3]);
        sticky.affinity = Some(60);
        let difference = from(&all(&[service(1, &[2, 3])]), &all(&[sticky]));
        assert_eq!(counts(&difference), [(SERVICES, 1, 1), (STICKY_ENDPOINTS, 0, 2)]);
        assert_eq!(chains(&difference), ["endpoints-2-sticky-60"]);
    }

    #[test]
    fn sources_are_looked_at_before_endpoints_are_chosen() {
        let mut narrow = service(1, &[2]);
        narrow.at.address = None;
        narrow.sources = vec![(Ipv4Addr::new(192, 0, 2, 0), 24)];
        let mut other = narrow.clone();
        other.sources[0].1 = 25;
        let difference = from(&all(&[]), &all(&[narrow.clone()]));
        let [target, guard] = chains(&difference)[..] else { panic!("{difference:?}") };
        assert_eq!(target, "endpoints-1-host");
        assert!(guard.starts_with("from-") && guard.ends_with("-endpoints-1-host"), "{guard}");
        assert_eq!(chains(&from(&all(&[narrow]), &all(&[other]))).len(), 1, "another list, another chain");
    }

    #[test]
    fn an_endpoint_that_is_no_pod_of_the_node_is_masqueraded() {
        let mut far = service(1, &[]);
        far.endpoints = vec![(Ipv4Addr::new(192, 0, 2, 7), 5432)];
        assert_eq!(
            counts(&from(&all(&[]), &all(&[far]))),
            [(SERVICES, 0, 1), (ENDPOINTS, 0, 1), (REMOTE, 0, 1)]
        );
    }
}
