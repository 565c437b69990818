//! Service addresses, in real network namespaces.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use network::{Config, Frontend, Network, PodRef, Protocol, ServiceRule};

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
        notes: dir.join("sysctls"),
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
    at(Some(SERVICE), 80, endpoints)
}

/// The same at an address, or as a port of the host.
fn at(address: Option<Ipv4Addr>, port: u16, endpoints: &[Ipv4Addr]) -> ServiceRule {
    ServiceRule {
        at: Frontend { address, port, protocol: Protocol::Tcp },
        endpoints: endpoints.iter().map(|ip| (*ip, 8080)).collect(),
        drops_when_empty: false,
        affinity: None,
        sources: Vec::new(),
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

/// A machine beyond the host's default route, and its address.
fn outside() -> (Namespace, Ipv4Addr) {
    let outside = Namespace::new();
    ip(&format!("link add up0 type veth peer name eth0 netns {}", outside.tid));
    ip("addr add 203.0.113.1/24 dev up0");
    ip("link set up0 up");
    outside.run(|| {
        ip("addr add 203.0.113.2/24 dev eth0");
        ip("link set eth0 up");
    });
    (outside, Ipv4Addr::new(203, 0, 113, 2))
}

#[test]
fn a_port_of_the_host_leads_there_from_everywhere_by_every_address() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (outside, _) = outside();
        let (a, a_ip) = server(&network, "a").await;
        let (b, _) = server(&network, "b").await;
        network.set_services(vec![at(None, 30080, &[a_ip])]).await.unwrap();
        let addresses = [Ipv4Addr::new(198, 51, 100, 1), Ipv4Addr::new(203, 0, 113, 1), network.gateway()];
        for address in addresses.into_iter().chain([Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)]) {
            assert_eq!(ask(address, 30080).unwrap(), "a", "from the host by {address}");
        }
        for address in addresses {
            assert_eq!(b.ask(address, 30080).unwrap(), "a", "from a pod by {address}");
            assert_eq!(a.ask(address, 30080).unwrap(), "a", "from the endpoint itself by {address}");
        }
        assert_eq!(outside.ask(Ipv4Addr::new(203, 0, 113, 1), 30080).unwrap(), "a", "from elsewhere");
        network.set_services(vec![at(None, 30080, &[])]).await.unwrap();
        let refused = [ask(Ipv4Addr::LOCALHOST, 30080), b.ask(network.gateway(), 30080)];
        let refused = refused.into_iter().chain([outside.ask(Ipv4Addr::new(203, 0, 113, 1), 30080)]);
        for refused in refused {
            assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        }
    });
}

#[test]
fn an_endpoint_sees_who_comes_from_outside() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (outside, address) = outside();
        let pod = Namespace::new();
        let given = PodRef { uid: "a".into(), namespace: "default".into(), name: "a".into() };
        let pod_ip = network.attach(given, pod.tid).await.unwrap().ip;
        pod.serve(8080, None);
        network.set_services(vec![at(None, 30080, &[pod_ip])]).await.unwrap();
        assert_eq!(outside.ask(Ipv4Addr::new(203, 0, 113, 1), 30080).unwrap(), address.to_string());
        assert_eq!(ask(Ipv4Addr::LOCALHOST, 30080).unwrap(), network.gateway().to_string());
    });
}

#[test]
fn pods_do_not_reach_what_listens_on_the_host_s_loopback_only() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (a, _) = server(&network, "a").await;
        let secret = std::net::UdpSocket::bind("127.0.0.1:5353").unwrap();
        let gateway = network.gateway();
        let open = std::net::UdpSocket::bind((gateway, 5354)).unwrap();
        open.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
        a.run(move || {
            // A pod that is root in its namespace sends whatever it likes.
            std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
            ip("route flush table local");
            ip(&format!("route add 127.0.0.1 via {gateway} dev eth0 onlink"));
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"let me in", "127.0.0.1:5353").unwrap();
            // This one passes; when it is there, the one before it has been looked at too.
            socket.send_to(b"hello", (gateway, 5354)).unwrap();
        });
        let mut buffer = [0; 64];
        assert_eq!(open.recv(&mut buffer).unwrap(), 5);
        secret.set_nonblocking(true).unwrap();
        assert_eq!(secret.recv(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    });
}

