//! The older Endpoints object of the same service, which `kubectl describe service` reads
//! (`pkg/controller/endpoint`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::endpoints::{
    Port, copied_labels, hostname, pods_of, ports_of, publishes_not_ready, service_name, target_ref,
};
use crate::objects::{guarded_patch, is_terminating, name, namespace};
use crate::plan::{Action, Plan};
use crate::pods::{address, is_ready, node_name};
use crate::world::{World, to_value};

/// The label that says who keeps an Endpoints object.
pub(super) const MANAGED_BY_LABEL: &str = "endpoints.kubernetes.io/managed-by";
/// The value of that label.
pub(super) const MANAGED_BY: &str = "endpoint-controller";
/// Addresses in one Endpoints object; more are left out, and an annotation says so.
const MAX_CAPACITY: usize = 1000;
/// The annotation that says that addresses were left out.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// Makes the Endpoints object of a service say what its pods say.
pub(super) fn do_plan_endpoints(world: &World, service: &Service, plan: &mut Plan) {
    let wanted = endpoints(world, service);
    let held = world.endpoints.get(namespace(&service.metadata), name(&service.metadata));
    let Some(held) = held else {
        plan.actions.push(Action::Create(to_value(&wanted)));
        return;
    };
    let truncated =
        |e: &Endpoints| e.metadata.annotations.iter().flatten().any(|(key, _)| key == OVER_CAPACITY);
    let same = held.metadata.labels == wanted.metadata.labels
        && held.subsets.as_deref().unwrap_or_default() == wanted.subsets.as_deref().unwrap_or_default()
        && truncated(held) == truncated(&wanted);
    if same {
        return;
    }
    let mut labels = json!(wanted.metadata.labels);
    for key in held.metadata.labels.iter().flat_map(BTreeMap::keys) {
        if labels.get(key).is_none() {
            labels[key] = serde_json::Value::Null;
        }
    }
    let over = truncated(&wanted).then_some("truncated");
    let metadata = json!({"labels": labels, "annotations": {OVER_CAPACITY: over}});
    let subsets = wanted.subsets.unwrap_or_default();
    plan.actions.push(guarded_patch(&**held, json!({"metadata": metadata, "subsets": subsets})));
}

fn endpoints(world: &World, service: &Service) -> Endpoints {
    let mut groups: BTreeMap<Vec<Port>, (Vec<EndpointAddress>, Vec<EndpointAddress>)> = BTreeMap::new();
    let mut left_out = 0_usize;
    let not_ready_too = publishes_not_ready(service);
    let pods = pods_of(world, service).filter(|pod| not_ready_too || !is_terminating(&pod.metadata));
    for (count, pod) in pods.enumerate() {
        if count >= MAX_CAPACITY {
            left_out += 1;
            continue;
        }
        let (ready, not_ready) = groups.entry(ports_of(pod, service)).or_default();
        let list = if not_ready_too || is_ready(pod) { ready } else { not_ready };
        list.push(endpoint_address(pod, service));
    }
    let mut labels = copied_labels(service);
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
    let annotations =
        (left_out > 0).then(|| BTreeMap::from([(OVER_CAPACITY.to_owned(), "truncated".to_owned())]));
    Endpoints {
        metadata: ObjectMeta {
            name: Some(service_name(service)),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            annotations,
            ..ObjectMeta::default()
        },
        subsets: (!groups.is_empty()).then(|| groups.into_iter().map(subset).collect()),
    }
}

fn subset(
    (ports, (ready, not_ready)): (Vec<Port>, (Vec<EndpointAddress>, Vec<EndpointAddress>)),
) -> EndpointSubset {
    let ports = ports.into_iter().map(|(name, protocol, port, app_protocol)| EndpointPort {
        name: (!name.is_empty()).then_some(name),
        protocol: Some(protocol),
        port,
        app_protocol,
    });
    let some = |list: Vec<EndpointAddress>| (!list.is_empty()).then_some(list);
    EndpointSubset {
        addresses: some(ready),
        not_ready_addresses: some(not_ready),
        ports: Some(ports.collect::<Vec<_>>()).filter(|ports| !ports.is_empty()),
    }
}

fn endpoint_address(pod: &Pod, service: &Service) -> EndpointAddress {
    EndpointAddress {
        ip: address(pod).unwrap_or_default().to_owned(),
        hostname: hostname(pod, service),
        node_name: node_name(pod).map(str::to_owned),
        target_ref: Some(target_ref(pod)),
    }
}
