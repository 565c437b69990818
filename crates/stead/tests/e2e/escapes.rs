//! Known ways out of a container, tried from inside: none of them leads anywhere.

use std::os::unix::fs::symlink;

use crate::harness::Stead;

/// A pod that rests; more of the container's spec and of the pod's, as flow YAML.
fn pod(name: &str, container: &str, spec: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1{spec}, \
         containers: [{{name: main, image: busybox{container}, \
         command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 0.05; done\"]}}]}}}}\n"
    )
}

/// What must fail, whoever tries it in a container with the usual rights. A line each; `$MARK` is a file of the
/// machine, `$HOST` a process of it.
const WAYS: &[&str] = &[
    // The machine's files, by ways around the root.
    "cat $MARK",
    "cat /proc/1/root$MARK",
    "cat /proc/1/cwd/../../../..$MARK",
    "for fd in /proc/1/fd/* /proc/self/fd/*; do ls $fd/..$MARK && exit 0; done; false",
    "chroot /proc/1/root cat $MARK",
    // Mounts and namespaces.
    "mount -t tmpfs none /mnt",
    "mount --bind / /mnt",
    "mount -o remount,rw /sys",
    "mount -o remount,rw /sys/fs/cgroup",
    "umount /proc/kcore",
    "unshare -m true",
    "unshare -U true",
    "nsenter -t 1 -m true",
    // The kernel's own devices and knobs.
    "mknod /tmp/disk b 7 0 && dd if=/tmp/disk of=/dev/null count=1",
    "mknod /tmp/mem c 1 1 && dd if=/tmp/mem of=/dev/null count=1",
    "mknod /tmp/kmsg c 1 11 && dd if=/tmp/kmsg of=/dev/null count=1",
    "cat /proc/kcore | head -c 1 | grep -q .",
    "echo x > /proc/sysrq-trigger",
    "echo \"|/bin/sh\" > /proc/sys/kernel/core_pattern",
    "echo /bin/sh > /proc/sys/kernel/modprobe",
    "echo /bin/sh > /sys/kernel/uevent_helper",
    "echo 1 > /proc/sys/vm/drop_caches",
    "dmesg",
    "hostname elsewhere",
    "date -s 2001-01-01 && test $(date +%Y) = 2001",
    // Control groups (CVE-2022-0492 writes a release_agent).
    "mkdir /sys/fs/cgroup/mine",
    "mkdir /sys/fs/cgroup/memory/mine",
    "echo 1 > /sys/fs/cgroup/memory/notify_on_release",
    "for f in /sys/fs/cgroup/*/release_agent; do echo /bin/sh > $f && exit 0; done; false",
    "for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/cgroup.procs; do echo $$ > $f && exit 0; done; false",
    "echo -1 > /sys/fs/cgroup/memory/memory.limit_in_bytes",
    "echo max > /sys/fs/cgroup/memory.max",
    "test -e /sys/fs/cgroup/memory/../../../etc/shadow",
    // Others: their processes and their network.
    "kill -0 $HOST",
    "test -d /proc/$HOST",
    "ip link add dummy0 type dummy",
    "ip link set lo down",
];

#[test]
fn known_ways_out_of_a_container_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    std::fs::write(&mark, "the machine's own\n").unwrap();
    let stead = Stead::start("escapes", &["busybox"]);
    stead.apply(&pod("plain", "", ""));
    stead.apply(&pod(
        "sees",
        ", securityContext: {capabilities: {add: [SYS_PTRACE]}}",
        ", shareProcessNamespace: true",
    ));
    for name in ["plain", "sees"] {
        stead.wait("condition=Ready", &format!("pod/{name}"));
        for way in WAYS {
            let script = format!("MARK={}; HOST={}; {way}", mark.display(), std::process::id());
            let tried = stead.try_run(&format!("exec {name} -- sh -c '({script}) 2>&1'"));
            let said = String::from_utf8_lossy(&tried.stdout);
            assert!(!tried.status.success(), "{name}: `{way}` works: {said}");
            assert!(!said.contains("the machine's own"), "{name}: `{way}`: {said}");
        }
    }
    // Whoever kills everything kills what is its own.
    let others = stead.field("pod sees", ".status.containerStatuses[0].containerID");
    let _ = stead.try_run("exec plain -- sh -c 'kill -9 -1'");
    assert_eq!(stead.field("pod sees", ".status.containerStatuses[0].containerID"), others);
    assert_eq!(stead.field("pod sees", ".status.containerStatuses[0].restartCount"), "0");
    assert_eq!(stead.shell("sees", "echo lives"), "lives\n");
}

#[test]
fn links_in_volumes_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let (shared, secret) = (folder.path().join("shared"), folder.path().join("secret"));
    std::fs::create_dir(&shared).unwrap();
    std::fs::create_dir(&secret).unwrap();
    std::fs::write(secret.join("mark"), "the machine's own\n").unwrap();
    symlink(&secret, shared.join("absolute")).unwrap();
    symlink("../secret", shared.join("relative")).unwrap();
    symlink("../../../../../../../../../../etc", shared.join("far")).unwrap();
    let stead = Stead::start("escapes-links", &["busybox"]);
    let volume = format!(", volumes: [{{name: v, hostPath: {{path: {}}}}}]", shared.display());
    let with = |name: &str, sub_path: &str| {
        let mount = format!(", volumeMounts: [{{name: v, mountPath: /v, subPath: {sub_path}}}]");
        pod(name, &mount, &volume)
    };
    for link in ["absolute", "relative", "far"] {
        stead.apply(&with(link, link));
        let told = stead.event(&format!("pod/{link}"), "Failed");
        assert!(told.contains(&format!("failed to prepare subPath \"{link}\"")), "{told}");
    }
    // A link that a container makes means what it means inside: its own files.
    stead.apply(&pod("inside", ", volumeMounts: [{name: v, mountPath: /v}]", &volume));
    stead.wait("condition=Ready", "pod/inside");
    let tried = stead.try_run("exec inside -- cat /v/absolute/mark /v/relative/mark");
    assert!(!String::from_utf8_lossy(&tried.stdout).contains("the machine's own"));

    // Last words are read from the container's own file, whatever it makes of the name.
    let script = "rm -f /dev/termination-log; ln -s /etc/passwd /dev/termination-log; exit 3";
    let last = pod("last", "", ", restartPolicy: Never")
        .replace("trap 'exit 0' TERM; while :; do sleep 0.05; done", script);
    stead.apply(&last);
    stead.wait("jsonpath={.status.phase}=Failed", "pod/last");
    assert_eq!(stead.field("pod last", ".status.containerStatuses[0].state.terminated.message"), "");
}
