//! The rules of services as data.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::Action;

const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

fn host() -> HostAddresses {
    HostAddresses { main: HOST, all: vec![Ipv4Addr::LOCALHOST, HOST, Ipv4Addr::new(10, 42, 0, 1)] }
}

/// A world with these objects, in the API's words.
fn world(objects: impl IntoIterator<Item = Value>) -> World {
    let mut world = World::default();
    for object in objects {
        let kind = object["kind"].as_str().expect("a kind").to_owned();
        match kind.as_str() {
            "Service" => world.services.insert(serde_json::from_value(object).expect("a service")),
            "EndpointSlice" => world.endpoint_slices.insert(serde_json::from_value(object).expect("a slice")),
            "Pod" => world.pods.insert(serde_json::from_value(object).expect("a pod")),
            other => panic!("{other}"),
        }
    }
    world
}

/// A service of one port 80, made in the second that its name's last letter stands for.
#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
fn service(name: &str, change: Value) -> Value {
    let second = name.bytes().last().unwrap_or_default() % 60;
    let mut service = json!({
        "kind": "Service",
        "metadata": {"name": name, "namespace": "d", "uid": name,
            "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z")},
        "spec": {"type": "ClusterIP", "clusterIP": format!("10.43.0.{second}"), "ports": [{"port": 80}]},
    });
    for (field, value) in change.as_object().expect("fields") {
        service["spec"][field] = value.clone();
    }
    service
}

/// A slice of endpoints by pod name and `ready/serving/terminating`, each with its pod in that state.
fn behind(service: &str, endpoints: &[(&str, [bool; 3])]) -> Vec<Value> {
    let address = |pod: &str| format!("10.42.0.{}", pod.bytes().last().unwrap_or_default());
    let listed = |(name, [ready, serving, terminating]): &(&str, [bool; 3])| {
        json!({"addresses": [address(name)], "nodeName": "node-a",
            "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
            "targetRef": {"kind": "Pod", "namespace": "d", "name": name, "uid": name}})
    };
    let slice = json!({
        "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "namespace": "d", "labels": {SERVICE_NAME_LABEL: service}},
        "ports": [{"name": "", "port": 8080}],
        "endpoints": endpoints.iter().map(listed).collect::<Vec<_>>(),
    });
    let pods = endpoints.iter().map(|(name, [_, serving, terminating])| {
        let mut pod = json!({"kind": "Pod", "metadata": {"name": name, "namespace": "d", "uid": name},
            "spec": {"nodeName": "node-a", "containers": []},
            "status": {"podIP": address(name), "phase": "Running",
                "conditions": [{"type": "Ready", "status": if *serving { "True" } else { "False" }}]}});
        if *terminating {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z".into();
        }
        pod
    });
    pods.chain([slice]).collect()
}

const READY: [bool; 3] = [true, true, false];
const UNREADY: [bool; 3] = [false, false, false];
const GOING: [bool; 3] = [false, true, true];
const GONE: [bool; 3] = [false, false, true];

fn rules(world: &World) -> Vec<String> {
    let proxy = plan(world, "node-a", &host());
    let line = |rule: &Rule| {
        let to: Vec<String> = rule.endpoints.iter().map(|(ip, port)| format!("{ip}:{port}")).collect();
        let what = if rule.drops_when_empty { "nobody here".to_owned() } else { to.join(" ") };
        format!("{:?} {} -> {what}", rule.purpose, rule.at)
    };
    proxy.rules.values().map(line).collect()
}

/// Where new connections to the service's address go.
fn endpoints_of(objects: Vec<Value>) -> Vec<String> {
    let proxy = plan(&world(objects), "node-a", &host());
    let rule = proxy.rules.values().find(|rule| rule.purpose == Purpose::ClusterIp).expect("a rule");
    rule.endpoints.iter().map(|(ip, port)| format!("{ip}:{port}")).collect()
}

fn web(endpoints: &[(&str, [bool; 3])]) -> Vec<Value> {
    behind("web", endpoints).into_iter().chain([service("web", json!({}))]).collect()
}

