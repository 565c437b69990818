//! What the cluster's names mean: a data structure, no socket, no clock, no Kubernetes client.
//!
//! It is updated by key, one Service or EndpointSlice at a time, and every answer is made at the moment of the
//! question.

mod lookup;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use hickory_proto::rr::Name;

pub use lookup::Answer;

use crate::Error;

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name in there.
    pub name: String,
}

/// What DNS needs to know of a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// What its name stands for.
    pub target: Target,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// What a Service's name stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Its own addresses; none as long as none are allocated.
    ClusterIps(Vec<IpAddr>),
    /// Its ready endpoints (`clusterIP: None`).
    Headless,
    /// Another name (`type: ExternalName`).
    External(String),
}

/// A port of a Service or of endpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name; empty when it has none.
    pub name: String,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Its number.
    pub number: u16,
}

/// What DNS needs to know of an EndpointSlice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slice {
    /// The Service that it is part of, in its own namespace.
    pub service: String,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// The ports of each of them.
    pub ports: Vec<Port>,
}

/// An endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The pod's hostname, when it has one of its own in this Service.
    pub hostname: Option<String>,
    /// It may be connected to. (`publishNotReadyAddresses` makes endpoints ready where slices are made.)
    pub ready: bool,
}

/// All names of the cluster.
#[derive(Debug)]
pub struct Zone {
    domain: Name,
    /// By namespace, then by name. No namespace in here is empty: its presence is the name's existence.
    namespaces: HashMap<String, BTreeMap<String, Entry>>,
    /// Which Service each slice was last part of.
    slices: HashMap<Key, String>,
    complete: bool,
}

/// A Service and its slices, which may come and go in any order.
#[derive(Debug, Default)]
struct Entry {
    service: Option<Service>,
    slices: BTreeMap<String, Slice>,
}

impl Zone {
    /// A zone that knows nothing yet.
    ///
    /// # Errors
    ///
    /// The domain is not a domain name.
    pub fn new(domain: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Domain { domain: domain.to_owned(), reason };
        let mut name = Name::from_ascii(domain).map_err(|error| refuse(error.to_string()))?.to_lowercase();
        if name.num_labels() == 0 {
            return Err(refuse("it is empty".into()));
        }
        name.set_fqdn(true);
        Ok(Self { domain: name, namespaces: HashMap::new(), slices: HashMap::new(), complete: false })
    }

    /// Says that everything there is was set once. Before that, nothing is said not to exist.
    pub fn set_complete(&mut self) {
        self.complete = true;
    }

    /// Sets or (`None`) removes a Service.
    pub fn set_service(&mut self, key: &Key, service: Option<Service>) {
        self.edit(&key.namespace, &key.name, |entry| entry.service = service);
    }

    /// Sets or (`None`) removes an EndpointSlice.
    pub fn set_slice(&mut self, key: &Key, slice: Option<Slice>) {
        if let Some(before) = self.slices.remove(key) {
            self.edit(&key.namespace, &before, |entry| drop(entry.slices.remove(&key.name)));
        }
        let Some(slice) = slice else { return };
        let service = slice.service.clone();
        self.slices.insert(key.clone(), service.clone());
        self.edit(&key.namespace, &service, |entry| drop(entry.slices.insert(key.name.clone(), slice)));
    }

    /// The Services and slices that are known, for comparison with a new list of them.
    pub fn service_keys(&self) -> Vec<Key> {
        let keys = self.namespaces.iter().flat_map(|(namespace, services)| {
            let known = services.iter().filter(|(_, entry)| entry.service.is_some());
            known.map(|(name, _)| Key { namespace: namespace.clone(), name: name.clone() })
        });
        keys.collect()
    }

    /// See [`Self::service_keys`].
    pub fn slice_keys(&self) -> Vec<Key> {
        self.slices.keys().cloned().collect()
    }

    fn edit(&mut self, namespace: &str, service: &str, edit: impl FnOnce(&mut Entry)) {
        let services = self.namespaces.entry(namespace.to_owned()).or_default();
        let entry = services.entry(service.to_owned()).or_default();
        edit(entry);
        if entry.service.is_none() && entry.slices.is_empty() {
            services.remove(service);
        }
        if services.is_empty() {
            self.namespaces.remove(namespace);
        }
    }
}
