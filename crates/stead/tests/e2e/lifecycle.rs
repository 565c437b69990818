//! How pods begin and end: sidecars, hooks, what they share with the machine, and what the kernel is told of them.

use crate::harness::Stead;

const REST: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

#[test]
fn sidecars_begin_before_and_end_after_the_containers_that_they_serve() {
    let folder = tempfile::tempdir().unwrap();
    let stead = Stead::start("lifecycle-sidecars", &["busybox"]);
    let told = |name: &str| {
        format!(
            "echo {name} >> /out/order; trap 'echo -{name} >> /out/order; exit 0' TERM; while :; do sleep 0.02; done"
        )
    };
    let container = |name: &str, more: &str| {
        format!(
            "{{name: {name}, image: busybox, command: [sh, -c, \"{}\"], volumeMounts: [{{name: out, mountPath: /out}}]{more}}}",
            told(name)
        )
    };
    let sidecar = ", restartPolicy: Always, startupProbe: {exec: {command: [test, -e, /out/go]}, periodSeconds: 1, failureThreshold: 100}";
    stead.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: p}}, spec: {{terminationGracePeriodSeconds: 20, \
         initContainers: [{}, {}], containers: [{}], volumes: [{{name: out, hostPath: {{path: {}}}}}]}}}}\n",
        container("first", sidecar),
        container("second", ", restartPolicy: Always"),
        container("main", ""),
        folder.path().display()
    ));
    stead.wait("jsonpath={.status.initContainerStatuses[0].state.running.startedAt}", "pod/p");
    let order = || std::fs::read_to_string(folder.path().join("order")).unwrap();
    let waiting = stead.field("pod p", ".status.initContainerStatuses[1].state.waiting.reason");
    assert_eq!(waiting, "PodInitializing", "the next waits for the startup probe");
    std::fs::write(folder.path().join("go"), "").unwrap();
    stead.wait("condition=Ready", "pod/p");
    // A sidecar that ends is started again, and the containers run on.
    stead.run("exec p -c second -- kill 1");
    stead.wait("jsonpath={.status.initContainerStatuses[1].restartCount}=1", "pod/p");
    stead.wait("condition=Ready", "pod/p");
    assert_eq!(stead.field("pod p", ".status.containerStatuses[0].restartCount"), "0");
    stead.run("delete pod p");
    let order = order();
    let order: Vec<&str> = order.lines().collect();
    assert_eq!(order, ["first", "second", "main", "-second", "second", "-main", "-second", "-first"]);
}

#[test]
fn hooks_ask_over_http_and_may_only_sleep() {
    let stead = Stead::start("lifecycle-hooks", &["busybox"]);
    let pod = |name: &str, script: &str, hooks: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 30, \
             containers: [{{name: main, image: busybox, lifecycle: {{{hooks}}}, command: [sh, -c, \"{script}\"]}}]}}}}\n"
        )
    };
    let web = "mkdir -p /w/cgi-bin; (echo '#!/bin/sh'; echo 'echo asked > /w/asked'; echo 'echo; echo ok') > /w/cgi-bin/hook; \
               chmod +x /w/cgi-bin/hook; httpd -f -p 8080 -h /w";
    stead.apply(&pod(
        "asked",
        web,
        "postStart: {sleep: {seconds: 1}}, preStop: {httpGet: {path: /cgi-bin/hook, port: 8080}}",
    ));
    stead.wait("condition=Ready", "pod/asked");
    stead.apply(&pod("unheard", REST, "postStart: {httpGet: {path: /, port: 8080}}"));
    let told = stead.event("pod/unheard", "FailedPostStartHook");
    assert!(told.contains("connection refused"), "{told}");
    stead.apply(&pod("unasked", REST, "preStop: {httpGet: {path: /, port: 8080}}"));
    stead.wait("condition=Ready", "pod/unasked");
    stead.run("delete pod unasked");
    let told = stead.event("pod/unasked", "FailedPreStopHook");
    assert!(told.contains("connection refused"), "{told}");
    stead.run("delete pod asked");
    let failed =
        stead.run("get events --field-selector involvedObject.name=asked,reason=FailedPreStopHook -o name");
    assert_eq!(failed, "", "somebody answered");
}

#[test]
fn a_pod_may_share_what_the_machine_has_and_what_its_containers_have() {
    let stead = Stead::start("lifecycle-shares", &["busybox"]);
    let pod = |name: &str, spec: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1{spec}, \
             containers: [{{name: main, image: busybox, command: [sh, -c, \"{REST}\"]}}, \
             {{name: other, image: busybox, command: [sh, -c, \"{REST}; : other\"]}}]}}}}\n"
        )
    };
    stead.apply(&pod("apart", ""));
    stead.apply(&pod("together", ", shareProcessNamespace: true"));
    stead.apply(&pod("host", ", hostPID: true, hostIPC: true, hostNetwork: true"));
    for name in ["apart", "together", "host"] {
        stead.wait("condition=Ready", &format!("pod/{name}"));
    }
    // The script that looks must not find itself.
    let sees_other = |pod: &str| {
        let all = "for p in /proc/[0-9]*; do cat $p/cmdline 2>/dev/null; echo; done";
        stead.shell(pod, &format!("({all}) | grep -c \": [o]ther\"; true")).trim().to_owned()
    };
    assert_eq!(sees_other("apart"), "0");
    assert_ne!(sees_other("together"), "0");
    assert_eq!(stead.shell("together", "cat /proc/1/comm"), "pause\n");
    let me = std::process::id();
    assert_eq!(stead.shell("host", &format!("test -d /proc/{me} && echo seen")), "seen\n");
    for (namespace, shared) in [("net", true), ("ipc", true)] {
        let link = |of: &str| stead.shell(of, &format!("readlink /proc/self/ns/{namespace}"));
        let ours = std::fs::read_link(format!("/proc/self/ns/{namespace}")).unwrap().display().to_string();
        assert_eq!(link("host").trim() == ours, shared, "{namespace}");
        assert_ne!(link("apart").trim(), ours, "{namespace}");
    }
    let words = "ShareProcessNamespace and HostPID cannot both be enabled";
    assert!(stead.refuses(&pod("both", ", hostPID: true, shareProcessNamespace: true")).contains(words));
}

#[test]
fn the_kernel_is_told_who_goes_first_when_memory_is_short() {
    let stead = Stead::start("lifecycle-qos", &["busybox"]);
    let pod = |name: &str, resources: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, \
             containers: [{{name: main, image: busybox, resources: {{{resources}}}, command: [sh, -c, \"{REST}\"]}}]}}}}\n"
        )
    };
    stead.apply(&pod("best", ""));
    stead.apply(&pod("burst", "requests: {cpu: 10m, memory: 32Mi}"));
    stead.apply(&pod("sure", "limits: {cpu: 100m, memory: 32Mi}"));
    let score = |name: &str| stead.shell(name, "cat /proc/1/oom_score_adj").trim().parse::<i32>().unwrap();
    for (name, class) in [("best", "BestEffort"), ("burst", "Burstable"), ("sure", "Guaranteed")] {
        stead.wait("condition=Ready", &format!("pod/{name}"));
        assert_eq!(stead.field(&format!("pod {name}"), ".status.qosClass"), class);
    }
    assert_eq!(score("best"), 1000);
    assert!((3..1000).contains(&score("burst")), "{}", score("burst"));
    // Not every root may lower it: then it stays what stead's own is.
    assert!(score("sure") <= 0, "{}", score("sure"));
}
