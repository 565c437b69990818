//! Pods with addresses, in real network namespaces.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use network::{Config, Network, NetworkError, PodNetwork, PodRef};

mod common;
use common::{Namespace, ask, ip, on_a_host};

fn config(dir: &Path, cidr: &str) -> Config {
    Config {
        dir: dir.join("network"),
        pod_cidr: cidr.parse().unwrap(),
        instance: "0123456789ab".into(),
        mtu: None,
        notes: dir.join("sysctls"),
    }
}

fn pod(uid: &str) -> PodRef {
    PodRef { uid: uid.into(), namespace: "default".into(), name: format!("db-{uid}") }
}

/// The links of the calling thread's namespace, without what changes by itself (carrier).
fn links() -> Vec<String> {
    let stable = |line: &str| line.split(' ').take(2).collect::<String>();
    ip("-o link show").lines().map(stable).collect()
}

async fn attach(network: &Arc<Network>, uid: &str) -> (Namespace, PodNetwork) {
    let namespace = Namespace::new();
    let given = network.attach(pod(uid), namespace.tid).await.unwrap();
    (namespace, given)
}

#[test]
fn pods_reach_each_other_and_the_host_reaches_them() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let (a, a_given) = attach(&network, "a").await;
        let (b, b_given) = attach(&network, "b").await;
        assert_eq!(a_given.ip, Ipv4Addr::new(10, 42, 0, 2));
        assert_eq!(a_given.gateway, Ipv4Addr::new(10, 42, 0, 1));
        assert_eq!((a_given.prefix_len, a_given.interface.as_str()), (24, "eth0"));

        a.serve(5432, None);
        b.serve(5432, None);
        assert_eq!(b.ask(a_given.ip, 5432).unwrap(), b_given.ip.to_string());
        assert_eq!(a.ask(b_given.ip, 5432).unwrap(), a_given.ip.to_string());
        assert_eq!(ask(a_given.ip, 5432).unwrap(), "10.42.0.1", "the host comes from the gateway");
    });
}

#[test]
fn a_pod_reaches_the_host_at_the_gateway() {
    let host = Namespace::new();
    host.serve(53, Some("dns".into()));
    host.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
            let (a, _) = attach(&network, "a").await;
            assert_eq!(a.ask(network.gateway(), 53).unwrap(), "dns");
        });
    });
}

#[test]
fn traffic_to_elsewhere_leaves_with_the_hosts_address() {
    on_a_host(|| async {
        let outside = Namespace::new();
        ip(&format!("link add up0 type veth peer name eth0 netns {}", outside.tid));
        ip("addr add 198.51.100.1/24 dev up0");
        ip("link set up0 mtu 1400 up");
        ip("route add default via 198.51.100.2");
        outside.run(|| {
            ip("addr add 198.51.100.2/24 dev eth0");
            ip("link set eth0 up");
        });
        outside.serve(80, None);

        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let (a, _) = attach(&network, "a").await;
        assert_eq!(a.ask(Ipv4Addr::new(198, 51, 100, 2), 80).unwrap(), "198.51.100.1");
        let link = a.run(|| ip("link show eth0"));
        assert!(link.contains("mtu 1400"), "as the way out: {link}");
    });
}

#[test]
fn a_restart_changes_nothing_for_running_pods() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let (a, a_given) = attach(&network, "a").await;
        let (b, _) = attach(&network, "b").await;
        let before = links();
        drop(network);

        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        assert_eq!(links(), before);
        a.serve(80, None);
        b.ask(a_given.ip, 80).unwrap();
        assert_eq!(network.attach(pod("a"), a.tid).await.unwrap(), a_given, "attached once more");
        assert_eq!(links(), before);
        let (_c, c_given) = attach(&network, "c").await;
        assert_eq!(c_given.ip, Ipv4Addr::new(10, 42, 0, 4));
    });
}

#[test]
fn a_lost_bridge_is_made_again_with_its_ports() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let (a, a_given) = attach(&network, "a").await;
        ip(&format!("link delete {}", network.bridge()));
        drop(network);

        let _network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        a.serve(80, None);
        assert_eq!(ask(a_given.ip, 80).unwrap(), "10.42.0.1");
        assert!(ip("-d link show v0123450a2a0002").contains("hairpin on"));
    });
}

