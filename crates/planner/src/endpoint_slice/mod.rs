//! Where the pods behind a service are (`pkg/controller/endpointslice`, `pkg/controller/endpoint`): one
//! EndpointSlice per service, more beyond a hundred pods, and the older Endpoints object of the same.
//!
//! DNS and service addresses follow from these, so a pod is in them as soon as it has its address, and says
//! there by itself whether it is Ready. Services without a selector are their owner's to look after: with
//! EndpointSlices, or with an Endpoints object, which is mirrored into slices.

mod endpoints;
mod legacy;
mod mirror;
mod slices;

pub(crate) use endpoints::{find_port, publishes_not_ready};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};

use crate::Planner;
use crate::objects::{delete, label, name, namespace};
use crate::plan::Plan;
use crate::world::{Key, Object, World};

/// The label with the service's name.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// The label that says who keeps a slice.
pub const MANAGED_BY_LABEL: &str = "endpointslice.kubernetes.io/managed-by";
/// The value of that label for slices of this planner.
pub const MANAGED_BY: &str = "endpointslice-controller.k8s.io";
/// The label of slices of a service without an address of its own.
pub const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";

/// The EndpointSlice and Endpoints controllers.
pub struct EndpointSlicePlanner;

impl Planner for EndpointSlicePlanner {
    fn name(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:endpointslice-controller"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        match object {
            Object::Service(service) => vec![Key::of(&service.metadata)],
            Object::Pod(pod) => services_of(world, pod),
            Object::EndpointSlice(slice) => {
                let service = label(&slice.metadata, SERVICE_NAME_LABEL);
                service.map(|service| Key::new(namespace(&slice.metadata), service)).into_iter().collect()
            }
            Object::Endpoints(endpoints) => vec![Key::of(&endpoints.metadata)],
            _ => Vec::new(),
        }
    }

    fn plan(&self, world: &World, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan { independent: true, ..Plan::default() };
        let Some(service) = world.services.get(&key.namespace, &key.name) else {
            do_plan_leftovers(world, key, &mut plan);
            return plan;
        };
        let has_selector =
            service.spec.as_ref().is_some_and(|s| s.selector.as_ref().is_some_and(|s| !s.is_empty()));
        let goes = service.metadata.deletion_timestamp.is_some()
            || world
                .namespaces
                .get("", &key.namespace)
                .is_some_and(|n| n.metadata.deletion_timestamp.is_some());
        if has_selector && !goes && !is_external(service) {
            let mut groups = endpoints::groups(world, service);
            if groups.is_empty() {
                // A slice without endpoints says: known, and there are none.
                groups.insert(Vec::new(), Vec::new());
            }
            slices::do_plan_slices(world, &slices::Source::of_service(service), groups, &mut plan);
            legacy::do_plan_endpoints(world, service, &mut plan);
        }
        if !goes {
            mirror::do_plan_mirror(world, key, has_selector, &mut plan);
        }
        plan
    }
}

fn is_external(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName")
}

/// Services that select the pod. One that no longer does is found by the pod as it was before.
fn services_of(world: &World, pod: &Pod) -> Vec<Key> {
    let ns = namespace(&pod.metadata);
    let labels = pod.metadata.labels.as_ref();
    let selects = |service: &Service| {
        let wanted = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        wanted.is_some_and(|wanted| {
            !wanted.is_empty() && wanted.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
        })
    };
    let services = world.services.in_namespace(ns);
    services.filter(|service| selects(service)).map(|service| Key::of(&service.metadata)).collect()
}

/// A service that is gone leaves nothing behind. Its slices have it as their owner; the Endpoints object has
/// none, as upstream.
fn do_plan_leftovers(world: &World, key: &Key, plan: &mut Plan) {
    let ours = |managed_by| managed_by == Some(legacy::MANAGED_BY);
    if let Some(endpoints) = world.endpoints.get(&key.namespace, &key.name)
        && ours(label(&endpoints.metadata, legacy::MANAGED_BY_LABEL))
    {
        plan.actions.push(delete(&**endpoints));
    }
    for slice in world.endpoint_slices.in_namespace(&key.namespace) {
        let meta = &slice.metadata;
        let of_service = label(meta, SERVICE_NAME_LABEL) == Some(&key.name);
        let ours = matches!(label(meta, MANAGED_BY_LABEL), Some(MANAGED_BY | mirror::MANAGED_BY));
        if of_service && ours && !name(meta).is_empty() {
            plan.actions.push(delete(&**slice));
        }
    }
}
