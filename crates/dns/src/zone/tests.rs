use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::Name;

use super::*;

fn key(name: &str) -> Key {
    Key { namespace: "default".into(), name: name.into() }
}

fn port(name: &str, protocol: &str, number: u16) -> Port {
    Port { name: name.into(), protocol: protocol.into(), number }
}

fn endpoint(address: &str, hostname: Option<&str>, ready: bool) -> Endpoint {
    Endpoint { addresses: vec![address.parse().unwrap()], hostname: hostname.map(str::to_owned), ready }
}

fn slice(service: &str, endpoints: &[Endpoint], ports: &[Port]) -> Option<Slice> {
    Some(Slice { service: service.into(), endpoints: endpoints.to_vec(), ports: ports.to_vec() })
}

fn service(target: Target, ports: &[Port]) -> Option<Service> {
    Some(Service { target, ports: ports.to_vec() })
}

fn cluster_ip(address: &str) -> Target {
    Target::ClusterIps(vec![address.parse().unwrap()])
}

/// A database with three replicas, of which the last is not ready; a web server behind a cluster address; and
/// the odd ones.
fn zone() -> Zone {
    let mut zone = Zone::new("cluster.local").unwrap();
    let postgres = [port("postgres", "tcp", 5432), port("", "tcp", 9187)];
    zone.set_service(&key("db"), service(Target::Headless, &postgres));
    let replicas = [
        endpoint("10.42.0.5", Some("db-0"), true),
        endpoint("10.42.0.6", Some("db-1"), true),
        endpoint("10.42.0.7", Some("db-2"), false),
    ];
    zone.set_slice(&key("db-abcde"), slice("db", &replicas, &postgres));

    let http = [port("http", "tcp", 80), port("dns", "udp", 53)];
    zone.set_service(&key("web"), service(cluster_ip("10.43.0.10"), &http));
    let pods = [endpoint("10.42.0.5", None, true), endpoint("10.42.0.9", None, true)];
    zone.set_slice(&key("web-fghij"), slice("web", &pods, &[port("http", "tcp", 8080)]));

    zone.set_service(&key("empty"), service(Target::Headless, &http));
    zone.set_service(&key("pending"), service(Target::ClusterIps(vec![]), &[]));
    zone.set_service(&key("mirror"), service(Target::External("db.example.com".into()), &[]));
    zone.set_service(&key("alias"), service(Target::External("web.default.svc.cluster.local.".into()), &[]));
    zone.set_service(
        &key("circle"),
        service(Target::External("circle.default.svc.cluster.local".into()), &[]),
    );
    zone.set_service(&key("six"), service(cluster_ip("fd00::a"), &[]));
    zone.set_complete();
    zone
}

/// The answer as text: its code, then a line a record; `!` marks the start of authority, `+` additional ones.
fn ask(zone: &Zone, question: &str, turn: usize) -> String {
    let (name, kind) = question.split_once(' ').unwrap();
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    let query = Query::query(name, kind.parse().unwrap());
    let Some(answer) = zone.answer(&query, turn) else { return "not ours".into() };
    let code = match answer.code {
        ResponseCode::NoError => "NOERROR".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        other => format!("{other:?}").to_uppercase(),
    };
    let mut lines = vec![code];
    lines.extend(answer.answers.iter().map(ToString::to_string));
    lines.extend(answer.authorities.iter().map(|record| format!("! {}", record.record_type())));
    lines.extend(answer.additionals.iter().map(|record| format!("+ {record}")));
    lines.extend(answer.outside.iter().map(|name| format!("then {name}")));
    lines.join("\n")
}

fn check(question: &str, expected: &str) {
    assert_eq!(ask(&zone(), question, 0), expected, "{question}");
}

#[test]
fn headless_service_is_all_its_ready_endpoints() {
    check(
        "db.default.svc.cluster.local A",
        "NOERROR\n\
         db.default.svc.cluster.local. 5 IN A 10.42.0.5\n\
         db.default.svc.cluster.local. 5 IN A 10.42.0.6",
    );
}