#[test]
fn an_address_is_free_only_when_its_namespace_is_gone() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/29")).unwrap();
        let (_still_alive, given) = attach(&network, "a").await;
        network.detach("a").await.unwrap();
        assert_eq!(network.leases(), []);
        let mut pods = Vec::new();
        for uid in ["b", "c", "d", "e"] {
            pods.push(attach(&network, uid).await);
        }
        assert!(pods.iter().all(|(_, other)| other.ip != given.ip));
        let namespace = Namespace::new();
        let full = network.attach(pod("f"), namespace.tid).await.unwrap_err();
        assert!(full.to_string().contains("10.42.0.0/29 are in use"), "{full}");
    });
}

#[test]
fn lost_leases_do_not_give_an_address_twice() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let (a, a_given) = attach(&network, "a").await;
        drop(network);
        std::fs::remove_file(dir.path().join("network/leases")).unwrap();

        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let (_b, b_given) = attach(&network, "b").await;
        assert_ne!(a_given.ip, b_given.ip);
        assert_eq!(network.attach(pod("a"), a.tid).await.unwrap(), a_given, "found from its link");
    });
}

#[test]
fn a_pod_that_changes_its_hardware_address_gets_no_other_pods_lease() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let (a, a_given) = attach(&network, "a").await;
        let (_b, b_given) = attach(&network, "b").await;
        a.run(|| ip("link set eth0 address 0a:58:0a:2a:00:03"));
        assert_eq!(network.attach(pod("a"), a.tid).await.unwrap(), a_given);
        let ips: Vec<Ipv4Addr> = network.leases().iter().map(|lease| lease.ip).collect();
        assert_eq!(ips, [a_given.ip, b_given.ip]);
    });
}

#[test]
fn twenty_pods_at_once_get_twenty_addresses() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let namespaces: Vec<Namespace> = (0..20).map(|_| Namespace::new()).collect();
        let mut attaching = tokio::task::JoinSet::new();
        for (index, namespace) in namespaces.iter().enumerate() {
            let (network, tid) = (Arc::clone(&network), namespace.tid);
            attaching.spawn(async move { network.attach(pod(&index.to_string()), tid).await.unwrap().ip });
        }
        let ips: Vec<Ipv4Addr> = attaching.join_all().await;
        assert_eq!(ips.iter().collect::<HashSet<_>>().len(), 20);
        assert_eq!(network.leases().len(), 20);
        namespaces[7].serve(80, None);
        let of_seven = network.leases().into_iter().find(|lease| lease.pod.uid == "7").unwrap().ip;
        assert_eq!(ask(of_seven, 80).unwrap(), "10.42.0.1");
    });
}

#[test]
fn leases_of_pods_that_are_gone_are_dropped() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        for uid in ["a", "b", "c"] {
            attach(&network, uid).await;
        }
        let gone = network.retain(HashSet::from(["b".to_owned()])).await.unwrap();
        assert_eq!(gone.iter().map(|lease| lease.pod.uid.as_str()).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(network.leases().iter().map(|lease| lease.pod.uid.as_str()).collect::<Vec<_>>(), ["b"]);
    });
}

#[test]
fn the_hosts_own_namespace_is_refused() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let here = nix::unistd::gettid().as_raw().unsigned_abs();
        let refused = network.attach(pod("a"), here).await.unwrap_err();
        assert!(matches!(refused, NetworkError::HostNamespace { .. }), "{refused}");
        assert_eq!(network.leases(), []);
    });
}

