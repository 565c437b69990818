//! Claims and volumes, with the scheduler and the node's provisioner.

use planner::volume_binder::provisioner::{self, VolumeAction};
use serde_json::{Value, json};

use crate::sim::Sim;

fn claim(name: &str, class: Option<&str>, storage: &str) -> Value {
    let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}});
    if let Some(class) = class {
        claim["spec"]["storageClassName"] = class.into();
    }
    claim
}

fn volume(name: &str, class: &str, storage: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": storage}, "storageClassName": class,
                 "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/data"}}})
}

fn class(name: &str, mode: &str) -> Value {
    json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
        "provisioner": provisioner::PROVISIONER, "reclaimPolicy": "Delete", "volumeBindingMode": mode})
}

fn pod(name: &str, claim: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "main", "image": "a"}],
                 "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]}})
}

fn phase(sim: &Sim, kind: &str, name: &str) -> String {
    let namespace = if kind == "PersistentVolume" { "" } else { "default" };
    let object = sim.get(kind, namespace, name);
    object.and_then(|o| o["status"]["phase"].as_str()).unwrap_or("gone").to_owned()
}

fn conditions(sim: &Sim, claim: &str) -> String {
    sim.get("PersistentVolumeClaim", "default", claim).expect("a claim")["status"]["conditions"].to_string()
}

#[test]
fn a_claim_takes_the_smallest_volume_that_fits() {
    let mut sim = Sim::new();
    for (name, storage) in [("big", "100Gi"), ("small", "1Gi"), ("right", "10Gi")] {
        sim.make(volume(name, "manual", storage));
    }
    sim.make(volume("other-class", "other", "5Gi"));
    sim.settle();
    sim.make(claim("data", Some("manual"), "5Gi"));
    sim.settle();
    let held = sim.get("PersistentVolumeClaim", "default", "data").expect("the claim").clone();
    assert_eq!(held["spec"]["volumeName"], "right");
    assert_eq!(held["status"]["phase"], "Bound");
    assert_eq!(held["status"]["capacity"]["storage"], "10Gi");
    assert_eq!(held["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"], "yes");
    let volume = sim.get("PersistentVolume", "", "right").expect("the volume");
    assert_eq!(volume["spec"]["claimRef"]["uid"], held["metadata"]["uid"]);
    assert_eq!(volume["status"]["phase"], "Bound");
    assert_eq!(phase(&sim, "PersistentVolume", "big"), "Available");
}

#[test]
fn a_volume_set_aside_for_a_claim_goes_to_nobody_else() {
    let mut sim = Sim::new();
    let mut reserved = volume("reserved", "manual", "10Gi");
    reserved["spec"]["claimRef"] = json!({"namespace": "default", "name": "mine"});
    sim.make(reserved);
    sim.make(claim("other", Some("manual"), "1Gi"));
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "other"), "Pending");
    sim.make(claim("mine", Some("manual"), "1Gi"));
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "mine"), "Bound");
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "other"), "Pending");
}

#[test]
fn a_claim_without_a_class_gets_the_default_one() {
    let mut sim = Sim::new();
    sim.make(claim("data", None, "1Gi"));
    sim.settle();
    let held = sim.get("PersistentVolumeClaim", "default", "data").expect("the claim");
    assert_eq!(held["spec"]["storageClassName"], "local");
}

#[test]
fn a_missing_class_is_said_once_and_the_claim_goes_on_when_it_comes() {
    let mut sim = Sim::new();
    sim.make(claim("data", Some("fast-ssd"), "1Gi"));
    sim.settle();
    let said = "ProvisioningFailed storageclass.storage.k8s.io \"fast-ssd\" not found";
    assert_eq!(sim.events.iter().filter(|event| *event == said).count(), 1);
    assert!(conditions(&sim, "data").contains("StorageClassMissing"));
    sim.edit("PersistentVolumeClaim", "data", |claim| claim["metadata"]["labels"]["touched"] = "yes".into());
    sim.settle();
    assert_eq!(sim.events.iter().filter(|event| *event == said).count(), 1);

    sim.make(class("fast-ssd", "Immediate"));
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "data"), "Bound");
    assert_eq!(conditions(&sim, "data"), "[]");
}

#[test]
fn a_delayed_claim_gets_its_volume_on_the_node_of_its_first_pod() {
    let mut sim = Sim::new();
    sim.make(claim("data", Some("local"), "1Gi"));
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "data"), "Pending");
    assert!(conditions(&sim, "data").contains("waiting for first consumer to be created before binding"));

    sim.make(pod("app", "data"));
    sim.settle();
    let held = sim.get("PersistentVolumeClaim", "default", "data").expect("the claim").clone();
    assert_eq!(held["metadata"]["annotations"]["volume.kubernetes.io/selected-node"], "node-a");
    assert_eq!(sim.pod("app").expect("the pod")["spec"]["nodeName"], "node-a");
    let name = format!("pvc-{}", held["metadata"]["uid"].as_str().unwrap_or_default());
    let volume = sim.get("PersistentVolume", "", &name).expect("the volume");
    assert_eq!(volume["spec"]["local"]["path"], format!("/volumes/{name}"));
    assert_eq!(volume["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"], "stead.dev/local");
    let terms = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"];
    assert_eq!(terms[0]["matchExpressions"][0]["values"], json!(["node-a"]));
}

#[test]
fn a_pod_that_was_put_on_a_node_by_hand_gets_its_delayed_claim_there() {
    let mut sim = Sim::new();
    sim.make(claim("data", Some("local"), "1Gi"));
    let mut by_hand = pod("app", "data");
    by_hand["spec"]["nodeName"] = "node-a".into();
    sim.make(by_hand);
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "data"), "Bound");
}