#[test]
fn order_of_addresses_turns() {
    let second = ask(&zone(), "db.default.svc.cluster.local A", 1);
    let first = second.lines().nth(1).unwrap();
    assert_eq!(first, "db.default.svc.cluster.local. 5 IN A 10.42.0.6");
}

#[test]
fn replica_has_a_name_of_its_own_while_it_is_ready() {
    check(
        "db-1.db.default.svc.cluster.local A",
        "NOERROR\ndb-1.db.default.svc.cluster.local. 5 IN A 10.42.0.6",
    );
    check("db-2.db.default.svc.cluster.local A", "NXDOMAIN\n! SOA");
    check("db-3.db.default.svc.cluster.local A", "NXDOMAIN\n! SOA");
}

#[test]
fn endpoint_without_hostname_is_called_after_its_address() {
    check(
        "10-42-0-9.web.default.svc.cluster.local A",
        "NOERROR\n10-42-0-9.web.default.svc.cluster.local. 5 IN A 10.42.0.9",
    );
    check("10-42-0-5.db.default.svc.cluster.local A", "NXDOMAIN\n! SOA");
}

#[test]
fn cluster_ip_service_is_its_address() {
    check("web.default.svc.cluster.local A", "NOERROR\nweb.default.svc.cluster.local. 5 IN A 10.43.0.10");
    check("pending.default.svc.cluster.local A", "NOERROR\n! SOA");
    check("six.default.svc.cluster.local AAAA", "NOERROR\nsix.default.svc.cluster.local. 5 IN AAAA fd00::a");
}

#[test]
fn name_without_records_of_the_type_exists() {
    check("web.default.svc.cluster.local AAAA", "NOERROR\n! SOA");
    check("db.default.svc.cluster.local AAAA", "NOERROR\n! SOA");
    check("db-0.db.default.svc.cluster.local AAAA", "NOERROR\n! SOA");
    check("web.default.svc.cluster.local MX", "NOERROR\n! SOA");
    check("six.default.svc.cluster.local A", "NOERROR\n! SOA");
}

#[test]
fn names_above_others_exist() {
    for name in [
        "cluster.local",
        "svc.cluster.local",
        "pod.cluster.local",
        "default.svc.cluster.local",
        "_tcp.db.default.svc.cluster.local",
        "_postgres._tcp.db.default.svc.cluster.local",
    ] {
        check(&format!("{name} A"), "NOERROR\n! SOA");
    }
}

#[test]
fn names_that_nothing_stands_for_do_not_exist() {
    for name in [
        "nope.cluster.local",
        "nope.svc.cluster.local",
        "nope.default.svc.cluster.local",
        "empty.default.svc.cluster.local",
        "a.b.db.default.svc.cluster.local",
        "*.default.svc.cluster.local",
        "_sctp.db.default.svc.cluster.local",
        "_.db.default.svc.cluster.local",
        "_nope._tcp.db.default.svc.cluster.local",
        "postgres._tcp.db.default.svc.cluster.local",
        "_._tcp.db.default.svc.cluster.local",
        "db-0.mirror.default.svc.cluster.local",
        "1-2-3.default.pod.cluster.local",
    ] {
        check(&format!("{name} A"), "NXDOMAIN\n! SOA");
    }
}

#[test]
fn absence_is_not_remembered() {
    let name = Name::from_ascii("nope.default.svc.cluster.local.").unwrap();
    let query = Query::query(name, "A".parse().unwrap());
    let answer = zone().answer(&query, 0).unwrap();
    insta::assert_snapshot!(
        answer.authorities[0],
        @"cluster.local. 0 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 0"
    );
}

