//! Services: who is behind them, and the one that gives a set's pods their names.

use serde_json::{Value, json};

use super::{after, go_on, why};
use crate::script;
use crate::sim::Sim;

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

/// A set that is as it should be, with this Service or none.
fn governed_by(spec: Option<Value>) -> String {
    let mut sim = Sim::new();
    if let Some(spec) = spec {
        sim.make(service("web", spec));
    }
    go_on(&mut sim, "set replicas=1\n ready web-0");
    why(&sim, "sts/web")
}

#[test]
fn a_set_without_its_service_has_no_names() {
    insta::assert_snapshot!(governed_by(None), @r#"
    statefulset/web waits for nothing: its pod is available
    statefulset/web: names like web-0.web do not resolve
    └ service/web, which spec.serviceName names, does not exist
    → create Service web with clusterIP: None and selector {app: web}
    "#);
}

#[test]
fn a_service_that_selects_others_gives_no_names() {
    let spec = json!({"clusterIP": "None", "selector": {"app": "wep"}});
    insta::assert_snapshot!(governed_by(Some(spec)), @r#"
    statefulset/web waits for nothing: its pod is available
    statefulset/web: names like web-0.web do not resolve
    └ service/web selects app=wep, which the set's pods do not have
    → put the template's labels into its spec.selector: stead edit svc web
    "#);
}

#[test]
fn a_service_with_an_address_of_its_own_gives_no_names() {
    let spec = json!({"clusterIP": "10.43.7.7", "selector": {"app": "web"}});
    insta::assert_snapshot!(governed_by(Some(spec)), @r#"
    statefulset/web waits for nothing: its pod is available
    statefulset/web: names like web-0.web do not resolve
    └ service/web is not headless: it has the one address 10.43.7.7
    → delete it and create it anew with clusterIP: None
    "#);
    let spec = json!({"type": "ExternalName", "externalName": "example.com"});
    insta::assert_snapshot!(governed_by(Some(spec)), @r#"
    statefulset/web waits for nothing: its pod is available
    statefulset/web: names like web-0.web do not resolve
    └ service/web is of type ExternalName: it leads elsewhere
    → name a headless Service of the set's own in spec.serviceName of a new set
    "#);
}

#[test]
fn a_headless_service_of_the_set_is_worth_no_word() {
    let spec = json!({"clusterIP": "None", "selector": {"app": "web"}});
    insta::assert_snapshot!(governed_by(Some(spec)), @r#"
    statefulset/web waits for nothing: its pod is available
    "#);
    let mut sim = Sim::new();
    script::perform(&mut sim, "set replicas=0");
    sim.edit("StatefulSet", "web", |set| set["spec"]["serviceName"] = "".into());
    sim.settle();
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits for nothing: it is to have no pods
    "#);
}

#[test]
fn services_say_who_is_behind_them() {
    let mut sim = after("set replicas=2 parallel\n ready web-0");
    sim.make(service(
        "named",
        json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}),
    ));
    sim.make(service("typo", json!({"selector": {"app": "wep"}})));
    sim.make(service("by-hand", json!({})));
    sim.settle();
    insta::assert_snapshot!(why(&sim, "svc/named"), @r#"
    service/named has 1 of 2 pods ready
    └ no container has a port named http
      → name one of the containers' ports in the service's targetPort, or give its number
    └ pod/web-1 is being started by node node-a
    "#);
    insta::assert_snapshot!(why(&sim, "svc/typo"), @r#"
    service/typo selects no pod (app=wep)
    → compare spec.selector with the labels: stead get pods --show-labels
    "#);
    insta::assert_snapshot!(why(&sim, "svc/by-hand"), @r#"
    service/by-hand has no selector: its endpoints are made by hand
    "#);
    insta::assert_snapshot!(why(&sim, "svc/none"), @r#"
    service/none does not exist in namespace default
    → check the name and the namespace (-n)
    "#);
    go_on(&mut sim, "foreign db-0");
    sim.make(service("db", json!({"selector": {"app": "db"}})));
    script::perform(&mut sim, "ready web-1");
    let mut set = sim.get("StatefulSet", "default", "web").expect("the set").clone();
    set["metadata"] = json!({"name": "db", "namespace": "default"});
    set["spec"]["selector"]["matchLabels"]["app"] = "db".into();
    set["spec"]["template"]["metadata"]["labels"]["app"] = "db".into();
    set["spec"]["replicas"] = 1.into();
    sim.make(set);
    sim.settle();
    insta::assert_snapshot!(why(&sim, "svc/db"), @r#"
    service/db has nobody behind it: statefulset/db, whose pods it selects, has none yet
    └ statefulset/db
      └ statefulset/db: db-0 cannot be made: a pod of that name exists and is not the set's; delete it
        └ pod/db-0 was made by hand: nothing owns it
          → stead delete pod db-0; or let the set take it over: stead label pod db-0 --overwrite app=db
      └ statefulset/db: names like db-0.web do not resolve
        └ service/web selects app=web, which the set's pods do not have
        → put the template's labels into its spec.selector: stead edit svc web
    "#);
    insta::assert_snapshot!(why(&sim, "svc/web"), @"service/web has 2 of 2 pods ready");
}

fn with_trouble(kind: &str, reason: &str, message: &str) -> String {
    let mut sim = Sim::new();
    let spec =
        json!({"type": kind, "clusterIP": "10.43.7.7", "selector": {"app": "web"}, "ports": [{"port": 80}]});
    sim.make(service("web", spec));
    go_on(&mut sim, "set replicas=1\n ready web-0");
    sim.edit("Service", "web", |service| {
        service["status"] = json!({"conditions": [{"type": "LoadBalancerPortsError", "status": "True",
            "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    });
    why(&sim, "svc/web")
}

#[test]
fn a_load_balancer_without_its_port_says_who_has_it() {
    let message = "port 80/TCP of 192.0.2.2 is taken by a process of this machine";
    insta::assert_snapshot!(with_trouble("LoadBalancer", "PortTaken", message), @r#"
    service/web has no address for its load balancer: port 80/TCP of 192.0.2.2 is taken by a process of this machine
    → end who has it (ss -ltnup shows processes), or choose another port for the service
    "#);
    insta::assert_snapshot!(with_trouble("NodePort", "PortTaken", "port 30080/TCP is taken by a process of this machine"), @r#"
    service/web is not reached at all of its ports of the host: port 30080/TCP is taken by a process of this machine
    → end who has it (ss -ltnup shows processes), or choose another port for the service
    "#);
    let message = "spec.loadBalancerIP 203.0.113.7 is no address of this host";
    insta::assert_snapshot!(with_trouble("LoadBalancer", "AddressNotHere", message), @r#"
    service/web has no address for its load balancer: spec.loadBalancerIP 203.0.113.7 is no address of this host
    → leave spec.loadBalancerIP out, or name one of the host's addresses: ip -4 addr
    "#);
}