#[test]
fn a_claim_in_use_goes_only_after_its_pod_and_its_data_after_the_claim() {
    let mut sim = Sim::new();
    sim.make(claim("data", Some("local"), "1Gi"));
    sim.make(pod("app", "data"));
    sim.settle();
    sim.ready("app");
    sim.remove("PersistentVolumeClaim", "data", &[]);
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "data"), "Bound");
    sim.log.clear();
    sim.remove("Pod", "app", &[]);
    sim.settle();
    sim.finish("app");
    sim.settle();
    insta::assert_snapshot!(sim.log.join("\n"), @r#"
    delete pod/app
    gone pod/app
    gone claim/data
    delete the data of data
    delete volume
    gone volume
    "#);
}

#[test]
fn a_volume_that_is_retained_outlives_its_claim_and_is_given_to_nobody() {
    let mut sim = Sim::new();
    sim.make(volume("kept", "manual", "1Gi"));
    sim.settle();
    sim.make(claim("first", Some("manual"), "1Gi"));
    sim.settle();
    sim.remove("PersistentVolumeClaim", "first", &[]);
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolume", "kept"), "Released");
    sim.make(claim("second", Some("manual"), "1Gi"));
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "second"), "Pending");
}

#[test]
fn a_bound_volume_that_is_deleted_stays_until_its_claim_is_gone() {
    let mut sim = Sim::new();
    sim.make(volume("kept", "manual", "1Gi"));
    sim.settle();
    sim.make(claim("data", Some("manual"), "1Gi"));
    sim.settle();
    sim.remove("PersistentVolume", "kept", &[]);
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolume", "kept"), "Bound");
    sim.remove("PersistentVolumeClaim", "data", &[]);
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolume", "kept"), "gone");
}

#[test]
fn a_claim_whose_volume_vanished_is_lost() {
    let mut sim = Sim::new();
    sim.make(volume("kept", "manual", "1Gi"));
    sim.settle();
    sim.make(claim("data", Some("manual"), "1Gi"));
    sim.settle();
    sim.edit("PersistentVolume", "kept", |volume| volume["metadata"]["finalizers"] = json!([]));
    sim.remove("PersistentVolume", "kept", &[]);
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "data"), "Lost");
    let lost = "ClaimLost Bound claim has lost its PersistentVolume. Data on the volume is lost!";
    assert!(sim.events.iter().any(|event| event == lost));
}

#[test]
fn only_released_volumes_of_ours_with_the_policy_delete_lose_their_data() {
    let released = |edit: &dyn Fn(&mut Value)| {
        let mut sim = Sim::new();
        sim.make(claim("data", Some("local"), "1Gi"));
        sim.make(pod("app", "data"));
        sim.settle();
        let name = sim.names("PersistentVolume")[0].clone();
        sim.edit("PersistentVolume", &name, edit);
        sim.remove("Pod", "app", &[]);
        sim.finish("app");
        sim.remove("PersistentVolumeClaim", "data", &[]);
        sim.settle();
        sim.log.iter().any(|line| line.starts_with("delete the data"))
    };
    assert!(released(&|_| {}));
    assert!(!released(&|volume| volume["spec"]["persistentVolumeReclaimPolicy"] = "Retain".into()));
    assert!(!released(&|volume| {
        volume["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"] = "example.com/other".into();
    }));
    assert!(!released(&|volume| {
        volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] =
            json!(["node-b"]);
    }));
}

#[test]
fn a_pod_that_still_runs_keeps_the_data_of_a_claim_that_is_gone() {
    let mut sim = Sim::new();
    sim.make(claim("data", Some("local"), "1Gi"));
    sim.make(pod("app", "data"));
    sim.settle();
    // Somebody takes the protection off by force.
    sim.edit("PersistentVolumeClaim", "data", |claim| claim["metadata"]["finalizers"] = json!([]));
    sim.remove("PersistentVolumeClaim", "data", &[]);
    sim.settle();
    assert!(!sim.log.iter().any(|line| line.starts_with("delete the data")), "{:#?}", sim.log);
    sim.remove("Pod", "app", &[]);
    sim.finish("app");
    sim.settle();
    assert!(sim.log.iter().any(|line| line.starts_with("delete the data")));
}

#[test]
fn the_provisioner_says_what_it_cannot_make() {
    let mut sim = Sim::new();
    sim.make(class("now", "Immediate"));
    let mut block = claim("block", Some("now"), "1Gi");
    block["spec"]["volumeMode"] = "Block".into();
    sim.make(block);
    sim.settle();
    assert!(
        conditions(&sim, "block")
            .contains("class now makes directories: name one with parameters.backing: image")
    );
    assert_eq!(provisioner::plan(&sim.world, "node-a", "/volumes"), Vec::<VolumeAction>::new());
}

#[test]
fn a_claim_goes_when_only_a_finalizer_keeps_the_pod_that_mounted_it() {
    let mut sim = Sim::new();
    sim.make(claim("data", Some("local"), "1Gi"));
    sim.make(pod("web", "data"));
    sim.settle();
    sim.remove("Pod", "web", &["example.com/somebody-else"]);
    sim.remove("PersistentVolumeClaim", "data", &[]);
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "data"), "Bound", "the pod's processes may still write");
    // The node is done with it.
    sim.edit("Pod", "web", |pod| pod["metadata"]["deletionGracePeriodSeconds"] = 0.into());
    sim.settle();
    assert_eq!(phase(&sim, "PersistentVolumeClaim", "data"), "gone");
}