#[test]
fn named_port_of_a_headless_service_is_at_each_endpoint() {
    check(
        "_postgres._tcp.db.default.svc.cluster.local SRV",
        "NOERROR\n\
         _postgres._tcp.db.default.svc.cluster.local. 5 IN SRV 0 50 5432 db-0.db.default.svc.cluster.local.\n\
         _postgres._tcp.db.default.svc.cluster.local. 5 IN SRV 0 50 5432 db-1.db.default.svc.cluster.local.\n\
         + db-0.db.default.svc.cluster.local. 5 IN A 10.42.0.5\n\
         + db-1.db.default.svc.cluster.local. 5 IN A 10.42.0.6",
    );
}

#[test]
fn named_port_of_a_cluster_ip_service_is_at_the_service() {
    check(
        "_http._tcp.web.default.svc.cluster.local SRV",
        "NOERROR\n\
         _http._tcp.web.default.svc.cluster.local. 5 IN SRV 0 100 80 web.default.svc.cluster.local.\n\
         + web.default.svc.cluster.local. 5 IN A 10.43.0.10",
    );
    check("_dns._tcp.web.default.svc.cluster.local SRV", "NXDOMAIN\n! SOA");
}

#[test]
fn all_ports_are_at_the_service_itself() {
    check(
        "web.default.svc.cluster.local SRV",
        "NOERROR\n\
         web.default.svc.cluster.local. 5 IN SRV 0 50 80 web.default.svc.cluster.local.\n\
         web.default.svc.cluster.local. 5 IN SRV 0 50 53 web.default.svc.cluster.local.\n\
         + web.default.svc.cluster.local. 5 IN A 10.43.0.10",
    );
    check(
        "db-0.db.default.svc.cluster.local SRV",
        "NOERROR\n\
         db-0.db.default.svc.cluster.local. 5 IN SRV 0 100 5432 db-0.db.default.svc.cluster.local.\n\
         db-0.db.default.svc.cluster.local. 5 IN SRV 0 100 9187 db-0.db.default.svc.cluster.local.\n\
         + db-0.db.default.svc.cluster.local. 5 IN A 10.42.0.5",
    );
}

#[test]
fn address_leads_back_to_its_name() {
    check(
        "10.0.43.10.in-addr.arpa PTR",
        "NOERROR\n10.0.43.10.in-addr.arpa. 5 IN PTR web.default.svc.cluster.local.",
    );
    // The hostname goes before the name that `web` has for the same pod.
    check(
        "5.0.42.10.in-addr.arpa PTR",
        "NOERROR\n5.0.42.10.in-addr.arpa. 5 IN PTR db-0.db.default.svc.cluster.local.",
    );
    check(
        "9.0.42.10.in-addr.arpa PTR",
        "NOERROR\n9.0.42.10.in-addr.arpa. 5 IN PTR 10-42-0-9.web.default.svc.cluster.local.",
    );
    let six = "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa";
    check(&format!("{six} PTR"), &format!("NOERROR\n{six}. 5 IN PTR six.default.svc.cluster.local."));
}

#[test]
fn addresses_that_are_not_ours_are_asked_for_elsewhere() {
    check("7.0.42.10.in-addr.arpa PTR", "not ours");
    check("0.42.10.in-addr.arpa PTR", "not ours");
    check("5.0.42.10.in-addr.arpa A", "not ours");
}

#[test]
fn other_domains_are_not_ours() {
    for name in ["example.com", "local", "xcluster.local", "db.default.svc.cluster.local.lan", "."] {
        check(&format!("{name} A"), "not ours");
    }
}

#[test]
fn external_name_is_an_alias() {
    check(
        "mirror.default.svc.cluster.local A",
        "NOERROR\n\
         mirror.default.svc.cluster.local. 5 IN CNAME db.example.com.\n\
         then db.example.com.",
    );
    check(
        "mirror.default.svc.cluster.local CNAME",
        "NOERROR\nmirror.default.svc.cluster.local. 5 IN CNAME db.example.com.",
    );
    check(
        "alias.default.svc.cluster.local A",
        "NOERROR\n\
         alias.default.svc.cluster.local. 5 IN CNAME web.default.svc.cluster.local.\n\
         web.default.svc.cluster.local. 5 IN A 10.43.0.10",
    );
    check("circle.default.svc.cluster.local A", "SERVFAIL");
}

