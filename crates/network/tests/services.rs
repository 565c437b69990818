//! Service addresses, in real network namespaces.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use network::{Config, Network, PodRef, Protocol, ServiceRule};

mod common;
use common::{Namespace, ask, ip, on_a_host};

const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 10);

fn open(dir: &Path) -> Arc<Network> {
    // Something must lead to service addresses before they are rewritten, as a default route does.
    if !ip("route show").contains("default") {
        ip("link add lan0 type veth peer name lan1");
        ip("link set lan1 up");
        ip("addr add 198.51.100.1/24 dev lan0");
        ip("link set lan0 up");
        ip("route add default via 198.51.100.2");
    }
    Network::open(&Config {
        dir: dir.join("network"),
        pod_cidr: "10.42.0.0/24".parse().unwrap(),
        instance: "0123456789ab".into(),
        mtu: None,
    })
    .unwrap()
}

/// A pod that says its name on port 8080.
async fn server(network: &Arc<Network>, name: &str) -> (Namespace, Ipv4Addr) {
    let namespace = Namespace::new();
    let pod = PodRef { uid: name.into(), namespace: "default".into(), name: name.into() };
    let ip = network.attach(pod, namespace.tid).await.unwrap().ip;
    namespace.serve(8080, Some(name.into()));
    (namespace, ip)
}

fn service(endpoints: &[Ipv4Addr]) -> ServiceRule {
    ServiceRule {
        cluster_ip: SERVICE,
        port: 80,
        protocol: Protocol::Tcp,
        endpoints: endpoints.iter().map(|ip| (*ip, 8080)).collect(),
    }
}

#[test]
fn a_service_address_leads_to_an_endpoint() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (a, a_ip) = server(&network, "a").await;
        let (b, _) = server(&network, "b").await;
        network.set_services(vec![service(&[a_ip])]).await.unwrap();
        assert_eq!(b.ask(SERVICE, 80).unwrap(), "a", "from another pod");
        assert_eq!(ask(SERVICE, 80).unwrap(), "a", "from the host");
        assert_eq!(a.ask(SERVICE, 80).unwrap(), "a", "from the endpoint itself");
    });
}

#[test]
fn endpoints_take_turns() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (a, a_ip) = server(&network, "a").await;
        let (_b, b_ip) = server(&network, "b").await;
        network.set_services(vec![service(&[a_ip, b_ip])]).await.unwrap();
        // One in 2^63 that one of two is never drawn in 64 turns.
        let heard: std::collections::BTreeSet<String> =
            (0..64).map(|_| a.ask(SERVICE, 80).unwrap()).collect();
        assert_eq!(heard.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    });
}

#[test]
fn a_service_without_endpoints_refuses_until_it_has_one() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (a, a_ip) = server(&network, "a").await;
        network.set_services(vec![service(&[])]).await.unwrap();
        for refused in [a.ask(SERVICE, 80), ask(SERVICE, 80)] {
            assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        }
        network.set_services(vec![service(&[a_ip])]).await.unwrap();
        assert_eq!(a.ask(SERVICE, 80).unwrap(), "a");
    });
}

#[test]
fn services_outlast_a_restart_and_follow_what_comes_after() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (a, a_ip) = server(&network, "a").await;
        let (_b, b_ip) = server(&network, "b").await;
        network.set_services(vec![service(&[a_ip])]).await.unwrap();
        drop(network);
        assert_eq!(a.ask(SERVICE, 80).unwrap(), "a", "while stead is away");
        let network = open(dir.path());
        assert_eq!(a.ask(SERVICE, 80).unwrap(), "a", "before stead knows its services again");
        network.set_services(vec![service(&[b_ip])]).await.unwrap();
        assert_eq!(a.ask(SERVICE, 80).unwrap(), "b");
    });
}

#[test]
fn a_thousand_services_of_three_are_set_at_once() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (a, a_ip) = server(&network, "a").await;
        let mut services: Vec<ServiceRule> = (0..1000u32)
            .map(|index| ServiceRule {
                cluster_ip: Ipv4Addr::from_bits(Ipv4Addr::new(10, 44, 0, 0).to_bits() + index),
                endpoints: (2..5).map(|pod| (Ipv4Addr::new(10, 42, 0, 100 + pod), 8080)).collect(),
                ..service(&[])
            })
            .collect();
        services.push(service(&[a_ip]));
        network.set_services(services).await.unwrap();
        assert_eq!(a.ask(SERVICE, 80).unwrap(), "a");
    });
}
