//! Services: nobody behind them, or nobody Ready.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, Service};

use super::{CHECK_NAME, Cause, Walk};
use crate::objects::{is_terminating, name};
use crate::pods::{is_ready, is_terminal};
use crate::service_proxy::{self, reasons};
use crate::stateful_set::replicas;

impl Walk<'_> {
    pub(super) fn service(&mut self, ns: &str, service_name: &str) -> Cause {
        let behind = self.behind_service(ns, service_name);
        let service = self.world.services.get(ns, service_name);
        match service.and_then(|service| ports_of_host(service)) {
            Some(trouble) if behind.is_well() => trouble,
            Some(trouble) => trouble.because([behind]),
            None => behind,
        }
    }

    /// Who is behind a service, and whether they are Ready.
    fn behind_service(&mut self, ns: &str, service_name: &str) -> Cause {
        let Some(service) = self.world.services.get(ns, service_name) else {
            return Cause::new(format!("service/{service_name} does not exist in namespace {ns}"))
                .fix(CHECK_NAME);
        };
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
        if selector.is_empty() {
            return Cause::well(format!(
                "service/{service_name} has no selector: its endpoints are made by hand"
            ));
        }
        let pods: Vec<&Pod> = self
            .world
            .pods
            .in_namespace(ns)
            .map(|pod| &**pod)
            .filter(|pod| {
                let labels = pod.metadata.labels.as_ref();
                !is_terminal(pod)
                    && selector.iter().all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
            })
            .collect();
        if pods.is_empty()
            && let Some(set) = self.set_behind(ns, &selector)
        {
            return self.no_pods_of(ns, service_name, &set);
        }
        if pods.is_empty() {
            let wanted: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
            return Cause::new(format!("service/{service_name} selects no pod ({})", wanted.join(",")))
                .fix("compare spec.selector with the labels: stead get pods --show-labels");
        }
        let counts = |pod: &&&Pod| is_ready(pod) && !is_terminating(&pod.metadata);
        let ready = pods.iter().filter(counts).count();
        let text = format!("service/{service_name} has {ready} of {} pods ready", pods.len());
        let lacking = unresolved(service, &pods);
        let unready: Vec<String> =
            pods.iter().filter(|pod| !counts(pod)).map(|pod| name(&pod.metadata).to_owned()).collect();
        let behind: Vec<Cause> = unready.iter().map(|pod| self.object("Pod", ns, pod)).collect();
        let cause =
            if lacking.is_empty() && behind.is_empty() { Cause::well(text) } else { Cause::new(text) };
        cause.because(lacking).because(behind)
    }

    /// The set whose pods have the labels that a service selects.
    fn set_behind(&self, ns: &str, selector: &BTreeMap<String, String>) -> Option<String> {
        let fits = |set: &StatefulSet| {
            let meta = set.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
            let labels = meta.and_then(|meta| meta.labels.as_ref());
            selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        };
        let mut sets = self.world.stateful_sets.in_namespace(ns);
        sets.find(|set| fits(set)).map(|set| name(&set.metadata).to_owned())
    }

    /// A service whose set has no pods, wanted or not yet.
    fn no_pods_of(&mut self, ns: &str, service_name: &str, set: &str) -> Cause {
        let text = format!(
            "service/{service_name} has nobody behind it: statefulset/{set}, whose pods it selects, "
        );
        let wanted = self.world.stateful_sets.get(ns, set).map_or(0, |set| replicas(set));
        if wanted == 0 {
            return Cause::well(text + "is to have none");
        }
        let behind = self.object("StatefulSet", ns, set);
        Cause::new(text + "has none yet").because([behind])
    }
}

/// What keeps the host's ports from a service, if something does.
fn ports_of_host(service: &Service) -> Option<Cause> {
    let trouble = service_proxy::trouble(service)?;
    let name = name(&service.metadata);
    let spec = service.spec.as_ref();
    let what = match spec.and_then(|spec| spec.type_.as_deref()) {
        Some("LoadBalancer") => "has no address for its load balancer",
        _ => "is not reached at all of its ports of the host",
    };
    let fix = match trouble.reason.as_str() {
        reasons::ADDRESS_NOT_HERE => {
            "leave spec.loadBalancerIP out, or name one of the host's addresses: ip -4 addr"
        }
        _ => "end who has it (ss -ltnup shows processes), or choose another port for the service",
    };
    Some(Cause::new(format!("service/{name} {what}: {}", trouble.message)).fix(fix))
}

/// Named target ports that no container of any pod has.
fn unresolved(service: &Service, pods: &[&Pod]) -> Vec<Cause> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let nowhere =
        ports.filter(|port| pods.iter().all(|pod| crate::endpoint_slice::find_port(pod, port).is_none()));
    nowhere
        .map(|port| {
            let wanted = match port.target_port.as_ref() {
                Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String(wanted)) => {
                    wanted.as_str()
                }
                _ => "",
            };
            Cause::new(format!("no container has a port named {wanted}"))
                .fix("name one of the containers' ports in the service's targetPort, or give its number")
        })
        .collect()
}
