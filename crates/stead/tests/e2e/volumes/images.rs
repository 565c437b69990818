//! Volumes with a file system of their own, and those that are block devices.

use std::path::Path;

use serde_json::Value;

use super::{bound, path, user};
use crate::harness::Stead;

/// A class of images.
fn image_class(name: &str, fs_type: &str) -> String {
    format!(
        "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {name}}}, \
         provisioner: stead.dev/local, parameters: {{backing: image, fsType: {fs_type}}}, \
         allowVolumeExpansion: true, mountOptions: [noatime], reclaimPolicy: Delete}}\n---\n"
    )
}

fn claim(name: &str, class: &str, size: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: {name}}}, spec: {{storageClassName: {class}, \
         accessModes: [ReadWriteOnce], resources: {{requests: {{storage: {size}}}}}{more}}}}}\n---\n"
    )
}

/// The backing files of the machine's loop devices below a folder.
fn loops_below(dir: &Path) -> Vec<String> {
    let all = std::fs::read_dir("/sys/block").expect("the machine's disks");
    let files =
        all.flatten().filter_map(|disk| std::fs::read_to_string(disk.path().join("loop/backing_file")).ok());
    files.filter(|file| file.contains(dir.to_str().expect("a path"))).collect()
}

/// Kilobytes of the file system at `/data` of a pod.
fn room(stead: &Stead, pod: &str) -> u64 {
    let said = stead.shell(pod, "df -k /data");
    // Filesystem, blocks, used, available, percent, mount: from the end, as the first may take a line of its own.
    said.split_whitespace().rev().nth(4).expect("the blocks").parse().expect("a number")
}

fn list(stead: &Stead) -> Value {
    serde_json::from_str(&stead.run("volume ls -o json")).expect("json")
}

#[test]
fn an_image_is_as_large_as_its_claim_and_comes_back_after_all_that_happens() {
    let mut stead = Stead::start("volumes-images", &["busybox"]);
    stead.apply(&(image_class("ext4", "ext4") + &claim("data", "ext4", "32Mi", "") + &user("one", "data")));
    stead.wait("condition=Ready", "pod/one");
    let volume = bound(&stead, "data");
    assert!(path(&stead, &volume).ends_with(&format!("{volume}/mount/data")));
    assert_eq!(stead.field(&format!("pv {volume}"), ".spec.local.fsType"), "ext4");
    let all = room(&stead, "one");
    assert!((16 << 10..=32 << 10).contains(&all), "{all}");
    let said = stead.shell("one", "dd if=/dev/zero of=/data/rows bs=1M count=64 2>&1 || true");
    assert!(said.contains("No space left on device"), "{said}");
    stead.shell("one", "rm /data/rows; echo 1 > /data/row; mount | grep /data | grep -q noatime");

    // What the pod runs on is the same after stead was killed.
    stead.kill();
    stead.up();
    assert_eq!(stead.shell("one", "cat /data/row"), "1\n");
    let refusal =
        stead.fails("patch pvc data --type merge -p '{\"spec\": {\"resources\": {\"requests\": {\"storage\": \"8Mi\"}}}}'");
    assert!(refusal.contains("field can not be less than status.capacity"), "{refusal}");

    // A machine that was off finds it again; then nothing of it is mounted any more.
    stead.down();
    assert_eq!(loops_below(stead.dir()), [""; 0]);
    stead.up();
    stead.wait("condition=Ready", "pod/one");
    assert_eq!(stead.shell("one", "cat /data/row"), "1\n");
    assert_eq!(loops_below(stead.dir()).len(), 1);
    let all = list(&stead);
    assert_eq!((&all[0]["backing"], &all[0]["size"]), (&Value::from("ext4"), &Value::from(32 << 20)));

    stead.run("delete pod one");
    stead.run("delete pvc data");
    stead.wait("delete", &format!("pv/{volume}"));
    assert_eq!(loops_below(stead.dir()), [""; 0], "in the trash it is a file");
    stead.run(&format!("volume undelete {volume}"));
    assert_eq!(bound(&stead, "data"), volume);
    stead.apply(&user("two", "data"));
    stead.wait("condition=Ready", "pod/two");
    assert_eq!(stead.shell("two", "cat /data/row"), "1\n");
}

#[test]
fn a_pod_writes_to_a_block_device_and_to_no_other() {
    let stead = Stead::start("volumes-block", &["busybox"]);
    let pod = |name: &str, place: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, \
             containers: [{{name: main, image: busybox, command: [sleep, infinity], {place}}}], \
             volumes: [{{name: disk, persistentVolumeClaim: {{claimName: raw}}}}]}}}}\n"
        )
    };
    let devices = "volumeDevices: [{name: disk, devicePath: /dev/disk}]";
    stead.apply(
        &(image_class("raw", "ext4")
            + &claim("raw", "raw", "8Mi", ", volumeMode: Block")
            + &pod("one", devices)),
    );
    stead.wait("condition=Ready", "pod/one");
    stead.shell("one", "echo precious | dd of=/dev/disk conv=fsync 2>/dev/null");
    assert_eq!(
        stead.shell("one", "head -c 8 /dev/disk; blockdev --getsize64 /dev/disk"),
        "precious8388608\n"
    );
    stead.run("patch pvc raw --type merge -p '{\"spec\": {\"resources\": {\"requests\": {\"storage\": \"16Mi\"}}}}'");
    stead.wait("jsonpath={.status.capacity.storage}=16Mi", "pvc/raw");
    assert_eq!(stead.shell("one", "blockdev --getsize64 /dev/disk"), "16777216\n");
    let said = stead.shell("one", "mknod /other b 254 0; dd if=/other count=1 2>&1 || true");
    assert!(said.contains("not permitted"), "{said}");

    let mounted = pod("two", "volumeMounts: [{name: disk, mountPath: /data}]");
    stead.apply(&mounted);
    let pattern = "volume disk has volumeMode Block, but is specified in volumeMounts";
    stead.wait(
        &format!("'jsonpath={{.status.containerStatuses[0].state.waiting.message}}={pattern}'"),
        "pod/two",
    );
}

#[test]
fn what_cannot_be_made_is_told_on_the_claim_and_by_why() {
    let stead = Stead::start("volumes-refused", &["busybox"]);
    let class = "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: odd}, \
                 provisioner: stead.dev/local, parameters: {backing: zvol}}\n---\n";
    stead.apply(&(class.to_owned() + &claim("odd", "odd", "8Mi", "")));
    let words = "parameters.backing of StorageClass odd: Unsupported value: \"zvol\": supported values: \
                 \"directory\", \"image\"";
    assert_eq!(stead.event("pvc/odd", "ProvisioningFailed"), words);
    assert!(stead.run("why pvc/odd").contains(words));
    // The machine has its say, too.
    stead.apply(&(image_class("xfs", "xfs") + &claim("tiny", "xfs", "8Mi", "")));
    let said = stead.event("pvc/tiny", "ProvisioningFailed");
    assert!(said.contains("mkfs.xfs"), "{said}");
    stead.apply(&claim("huge", "xfs", "1000Ti", ""));
    let said = stead.event("pvc/huge", "ProvisioningFailed");
    assert!(said.contains("ask for less, or move --data-dir to a larger one"), "{said}");
    assert!(stead.run("why pvc/huge").contains("it has failed to so far"));
    assert_eq!(loops_below(stead.dir()), [""; 0]);
}