#[test]
fn a_range_that_the_host_uses_is_refused() {
    on_a_host(|| async {
        ip("link add lan0 type veth peer name lan1");
        ip("link set lan1 up");
        ip("addr add 10.42.7.1/24 dev lan0");
        ip("link set lan0 up");
        ip("route add 10.99.0.0/16 via 10.42.7.2");
        let dir = tempfile::tempdir().unwrap();
        let refusal = |cidr| Network::open(&config(dir.path(), cidr)).err().unwrap().to_string();
        assert_eq!(
            refusal("10.42.0.0/16"),
            "pod range 10.42.0.0/16 overlaps address 10.42.7.1/24 of interface lan0: choose another one with \
             --pod-cidr"
        );
        assert_eq!(
            refusal("10.99.3.0/24"),
            "pod range 10.99.3.0/24 overlaps the route to 10.99.0.0/16 of interface lan0: choose another one \
             with --pod-cidr"
        );
        assert!(!ip("link show").contains("stead-"), "nothing was made");
    });
}

#[test]
fn two_instances_live_side_by_side() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let one = Network::open(&config(&dir.path().join("one"), "10.42.0.0/24")).unwrap();
        let other = Config { instance: "fedcba".into(), ..config(&dir.path().join("two"), "10.52.0.0/24") };
        let two = Network::open(&other).unwrap();
        let (a, a_given) = attach(&one, "a").await;
        let (b, b_given) = attach(&two, "a").await;
        a.serve(80, None);
        b.serve(80, None);
        ask(a_given.ip, 80).unwrap();
        two.teardown().unwrap();
        assert_eq!(ask(a_given.ip, 80).unwrap(), "10.42.0.1", "the other one's end is not noticed");
        assert!(!b.run(|| ip("link show")).contains("eth0"), "{} has lost its link", b_given.ip);
        let same_range =
            Config { instance: "aaaaaa".into(), ..config(&dir.path().join("three"), "10.42.0.0/24") };
        let refusal = Network::open(&same_range).err().unwrap().to_string();
        assert!(refusal.contains("of interface stead-012345"), "{refusal}");
    });
}

#[test]
fn teardown_leaves_no_link() {
    on_a_host(|| async {
        let before = links();
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let (_a, _) = attach(&network, "a").await;
        assert_ne!(links(), before);
        network.teardown().unwrap();
        assert_eq!(links(), before);
        network.teardown().unwrap();
    });
}

#[test]
fn what_was_turned_on_is_turned_off_with_the_last_bridge() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let forwarding = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        let one = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let other = Config {
            instance: "fedcba".into(),
            dir: dir.path().join("two"),
            ..config(dir.path(), "10.52.0.0/24")
        };
        let two = Network::open(&other).unwrap();
        one.teardown().unwrap();
        assert_eq!(forwarding(), "1\n", "the other one needs it");
        two.teardown().unwrap();
        assert_eq!(forwarding(), "0\n");

        // What somebody else turned on stays.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
        drop(two);
        let two = Network::open(&other).unwrap();
        two.teardown().unwrap();
        assert_eq!(forwarding(), "1\n");
    });
}

#[test]
fn an_instance_is_removed_without_being_opened() {
    on_a_host(|| async {
        let before = links();
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let (_a, _) = attach(&network, "a").await;
        // Opening it again would be refused: its folder is in use, and somebody else has its range.
        Network::remove("fedcba", &dir.path().join("sysctls")).unwrap();
        assert_ne!(links(), before, "another one's is left alone");
        Network::remove("0123456789", &dir.path().join("sysctls")).unwrap();
        assert_eq!(links(), before);
        Network::remove("0123456789", &dir.path().join("sysctls")).unwrap();
    });
}

#[test]
fn a_port_is_labelled_with_its_pod() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let (_a, _) = attach(&network, "a").await;
        let port = ip("-d link show v0123450a2a0002");
        assert!(port.contains("alias default/db-a"), "{port}");
        assert!(port.contains("hairpin on"), "{port}");
    });
}

#[test]
fn packets_pass_when_a_pod_is_attached() {
    on_a_host(|| async {
        let dir = tempfile::tempdir().unwrap();
        let network = Network::open(&config(dir.path(), "10.42.0.0/24")).unwrap();
        let mut pods = Vec::new();
        for index in 0..30u8 {
            pods.push(attach(&network, &index.to_string()).await);
            let port = ip(&format!("-d link show v0123450a2a00{:02x}", index + 2));
            assert!(port.contains("state forwarding"), "{port}");
            assert!(ip("-br link show stead-012345").contains(" UP "));
        }
    });
}
