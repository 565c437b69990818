//! Claims that grow: one by one, and those of a set.

use serde_json::{Value, json};

use crate::script;
use crate::sim::Sim;
use crate::why::{why, with_service};

/// A cluster whose claims may grow; of the class `image` they have a file system of their own.
fn growable() -> Sim {
    let mut sim = with_service();
    sim.edit("StorageClass", "local", |class| class["allowVolumeExpansion"] = true.into());
    sim.make(
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "image"},
        "provisioner": "stead.dev/local", "reclaimPolicy": "Delete", "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": true, "parameters": {"backing": "image", "fsType": "xfs"},
        "mountOptions": ["noatime"]}),
    );
    sim
}

fn claim(name: &str, class: &str, spec: Value) -> Value {
    let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
                 "resources": {"requests": {"storage": "1Gi"}}}});
    for (key, value) in spec.as_object().expect("fields") {
        claim["spec"][key] = value.clone();
    }
    claim
}

fn ask(sim: &mut Sim, claim: &str, storage: &str) {
    sim.edit("PersistentVolumeClaim", claim, |claim| {
        claim["spec"]["resources"]["requests"]["storage"] = storage.into();
    });
}

fn ask_set(sim: &mut Sim, storage: &str) {
    sim.edit("StatefulSet", "web", |set| {
        set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = storage.into();
        let generation = set["metadata"]["generation"].as_i64().unwrap_or(1);
        set["metadata"]["generation"] = (generation + 1).into();
    });
}

fn held<'s>(sim: &'s Sim, claim: &str) -> &'s Value {
    sim.get("PersistentVolumeClaim", "default", claim).expect("the claim")
}

/// What the node did to its disk, in order.
fn work(sim: &Sim) -> Vec<&str> {
    let done = sim.log.iter().filter(|line| line.starts_with("Volume") || line.starts_with("FileSystem"));
    done.map(String::as_str).collect()
}

fn progressing(sim: &Sim) -> String {
    let set = sim.get("StatefulSet", "default", "web").expect("the set");
    let all = set["status"]["conditions"].as_array().expect("conditions");
    let one = all.iter().find(|c| c["type"] == "Progressing").expect("Progressing");
    format!("{} {}", one["reason"].as_str().unwrap_or_default(), one["message"].as_str().unwrap_or_default())
}

#[test]
fn an_image_grows_and_then_the_file_system_in_it() {
    let mut sim = growable();
    sim.make(claim("data", "image", json!({})));
    sim.settle();
    let volume = held(&sim, "data")["spec"]["volumeName"].as_str().expect("bound").to_owned();
    let made = sim.get("PersistentVolume", "", &volume).expect("the volume");
    assert_eq!(made["spec"]["local"]["fsType"], "xfs");
    assert_eq!(made["spec"]["mountOptions"], json!(["noatime"]));
    assert_eq!(made["metadata"]["annotations"]["stead.dev/backing"], "image");
    sim.events.clear();
    ask(&mut sim, "data", "2Gi");
    sim.settle();
    assert_eq!(work(&sim), ["Volume { bytes: 2147483648 } of data", "FileSystem of data"]);
    assert_eq!(
        sim.events,
        [
            format!("Resizing External resizer is resizing volume {volume}"),
            "FileSystemResizeRequired Require file system resize of volume on node".to_owned(),
            "FileSystemResizeSuccessful MountVolume.NodeExpandVolume succeeded for volume".to_owned(),
        ]
    );
    let status = &held(&sim, "data")["status"];
    assert_eq!(status["capacity"]["storage"], "2Gi");
    assert_eq!(status["allocatedResources"]["storage"], "2Gi");
    assert_eq!((&status["conditions"], &status["allocatedResourceStatuses"]), (&json!([]), &Value::Null));
    assert_eq!(sim.get("PersistentVolume", "", &volume).expect("it")["spec"]["capacity"]["storage"], "2Gi");
}

#[test]
fn each_step_of_growing_is_told_before_it_is_done() {
    let mut sim = growable();
    sim.make(claim("data", "image", json!({})));
    sim.settle();
    ask(&mut sim, "data", "2Gi");
    let mut steps = Vec::new();
    while sim.provision() {
        let status = &held(&sim, "data")["status"];
        let condition = status["conditions"][0]["type"].as_str().unwrap_or("-");
        let allocated = status["allocatedResourceStatuses"]["storage"].as_str().unwrap_or("-");
        steps.push(format!("{condition} {allocated} {}", status["capacity"]["storage"]));
    }
    assert_eq!(
        steps,
        [
            "Resizing ControllerResizeInProgress \"1Gi\"",
            "FileSystemResizePending NodeResizeInProgress \"1Gi\"",
            "- - \"2Gi\"",
        ]
    );
    sim.settle();
}

#[test]
fn a_directory_and_a_block_device_have_no_file_system_to_wait_for() {
    let mut sim = growable();
    sim.edit("StorageClass", "local", |class| class["volumeBindingMode"] = "Immediate".into());
    sim.make(claim("folder", "local", json!({})));
    sim.make(claim("device", "image", json!({"volumeMode": "Block"})));
    sim.settle();
    for name in ["folder", "device"] {
        ask(&mut sim, name, "3Gi");
        sim.settle();
        assert_eq!(held(&sim, name)["status"]["capacity"]["storage"], "3Gi", "{name}");
    }
    assert_eq!(
        work(&sim),
        ["Volume { bytes: 3221225472 } of folder", "Volume { bytes: 3221225472 } of device"]
    );
    let device = held(&sim, "device")["spec"]["volumeName"].as_str().expect("bound").to_owned();
    let device = sim.get("PersistentVolume", "", &device).expect("the volume");
    assert_eq!(
        (&device["spec"]["volumeMode"], &device["spec"]["local"]["fsType"]),
        (&json!("Block"), &Value::Null)
    );
    assert_eq!(device["spec"]["mountOptions"], Value::Null);
}

