//! What a service's selector finds: one endpoint per pod, grouped by the ports that it resolves to.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::objects::{is_terminating, name, namespace};
use crate::pods::{address, is_ready, is_terminal, node_name, spec};
use crate::world::World;

/// One port, in the order that groups sort by: name, protocol, number, application protocol.
pub(super) type Port = (String, String, i32, Option<String>);

/// Endpoints by the ports that they all have.
pub(super) type Groups = BTreeMap<Vec<Port>, Vec<Endpoint>>;

/// The pods behind a service that have an address and have not ended.
pub(super) fn pods_of<'w>(world: &'w World, service: &'w Service) -> impl Iterator<Item = &'w Pod> {
    let selects = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    world
        .pods
        .in_namespace(namespace(&service.metadata))
        .map(|pod| &**pod)
        .filter(move |pod| {
            let labels = pod.metadata.labels.as_ref();
            selects.is_some_and(|wanted| {
                wanted.iter().all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
            })
        })
        .filter(|pod| !is_terminal(pod) && address(pod).is_some())
}

/// The name that the pod has under the service, when its `subdomain` says so.
pub(super) fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = spec(pod)?;
    let under = spec.subdomain.as_deref() == service.metadata.name.as_deref();
    spec.hostname.clone().filter(|hostname| under && !hostname.is_empty())
}

/// The reference to a pod that endpoints carry.
pub(super) fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The number of a service's port in this pod; a name is looked up among the containers' ports
/// (`podutil.FindPort`).
pub(crate) fn find_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    match port.target_port.as_ref() {
        Some(IntOrString::Int(0)) | None => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(wanted)) => {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let spec = spec(pod)?;
            let sidecars = spec.init_containers.iter().flatten();
            spec.containers
                .iter()
                .chain(sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always")))
                .flat_map(|container| container.ports.iter().flatten())
                .find(|held| {
                    held.name.as_deref() == Some(wanted)
                        && held.protocol.as_deref().unwrap_or("TCP") == protocol
                })
                .map(|held| held.container_port)
        }
    }
}

/// The ports that a pod has of those that the service names; a named port that it lacks is left out.
pub(super) fn ports_of(pod: &Pod, service: &Service) -> Vec<Port> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let mut found: Vec<Port> = ports
        .filter_map(|port| {
            Some((
                port.name.clone().unwrap_or_default(),
                port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                find_port(pod, port)?,
                port.app_protocol.clone(),
            ))
        })
        .collect();
    found.sort();
    found
}

/// A port as slices and Endpoints carry it.
pub(super) fn endpoint_port(port: &Port) -> EndpointPort {
    let (name, protocol, number, app_protocol) = port;
    EndpointPort {
        name: Some(name.clone()),
        protocol: Some(protocol.clone()),
        port: Some(*number),
        app_protocol: app_protocol.clone(),
    }
}

/// Whether the service wants addresses of pods that are not Ready.
pub(crate) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// All endpoints of a service (`podToEndpoint`).
pub(super) fn groups(world: &World, service: &Service) -> Groups {
    let mut groups = Groups::new();
    for pod in pods_of(world, service) {
        groups.entry(ports_of(pod, service)).or_default().push(endpoint(world, service, pod));
    }
    groups
}

fn endpoint(world: &World, service: &Service, pod: &Pod) -> Endpoint {
    let serving = is_ready(pod);
    let terminating = is_terminating(&pod.metadata);
    let zone = node_name(pod)
        .and_then(|node| world.nodes.get("", node))
        .and_then(|node| crate::objects::label(&node.metadata, "topology.kubernetes.io/zone"));
    Endpoint {
        addresses: address(pod).into_iter().map(str::to_owned).collect(),
        conditions: Some(EndpointConditions {
            ready: Some(publishes_not_ready(service) || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(pod, service),
        node_name: node_name(pod).map(str::to_owned),
        target_ref: Some(target_ref(pod)),
        zone: zone.map(str::to_owned),
        ..Endpoint::default()
    }
}

/// Whether the service has no address of its own.
pub(super) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The labels that both forms copy from the service, without those that say something of their own.
pub(super) fn copied_labels(service: &Service) -> BTreeMap<String, String> {
    let reserved = [super::SERVICE_NAME_LABEL, super::MANAGED_BY_LABEL, super::HEADLESS_LABEL];
    let labels = service.metadata.labels.clone().unwrap_or_default();
    let mut labels: BTreeMap<String, String> =
        labels.into_iter().filter(|(key, _)| !reserved.contains(&key.as_str())).collect();
    if is_headless(service) {
        labels.insert(super::HEADLESS_LABEL.to_owned(), String::new());
    }
    labels
}

/// The service's name.
pub(super) fn service_name(service: &Service) -> String {
    name(&service.metadata).to_owned()
}