#[test]
fn ready_endpoints_get_connections_and_others_only_when_there_is_none() {
    let one = "10.42.0.49:8080";
    assert_eq!(endpoints_of(web(&[("p1", READY), ("p2", UNREADY), ("p3", GOING)])), [one]);
    assert_eq!(endpoints_of(web(&[("p1", GOING), ("p2", UNREADY), ("p3", GONE)])), [one], "KEP-1669");
    assert_eq!(endpoints_of(web(&[("p1", GONE), ("p2", UNREADY)])), [""; 0]);
}

#[test]
fn a_pod_that_is_gone_or_going_or_unready_counts_before_its_slice_says_so() {
    let stale = |change: fn(&mut Value)| {
        let mut objects = web(&[("p1", READY), ("p2", READY)]);
        change(&mut objects[1]);
        endpoints_of(objects)
    };
    let one = ["10.42.0.49:8080"];
    assert_eq!(stale(|_| {}).len(), 2);
    assert_eq!(stale(|pod| pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:01:00Z".into()), one);
    assert_eq!(stale(|pod| pod["status"]["conditions"][0]["status"] = "False".into()), one);
    assert_eq!(stale(|pod| pod["status"]["phase"] = "Failed".into()), one);
    assert_eq!(stale(|pod| pod["metadata"]["uid"] = "its successor".into()), one);
    assert_eq!(stale(|pod| pod["metadata"]["name"] = "another".into()), one);
}

#[test]
fn who_publishes_unready_addresses_wants_them() {
    let mut objects = behind("web", &[("p1", [true, false, false])]);
    objects.push(service("web", json!({"publishNotReadyAddresses": true})));
    assert_eq!(endpoints_of(objects), ["10.42.0.49:8080"]);
}

#[test]
fn endpoints_made_by_hand_are_taken_at_their_word() {
    let slice = json!({"kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "x", "namespace": "d", "labels": {SERVICE_NAME_LABEL: "web"}},
        "ports": [{"port": 5432}], "endpoints": [{"addresses": ["192.0.2.99"]}]});
    assert_eq!(endpoints_of(vec![slice, service("web", json!({}))]), ["192.0.2.99:5432"]);
}

#[test]
fn every_way_to_a_service_leads_to_its_endpoints() {
    let spec = json!({"type": "LoadBalancer", "externalIPs": ["203.0.113.9"],
        "ports": [{"port": 80, "nodePort": 30080}, {"port": 53, "protocol": "UDP", "name": "dns", "nodePort": 30053}]});
    let mut objects = behind("web", &[("p1", READY)]);
    objects.push(service("web", spec));
    let mut pod = objects[0].clone();
    pod["spec"]["containers"] = json!([{"ports": [
        {"containerPort": 8081, "hostPort": 81}, {"containerPort": 8082, "hostPort": 82, "hostIP": "127.0.0.1"},
    ]}]);
    objects[0] = pod;
    insta::assert_snapshot!(rules(&world(objects)).join("\n"), @r#"
    HostPort 81/TCP -> 10.42.0.49:8081
    NodePort 30080/TCP -> 10.42.0.49:8080
    NodePort 30053/UDP -> 
    ClusterIp 80/TCP of 10.43.0.38 -> 10.42.0.49:8080
    ClusterIp 53/UDP of 10.43.0.38 -> 
    HostPort 82/TCP of 127.0.0.1 -> 10.42.0.49:8082
    Balancer 80/TCP of 192.0.2.2 -> 10.42.0.49:8080
    Balancer 53/UDP of 192.0.2.2 -> 
    External 80/TCP of 203.0.113.9 -> 10.42.0.49:8080
    External 53/UDP of 203.0.113.9 ->
    "#);
}

#[test]
fn local_policies_keep_to_this_node() {
    let mut objects = behind("web", &[("p1", READY), ("p2", READY)]);
    objects[2]["endpoints"][0]["nodeName"] = "node-b".into();
    let spec = json!({"type": "NodePort", "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Local",
        "ports": [{"port": 80, "nodePort": 30080}]});
    objects.push(service("web", spec));
    insta::assert_snapshot!(rules(&world(objects.clone())).join("\n"), @r#"
    NodePort 30080/TCP -> 10.42.0.50:8080
    ClusterIp 80/TCP of 10.43.0.38 -> 10.42.0.49:8080 10.42.0.50:8080
    "#);
    objects[2]["endpoints"][1]["nodeName"] = "node-b".into();
    insta::assert_snapshot!(rules(&world(objects)).join("\n"), @r#"
    NodePort 30080/TCP -> nobody here
    ClusterIp 80/TCP of 10.43.0.38 -> 10.42.0.49:8080 10.42.0.50:8080
    "#);
}

#[test]
fn balancers_elsewhere_hear_of_ready_endpoints_of_this_node() {
    let answer = |objects: Vec<Value>| {
        let checks = plan(&world(objects), "node-a", &host()).health_checks;
        checks.into_iter().map(|(port, check)| (port, check.local_endpoints)).collect::<Vec<_>>()
    };
    let mut objects = behind("web", &[("p1", READY), ("p2", READY), ("p3", UNREADY), ("p4", GOING)]);
    objects[4]["endpoints"][0]["nodeName"] = "node-b".into();
    let spec =
        json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30081});
    objects.push(service("web", spec));
    assert_eq!(answer(objects.clone()), [(30081, 1)]);
    objects[4]["endpoints"][1]["nodeName"] = "node-b".into();
    assert_eq!(answer(objects), [(30081, 0)], "one that is going does not count");
    assert_eq!(answer(web(&[("p1", READY)])), []);
}

fn balancer(name: &str, port: i32) -> Value {
    service(name, json!({"type": "LoadBalancer", "ports": [{"port": port}]}))
}

/// What is written into the services' statuses, when these ports are a process's.
fn written(objects: Vec<Value>, taken: &[u16]) -> String {
    let world = world(objects);
    let proxy = plan(&world, "node-a", &host());
    let taken: Vec<Place> = proxy.claims(&host()).into_iter().filter(|at| taken.contains(&at.port)).collect();
    let plan = statuses(&world, &proxy.without(&taken), Timestamp::UNIX_EPOCH);
    let line = |action: &Action| match action {
        Action::PatchStatus { target, patch } => format!("{}: {}", target.name, patch["status"]),
        Action::Record { about, reason, message, .. } => format!("{} {reason}: {message}", about.name),
        other => panic!("{other:?}"),
    };
    plan.actions.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_load_balancer_is_the_host_s_address() {
    let told = written(vec![balancer("web-1", 80)], &[]);
    insta::assert_snapshot!(told, @r#"
    web-1: {"conditions":null,"loadBalancer":{"ingress":[{"ip":"192.0.2.2","ipMode":"VIP"}]}}
    "#);
    let mut told = balancer("web-1", 80);
    told["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.2", "ipMode": "VIP"}]}});
    assert_eq!(written(vec![told.clone()], &[]), "", "it has it");
    told["spec"]["type"] = "ClusterIP".into();
    insta::assert_snapshot!(written(vec![told], &[]), @r#"
    web-1: {"conditions":null,"loadBalancer":{"ingress":null}}
    "#);
}

#[test]
fn a_port_is_whose_it_was_first_and_the_others_are_told_by_whom_it_is_taken() {
    let told = written(vec![balancer("web-1", 80), balancer("web-2", 80)], &[]);
    insta::assert_snapshot!(told, @r#"
    web-1: {"conditions":null,"loadBalancer":{"ingress":[{"ip":"192.0.2.2","ipMode":"VIP"}]}}
    web-2: {"conditions":[{"lastTransitionTime":"1970-01-01T00:00:00Z","message":"port 80/TCP of 192.0.2.2 is taken by service/web-1 of namespace d","reason":"PortTaken","status":"True","type":"LoadBalancerPortsError"}],"loadBalancer":{"ingress":null}}
    web-2 PortTaken: port 80/TCP of 192.0.2.2 is taken by service/web-1 of namespace d
    "#);
    let mut has_it = balancer("web-2", 80);
    has_it["status"] = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.2", "ipMode": "VIP"}]}});
    insta::assert_snapshot!(written(vec![balancer("web-1", 80), has_it], &[]), @r#"
    web-1: {"conditions":[{"lastTransitionTime":"1970-01-01T00:00:00Z","message":"port 80/TCP of 192.0.2.2 is taken by service/web-2 of namespace d","reason":"PortTaken","status":"True","type":"LoadBalancerPortsError"}],"loadBalancer":{"ingress":null}}
    web-1 PortTaken: port 80/TCP of 192.0.2.2 is taken by service/web-2 of namespace d
    "#);
}

#[test]
fn a_port_that_a_process_has_keeps_the_whole_load_balancer_back() {
    let mut web = balancer("web-1", 80);
    web["spec"]["ports"] = json!([{"name": "a", "port": 80}, {"name": "b", "port": 443}]);
    let both = world([web.clone()]);
    let proxy = plan(&both, "node-a", &host());
    let taken = [Place { address: Some(HOST), protocol: "TCP", port: 443 }];
    let left: Vec<Purpose> = proxy.without(&taken).rules.values().map(|rule| rule.purpose).collect();
    assert_eq!(left, [Purpose::ClusterIp, Purpose::ClusterIp]);
    insta::assert_snapshot!(written(vec![web], &[443]), @r#"
    web-1: {"conditions":[{"lastTransitionTime":"1970-01-01T00:00:00Z","message":"port 443/TCP of 192.0.2.2 is taken by a process of this machine","reason":"PortTaken","status":"True","type":"LoadBalancerPortsError"}],"loadBalancer":{"ingress":null}}
    web-1 PortTaken: port 443/TCP of 192.0.2.2 is taken by a process of this machine
    "#);
}

#[test]
fn another_class_s_load_balancer_is_left_alone_and_led_to_its_endpoints() {
    let mut web = balancer("web-1", 80);
    web["spec"]["loadBalancerClass"] = "example.com/theirs".into();
    assert_eq!(written(vec![web.clone()], &[80]), "");
    web["status"] = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}});
    assert_eq!(written(vec![web.clone()], &[80]), "");
    insta::assert_snapshot!(rules(&world([web])).join("\n"), @r#"
    ClusterIp 80/TCP of 10.43.0.49 -> 
    External 80/TCP of 203.0.113.7 ->
    "#);
}

#[test]
fn an_address_that_is_asked_for_is_given_if_it_is_the_host_s() {
    let mut web = balancer("web-1", 80);
    web["spec"]["loadBalancerIP"] = "10.42.0.1".into();
    insta::assert_snapshot!(written(vec![web.clone()], &[]), @r#"
    web-1: {"conditions":null,"loadBalancer":{"ingress":[{"ip":"10.42.0.1","ipMode":"VIP"}]}}
    "#);
    web["spec"]["loadBalancerIP"] = "203.0.113.7".into();
    insta::assert_snapshot!(written(vec![web], &[]), @r#"
    web-1: {"conditions":[{"lastTransitionTime":"1970-01-01T00:00:00Z","message":"spec.loadBalancerIP 203.0.113.7 is no address of this host","reason":"AddressNotHere","status":"True","type":"LoadBalancerPortsError"}],"loadBalancer":{"ingress":null}}
    web-1 AddressNotHere: spec.loadBalancerIP 203.0.113.7 is no address of this host
    "#);
}

#[test]
fn only_places_on_the_host_are_claimed() {
    let spec = json!({"type": "LoadBalancer", "externalIPs": ["203.0.113.9", "192.0.2.2"],
        "ports": [{"port": 80, "nodePort": 30080}]});
    let claims = plan(&world([service("web", spec)]), "node-a", &host()).claims(&host());
    let claims: Vec<String> = claims.iter().map(ToString::to_string).collect();
    assert_eq!(claims, ["30080/TCP", "80/TCP of 192.0.2.2"]);
}