#[test]
fn who_asks_for_less_again_before_it_grew_is_given_that() {
    let mut sim = growable();
    sim.make(claim("data", "image", json!({})));
    sim.settle();
    ask(&mut sim, "data", "500Gi");
    assert!(sim.provision(), "it is announced");
    insta::assert_snapshot!(why(&sim, "pvc/data"), @"claim/data grows from 1Gi to 500Gi");
    ask(&mut sim, "data", "2Gi");
    sim.settle();
    assert_eq!(work(&sim), ["Volume { bytes: 2147483648 } of data", "FileSystem of data"]);
}

#[test]
fn the_claims_of_a_set_grow_one_after_the_other_the_highest_first() {
    let mut sim = growable();
    script::perform(&mut sim, "up replicas=3 claims");
    sim.log.clear();
    ask_set(&mut sim, "2Gi");
    sim.settle();
    assert_eq!(
        work(&sim),
        [
            "Volume { bytes: 2147483648 } of data-web-2",
            "Volume { bytes: 2147483648 } of data-web-1",
            "Volume { bytes: 2147483648 } of data-web-0",
        ]
    );
    let grown: Vec<&String> = sim.events.iter().filter(|event| event.starts_with("SuccessfulGrow")).collect();
    assert_eq!(
        grown,
        [
            "SuccessfulGrow grow Claim data-web-2 to 2Gi successful",
            "SuccessfulGrow grow Claim data-web-1 to 2Gi successful",
            "SuccessfulGrow grow Claim data-web-0 to 2Gi successful",
        ]
    );
    assert_eq!(progressing(&sim), "Complete ");
    for ordinal in 0..3 {
        assert_eq!(held(&sim, &format!("data-web-{ordinal}"))["status"]["capacity"]["storage"], "2Gi");
    }
}

#[test]
fn a_set_says_how_far_its_claims_are_and_what_keeps_them() {
    let mut sim = growable();
    script::perform(&mut sim, "up replicas=2 claims");
    ask_set(&mut sim, "2Gi");
    // The node does nothing: somebody stopped it.
    sim.plan_only();
    assert_eq!(
        progressing(&sim),
        "GrowingClaims data-web-1 is growing; 0 of 2 claims are as large as their template"
    );
    insta::assert_snapshot!(why(&sim, "sts/web"), @"
    statefulset/web: data-web-1 is growing; 0 of 2 claims are as large as their template
    └ claim/data-web-1 grows from 1Gi to 2Gi
    ");
    assert_eq!(
        held(&sim, "data-web-0")["spec"]["resources"]["requests"]["storage"],
        "1Gi",
        "it waits its turn"
    );
    sim.settle();
    assert_eq!(progressing(&sim), "Complete ");
}

#[test]
fn a_class_that_lets_nothing_grow_is_named() {
    let mut sim = growable();
    sim.edit("StorageClass", "local", |class| class["allowVolumeExpansion"] = false.into());
    script::perform(&mut sim, "up replicas=1 claims");
    ask_set(&mut sim, "2Gi");
    sim.settle();
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web: data-web-0 cannot grow to 2Gi: its class "local" has no allowVolumeExpansion: true; 0 of 1 claims are as large as their template
    "#);
    let words = progressing(&sim);
    assert!(words.starts_with("Stalled data-web-0 cannot grow to 2Gi"), "{words}");
    sim.edit("StorageClass", "local", |class| class["allowVolumeExpansion"] = true.into());
    sim.settle();
    assert_eq!(held(&sim, "data-web-0")["status"]["capacity"]["storage"], "2Gi");
}

#[test]
fn a_claim_that_is_larger_than_its_template_stays_so() {
    let mut sim = growable();
    script::perform(&mut sim, "up replicas=1 claims");
    ask(&mut sim, "data-web-0", "8Gi");
    sim.settle();
    ask_set(&mut sim, "2Gi");
    sim.settle();
    assert_eq!(held(&sim, "data-web-0")["spec"]["resources"]["requests"]["storage"], "8Gi");
    assert_eq!(progressing(&sim), "Complete ");
}

#[test]
fn a_claim_for_one_pod_alone_is_given_to_one() {
    let mut sim = growable();
    sim.edit("StorageClass", "local", |class| class["volumeBindingMode"] = "Immediate".into());
    sim.make(claim("alone", "local", json!({"accessModes": ["ReadWriteOncePod"]})));
    sim.settle();
    let pod = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
            "spec": {"containers": [{"name": "main", "image": "a"}],
                     "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "alone"}}]}})
    };
    sim.make(pod("first"));
    sim.make(pod("second"));
    sim.settle();
    assert_eq!(sim.pod("first").expect("it")["spec"]["nodeName"], "node-a");
    let words = "FailedScheduling 0/1 nodes are available: 1 node has pod using PersistentVolumeClaim with the same \
                 name and ReadWriteOncePod access mode.";
    assert!(sim.events.iter().any(|event| event == words), "{:?}", sim.events);
    insta::assert_snapshot!(why(&sim, "pod/second"), @"
    pod/second has no node: 0/1 nodes are available
    └ claim/alone is ReadWriteOncePod, and pod/first uses it
      → wait until that pod is gone, or let several pods use the volume: access mode ReadWriteOnce
    ");
    sim.remove("Pod", "first", &[]);
    sim.finish("first");
    sim.settle();
    assert_eq!(sim.pod("second").expect("it")["spec"]["nodeName"], "node-a");
}
