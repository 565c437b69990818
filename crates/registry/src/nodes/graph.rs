//! Which node needs which object, by the pods that are bound to it (upstream: `node/graph.go`).

use std::collections::{BTreeMap, HashMap};

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use super::references;
use crate::value::text;

/// The prefixes of keys whose objects the graph wants to hear of.
pub const FOLLOWED: &[&str] = &[
    "/core/pods/",
    "/core/persistentvolumes/",
    "/storage.k8s.io/volumeattachments/",
    "/resource.k8s.io/resourceslices/",
];

/// The annotation of a pod that a node made by itself. Such a pod needs nothing of the API.
pub(super) const MIRROR_POD: &str = "kubernetes.io/config.mirror";

/// Namespace (empty for cluster-scoped kinds) and name.
type Place = (String, String);

/// What a pod may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Vertex {
    Secret,
    ConfigMap,
    Claim,
    ServiceAccount,
    ResourceClaim,
    Volume,
    Pod,
    Attachment,
    Slice,
}

/// Pods that are bound and what they need: as large as these, and no larger.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pods: HashMap<Place, BoundPod>,
    /// How many pods of which node need it.
    needed: HashMap<(Vertex, Place), BTreeMap<String, usize>>,
    volumes: HashMap<String, Volume>,
    /// The volumes that need a Secret.
    needed_by_volumes: HashMap<Place, Vec<String>>,
    /// The node that an object names itself.
    named: HashMap<(Vertex, String), String>,
}

#[derive(Clone, Debug)]
struct BoundPod {
    node: String,
    needs: Vec<(Vertex, Place)>,
}

#[derive(Clone, Debug)]
struct Volume {
    claim: Place,
    secrets: Vec<Place>,
}

impl Graph {
    /// Takes over an object as it is now; `None`: it is gone. Kinds that say nothing of nodes change nothing.
    pub fn apply(&mut self, plural: &str, namespace: &str, name: &str, object: Option<&Value>) {
        match plural {
            "pods" => self.apply_pod((namespace.to_owned(), name.to_owned()), object),
            "persistentvolumes" => self.apply_volume(name, object),
            "volumeattachments" => self.apply_named(Vertex::Attachment, name, object),
            "resourceslices" => self.apply_named(Vertex::Slice, name, object),
            _ => {}
        }
    }

    fn apply_pod(&mut self, place: Place, pod: Option<&Value>) {
        let bound = pod.and_then(BoundPod::read);
        if let Some(old) = self.pods.remove(&place) {
            old.needs.iter().for_each(|need| self.forget(need, &old.node));
        }
        let Some(bound) = bound else { return };
        for need in &bound.needs {
            *self.needed.entry(need.clone()).or_default().entry(bound.node.clone()).or_default() += 1;
        }
        self.pods.insert(place, bound);
    }

    /// One pod of the node less needs it.
    fn forget(&mut self, need: &(Vertex, Place), node: &str) {
        let Some(nodes) = self.needed.get_mut(need) else { return };
        match nodes.get_mut(node) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(nodes.remove(node)),
        }
        if nodes.is_empty() {
            self.needed.remove(need);
        }
    }

    fn apply_volume(&mut self, name: &str, volume: Option<&Value>) {
        for secret in self.volumes.remove(name).map(|old| old.secrets).unwrap_or_default() {
            if let Some(volumes) = self.needed_by_volumes.get_mut(&secret) {
                volumes.retain(|volume| volume != name);
                if volumes.is_empty() {
                    self.needed_by_volumes.remove(&secret);
                }
            }
        }
        let Some(volume) = volume else { return };
        let claim = &volume["spec"]["claimRef"];
        if text(&claim["name"]).is_empty() {
            return;
        }
        let claim = (text(&claim["namespace"]).to_owned(), text(&claim["name"]).to_owned());
        let secrets = references::volume_secrets(volume);
        for secret in &secrets {
            self.needed_by_volumes.entry(secret.clone()).or_default().push(name.to_owned());
        }
        self.volumes.insert(name.to_owned(), Volume { claim, secrets });
    }

    fn apply_named(&mut self, vertex: Vertex, name: &str, object: Option<&Value>) {
        let node = object.map(|object| text(&object["spec"]["nodeName"])).unwrap_or_default();
        let key = (vertex, name.to_owned());
        if node.is_empty() {
            self.named.remove(&key);
        } else {
            self.named.insert(key, node.to_owned());
        }
    }

    /// Whether there is a way from the object to the node.
    pub(super) fn leads(&self, vertex: Vertex, namespace: &str, name: &str, node: &str) -> bool {
        let place = (namespace.to_owned(), name.to_owned());
        match vertex {
            Vertex::Pod => self.pods.get(&place).is_some_and(|pod| pod.node == node),
            Vertex::Volume => self.volume_leads(name, node),
            Vertex::Attachment | Vertex::Slice => {
                self.named.get(&(vertex, name.to_owned())).is_some_and(|named| named == node)
            }
            Vertex::Secret if self.by_volumes(&place, node) => true,
            _ => self.needs(vertex, place, node),
        }
    }

    fn needs(&self, vertex: Vertex, place: Place, node: &str) -> bool {
        self.needed.get(&(vertex, place)).is_some_and(|nodes| nodes.contains_key(node))
    }

    fn volume_leads(&self, name: &str, node: &str) -> bool {
        let volume = self.volumes.get(name);
        volume.is_some_and(|volume| self.needs(Vertex::Claim, volume.claim.clone(), node))
    }

    fn by_volumes(&self, secret: &Place, node: &str) -> bool {
        let volumes = self.needed_by_volumes.get(secret).into_iter().flatten();
        volumes.into_iter().any(|volume| self.volume_leads(volume, node))
    }
}

impl BoundPod {
    /// `None` for a pod that is bound to no node.
    fn read(pod: &Value) -> Option<Self> {
        let spec = &pod["spec"];
        let node = text(&spec["nodeName"]);
        if node.is_empty() {
            return None;
        }
        let mut bound = Self { node: node.to_owned(), needs: Vec::new() };
        if pod["metadata"]["annotations"][MIRROR_POD].is_string() {
            return Some(bound);
        }
        let mut need = |vertex, name: &str| {
            bound.needs.push((vertex, (pod.namespace().to_owned(), name.to_owned())));
        };
        let account = text(&spec["serviceAccountName"]);
        Some(account)
            .filter(|name| !name.is_empty())
            .into_iter()
            .for_each(|n| need(Vertex::ServiceAccount, n));
        references::secrets(pod).into_iter().for_each(|name| need(Vertex::Secret, name));
        references::config_maps(pod).into_iter().for_each(|name| need(Vertex::ConfigMap, name));
        references::claims(pod).iter().for_each(|name| need(Vertex::Claim, name));
        references::resource_claims(pod).into_iter().for_each(|name| need(Vertex::ResourceClaim, name));
        Some(bound)
    }
}
