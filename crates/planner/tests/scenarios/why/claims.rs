//! Claims that have no volume, and volumes that have no claim.

use serde_json::{Value, json};

use super::{after, go_on, why, with_service};
use crate::script;
use crate::sim::Sim;

/// A set with a claim of 5Gi in the class `shared`, for which volumes are made by hand.
fn by_hand(volumes: &[Value]) -> Sim {
    let mut sim = with_service();
    sim.make(
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "shared"},
        "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "Immediate"}),
    );
    for volume in volumes {
        sim.make(volume.clone());
    }
    script::perform(&mut sim, "set replicas=1 claims");
    sim.edit("StatefulSet", "web", |set| {
        set["spec"]["volumeClaimTemplates"][0]["spec"] = json!({"accessModes": ["ReadWriteMany"],
            "storageClassName": "shared", "resources": {"requests": {"storage": "5Gi"}}});
    });
    sim.settle();
    sim
}

/// A volume that a claim of `by_hand` could have, but for `change`.
fn volume(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteMany"], "storageClassName": "shared",
            "persistentVolumeReclaimPolicy": "Retain"}});
    change(&mut volume);
    volume
}

/// A claim made by hand.
fn claim(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"},
        "spec": spec})
}

#[test]
fn a_class_that_is_missing_is_what_the_set_waits_for() {
    let mut sim = with_service();
    sim.remove("StorageClass", "local", &[]);
    go_on(&mut sim, "set replicas=2 claims");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web: web-1 waits until web-0 is Ready
    └ pod/web-0 has no node: claim data-web-0 has no volume yet
      └ claim/data-web-0 has no volume: storageclass.storage.k8s.io "local" not found
        → create StorageClass local with provisioner stead.dev/local, or name one that exists: there is none
    "#);
    insta::assert_snapshot!(why(&sim, "pvc/data-web-0"), @r#"
    claim/data-web-0 has no volume: storageclass.storage.k8s.io "local" not found
    → create StorageClass local with provisioner stead.dev/local, or name one that exists: there is none
    "#);
}

#[test]
fn a_claim_without_a_class_where_no_class_is_the_default_one() {
    let mut sim = with_service();
    sim.edit("StorageClass", "local", |class| class["metadata"]["annotations"] = json!({}));
    sim.make(claim(
        "data",
        json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}),
    ));
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/data"), @r#"
    claim/data has no volume: no persistent volumes available for this claim and no storage class is set
    └ there is no volume without a class
    → create a PersistentVolume that fits, or name a storageClassName that makes volumes (local)
    "#);
}

#[test]
fn a_provisioner_that_nobody_runs() {
    let mut sim = with_service();
    sim.edit("StorageClass", "local", |class| class["provisioner"] = "ebs.csi.aws.com".into());
    go_on(&mut sim, "set replicas=1 claims");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-0 is Ready
    └ pod/web-0 has no node: claim data-web-0 gets its volume on node node-a before the pod goes there
      └ claim/data-web-0 waits until ebs.csi.aws.com has made its volume on node node-a
        → install ebs.csi.aws.com if it is not there, or use a class of stead.dev/local
    "#);
}

#[test]
fn volumes_that_exist_are_told_with_what_is_wrong_with_each() {
    let sim = by_hand(&[
        volume("small", |pv| pv["spec"]["capacity"]["storage"] = "1Gi".into()),
        volume("single", |pv| pv["spec"]["accessModes"] = json!(["ReadWriteOnce"])),
        volume("raw", |pv| pv["spec"]["volumeMode"] = "Block".into()),
        volume("slow", |pv| pv["spec"]["storageClassName"] = "slow".into()),
        volume("taken", |pv| pv["spec"]["claimRef"] = json!({"namespace": "shop", "name": "data"})),
    ]);
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-0 is Ready
    └ pod/web-0 has no node: claim data-web-0 has no volume yet
      └ claim/data-web-0 has no volume: no volume of class "shared" fits, and the class makes none
        └ volume raw has volumeMode Block, and the claim wants Filesystem
        └ volume single offers ReadWriteOnce, and the claim wants ReadWriteMany
        └ volume small holds 1Gi, and the claim wants 5Gi
        └ volume taken belongs to claim shop/data
        → create a PersistentVolume that fits, or name a storageClassName that makes volumes (local)
    "#);
}

