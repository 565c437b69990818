//! Services from outside: node ports, load balancers, host ports, affinity, other names; who gets connections
//! while pods come and go; and what of it stays when the firewall is flushed, and when stead goes down.

mod firewall;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{PATIENCE, Stead};

/// Three web servers that say their names. One that is asked to end goes on for a while, and says since when;
/// one that is unready says so too, once it is known to be.
const WEB: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 3
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}, annotations: {round: "ROUND"}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: web
        image: busybox
        command:
        - sh
        - -c
        - |
          mkdir /www; hostname > /www/index.html; touch /tmp/ready
          trap 'cut -d" " -f1 /proc/uptime > /www/index.html; sleep 0.5; exit 0' TERM
          httpd -f -p 8080 -h /www & while :; do sleep 60 & wait $!; done
        readinessProbe: {periodSeconds: 1, failureThreshold: 1, exec: {command: [test, -e, /tmp/ready]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

fn web(name: &str) -> Stead {
    let stead = Stead::start(name, &["busybox"]);
    stead.apply(&WEB.replace("ROUND", "1"));
    stead.run("rollout status statefulset/web --timeout=60s");
    stead
}

/// The body of a page.
fn get(at: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(PATIENCE))?;
    stream.set_read_timeout(Some(Duration::from_secs(PATIENCE)))?;
    write!(stream, "GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.trim().to_owned());
    body.ok_or_else(|| std::io::Error::other(format!("no page: {answer:?}")))
}

/// Asks until somebody answers: rules follow services a moment later.
fn reaches(at: impl Into<SocketAddr>) -> String {
    let (at, late) = (at.into(), Instant::now() + Duration::from_secs(PATIENCE));
    loop {
        match get(at) {
            Ok(body) => return body,
            Err(error) => assert!(Instant::now() < late, "{at}: {error}"),
        }
    }
}

/// Asks until it is one of the pods that answers: without rules, packets go wherever the machine's default
/// route leads, and somebody may answer there.
fn reaches_a_pod(at: impl Into<SocketAddr>) {
    let (at, late) = (at.into(), Instant::now() + Duration::from_secs(PATIENCE));
    loop {
        let body = reaches(at);
        if is_a_name(&body) {
            return;
        }
        assert!(Instant::now() < late, "{at}: {body}");
    }
}

/// A port that nobody has: other steads may run on this machine.
fn free_port(range: std::ops::Range<u16>) -> u16 {
    let count = usize::from(range.end - range.start);
    let mut ports = range.cycle_from(std::process::id() as usize % count);
    ports.find(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()).expect("a free port")
}

trait CycleFrom {
    fn cycle_from(self, skip: usize) -> impl Iterator<Item = u16>;
}

impl CycleFrom for std::ops::Range<u16> {
    fn cycle_from(self, skip: usize) -> impl Iterator<Item = u16> {
        let count = self.len();
        self.cycle().skip(skip).take(count)
    }
}

fn is_a_name(body: &str) -> bool {
    ["web-0", "web-1", "web-2"].contains(&body)
}

fn address_of(stead: &Stead, service: &str) -> Ipv4Addr {
    let path = "jsonpath={.status.loadBalancer.ingress[0].ip}";
    stead.run(&format!("wait --for={path} service/{service} --timeout={PATIENCE}s"));
    stead
        .field(&format!("service {service}"), ".status.loadBalancer.ingress[0].ip")
        .parse()
        .expect("an address")
}

#[test]
fn node_ports_load_balancers_and_host_ports_lead_to_pods() {
    let stead = web("services-outside");
    let (node_port, port) = (free_port(30_000..31_000), free_port(20_000..22_000));
    let (host_port, health_port) = (free_port(22_000..24_000), free_port(31_000..32_000));
    stead.apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: outside}}, spec: {{type: NodePort, selector: {{app: web}}, \
         ports: [{{port: 80, targetPort: 8080, nodePort: {node_port}}}]}}}}\n---\n\
         {{apiVersion: v1, kind: Service, metadata: {{name: balanced}}, spec: {{type: LoadBalancer, \
         allocateLoadBalancerNodePorts: false, externalTrafficPolicy: Local, healthCheckNodePort: {health_port}, \
         selector: {{app: web}}, ports: [{{port: {port}, targetPort: 8080}}]}}}}\n---\n\
         {{apiVersion: v1, kind: Pod, metadata: {{name: ported}}, spec: {{terminationGracePeriodSeconds: 1, containers: \
         [{{name: main, image: busybox, command: [sh, -c, \"mkdir /www; hostname > /www/index.html; exec httpd -f -p 8080 -h /www\"], \
         ports: [{{containerPort: 8080, hostPort: {host_port}, hostIP: 127.0.0.1}}]}}]}}}}"
    ));
    let gateway: Ipv4Addr = stead.field("pod web-0", ".status.hostIP").parse().expect("an address");
    for ip in [Ipv4Addr::LOCALHOST, gateway] {
        let body = reaches((ip, node_port));
        assert!(is_a_name(&body), "{body} by {ip}");
    }
    let ip = address_of(&stead, "balanced");
    assert!(is_a_name(&reaches((ip, port))));
    assert!(is_a_name(&reaches((ip, node_port))), "the host's own address has node ports, too");
    assert_eq!(stead.field("service balanced", ".spec.ports[0].nodePort"), "", "none was asked for");
    assert!(stead.run("get service balanced").contains(&ip.to_string()));
    // Who balances over nodes asks there whether this one has pods.
    let health = reaches((ip, health_port));
    assert!(health.contains(r#""localEndpoints":3"#), "{health}");
    assert_eq!(reaches((Ipv4Addr::LOCALHOST, host_port)), "ported");
    assert_eq!(
        get((ip, host_port).into()).expect_err("hostIP").kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    // From a pod, by the host's address.
    let said = stead.shell("web-1", &format!("wget -qO- http://{ip}:{port}/"));
    assert!(is_a_name(said.trim()), "{said}");
}

#[test]
fn a_load_balancer_waits_for_its_port_and_says_who_has_it() {
    let stead = web("services-taken");
    let port = free_port(24_000..26_000);
    let other = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a port");
    let balancer = |name: &str| {
        stead.apply(&format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{type: LoadBalancer, \
             selector: {{app: web}}, ports: [{{port: {port}, targetPort: 8080}}]}}}}"
        ));
    };
    balancer("first");
    let message = stead.event("service/first", "PortTaken");
    assert!(message.ends_with("is taken by a process of this machine"), "{message}");
    let why = stead.run("why svc/first");
    assert!(why.contains(&format!("has no address for its load balancer: {message}")), "{why}");
    assert!(stead.run("get service first").contains("<pending>"));
    drop(other);
    let ip = address_of(&stead, "first");
    assert!(is_a_name(&reaches((ip, port))));
    assert_eq!(
        TcpListener::bind((ip, port)).expect_err("it is the service's").kind(),
        std::io::ErrorKind::AddrInUse
    );

    balancer("second");
    let message = stead.event("service/second", "PortTaken");
    assert!(message.ends_with("is taken by service/first of namespace default"), "{message}");
    stead.run("delete service first");
    assert_eq!(address_of(&stead, "second"), ip);
}

#[test]
fn affinity_other_names_and_endpoints_made_by_hand() {
    let stead = web("services-kinds");
    let pod = stead.field("pod web-2", ".status.podIP");
    stead.apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: sticky}}, spec: {{selector: {{app: web}}, \
         sessionAffinity: ClientIP, ports: [{{port: 80, targetPort: 8080}}]}}}}\n---\n\
         {{apiVersion: v1, kind: Service, metadata: {{name: other}}, spec: {{type: ExternalName, \
         externalName: web.default.svc.cluster.local}}}}\n---\n\
         {{apiVersion: v1, kind: Service, metadata: {{name: by-hand}}, spec: {{ports: [{{port: 80}}]}}}}\n---\n\
         {{apiVersion: v1, kind: Endpoints, metadata: {{name: by-hand}}, \
         subsets: [{{addresses: [{{ip: {pod}}}], ports: [{{port: 8080}}]}}]}}"
    ));
    let address = |service: &str| -> Ipv4Addr {
        stead.field(&format!("service {service}"), ".spec.clusterIP").parse().expect("an address")
    };
    let first = reaches((address("sticky"), 80));
    let again: BTreeSet<String> = (0..20).map(|_| reaches((address("sticky"), 80))).collect();
    assert_eq!(again, BTreeSet::from([first]));
    let all: BTreeSet<String> = (0..40).map(|_| reaches((address("web"), 80))).collect();
    assert_eq!(all.len(), 3, "without affinity they take turns: {all:?}");
    assert!(is_a_name(stead.shell("web-0", "wget -qO- http://other/").trim()), "an alias");
    assert_eq!(reaches((address("by-hand"), 80)), "web-2");
    assert!(stead.run("get endpointslices -l kubernetes.io/service-name=by-hand").contains(&pod));
}