#[test]
fn pod_address_is_what_the_name_says() {
    check(
        "10-42-0-5.default.pod.cluster.local A",
        "NOERROR\n10-42-0-5.default.pod.cluster.local. 5 IN A 10.42.0.5",
    );
    check("10-42-0-5.default.pod.cluster.local AAAA", "NOERROR\n! SOA");
}

#[test]
fn schema_version_is_told() {
    check("dns-version.cluster.local TXT", "NOERROR\ndns-version.cluster.local. 5 IN TXT 1.1.0");
}

#[test]
fn case_is_the_askers() {
    check(
        "Db-0.DB.default.SVC.Cluster.LOCAL A",
        "NOERROR\nDb-0.DB.default.SVC.Cluster.LOCAL. 5 IN A 10.42.0.5",
    );
}

#[test]
fn nothing_is_denied_before_everything_was_listed() {
    let mut zone = Zone::new("cluster.local.").unwrap();
    assert_eq!(ask(&zone, "db.default.svc.cluster.local A", 0), "SERVFAIL");
    assert_eq!(ask(&zone, "example.com A", 0), "not ours");
    zone.set_service(&key("db"), service(Target::Headless, &[]));
    zone.set_complete();
    assert_eq!(ask(&zone, "db.default.svc.cluster.local A", 0), "NXDOMAIN\n! SOA");
}

#[test]
fn slices_may_come_before_their_service_and_go_after_it() {
    let mut zone = Zone::new("cluster.local").unwrap();
    zone.set_complete();
    let name = "db-0.db.default.svc.cluster.local A";
    let ready = [endpoint("10.42.0.5", Some("db-0"), true)];
    zone.set_slice(&key("db-1"), slice("db", &ready, &[]));
    assert_eq!(ask(&zone, name, 0), "NXDOMAIN\n! SOA");
    zone.set_service(&key("db"), service(Target::Headless, &[]));
    assert!(ask(&zone, name, 0).starts_with("NOERROR"));
    zone.set_service(&key("db"), None);
    assert_eq!(ask(&zone, name, 0), "NXDOMAIN\n! SOA");
    zone.set_slice(&key("db-1"), None);
    assert_eq!(ask(&zone, "default.svc.cluster.local A", 0), "NXDOMAIN\n! SOA");
    assert!(zone.service_keys().is_empty() && zone.slice_keys().is_empty());
}

#[test]
fn slice_that_changes_hands_leaves_its_old_service() {
    let mut zone = zone();
    let moved = [endpoint("10.42.0.5", Some("db-0"), true)];
    zone.set_slice(&key("db-abcde"), slice("empty", &moved, &[]));
    assert_eq!(ask(&zone, "db-0.db.default.svc.cluster.local A", 0), "NXDOMAIN\n! SOA");
    assert!(ask(&zone, "db-0.empty.default.svc.cluster.local A", 0).starts_with("NOERROR"));
}

#[test]
fn endpoint_in_two_slices_is_one_address() {
    let mut zone = zone();
    zone.set_slice(&key("db-copy"), slice("db", &[endpoint("10.42.0.5", Some("db-0"), true)], &[]));
    let answer = ask(&zone, "db-0.db.default.svc.cluster.local A", 0);
    assert_eq!(answer, "NOERROR\ndb-0.db.default.svc.cluster.local. 5 IN A 10.42.0.5");
}

#[test]
fn domain_that_is_none_is_refused() {
    assert!(Zone::new("").is_err());
    assert!(Zone::new(".").is_err());
    assert!(Zone::new("a..b").is_err());
}
