//! The Service that gives a set's pods their DNS names: the API never checks that it exists.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;

use super::{Cause, Walk, flag};
use crate::objects::{name, namespace};

impl Walk<'_> {
    /// Why no DNS name leads to a pod of the set, if none does.
    pub(super) fn ungoverned(&self, set: &StatefulSet) -> Option<Cause> {
        let spec = set.spec.as_ref()?;
        let service_name = spec.service_name.as_deref().filter(|service| !service.is_empty())?;
        let (set_name, ns) = (name(&set.metadata), namespace(&set.metadata));
        let lost = |why: String| {
            Cause::new(format!(
                "statefulset/{set_name}: names like {set_name}-0.{service_name} do not resolve"
            ))
            .because([Cause::new(why)])
        };
        let Some(service) = self.world.services.get(ns, service_name) else {
            let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
            let labels: Vec<String> =
                labels.into_iter().flatten().map(|(key, value)| format!("{key}: {value}")).collect();
            let why = format!("service/{service_name}, which spec.serviceName names, does not exist");
            return Some(lost(why).fix(format!(
                "create Service {service_name} with clusterIP: None and selector {{{}}}",
                labels.join(", ")
            )));
        };
        if is_external(service) {
            let why = format!("service/{service_name} is of type ExternalName: it leads elsewhere");
            return Some(
                lost(why).fix("name a headless Service of the set's own in spec.serviceName of a new set"),
            );
        }
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
        let wrong = selector
            .into_iter()
            .flatten()
            .find(|(key, value)| labels.and_then(|labels| labels.get(*key)) != Some(*value));
        if let Some((key, value)) = wrong {
            let why =
                format!("service/{service_name} selects {key}={value}, which the set's pods do not have");
            return Some(lost(why).fix(format!(
                "put the template's labels into its spec.selector: stead edit svc {service_name}{}",
                flag(ns)
            )));
        }
        if !is_headless(service) {
            let why = format!(
                "service/{service_name} is not headless: it has the one address {}",
                cluster_ip(service).unwrap_or_default()
            );
            return Some(lost(why).fix("delete it and create it anew with clusterIP: None"));
        }
        None
    }
}

fn is_external(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName")
}

fn cluster_ip(service: &Service) -> Option<&str> {
    service.spec.as_ref()?.cluster_ip.as_deref()
}

fn is_headless(service: &Service) -> bool {
    cluster_ip(service) == Some("None")
}
