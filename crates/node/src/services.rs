//! Service addresses: what Services and EndpointSlices say, as rules of the pods' network (kube-proxy's job).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use network::{Protocol, ServiceRule};
use planner::{Object, World};
use tokio::sync::Notify;

use crate::host::Host;

/// The pause after the kernel refused; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// The label of a slice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Keeps the rules current, for ever.
pub(crate) async fn run(host: Arc<Host>) {
    let changed = Arc::new(Notify::new());
    let waker = Arc::clone(&changed);
    host.informers.on_change(move |_, change| {
        let object = change.new.as_ref().or(change.old.as_ref());
        if matches!(object, Some(Object::Service(_) | Object::EndpointSlice(_))) {
            waker.notify_one();
        }
    });
    let mut pause = FIRST_PAUSE;
    let mut set: Option<Vec<ServiceRule>> = None;
    loop {
        let rules = service_rules(&host.informers.world());
        if set.as_ref() != Some(&rules) {
            match host.network.set_services(rules.clone()).await {
                Ok(()) => {
                    set = Some(rules);
                    pause = FIRST_PAUSE;
                }
                Err(error) => {
                    tracing::warn!("service addresses: {error}");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    continue;
                }
            }
        }
        changed.notified().await;
    }
}

/// One rule for each port of each Service that has an address; its endpoints are the ready ones.
fn service_rules(world: &World) -> Vec<ServiceRule> {
    let mut rules = Vec::new();
    for service in world.services.iter() {
        let Some(spec) = &service.spec else { continue };
        // `None` and the empty string are no addresses.
        let Some(cluster_ip) = spec.cluster_ip.as_deref().and_then(|ip| ip.parse().ok()) else { continue };
        for port in spec.ports.iter().flatten() {
            let Ok(number) = u16::try_from(port.port) else { continue };
            rules.push(ServiceRule {
                cluster_ip,
                port: number,
                protocol: protocol(port.protocol.as_deref()),
                endpoints: endpoints(world, service, port),
            });
        }
    }
    rules
}

fn protocol(name: Option<&str>) -> Protocol {
    match name {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    }
}

fn endpoints(world: &World, service: &Service, port: &ServicePort) -> Vec<(Ipv4Addr, u16)> {
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let of_service = |slice: &&Arc<EndpointSlice>| {
        let labels = slice.metadata.labels.as_ref();
        labels.and_then(|l| l.get(SERVICE_NAME)) == service.metadata.name.as_ref()
    };
    let mut all = Vec::new();
    for slice in world.endpoint_slices.in_namespace(namespace).filter(of_service) {
        let same = |name: &Option<String>| {
            name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
        };
        let target = slice.ports.iter().flatten().find(|p| same(&p.name)).and_then(|p| p.port);
        let Some(target) = target.and_then(|t| u16::try_from(t).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
            if ready {
                all.extend(endpoint.addresses.iter().filter_map(|a| Some((a.parse().ok()?, target))));
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_leads_to_the_ready_endpoints_of_its_name() {
        let mut world = World::default();
        let service = |name: &str, ip: &str| {
            serde_json::from_value(
                json!({"metadata": {"name": name, "namespace": "d"}, "spec": {"clusterIP": ip,
                "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}, {"name": "x", "port": 1}]}}),
            )
            .unwrap()
        };
        world.services.insert(service("db", "10.43.0.9"));
        world.services.insert(service("headless", "None"));
        let slice = json!({
            "metadata": {"name": "db-1", "namespace": "d", "labels": {SERVICE_NAME: "db"}},
            "addressType": "IPv4", "ports": [{"name": "sql", "port": 6432}],
            "endpoints": [
                {"addresses": ["10.42.0.2"], "conditions": {"ready": true}},
                {"addresses": ["10.42.0.3"], "conditions": {"ready": false}},
            ],
        });
        world.endpoint_slices.insert(serde_json::from_value(slice).unwrap());
        let rule = |port, endpoints| ServiceRule {
            cluster_ip: Ipv4Addr::new(10, 43, 0, 9),
            port,
            protocol: Protocol::Tcp,
            endpoints,
        };
        assert_eq!(
            service_rules(&world),
            [rule(5432, vec![(Ipv4Addr::new(10, 42, 0, 2), 6432)]), rule(1, vec![])]
        );
    }
}
