//! EndpointSlices: at most a hundred endpoints each, every endpoint where it was as long as it can be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::json;

use super::endpoints::{self, Groups, endpoint_port};
use super::{MANAGED_BY, MANAGED_BY_LABEL, SERVICE_NAME_LABEL};
use crate::objects::{controller_ref, delete, guarded_patch, label, name, namespace, uid};
use crate::plan::{Action, Plan};
use crate::template::safe_encode;
use crate::world::{World, to_value};

/// Endpoints in one slice (upstream's default for `--max-endpoints-per-slice`).
const MAX_ENDPOINTS: usize = 100;

/// What slices are made from: a Service, or an Endpoints object that somebody made by hand.
pub(super) struct Source {
    pub(super) namespace: String,
    /// The Service's name, and the one object's.
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) owner: OwnerReference,
    pub(super) managed_by: &'static str,
    pub(super) address_type: String,
    /// What slices get besides the labels that say whose they are.
    pub(super) labels: BTreeMap<String, String>,
}

impl Source {
    /// A service with a selector.
    pub(super) fn of_service(service: &Service) -> Source {
        Source {
            namespace: namespace(&service.metadata).to_owned(),
            name: endpoints::service_name(service),
            uid: uid(&service.metadata).to_owned(),
            owner: controller_ref(service),
            managed_by: MANAGED_BY,
            address_type: address_type(service).to_owned(),
            labels: endpoints::copied_labels(service),
        }
    }
}

/// Makes the slices of a service say what `groups` says, with as few writes as that takes. Without groups
/// there are none.
pub(super) fn do_plan_slices(world: &World, source: &Source, groups: Groups, plan: &mut Plan) {
    let held: Vec<&EndpointSlice> =
        slices_of(world, &source.namespace, &source.name, source.managed_by).collect();
    let mut names: BTreeSet<String> = held.iter().map(|slice| name(&slice.metadata).to_owned()).collect();
    let groups: Vec<(Vec<EndpointPort>, Vec<Endpoint>)> =
        groups.into_iter().map(|(ports, found)| (ports.iter().map(endpoint_port).collect(), found)).collect();
    let (matched, mut spare): (Vec<&EndpointSlice>, Vec<&EndpointSlice>) =
        held.iter().copied().partition(|slice| groups.iter().any(|(ports, _)| has_ports(slice, ports)));
    let mut used = BTreeSet::new();
    for (ports, endpoints) in groups {
        let mut alike: Vec<&EndpointSlice> =
            matched.iter().copied().filter(|slice| has_ports(slice, &ports)).collect();
        if alike.is_empty() {
            alike.extend(spare.pop());
        }
        for (slot, content) in distribute(&alike, endpoints) {
            let base = slot.and_then(|index| alike.get(index)).copied();
            let slice = base.cloned().unwrap_or_else(|| new_slice(source, &mut names));
            used.insert(name(&slice.metadata).to_owned());
            write_slice(source, base, slice, &ports, content, plan);
        }
    }
    for slice in held.into_iter().filter(|slice| !used.contains(name(&slice.metadata))) {
        plan.actions.push(delete(slice));
    }
}

fn has_ports(slice: &EndpointSlice, ports: &[EndpointPort]) -> bool {
    slice.ports.as_deref().unwrap_or_default() == ports
}

/// The slices that are kept for a service under this name.
pub(super) fn slices_of<'w>(
    world: &'w World,
    namespace: &'w str,
    service: &'w str,
    managed_by: &'static str,
) -> impl Iterator<Item = &'w EndpointSlice> {
    let slices = world.endpoint_slices.in_namespace(namespace).map(|slice| &**slice);
    slices.filter(move |slice| {
        label(&slice.metadata, SERVICE_NAME_LABEL) == Some(service)
            && label(&slice.metadata, MANAGED_BY_LABEL) == Some(managed_by)
            && slice.metadata.deletion_timestamp.is_none()
    })
}