#[test]
fn a_claim_that_is_too_large_for_all_volumes() {
    let sim = by_hand(&[volume("pv-1", |pv| pv["spec"]["capacity"]["storage"] = "4Gi".into())]);
    insta::assert_snapshot!(why(&sim, "pvc/data-web-0"), @r#"
    claim/data-web-0 has no volume: no volume of class "shared" fits, and the class makes none
    └ volume pv-1 holds 4Gi, and the claim wants 5Gi
    → create a PersistentVolume that fits, or name a storageClassName that makes volumes (local)
    "#);
}

#[test]
fn a_volume_that_keeps_the_data_of_another_claim_can_be_given_away_by_hand() {
    let mut sim = by_hand(&[]);
    insta::assert_snapshot!(why(&sim, "pvc/data-web-0"), @r#"
    claim/data-web-0 has no volume: no volume of class "shared" fits, and the class makes none
    └ there is no volume of class shared
    → create a PersistentVolume that fits, or name a storageClassName that makes volumes (local)
    "#);
    sim.make(volume("old", |pv| {
        pv["spec"]["claimRef"] =
            json!({"namespace": "default", "name": "data-web-9", "uid": "uid-of-one-that-is-gone"});
    }));
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/data-web-0"), @r#"
    claim/data-web-0 has no volume: no volume of class "shared" fits, and the class makes none
    └ volume old keeps the data of claim default/data-web-9, which is gone
      → to give it away with that data: remove its spec.claimRef (stead edit pv old)
    → create a PersistentVolume that fits, or name a storageClassName that makes volumes (local)
    "#);
    insta::assert_snapshot!(why(&sim, "pv/old"), @r#"
    persistentvolume/old is Released: claim default/data-web-9 is gone, and the volume keeps its data until you delete it
    "#);
}

#[test]
fn a_volume_that_the_claim_selects_by_labels_that_none_has() {
    let mut sim = by_hand(&[volume("pv-1", |_| ())]);
    let mut wanted = claim(
        "picky",
        json!({"accessModes": ["ReadWriteMany"], "storageClassName": "shared",
        "selector": {"matchLabels": {"disk": "fast"}}, "resources": {"requests": {"storage": "1Gi"}}}),
    );
    wanted["metadata"]["name"] = "picky".into();
    sim.make(volume("pv-2", |_| ()));
    sim.make(wanted);
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/picky"), @r#"
    claim/picky has no volume: no volume of class "shared" fits, and the class makes none
    └ volume pv-1 belongs to claim default/data-web-0
    └ volume pv-2 lacks the labels that the claim's spec.selector wants
    → create a PersistentVolume that fits, or name a storageClassName that makes volumes (local)
    "#);
}

#[test]
fn a_volume_that_is_named_and_taken_or_not_there() {
    let mut sim = by_hand(&[volume("pv-1", |_| ())]);
    for (name, volume) in [("second", "pv-1"), ("third", "pv-7")] {
        sim.make(claim(
            name,
            json!({"accessModes": ["ReadWriteMany"], "storageClassName": "shared",
            "volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}}),
        ));
    }
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/second"), @r#"
    claim/second has no volume: volume "pv-1" already bound to a different claim
    └ volume pv-1 belongs to claim default/data-web-0
    → delete the claim and create it with another spec.volumeName, or without one
    "#);
    insta::assert_snapshot!(why(&sim, "pvc/third"), @r#"
    claim/third has no volume: volume "pv-7" not found
    → delete the claim and create it with another spec.volumeName, or without one
    "#);
}

#[test]
fn a_claim_that_waits_for_its_first_pod() {
    let mut sim = after("set replicas=1 claims\n ready web-0");
    sim.make(claim(
        "unused",
        json!({"storageClassName": "local", "resources": {"requests": {"storage": "1Gi"}}}),
    ));
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/unused"), @r#"
    claim/unused has no volume yet: class local gives one when a pod that mounts it has a node (WaitForFirstConsumer)
    └ no pod mounts it yet: it gets its volume when one does
    "#);
    sim.make(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big", "namespace": "default"},
        "spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "64"}}}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "unused"}}]}}));
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/unused"), @r#"
    claim/unused has no volume yet: class local gives one when a pod that mounts it has a node (WaitForFirstConsumer)
    └ pod/big has no node: 0/1 nodes are available
      └ it asks for cpu 64, and node/node-a has 4 for all pods together
        → lower the containers' resources.requests, or add a larger node
    "#);
}

#[test]
fn a_volume_that_cannot_be_made_as_it_is_wanted() {
    let mut sim = with_service();
    sim.edit("StorageClass", "local", |class| class["volumeBindingMode"] = "Immediate".into());
    sim.make(claim(
        "raw",
        json!({"storageClassName": "local", "volumeMode": "Block",
        "resources": {"requests": {"storage": "1Gi"}}}),
    ));
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/raw"), @r#"
    claim/raw has no volume: spec.volumeMode: "Block": class local makes directories: name one with parameters.backing: image, or set Filesystem
    → neither the spec nor a class's parameters can be changed: delete what is wrong and create it anew
    "#);
}

#[test]
fn a_claim_that_is_in_use_goes_when_its_pod_does() {
    let mut sim = after("set replicas=1 claims\n ready web-0\n");
    sim.remove("PersistentVolumeClaim", "data-web-0", &[]);
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/data-web-0"), @r#"
    claim/data-web-0 is being deleted and goes once pod/web-0 no longer uses it
    └ pod/web-0 is Running and Ready for less than a second
    → to let it go: stead delete pod web-0
    "#);
}

#[test]
fn a_claim_that_lost_its_volume_says_what_that_means() {
    let mut sim = after("set replicas=1 claims\n ready web-0\n");
    let volume = sim.names("PersistentVolume")[0].clone();
    sim.edit("PersistentVolume", &volume, |pv| pv["metadata"]["finalizers"] = json!([]));
    sim.remove("PersistentVolume", &volume, &[]);
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/data-web-0"), @r#"
    claim/data-web-0 is Lost: Bound claim has lost its PersistentVolume. Data on the volume is lost!
    → bring the PersistentVolume back, or delete the claim to begin anew without the data
    "#);
}

#[test]
fn a_claim_that_is_not_there() {
    let sim = after("set replicas=2 claims\n ready web-0");
    insta::assert_snapshot!(why(&sim, "pvc/none"), @r#"
    claim/none does not exist
    → create it, or check the name that the pod mounts
    "#);
    insta::assert_snapshot!(why(&sim, "pvc/data-web-7"), @r#"
    claim/data-web-7 does not exist
    └ pod/web-7 does not exist
      └ statefulset/web has 2 replicas, web-0 to web-1
        → for more: stead scale sts/web --replicas=8
    "#);
}

#[test]
fn a_volume_in_use_goes_after_its_claim() {
    let mut sim = after("set replicas=1 claims\n ready web-0");
    let volume = sim.names("PersistentVolume")[0].clone();
    sim.remove("PersistentVolume", &volume, &[]);
    sim.settle();
    let said = why(&sim, &format!("pv/{volume}")).replace(&volume, "VOLUME");
    insta::assert_snapshot!(said, @r#"
    persistentvolume/VOLUME is being deleted and goes once claim default/data-web-0 is gone
    └ claim/data-web-0 is bound to volume VOLUME
    "#);
}
