//! Addresses and names: pods find each other, also from the host, and keep their addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};

use crate::harness::{PATIENCE, Stead};

/// A set of two web servers. Each says its name, and is ready when a file says so. `all` lists them whether
/// they are ready or not.
const WEB: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: all}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: web}, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox
        command: [sh, -c, "mkdir /www; hostname > /www/index.html; touch /tmp/ready; exec httpd -f -p 8080 -h /www"]
        readinessProbe: {periodSeconds: 1, failureThreshold: 1, exec: {command: [test, -e, /tmp/ready]}}
"#;

const CLIENT: &str = "{apiVersion: v1, kind: Pod, metadata: {name: client}, spec: {terminationGracePeriodSeconds: 1, \
    containers: [{name: main, image: busybox, command: [sleep, infinity]}]}}";

fn web(name: &str) -> Stead {
    let stead = Stead::start(name, &["busybox"]);
    stead.apply(WEB);
    stead.apply(CLIENT);
    stead.run("rollout status statefulset/web --timeout=60s");
    stead.wait("condition=Ready", "pod/client");
    stead
}

fn address(stead: &Stead, pod: &str) -> String {
    stead.field(&format!("pod {pod}"), ".status.podIP")
}

/// Asks stead's DNS, which listens on the pods' gateway, from the host.
fn ask(stead: &Stead, name: &str, kind: RecordType) -> BTreeSet<String> {
    let gateway: IpAddr = stead.field("pod client", ".status.hostIP").parse().expect("the gateway");
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(PATIENCE))).expect("a timeout");
    socket.send_to(&query.to_vec().expect("a packet"), (gateway, 53)).expect("sent");
    let mut packet = [0; 4096];
    let length = socket.recv(&mut packet).expect("an answer");
    let answer = Message::from_vec(&packet[..length]).expect("an answer");
    let word = |data: &RData| match data {
        RData::A(address) => address.to_string(),
        RData::SRV(srv) => format!("{}:{}", srv.target, srv.port),
        other => other.to_string(),
    };
    answer
        .answers
        .iter()
        .filter(|record| record.record_type() == kind)
        .map(|record| word(&record.data))
        .collect()
}

/// Asks until the answer is this: endpoints, and names after them, follow the pods a moment later.
fn answers(stead: &Stead, name: &str, kind: RecordType, expected: &[String]) {
    let expected: BTreeSet<String> = expected.iter().cloned().collect();
    let late = Instant::now() + Duration::from_secs(PATIENCE);
    let mut said = ask(stead, name, kind);
    while said != expected {
        assert!(Instant::now() < late, "{name} answers {said:?} and not {expected:?}");
        said = ask(stead, name, kind);
    }
}

#[test]
fn names_lead_to_the_pods_that_are_ready() {
    let stead = web("network-names");
    let (zero, one) = (address(&stead, "web-0"), address(&stead, "web-1"));
    let both = [zero.clone(), one.clone()];
    answers(&stead, "web.default.svc.cluster.local.", RecordType::A, &both);
    for name in ["web-0.web", "web-0.web.default", "web-0.web.default.svc.cluster.local"] {
        assert_eq!(stead.shell("client", &format!("wget -qO- http://{name}:8080/")), "web-0\n", "{name}");
    }
    answers(&stead, "web-1.web.default.svc.cluster.local.", RecordType::A, &both[1..]);
    let target = |pod: &str| format!("{pod}.web.default.svc.cluster.local.:8080");
    answers(
        &stead,
        "_http._tcp.web.default.svc.cluster.local.",
        RecordType::SRV,
        &[target("web-0"), target("web-1")],
    );

    stead.shell("web-1", "rm /tmp/ready");
    stead.wait("condition=Ready=false", "pod/web-1");
    answers(&stead, "web.default.svc.cluster.local.", RecordType::A, &both[..1]);
    answers(&stead, "web-1.web.default.svc.cluster.local.", RecordType::A, &[]);
    answers(&stead, "all.default.svc.cluster.local.", RecordType::A, &both);
    assert!(ask(&stead, "web-7.web.default.svc.cluster.local.", RecordType::A).is_empty());
    stead.shell("web-1", "touch /tmp/ready");
    answers(&stead, "web.default.svc.cluster.local.", RecordType::A, &both);
}

#[test]
fn pods_reach_each_other_the_host_and_a_service_s_address() {
    let stead = web("network-reach");
    let (zero, one) = (address(&stead, "web-0"), address(&stead, "web-1"));
    // By address, from a pod, and from the host.
    assert_eq!(stead.shell("client", &format!("wget -qO- http://{one}:8080/")), "web-1\n");
    assert_eq!(get(&format!("{zero}:8080")), "web-0\n");
    // A pod sees the other's own address, not a translated one.
    let gateway = stead.field("pod client", ".status.hostIP");
    let route = stead.shell("client", "ip route");
    assert!(route.contains(&format!("default via {gateway}")), "{route}");
    // The service's own address stands for any of them.
    answers(
        &stead,
        "front.default.svc.cluster.local.",
        RecordType::A,
        &[stead.field("service front", ".spec.clusterIP")],
    );
    let said = stead.shell("client", "until wget -qO- http://front/; do sleep 0.05; done");
    assert!(["web-0\n", "web-1\n"].contains(&said.as_str()), "{said}");
}

/// The body of a page.
fn get(address: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    write!(stream, "GET / HTTP/1.0\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

#[test]
fn addresses_outlive_stead_and_are_not_used_again_at_once() {
    let mut stead = web("network-keep");
    let before = address(&stead, "web-0");
    let name = "web-0.web.default.svc.cluster.local.";
    answers(&stead, name, RecordType::A, std::slice::from_ref(&before));
    stead.kill();
    stead.up();
    assert_eq!(address(&stead, "web-0"), before);
    answers(&stead, name, RecordType::A, std::slice::from_ref(&before));
    assert_eq!(stead.shell("client", "wget -qO- http://web-0.web:8080/"), "web-0\n");

    // What still speaks to the old address must not reach somebody else.
    stead.run("delete pod web-0");
    stead.run("rollout status statefulset/web --timeout=60s");
    let after = address(&stead, "web-0");
    assert_ne!(after, before);
    answers(&stead, name, RecordType::A, &[after]);
}
