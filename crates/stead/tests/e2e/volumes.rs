//! Claims: when they are bound, what keeps them, and what becomes of their data.

mod growth;
mod images;
mod postgres;
mod trash;

use std::path::Path;

use crate::harness::Stead;

fn class(name: &str, mode: &str, policy: &str) -> String {
    format!(
        "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {name}}}, \
         provisioner: stead.dev/local, volumeBindingMode: {mode}, reclaimPolicy: {policy}}}\n"
    )
}

fn claim(name: &str, class: &str) -> String {
    let class = if class.is_empty() { String::new() } else { format!("storageClassName: {class}, ") };
    format!(
        "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: {name}}}, spec: {{{class}\
         accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Mi}}}}}}}}\n"
    )
}

/// A pod with a claim at `/data`.
fn user(name: &str, claim: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, \
         containers: [{{name: main, image: busybox, command: [sleep, infinity], \
         volumeMounts: [{{name: data, mountPath: /data}}]}}], \
         volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]}}}}\n"
    )
}

fn bound(stead: &Stead, claim: &str) -> String {
    stead.wait("jsonpath={.status.phase}=Bound", &format!("pvc/{claim}"));
    stead.field(&format!("pvc {claim}"), ".spec.volumeName")
}

fn path(stead: &Stead, volume: &str) -> String {
    stead.field(&format!("pv {volume}"), ".spec.local.path")
}

#[test]
fn a_claim_waits_for_its_class_and_says_so() {
    let stead = Stead::start("volumes-class", &["busybox"]);
    stead.apply(&claim("early", "later"));
    assert_eq!(
        stead.event("pvc/early", "ProvisioningFailed"),
        "storageclass.storage.k8s.io \"later\" not found"
    );
    assert_eq!(stead.field("pvc early", ".status.phase"), "Pending");
    stead.apply(&class("later", "Immediate", "Delete"));
    bound(&stead, "early");
    // There is a class for those who name none.
    stead.apply(&claim("plain", ""));
    stead.apply(&user("plain", "plain"));
    stead.wait("condition=Ready", "pod/plain");
    bound(&stead, "plain");
}

#[test]
fn a_claim_may_wait_for_the_pod_that_uses_it() {
    let stead = Stead::start("volumes-consumer", &["busybox"]);
    stead.apply(&class("fast-ssd", "WaitForFirstConsumer", "Delete"));
    stead.apply(&claim("data", "fast-ssd"));
    assert_eq!(
        stead.event("pvc/data", "WaitForFirstConsumer"),
        "waiting for first consumer to be created before binding"
    );
    assert_eq!(stead.field("pvc data", ".status.phase"), "Pending");
    stead.apply(&user("first", "data"));
    stead.wait("condition=Ready", "pod/first");
    bound(&stead, "data");

    // Used, it outlives its own deletion, and so does what is in it.
    stead.shell("first", "echo kept > /data/x");
    stead.run("delete pvc data --wait=false");
    stead.wait("jsonpath={.metadata.deletionTimestamp}", "pvc/data");
    assert_eq!(stead.shell("first", "cat /data/x"), "kept\n");
    stead.run("delete pod first");
    stead.wait("delete", "pvc/data");
}

#[test]
fn data_goes_only_where_the_class_says_delete() {
    let stead = Stead::start("volumes-reclaim", &["busybox"]);
    for policy in ["Retain", "Delete"] {
        let name = policy.to_lowercase();
        stead.apply(&class(&name, "Immediate", policy));
        stead.apply(&claim(&name, &name));
        stead.apply(&user(&name, &name));
        stead.wait("condition=Ready", &format!("pod/{name}"));
        stead.shell(&name, "echo row > /data/x");
    }
    let (kept, gone) = (bound(&stead, "retain"), bound(&stead, "delete"));
    let (kept_path, gone_path) = (path(&stead, &kept), path(&stead, &gone));
    // A pod takes nothing along: its successor finds the data.
    stead.run("delete pod retain delete");
    for name in ["retain", "delete"] {
        stead.apply(&user(name, name));
        stead.wait("condition=Ready", &format!("pod/{name}"));
        assert_eq!(stead.shell(name, "cat /data/x"), "row\n");
    }
    stead.run("delete pod retain delete");
    stead.run("delete pvc retain delete");
    stead.wait("delete", &format!("pv/{gone}"));
    assert!(!Path::new(&gone_path).exists(), "{gone_path} is gone");
    stead.wait("jsonpath={.status.phase}=Released", &format!("pv/{kept}"));
    assert_eq!(std::fs::read_to_string(Path::new(&kept_path).join("x")).unwrap(), "row\n");
}
