//! ControllerRevisions: names, content, reuse; and the events of a set.

use serde_json::{Value, json};

use crate::script;
use crate::sim::Sim;

fn after(script: &str) -> Sim {
    let mut sim = Sim::new();
    run(&mut sim, script);
    sim
}

fn run(sim: &mut Sim, script: &str) {
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        script::perform(sim, line);
        sim.settle();
    }
}

fn revisions(sim: &Sim) -> Vec<Value> {
    let names = sim.names("ControllerRevision");
    names.iter().filter_map(|name| sim.get("ControllerRevision", "default", name).cloned()).collect()
}

fn set(sim: &Sim) -> Value {
    sim.get("StatefulSet", "default", "web").expect("the set").clone()
}

#[test]
fn a_revision_looks_like_upstreams() {
    let sim = after("set replicas=1");
    let revision = &revisions(&sim)[0];
    let name = revision["metadata"]["name"].as_str().unwrap_or_default();
    let hash = name.strip_prefix("web-").expect("the set's name first");
    assert!(hash.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte)), "{hash}");
    assert_eq!(revision["metadata"]["labels"], json!({"app": "web", "controller.kubernetes.io/hash": hash}));
    assert_eq!(revision["revision"], 1);
    assert_eq!(
        revision["data"],
        json!({"spec": {"template": {
            "$patch": "replace", "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]}}}})
    );
    assert_eq!(revision["metadata"]["ownerReferences"][0]["kind"], "StatefulSet");
    let labels = &sim.pod("web-0").expect("the pod")["metadata"]["labels"];
    assert_eq!(labels["controller-revision-hash"], name);
    assert_eq!(labels["apps.kubernetes.io/pod-index"], "0");
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-0");
}

#[test]
fn a_pod_carries_its_sets_names_and_mounts_its_claim_over_a_volume_of_that_name() {
    let mut sim = Sim::new();
    script::perform(&mut sim, "set replicas=1 claims");
    sim.edit("StatefulSet", "web", |set| {
        set["spec"]["template"]["spec"]["volumes"] =
            json!([{"name": "data", "emptyDir": {}}, {"name": "cache", "emptyDir": {}}]);
    });
    sim.settle();
    let pod = sim.pod("web-0").expect("the pod");
    assert_eq!(pod["spec"]["hostname"], "web-0");
    assert_eq!(pod["spec"]["subdomain"], "web");
    assert_eq!(pod["metadata"]["generateName"], "web-");
    assert_eq!(
        pod["spec"]["volumes"],
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}},
               {"name": "cache", "emptyDir": {}}])
    );
}

#[test]
fn a_rollback_raises_the_old_revisions_number() {
    let sim = after("set replicas=1\n ready web-0\n image web:2\n finish web-0\n ready web-0\n image web:1");
    let mut numbers: Vec<(String, i64)> = revisions(&sim)
        .iter()
        .map(|revision| {
            let image = &revision["data"]["spec"]["template"]["spec"]["containers"][0]["image"];
            (image.as_str().unwrap_or_default().to_owned(), revision["revision"].as_i64().unwrap_or(0))
        })
        .collect();
    numbers.sort();
    assert_eq!(numbers, [("web:1".to_owned(), 3), ("web:2".to_owned(), 2)]);
}

#[test]
fn a_name_that_something_else_has_raises_the_collision_count() {
    let name = after("set replicas=1").names("ControllerRevision")[0].clone();
    let mut sim = Sim::new();
    sim.make(json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 7,
        "metadata": {"name": name, "namespace": "default"}, "data": {"of": "somebody else"}}));
    run(&mut sim, "set replicas=1");
    assert_eq!(set(&sim)["status"]["collisionCount"], 1);
    assert_eq!(sim.names("ControllerRevision").len(), 2);
    assert_ne!(set(&sim)["status"]["updateRevision"], name);
}

#[test]
fn what_means_the_same_rolls_nothing() {
    let mut sim = after("set replicas=1\n ready web-0");
    let before = set(&sim)["status"]["updateRevision"].clone();
    let mut change = |edit: &dyn Fn(&mut Value)| {
        sim.edit("StatefulSet", "web", |set| edit(&mut set["spec"]["template"]));
        sim.settle();
        set(&sim)["status"]["updateRevision"].clone()
    };
    assert_eq!(change(&|template| template["metadata"]["creationTimestamp"] = Value::Null), before);
    assert_eq!(change(&|template| template["spec"]["tolerations"] = json!([])), before);
    assert_eq!(change(&|template| template["metadata"]["annotations"] = json!({})), before);
    assert_eq!(change(&|template| template["spec"]["nodeSelector"] = json!({})), before);
    let asked = |cpu: &str| json!({"requests": {"cpu": cpu}});
    let with_cpu = change(&|template| template["spec"]["containers"][0]["resources"] = asked("1"));
    assert_ne!(with_cpu, before);
    assert_eq!(change(&|template| template["spec"]["containers"][0]["resources"] = asked("1000m")), with_cpu);
}

