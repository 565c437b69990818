//! What services find: EndpointSlices and Endpoints.

use serde_json::{Value, json};

use crate::sim::Sim;

fn service(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "labels": {"team": "a"}}, "spec": spec})
}

fn pod(name: &str, port: i32) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"hostname": name, "subdomain": "web", "containers": [
            {"name": "main", "image": "a", "ports": [{"name": "http", "containerPort": port}]}]}})
}

fn cluster(service_spec: Value, pods: &[&str]) -> Sim {
    let mut sim = Sim::new();
    sim.make(service(service_spec));
    for name in pods {
        sim.make(pod(name, 80));
    }
    sim.settle();
    sim
}

fn headless() -> Value {
    json!({"clusterIP": "None", "selector": {"app": "web"},
           "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]})
}

fn slices(sim: &Sim) -> Vec<Value> {
    let names = sim.names("EndpointSlice");
    names.iter().filter_map(|name| sim.get("EndpointSlice", "default", name).cloned()).collect()
}

/// `hostname address ready/serving/terminating` of each endpoint, by name.
fn endpoints(sim: &Sim) -> Vec<String> {
    let mut found: Vec<String> = slices(sim)
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default())
        .map(|endpoint| {
            let flag = |name: &'static str| if endpoint["conditions"][name] == true { name } else { "-" };
            format!(
                "{} {}/{}/{}",
                endpoint["hostname"].as_str().unwrap_or_default(),
                flag("ready"),
                flag("serving"),
                flag("terminating")
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_pod_is_there_with_its_address_and_says_whether_it_is_ready() {
    let mut sim = cluster(headless(), &["web-0", "web-1", "web-2"]);
    assert_eq!(endpoints(&sim), Vec::<String>::new());
    sim.ready("web-0");
    sim.pod_status("web-1", &json!({"phase": "Running", "podIP": "10.42.0.7"}));
    sim.settle();
    assert_eq!(endpoints(&sim), ["web-0 ready/serving/-", "web-1 -/-/-"]);
    sim.remove("Pod", "web-0", &[]);
    sim.settle();
    assert_eq!(endpoints(&sim), ["web-0 -/serving/terminating", "web-1 -/-/-"]);
    sim.finish("web-0");
    sim.settle();
    assert_eq!(endpoints(&sim), ["web-1 -/-/-"]);
    assert_eq!(slices(&sim).len(), 1, "the slice stays, its content changes");
}

#[test]
fn a_slice_says_whose_it_is_and_which_ports_there_are() {
    let mut sim = cluster(headless(), &["web-0"]);
    sim.ready("web-0");
    sim.settle();
    let slice = slices(&sim)[0].clone();
    assert_eq!(
        slice["metadata"]["labels"],
        json!({
            "team": "a", "kubernetes.io/service-name": "web", "service.kubernetes.io/headless": "",
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        })
    );
    assert_eq!(slice["metadata"]["ownerReferences"][0]["name"], "web");
    assert_eq!(slice["addressType"], "IPv4");
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 80, "protocol": "TCP"}]));
    let endpoint = &slice["endpoints"][0];
    assert_eq!(endpoint["nodeName"], "node-a");
    assert_eq!(endpoint["targetRef"]["kind"], "Pod");
    assert_eq!(endpoint["targetRef"]["name"], "web-0");
}

#[test]
fn publish_not_ready_addresses_calls_everybody_ready() {
    let mut spec = headless();
    spec["publishNotReadyAddresses"] = true.into();
    let mut sim = cluster(spec, &["web-0"]);
    sim.pod_status("web-0", &json!({"phase": "Running", "podIP": "10.42.0.7"}));
    sim.settle();
    assert_eq!(endpoints(&sim), ["web-0 ready/-/-"]);
}

#[test]
fn pods_whose_named_port_has_another_number_get_a_slice_of_their_own() {
    let mut sim = cluster(headless(), &["web-0"]);
    sim.make(pod("web-1", 8080));
    sim.settle();
    sim.ready("web-0");
    sim.ready("web-1");
    sim.settle();
    let mut ports: Vec<i64> = slices(&sim).iter().filter_map(|s| s["ports"][0]["port"].as_i64()).collect();
    ports.sort_unstable();
    assert_eq!(ports, [80, 8080]);
}

#[test]
fn a_hundred_endpoints_fill_a_slice_and_one_change_touches_one_slice() {
    let names: Vec<String> = (0..150).map(|ordinal| format!("web-{ordinal}")).collect();
    let mut sim = cluster(headless(), &[]);
    for name in &names {
        let mut placed = pod(name, 80);
        placed["spec"]["nodeName"] = "node-a".into();
        sim.make(placed);
        sim.ready(name);
    }
    sim.settle();
    let sizes = |sim: &Sim| {
        let mut sizes: Vec<usize> =
            slices(sim).iter().map(|s| s["endpoints"].as_array().map_or(0, Vec::len)).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&sim), [50, 100]);
    let versions =
        |sim: &Sim| slices(sim).iter().map(|s| s["metadata"]["resourceVersion"].clone()).collect::<Vec<_>>();
    let before = versions(&sim);
    sim.pod_status("web-7", &json!({"phase": "Running", "podIP": "10.42.0.7"}));
    sim.settle();
    let after = versions(&sim);
    assert_eq!(before.iter().zip(&after).filter(|(b, a)| b != a).count(), 1);
    assert_eq!(sizes(&sim), [50, 100]);
}

