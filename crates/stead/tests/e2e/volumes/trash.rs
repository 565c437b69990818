//! Volumes that were deleted, and those that nobody's objects know.

use super::{bound, claim, path, user};
use crate::harness::Stead;

/// The line of a volume in `stead volume ls`, its words with single blanks.
fn listed(stead: &Stead, volume: &str) -> String {
    let all = stead.run("volume ls");
    let line = all.lines().find(|line| line.starts_with(volume));
    let line = line.unwrap_or_else(|| panic!("{volume} is not in\n{all}"));
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

/// Deletes the claim of a pod, and the pod, and waits until both are gone.
fn give_up(stead: &Stead, pod: &str, claim: &str) {
    stead.run(&format!("delete pod {pod}"));
    stead.run(&format!("delete pvc {claim}"));
}

fn row(stead: &Stead, pod: &str) -> String {
    stead.wait("condition=Ready", &format!("pod/{pod}"));
    stead.shell(pod, "cat /data/row")
}

#[test]
fn a_deleted_volume_comes_back_with_its_claim_and_is_adopted_by_another() {
    let mut stead = Stead::start("volumes-trash", &["busybox"]);
    stead.apply(&(claim("data", "") + "---\n" + &user("first", "data")));
    stead.wait("condition=Ready", "pod/first");
    stead.shell("first", "echo precious > /data/row");
    let volume = bound(&stead, "data");
    let said = listed(&stead, &volume);
    assert!(said.starts_with("default/data - first 1Mi ") && said.ends_with(" Bound"), "{said}");

    give_up(&stead, "first", "data");
    stead.wait("delete", &format!("pv/{volume}"));
    let said = listed(&stead, &volume);
    assert!(said.ends_with(" InTrash (23 h left)"), "{said}");

    // The trash is the user's while stead is stopped, too; objects are not.
    stead.stop();
    stead.run(&format!("volume undelete {volume}"));
    let said = listed(&stead, &volume);
    assert!(said.starts_with("default/data - - 1Mi ") && said.ends_with(" OnDisk"), "{said}");
    let refusal = stead.fails(&format!("volume adopt {volume}"));
    assert!(refusal.contains("stead does not run: a volume is adopted by making its objects"), "{refusal}");
    stead.up();
    let said = stead.run("volume ls");
    assert!(said.contains(&format!("`stead volume adopt {volume}` gives it back to its claim")), "{said}");
    stead.run(&format!("volume adopt {volume}"));
    assert_eq!(bound(&stead, "data"), volume);
    stead.apply(&user("second", "data"));
    assert_eq!(row(&stead, "second"), "precious\n");

    // What was nearly lost is kept from then on. When the user wants it gone, it goes to the trash again.
    give_up(&stead, "second", "data");
    stead.wait("jsonpath={.status.phase}=Released", &format!("pv/{volume}"));
    assert!(path(&stead, &volume).ends_with(&format!("volumes/{volume}/data")));
    stead.run(&format!(
        "patch pv {volume} --type merge -p '{{\"spec\": {{\"persistentVolumeReclaimPolicy\": \"Delete\"}}}}'"
    ));
    stead.wait("delete", &format!("pv/{volume}"));
    let said = stead.run(&format!("volume undelete {volume}"));
    assert!(said.contains("claim default/data is made and gets it"), "{said}");
    assert_eq!(bound(&stead, "data"), volume);

    // Somebody deletes the objects: the data stays, and goes to whom the user says.
    stead.run("delete pvc data");
    stead.wait("jsonpath={.status.phase}=Released", &format!("pv/{volume}"));
    stead.run(&format!("delete pv {volume}"));
    assert!(listed(&stead, &volume).ends_with(" Found"));
    let refusal = stead.fails(&format!("volume undelete {volume}"));
    assert!(refusal.contains(&format!("there is no volume {volume} in the trash")), "{refusal}");
    stead.run(&format!("volume adopt {volume} --claim default/other"));
    assert_eq!(bound(&stead, "other"), volume);
    stead.apply(&user("third", "other"));
    assert_eq!(row(&stead, "third"), "precious\n");
    let refusal = stead.fails(&format!("volume adopt {volume}"));
    assert!(refusal.contains("has a PersistentVolume already"), "{refusal}");
}

#[test]
fn names_that_concatenate_alike_never_share_a_volume() {
    let stead = Stead::start("volumes-names", &["busybox"]);
    let pairs = [("a", "b-data"), ("a-b", "data")];
    for (namespace, name) in pairs {
        stead.run(&format!("create namespace {namespace}"));
        let class = "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: at-once}, \
                     provisioner: stead.dev/local}\n";
        stead.apply(class);
        let wanted =
            claim(name, "at-once").replace("metadata: {", &format!("metadata: {{namespace: {namespace}, "));
        stead.apply(&wanted);
    }
    let volumes = pairs.map(|(namespace, name)| {
        stead.wait("jsonpath={.status.phase}=Bound", &format!("pvc/{name} -n {namespace}"));
        stead.field(&format!("pvc {name} -n {namespace}"), ".spec.volumeName")
    });
    assert_ne!(path(&stead, &volumes[0]), path(&stead, &volumes[1]));
    for ((namespace, name), volume) in pairs.iter().zip(&volumes) {
        let said = listed(&stead, volume);
        assert!(said.starts_with(&format!("{namespace}/{name} ")), "{said}");
    }
}