/// Seconds since the machine was started, as `/proc/uptime` counts them in every container.
fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("the uptime");
    text.split(' ').next().and_then(|seconds| seconds.parse().ok()).expect("seconds")
}

/// Connects to a service again and again until told to stop. Answers with how many connections there were, and
/// with those that were refused, cut off, or led to a pod that was not ready when they began.
fn stream_of_connections(at: SocketAddr, stop: &AtomicBool) -> (usize, Vec<String>) {
    /// What `/proc/uptime` leaves out.
    const RESOLUTION: f64 = 0.01;
    let (mut count, mut wrong) = (0, Vec::new());
    while !stop.load(Ordering::Acquire) {
        let begun = uptime();
        count += 1;
        match get(at) {
            Ok(body) if is_a_name(&body) => {}
            Ok(body) => match body.parse::<f64>() {
                // It was connected when its server was told.
                Ok(since) if begun <= since + RESOLUTION => {}
                _ => wrong.push(format!("begun at {begun}, led to a server that had ended at {body}")),
            },
            Err(error) => wrong.push(format!("begun at {begun}: {error}")),
        }
    }
    (count, wrong)
}

#[test]
fn no_new_connection_goes_to_a_pod_that_is_not_ready() {
    let stead = web("services-ready");
    let ip: Ipv4Addr = stead.field("service web", ".spec.clusterIP").parse().expect("an address");
    reaches((ip, 80));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..2).map(|_| scope.spawn(|| stream_of_connections((ip, 80).into(), &stop))).collect();
        let work = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // Readiness goes and comes back.
            stead.shell("web-1", "rm /tmp/ready");
            stead.wait("condition=Ready=false", "pod/web-1");
            stead.shell("web-1", "cut -d\" \" -f1 /proc/uptime > /www/index.html");
            stead.shell("web-1", "hostname > /www/index.html; touch /tmp/ready");
            stead.wait("condition=Ready", "pod/web-1");
            // All of them are replaced.
            stead.apply(&WEB.replace("ROUND", "2"));
            stead.run("rollout status statefulset/web --timeout=60s");
            // One is deleted.
            stead.run("delete pod web-0");
            stead.run("rollout status statefulset/web --timeout=60s");
        }));
        stop.store(true, Ordering::Release);
        for client in clients {
            let (count, wrong) = client.join().expect("a client");
            println!("{count} connections, {} of them wrong", wrong.len());
            assert!(count > 100, "only {count} connections");
            assert!(wrong.is_empty(), "{} of {count}: {wrong:#?}", wrong.len());
        }
        if let Err(panic) = work {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn rules_come_back_after_a_flush_and_are_gone_after_down() {
    let mut stead = web("services-flush");
    let node_port = free_port(30_000..32_000);
    stead.apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: outside}}, spec: {{type: NodePort, selector: {{app: web}}, \
         ports: [{{port: 80, targetPort: 8080, nodePort: {node_port}}}]}}}}"
    ));
    let ip: Ipv4Addr = stead.field("service web", ".spec.clusterIP").parse().expect("an address");
    let gateway: Ipv4Addr = stead.field("pod web-0", ".status.hostIP").parse().expect("an address");
    let bridge = firewall::interface_of(gateway).expect("the bridge");
    let ports = format!("v{}", bridge.strip_prefix("stead-").expect("stead's"));
    reaches((ip, 80));
    reaches((Ipv4Addr::LOCALHOST, node_port));
    for _ in 0..2 {
        // What a flush of the whole ruleset does to this one.
        firewall::delete_table(&bridge);
        let begun = Instant::now();
        reaches_a_pod((ip, 80));
        println!("back after {:?}", begun.elapsed());
        reaches_a_pod((Ipv4Addr::LOCALHOST, node_port));
    }
    assert!(firewall::has_table(&bridge) && !firewall::interfaces(&ports).is_empty());
    stead.down();
    assert!(!firewall::has_table(&bridge), "a table is left");
    let left = [firewall::interfaces(&bridge), firewall::interfaces(&ports)].concat();
    assert!(left.is_empty(), "links are left: {left:?}");
    let settings = std::path::Path::new("/proc/sys/net/ipv4/conf").join(&bridge);
    assert!(!settings.exists(), "the bridge's settings are left");
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, node_port)).expect("the port is free again");
}