#[test]
fn a_client_stays_with_its_endpoint_as_long_as_that_is_one() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let mut pods = Vec::new();
        for name in ["a", "b", "c"] {
            pods.push(server(&network, name).await);
        }
        let all: Vec<Ipv4Addr> = pods.iter().map(|(_, ip)| *ip).collect();
        let sticky = |endpoints: &[Ipv4Addr]| {
            let host = ServiceRule { affinity: Some(60), ..at(None, 30080, endpoints) };
            vec![ServiceRule { affinity: Some(60), ..service(endpoints) }, host]
        };
        network.set_services(sticky(&all)).await.unwrap();
        let client = &pods[0].0;
        let before = client.ask(SERVICE, 80).unwrap();
        let again: Vec<String> = (0..32).map(|_| client.ask(SERVICE, 80).unwrap()).collect();
        assert!(again.iter().all(|name| *name == before), "{before}, and then {again:?}");
        let by_host: std::collections::BTreeSet<String> =
            (0..32).map(|_| client.ask(network.gateway(), 30080).unwrap()).collect();
        assert_eq!(by_host.len(), 1, "{by_host:?}");

        // Its endpoint is gone: another one, and that one from now on.
        let gone = ["a", "b", "c"].iter().position(|name| *name == before).unwrap();
        let left: Vec<Ipv4Addr> = all.iter().filter(|ip| **ip != all[gone]).copied().collect();
        network.set_services(sticky(&left)).await.unwrap();
        let after = client.ask(SERVICE, 80).unwrap();
        assert_ne!(after, before);
        network.set_services(sticky(&all)).await.unwrap();
        let again: Vec<String> = (0..32).map(|_| client.ask(SERVICE, 80).unwrap()).collect();
        assert!(again.iter().all(|name| *name == after), "{after}, and then {again:?}");
    });
}

#[test]
fn a_client_has_an_affinity_for_each_way_in() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (client, a_ip) = server(&network, "a").await;
        let (_b, b_ip) = server(&network, "b").await;
        let sticky = |inside: &[Ipv4Addr], by_host: &[Ipv4Addr]| {
            let host = ServiceRule { affinity: Some(60), ..at(None, 30080, by_host) };
            vec![ServiceRule { affinity: Some(60), ..service(inside) }, host]
        };
        network.set_services(sticky(&[a_ip], &[b_ip])).await.unwrap();
        assert_eq!(client.ask(SERVICE, 80).unwrap(), "a");
        assert_eq!(client.ask(network.gateway(), 30080).unwrap(), "b");
        network.set_services(sticky(&[a_ip, b_ip], &[a_ip, b_ip])).await.unwrap();
        assert_eq!(client.ask(SERVICE, 80).unwrap(), "a");
        assert_eq!(client.ask(network.gateway(), 30080).unwrap(), "b");
    });
}

#[test]
fn an_affinity_ends_in_time() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (a, a_ip) = server(&network, "a").await;
        let (_b, b_ip) = server(&network, "b").await;
        let sticky = ServiceRule { affinity: Some(1), ..service(&[a_ip, b_ip]) };
        network.set_services(vec![sticky]).await.unwrap();
        // Each connection makes it last a second longer, so only who pauses for longer is drawn anew.
        let first = a.ask(SERVICE, 80).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        let mut pause = tokio::time::interval(std::time::Duration::from_millis(1100));
        pause.tick().await;
        while a.ask(SERVICE, 80).unwrap() == first {
            assert!(std::time::Instant::now() < deadline, "it stays with {first} for ever");
            pause.tick().await;
        }
    });
}

#[test]
fn only_those_who_may_connect_do() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (outside, _) = outside();
        let (a, a_ip) = server(&network, "a").await;
        let host = Ipv4Addr::new(203, 0, 113, 1);
        let mut balancer = at(Some(host), 80, &[a_ip]);
        balancer.sources = vec![(Ipv4Addr::new(203, 0, 113, 0), 24)];
        network.set_services(vec![balancer.clone()]).await.unwrap();
        assert_eq!(outside.ask(host, 80).unwrap(), "a");
        balancer.sources = vec![(Ipv4Addr::new(10, 42, 0, 0), 16), (Ipv4Addr::new(192, 0, 2, 9), 32)];
        network.set_services(vec![balancer]).await.unwrap();
        assert_eq!(a.ask(host, 80).unwrap(), "a", "a range that fits");
        let soon = std::time::Duration::from_millis(300);
        let silent = outside.run(move || std::net::TcpStream::connect_timeout(&(host, 80).into(), soon));
        assert_eq!(silent.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn an_endpoint_on_another_machine_answers_by_way_of_the_host() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (outside, far) = outside();
        outside.serve(8080, Some("far".into()));
        let (a, _) = server(&network, "a").await;
        network.set_services(vec![service(&[far]), at(None, 30080, &[far])]).await.unwrap();
        assert_eq!(a.ask(SERVICE, 80).unwrap(), "far");
        assert_eq!(ask(SERVICE, 80).unwrap(), "far");
        // Without a translated source it would answer itself, and be refused by its own kernel.
        assert_eq!(outside.ask(Ipv4Addr::new(203, 0, 113, 1), 30080).unwrap(), "far");
    });
}

