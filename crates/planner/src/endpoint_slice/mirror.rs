//! EndpointSlices that say what an Endpoints object says that somebody made for a service without a selector
//! (`pkg/controller/endpointslicemirroring`): those who read slices only, as the node and DNS do, find it.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions};

use super::endpoints::{Groups, Port};
use super::slices::{Source, do_plan_slices, slices_of};
use super::{MANAGED_BY_LABEL, SERVICE_NAME_LABEL};
use crate::objects::{annotation, controller_ref, delete, label, uid};
use crate::plan::Plan;
use crate::world::{Key, World};

/// The value of the label of slices that mirror.
pub(super) const MANAGED_BY: &str = "endpointslicemirroring-controller.k8s.io";
/// The label of Endpoints that are not to be mirrored.
const SKIP_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";
/// The annotation of Endpoints that are a lock and no endpoints.
const LEADER_ANNOTATION: &str = "control-plane.alpha.kubernetes.io/leader";
/// Addresses of one subset that are mirrored; more are left out (upstream's default for
/// `--mirroring-max-endpoints-per-subset`).
const MAX_PER_SUBSET: usize = 1000;

/// Makes the mirroring slices of a service say what its Endpoints object says, or removes them.
pub(super) fn do_plan_mirror(world: &World, key: &Key, has_selector: bool, plan: &mut Plan) {
    let held = world.endpoints.get(&key.namespace, &key.name);
    let Some(endpoints) = held.filter(|endpoints| !has_selector && is_mirrored(endpoints)) else {
        for slice in slices_of(world, &key.namespace, &key.name, MANAGED_BY) {
            plan.actions.push(delete(slice));
        }
        return;
    };
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.retain(|key, _| key != SERVICE_NAME_LABEL && key != MANAGED_BY_LABEL);
    let source = Source {
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: uid(&endpoints.metadata).to_owned(),
        owner: controller_ref(&**endpoints),
        managed_by: MANAGED_BY,
        address_type: "IPv4".to_owned(),
        labels,
    };
    do_plan_slices(world, &source, groups(endpoints), plan);
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    let meta = &endpoints.metadata;
    meta.deletion_timestamp.is_none()
        && label(meta, SKIP_LABEL) != Some("true")
        && annotation(meta, LEADER_ANNOTATION).is_none()
        // What is left of a service that had a selector is nobody's word.
        && label(meta, super::legacy::MANAGED_BY_LABEL) != Some(super::legacy::MANAGED_BY)
}

fn groups(endpoints: &Endpoints) -> Groups {
    let mut groups = Groups::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let mirrored = ready.chain(not_ready).filter(|(address, _)| address.ip.parse::<Ipv4Addr>().is_ok());
        let mirrored = mirrored.take(MAX_PER_SUBSET).map(|(address, ready)| endpoint(address, ready));
        let mirrored: Vec<Endpoint> = mirrored.collect();
        if !mirrored.is_empty() {
            let mut ports: Vec<Port> = subset.ports.iter().flatten().map(port).collect();
            ports.sort();
            groups.entry(ports).or_default().extend(mirrored);
        }
    }
    groups
}

fn port(port: &EndpointPort) -> Port {
    (
        port.name.clone().unwrap_or_default(),
        port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        port.port,
        port.app_protocol.clone(),
    )
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|hostname| !hostname.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}