/// Gives each endpoint to the slice that has it already, new ones to slices with room, the rest to new slices
/// (`None`). Slices that end up empty are left out, but the last one stays.
fn distribute(alike: &[&EndpointSlice], endpoints: Vec<Endpoint>) -> Vec<(Option<usize>, Vec<Endpoint>)> {
    let key = |endpoint: &Endpoint| {
        let target = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
        target.or_else(|| endpoint.addresses.first().cloned())
    };
    let mut wanted: BTreeMap<Option<String>, Endpoint> =
        endpoints.into_iter().map(|endpoint| (key(&endpoint), endpoint)).collect();
    let mut filled: Vec<(Option<usize>, Vec<Endpoint>)> = alike
        .iter()
        .enumerate()
        .map(|(index, slice)| {
            let held = slice.endpoints.iter().flatten();
            (Some(index), held.filter_map(|endpoint| wanted.remove(&key(endpoint))).collect())
        })
        .collect();
    let mut new: VecDeque<Endpoint> = wanted.into_values().collect();
    for (_, content) in &mut filled {
        let room = MAX_ENDPOINTS.saturating_sub(content.len()).min(new.len());
        content.extend(new.drain(..room));
    }
    while !new.is_empty() {
        let room = MAX_ENDPOINTS.min(new.len());
        filled.push((None, new.drain(..room).collect()));
    }
    if filled.iter().any(|(_, content)| !content.is_empty()) {
        filled.retain(|(_, content)| !content.is_empty());
    } else {
        filled.truncate(1);
    }
    if filled.is_empty() {
        filled.push((None, Vec::new()));
    }
    filled
}

/// An empty slice under a name that is free. Names follow from the service's uid and a count, so that the same
/// plan made twice makes the same slice.
fn new_slice(source: &Source, names: &mut BTreeSet<String>) -> EndpointSlice {
    let service_name = &source.name;
    let mut count = 0_u32;
    let free = loop {
        let sum = format!("{}{count}", source.uid)
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let suffix = safe_encode(&format!("{:05}", sum % 100_000));
        let candidate = format!("{service_name}-{suffix}");
        if names.insert(candidate.clone()) {
            break candidate;
        }
        count += 1;
    };
    EndpointSlice {
        address_type: source.address_type.clone(),
        metadata: ObjectMeta {
            name: Some(free),
            generate_name: Some(format!("{service_name}-")),
            namespace: Some(source.namespace.clone()),
            owner_references: Some(vec![source.owner.clone()]),
            ..ObjectMeta::default()
        },
        ..EndpointSlice::default()
    }
}

fn address_type(service: &Service) -> &str {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    families.and_then(|families| families.first()).map_or("IPv4", String::as_str)
}

fn write_slice(
    source: &Source,
    base: Option<&EndpointSlice>,
    mut slice: EndpointSlice,
    ports: &[EndpointPort],
    content: Vec<Endpoint>,
    plan: &mut Plan,
) {
    let mut labels = source.labels.clone();
    labels.insert(SERVICE_NAME_LABEL.to_owned(), source.name.clone());
    labels.insert(MANAGED_BY_LABEL.to_owned(), source.managed_by.to_owned());
    slice.metadata.labels = Some(labels);
    slice.ports = Some(ports.to_vec());
    slice.endpoints = Some(content);
    match base {
        None => plan.actions.push(Action::Create(to_value(&slice))),
        Some(base) if is_same(base, &slice) => {}
        Some(base) => {
            let removed = base.metadata.labels.iter().flat_map(BTreeMap::keys);
            let mut labels = json!(slice.metadata.labels);
            for key in removed {
                if labels.get(key).is_none() {
                    labels[key] = serde_json::Value::Null;
                }
            }
            let patch =
                json!({"metadata": {"labels": labels}, "ports": slice.ports, "endpoints": slice.endpoints});
            plan.actions.push(guarded_patch(base, patch));
        }
    }
}

fn is_same(held: &EndpointSlice, wanted: &EndpointSlice) -> bool {
    let list = |endpoints: &Option<Vec<Endpoint>>| endpoints.clone().unwrap_or_default();
    held.metadata.labels == wanted.metadata.labels
        && held.ports.as_deref().unwrap_or_default() == wanted.ports.as_deref().unwrap_or_default()
        && list(&held.endpoints) == list(&wanted.endpoints)
}