/// A pod that answers every datagram with its name.
async fn echo(network: &Arc<Network>, name: &'static str) -> (Namespace, Ipv4Addr) {
    let namespace = Namespace::new();
    let pod = PodRef { uid: name.into(), namespace: "default".into(), name: name.into() };
    let ip = network.attach(pod, namespace.tid).await.unwrap().ip;
    namespace.run(move || {
        let socket = std::net::UdpSocket::bind("0.0.0.0:53").unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(name.as_bytes(), from);
            }
        });
    });
    (namespace, ip)
}

#[test]
fn a_udp_client_goes_on_with_another_endpoint_when_its_own_is_gone() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (_a, a_ip) = echo(&network, "a").await;
        let (_b, b_ip) = echo(&network, "b").await;
        let rules = |endpoint: Ipv4Addr| {
            [(Some(SERVICE), 53), (None, 30053)]
                .map(|(address, port)| ServiceRule {
                    at: Frontend { address, port, protocol: Protocol::Udp },
                    endpoints: vec![(endpoint, 53)],
                    ..service(&[])
                })
                .to_vec()
        };
        network.set_services(rules(a_ip)).await.unwrap();
        let say = |socket: &std::net::UdpSocket, to: (Ipv4Addr, u16)| {
            let mut buffer = [0; 64];
            socket.send_to(b"who?", to).unwrap();
            let len = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        };
        let places = [(SERVICE, 53), (Ipv4Addr::LOCALHOST, 30053)];
        let sockets = places.map(|_| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).unwrap();
            socket
        });
        for (socket, place) in sockets.iter().zip(places) {
            assert_eq!(say(socket, place), "a");
        }
        network.set_services(rules(b_ip)).await.unwrap();
        for (socket, place) in sockets.iter().zip(places) {
            assert_eq!(say(socket, place), "b", "the same client, a flow that the kernel knew");
        }
    });
}

#[test]
fn a_port_that_somebody_listens_on_is_not_taken_from_them() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let frontend = |address, port| Frontend { address, port, protocol: Protocol::Tcp };
        let host = Some(network.gateway());
        let other = std::net::TcpListener::bind((network.gateway(), 80)).unwrap();
        let wanted = vec![frontend(host, 80), frontend(None, 30080)];
        let refused = network.claim_ports(wanted.clone()).await;
        assert_eq!(refused.keys().collect::<Vec<_>>(), [&wanted[0]]);
        assert_eq!(refused[&wanted[0]].kind(), std::io::ErrorKind::AddrInUse);
        let late = std::net::TcpListener::bind("0.0.0.0:30080").unwrap_err();
        assert_eq!(late.kind(), std::io::ErrorKind::AddrInUse, "whoever comes later");
        drop(other);
        // A program that another test is about to start has the descriptor until it runs.
        let late = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !network.claim_ports(wanted.clone()).await.is_empty() {
            assert!(std::time::Instant::now() < late, "it is free by now");
        }
        assert!(network.claim_ports(Vec::new()).await.is_empty());
        while let Err(error) = std::net::TcpListener::bind("0.0.0.0:30080") {
            assert!(std::time::Instant::now() < late, "{error}");
        }
    });
}

#[test]
fn a_thousand_services_of_three_are_set_at_once_and_one_more_in_an_instant() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = open(dir.path());
        let (a, a_ip) = server(&network, "a").await;
        let first = Ipv4Addr::new(10, 44, 0, 0).to_bits();
        let endpoints = [102, 103, 104].map(|pod| Ipv4Addr::new(10, 42, 0, pod));
        let mut services: Vec<ServiceRule> =
            (0..1000u32).map(|index| at(Some(Ipv4Addr::from_bits(first + index)), 80, &endpoints)).collect();
        let begun = std::time::Instant::now();
        network.set_services(services.clone()).await.unwrap();
        let all = begun.elapsed();
        services.push(service(&[a_ip]));
        let begun = std::time::Instant::now();
        network.set_services(services).await.unwrap();
        println!("1000 services of 3: {all:?}; one more: {:?}", begun.elapsed());
        assert_eq!(a.ask(SERVICE, 80).unwrap(), "a");
    });
}
