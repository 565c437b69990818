//! Pods that are given other resources while they run.

use crate::harness::Stead;

/// A pod that rests, with these resources and more of the container's spec, as flow YAML.
fn pod(name: &str, resources: &str, more: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, \
         containers: [{{name: main, image: busybox, resources: {{{resources}}}{more}, \
         command: [sh, -c, \"trap 'exit 0' TERM; while :; do sleep 0.05; done\"]}}]}}}}\n"
    )
}

fn resize(stead: &Stead, pod: &str, resources: &str) -> String {
    stead.run(&format!(
        "patch pod {pod} --subresource=resize -p '{{\"spec\":{{\"containers\":[{{\"name\":\"main\",\"resources\":{resources}}}]}}}}'"
    ))
}

fn status(stead: &Stead, pod: &str, path: &str) -> String {
    stead.field(&format!("pod {pod}"), &format!(".status.containerStatuses[0].{path}"))
}

fn until(stead: &Stead, pod: &str, path: &str, value: &str) {
    stead.wait(&format!("jsonpath={{.status.containerStatuses[0].{path}}}={value}"), &format!("pod/{pod}"));
}

/// The memory limit, the quota and the period of the container itself, on either version of cgroups.
fn limits(stead: &Stead, pod: &str) -> String {
    let files = "memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us memory.max cpu.max";
    let script = format!("for f in {files}; do cat /sys/fs/cgroup/$f 2>/dev/null; done; true");
    stead.shell(pod, &script).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_pod_is_given_other_resources_while_it_runs() {
    let mut stead = Stead::start("resize", &["busybox"]);
    let small = "requests: {cpu: 100m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}";
    stead.apply(&pod("grows", small, ""));
    let policy = ", resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]";
    stead.apply(&pod("restarts", small, policy));
    for name in ["grows", "restarts"] {
        stead.wait("condition=Ready", &format!("pod/{name}"));
    }
    assert_eq!(limits(&stead, "grows"), format!("{} 50000 100000", 64 << 20));
    assert_eq!(status(&stead, "grows", "resources.limits.memory"), "64Mi");
    assert_eq!(status(&stead, "grows", "allocatedResources.cpu"), "100m");

    let larger = r#"{"requests":{"cpu":"200m"},"limits":{"cpu":"1","memory":"128Mi"}}"#;
    resize(&stead, "grows", larger);
    until(&stead, "grows", "resources.limits.memory", "128Mi");
    assert_eq!(limits(&stead, "grows"), format!("{} 100000 100000", 128 << 20));
    assert_eq!(status(&stead, "grows", "restartCount"), "0", "it ran on");
    assert_eq!(status(&stead, "grows", "allocatedResources.cpu"), "200m");
    assert!(stead.event("pod/grows", "ResizeCompleted").starts_with("Pod resize completed: {"));
    // It shrinks as well, and remembers over a restart of stead what it has.
    resize(&stead, "grows", r#"{"limits":{"memory":"96Mi"}}"#);
    until(&stead, "grows", "resources.limits.memory", "96Mi");
    stead.kill();
    stead.up();
    assert_eq!(limits(&stead, "grows"), format!("{} 100000 100000", 96 << 20));
    assert_eq!(status(&stead, "grows", "resources.limits.memory"), "96Mi");
    assert_eq!(status(&stead, "grows", "restartCount"), "0");

    resize(&stead, "restarts", r#"{"limits":{"cpu":"600m"}}"#);
    until(&stead, "restarts", "resources.limits.cpu", "600m");
    assert_eq!(status(&stead, "restarts", "restartCount"), "0", "its policy speaks of memory");
    resize(&stead, "restarts", r#"{"limits":{"memory":"128Mi"}}"#);
    until(&stead, "restarts", "resources.limits.memory", "128Mi");
    stead.wait("condition=Ready", "pod/restarts");
    assert_eq!(status(&stead, "restarts", "restartCount"), "1");
    assert_eq!(limits(&stead, "restarts"), format!("{} 60000 100000", 128 << 20));
}

#[test]
fn a_resize_that_cannot_be_is_told_and_changes_nothing() {
    let stead = Stead::start("resize-refused", &["busybox"]);
    let cpus: u32 = stead.field("nodes", ".items[0].status.allocatable.cpu").parse().unwrap();
    let half = |millis: u32| format!("requests: {{cpu: {millis}m, memory: 32Mi}}, limits: {{memory: 64Mi}}");
    stead.apply(&pod("first", &half(cpus * 1000 / 2), ""));
    stead.apply(&pod("second", &half(cpus * 1000 / 2), ""));
    for name in ["first", "second"] {
        stead.wait("condition=Ready", &format!("pod/{name}"));
    }
    let condition = |kind: &str, field: &str| {
        stead.field("pod first", &format!(".status.conditions[?(@.type==\"{kind}\")].{field}"))
    };
    let asks = |millis: u32| format!(r#"{{"requests":{{"cpu":"{millis}m"}}}}"#);
    resize(&stead, "first", &asks(cpus * 1000 + 1));
    stead.wait(
        "jsonpath={.status.conditions[?(@.type==\"PodResizePending\")].reason}=Infeasible",
        "pod/first",
    );
    assert_eq!(
        condition("PodResizePending", "message"),
        format!(
            "Node didn't have enough capacity: cpu, requested: {}, capacity: {}",
            cpus * 1000 + 1,
            cpus * 1000
        )
    );
    let why = stead.run("why pod/first");
    assert!(why.contains("with the resources that it had before it was resized"), "{why}");
    assert_eq!(
        status(&stead, "first", "resources.requests.cpu"),
        stead.field("pod second", ".spec.containers[0].resources.requests.cpu")
    );

    // What another pod has may become free.
    resize(&stead, "first", &asks(cpus * 1000));
    stead.wait("jsonpath={.status.conditions[?(@.type==\"PodResizePending\")].reason}=Deferred", "pod/first");
    stead.run("delete pod second");
    until(&stead, "first", "resources.requests.cpu", &cpus.to_string());
    assert_eq!(condition("PodResizePending", "status"), "");
    assert_eq!(status(&stead, "first", "restartCount"), "0");

    // Memory that is in use is not taken away.
    stead.shell("first", "dd if=/dev/zero of=/dev/shm/full bs=1M count=40 2>/dev/null");
    resize(&stead, "first", r#"{"limits":{"memory":"33Mi"}}"#);
    stead.wait("jsonpath={.status.conditions[?(@.type==\"PodResizeInProgress\")].reason}=Error", "pod/first");
    let message = condition("PodResizeInProgress", "message");
    assert!(
        message.contains("attempting to set a memory limit (34603008) below what is in use"),
        "{message}"
    );
    assert_eq!(status(&stead, "first", "resources.limits.memory"), "64Mi");
    stead.shell("first", "rm /dev/shm/full");
    until(&stead, "first", "resources.limits.memory", "33Mi");

    let refusal = stead.fails(r#"patch pod first --subresource=resize -p '{"spec":{"containers":[{"name":"main","resources":{"limits":{"memory":null}}}]}}'"#);
    assert!(refusal.contains("resource limits cannot be removed"), "{refusal}");
    let refusal = stead.fails(r#"patch pod first -p '{"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"1"}}}]}}'"#);
    assert!(refusal.contains("pod updates may not change fields other than"), "{refusal}");
}