#[test]
fn the_older_endpoints_object_sorts_ready_from_not_ready() {
    let mut sim = cluster(headless(), &["web-0", "web-1"]);
    sim.ready("web-0");
    sim.pod_status("web-1", &json!({"phase": "Running", "podIP": "10.42.0.7"}));
    sim.settle();
    let endpoints = sim.get("Endpoints", "default", "web").expect("the endpoints").clone();
    let subset = &endpoints["subsets"][0];
    assert_eq!(subset["addresses"][0]["hostname"], "web-0");
    assert_eq!(subset["notReadyAddresses"][0]["ip"], "10.42.0.7");
    assert_eq!(subset["ports"], json!([{"name": "http", "port": 80, "protocol": "TCP"}]));
}

#[test]
fn a_service_that_goes_takes_its_endpoints_along() {
    let mut sim = cluster(headless(), &["web-0"]);
    sim.ready("web-0");
    sim.settle();
    sim.remove("Service", "web", &[]);
    sim.settle();
    assert_eq!(sim.names("EndpointSlice"), Vec::<String>::new());
    assert_eq!(sim.names("Endpoints"), Vec::<String>::new());
}

#[test]
fn services_without_a_selector_are_left_alone() {
    let sim = cluster(json!({"ports": [{"port": 80}]}), &["web-0"]);
    assert_eq!(sim.names("EndpointSlice"), Vec::<String>::new());
    assert_eq!(sim.names("Endpoints"), Vec::<String>::new());
}

fn by_hand(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": name, "namespace": "default", "labels": {"team": "b"}},
    "subsets": [{
        "addresses": [{"ip": "192.0.2.7", "hostname": "old"}], "notReadyAddresses": [{"ip": "192.0.2.8"}],
        "ports": [{"name": "http", "port": 8080}],
    }]})
}

#[test]
fn endpoints_made_by_hand_are_mirrored_as_long_as_nobody_selects_pods() {
    let mut spec = headless();
    spec.as_object_mut().expect("fields").remove("selector");
    let mut sim = cluster(spec.clone(), &[]);
    sim.make(by_hand("web"));
    sim.make(by_hand("nobodys"));
    sim.settle();
    let slice = slices(&sim).pop().expect("one slice");
    assert_eq!(slices(&sim).len(), 1, "none without a service");
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"team": "b", "kubernetes.io/service-name": "web",
            "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io"})
    );
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Endpoints");
    assert_eq!(slice["ports"], json!([{"name": "http", "port": 8080, "protocol": "TCP"}]));
    assert_eq!(
        slice["endpoints"],
        json!([{"addresses": ["192.0.2.7"], "conditions": {"ready": true}, "hostname": "old"},
            {"addresses": ["192.0.2.8"], "conditions": {"ready": false}}])
    );
    // It follows, in place.
    sim.edit("Endpoints", "web", |endpoints| {
        endpoints["subsets"][0]["addresses"][0]["ip"] = "192.0.2.9".into();
    });
    sim.settle();
    assert_eq!(slices(&sim)[0]["metadata"]["name"], slice["metadata"]["name"]);
    let addresses: Vec<Value> = slices(&sim)[0]["endpoints"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|e| e["addresses"][0].clone())
        .collect();
    assert_eq!(addresses.len(), 2);
    assert!(addresses.contains(&json!("192.0.2.9")), "{addresses:?}");
    // Who asks for it to be left alone is.
    sim.edit("Endpoints", "web", |endpoints| {
        endpoints["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"] = "true".into();
    });
    sim.settle();
    assert_eq!(slices(&sim), Vec::<Value>::new());
}