#[test]
fn a_default_that_a_newer_release_adds_rolls_nothing() {
    let mut sim = after("set replicas=1\n ready web-0");
    let before = set(&sim);
    sim.edit_quietly("StatefulSet", "web", |set| {
        set["spec"]["template"]["spec"]["newPolicy"] = "Default".into();
        set["spec"]["template"]["spec"]["restartPolicy"] = "Always".into();
    });
    sim.settle();
    assert_eq!(set(&sim)["status"]["updateRevision"], before["status"]["updateRevision"]);
    assert!(sim.pod("web-0").expect("the pod")["metadata"]["deletionTimestamp"].is_null());
}

#[test]
fn a_long_name_puts_the_hash_alone_into_the_label() {
    let mut sim = Sim::new();
    let long = "a".repeat(60);
    sim.make(json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": long, "namespace": "default"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
                 "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}}}));
    sim.settle();
    let pod = format!("{long}-0");
    let label = sim.pod(&pod).expect("the pod")["metadata"]["labels"]["controller-revision-hash"].clone();
    let revision = sim.names("ControllerRevision")[0].clone();
    assert_eq!(label, revision.strip_prefix(&format!("{long}-")).expect("the set's name first"));
    sim.ready(&pod);
    sim.settle();
    let status = sim.get("StatefulSet", "default", &long).expect("the set")["status"].clone();
    assert_eq!((&status["updatedReplicas"], &status["currentRevision"]), (&json!(1), &json!(revision)));
}

#[test]
fn events_are_told_in_upstreams_words() {
    let mut sim = Sim::new();
    run(&mut sim, "set replicas=1 claims\n fail web-0\n ready web-0\n replicas 0");
    let told: Vec<&str> =
        sim.events.iter().map(String::as_str).filter(|event| event.contains("StatefulSet")).collect();
    assert_eq!(
        told,
        [
            "SuccessfulCreate create Claim data-web-0 Pod web-0 in StatefulSet web success",
            "SuccessfulCreate create Pod web-0 in StatefulSet web successful",
            "RecreatingFailedPod StatefulSet default/web is recreating failed Pod web-0",
            "SuccessfulDelete delete Pod web-0 in StatefulSet web successful",
            "SuccessfulCreate create Pod web-0 in StatefulSet web successful",
            "SuccessfulDelete delete Pod web-0 in StatefulSet web successful",
        ]
    );
}

#[test]
fn a_wrong_name_label_is_put_right() {
    let mut sim = after("set replicas=1\n ready web-0");
    sim.edit("Pod", "web-0", |pod| {
        pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] = "other".into();
    });
    sim.settle();
    let labels = &sim.pod("web-0").expect("the pod")["metadata"]["labels"];
    assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-0");
    assert!(
        sim.events.iter().any(|e| e == "SuccessfulUpdate update Pod web-0 in StatefulSet web successful")
    );
}

#[test]
fn a_pod_that_mounts_the_wrong_claim_is_replaced() {
    let mut sim = after("set replicas=1 claims\n ready web-0");
    sim.edit("Pod", "web-0", |pod| {
        pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] = "other".into();
    });
    sim.settle();
    assert!(sim.pod("web-0").expect("the pod")["metadata"]["deletionTimestamp"].is_string());
}

#[test]
fn a_claim_of_another_controller_is_left_alone_and_said_so() {
    let mut sim = Sim::new();
    let owners = json!([{"apiVersion": "example.com/v1", "kind": "Backup", "name": "b", "uid": "u",
                         "controller": true}]);
    sim.make(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-web-0", "namespace": "default", "ownerReferences": owners},
        "spec": {"storageClassName": "local", "resources": {"requests": {"storage": "1Gi"}}}}));
    run(&mut sim, "set replicas=1 claims when-deleted=Delete\n ready web-0");
    let claim = sim.get("PersistentVolumeClaim", "default", "data-web-0").expect("the claim");
    assert_eq!(claim["metadata"]["ownerReferences"], owners);
    assert_eq!(sim.events.iter().filter(|event| event.starts_with("ConflictingController")).count(), 1);
}
