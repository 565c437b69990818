//! Pods: what containers see, how they end and are started again, and how they are asked to stop.

use crate::harness::Stead;

/// Runs a script as `pod/<name>`, with more of the container's spec and of the pod's, as flow YAML.
fn pod(name: &str, script: &str, container: &str, spec: &str) -> String {
    let command = format!("command: [sh, -c, {script:?}]");
    let more = |text: &str| if text.is_empty() { String::new() } else { format!(", {text}") };
    format!(
        "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, \
         containers: [{{name: main, image: busybox, {command}{}}}]{}}}}}\n",
        more(container),
        more(spec)
    )
}

/// A script that does nothing until it is told to end.
const REST: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

fn state(stead: &Stead, pod: &str, path: &str) -> String {
    stead.field(&format!("pod {pod}"), &format!(".status.containerStatuses[0].{path}"))
}

/// Waits until a field of the first container's status has a value.
fn until(stead: &Stead, pod: &str, path: &str, value: &str) {
    stead.wait(&format!("jsonpath={{.status.containerStatuses[0].{path}}}={value}"), &format!("pod/{pod}"));
}

const SETTINGS: &str = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue, app.conf: "one=1\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {password: hunter2}
"#;

/// One pod that uses all there is to give to a container.
fn seer(host_path: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Pod
metadata: {{name: seer, labels: {{app: seer}}}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {{fsGroup: 2000}}
  initContainers:
  - {{name: first, image: busybox, command: [sh, -c, "echo first >> /work/order"], volumeMounts: [{{name: work, mountPath: /work}}]}}
  - {{name: second, image: busybox, command: [sh, -c, "echo second >> /work/order"], volumeMounts: [{{name: work, mountPath: /work}}]}}
  containers:
  - name: main
    image: busybox
    workingDir: /tmp
    command: [sh, -c, "pwd; echo \"$@\"; while :; do sleep 0.05; done", sh]
    args: ["$(GREETING)", "$(UNKNOWN)", "$$(NAME)"]
    envFrom: [{{prefix: S_, configMapRef: {{name: settings}}}}, {{secretRef: {{name: keys}}}}]
    env:
    - {{name: NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
    - {{name: COLOR, valueFrom: {{configMapKeyRef: {{name: settings, key: color}}}}}}
    - {{name: IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
    - {{name: MEMORY, valueFrom: {{resourceFieldRef: {{resource: limits.memory, divisor: 1Mi}}}}}}
    - {{name: GREETING, value: "hello-$(NAME)"}}
    resources: {{limits: {{memory: 64Mi, cpu: 500m}}}}
    volumeMounts:
    - {{name: work, mountPath: /work}}
    - {{name: conf, mountPath: /conf}}
    - {{name: conf, mountPath: /one.conf, subPath: app.conf}}
    - {{name: work, mountPath: /mine, subPathExpr: "of/$(NAME)"}}
    - {{name: keys, mountPath: /keys}}
    - {{name: info, mountPath: /info}}
    - {{name: host, mountPath: /host}}
  volumes:
  - {{name: work, emptyDir: {{}}}}
  - {{name: conf, configMap: {{name: settings, defaultMode: 0440}}}}
  - {{name: keys, secret: {{secretName: keys, items: [{{key: password, path: db/pw, mode: 0400}}]}}}}
  - {{name: info, downwardAPI: {{items: [{{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}]}}}}
  - {{name: host, hostPath: {{path: {host_path}, type: DirectoryOrCreate}}}}
"#
    )
}

#[test]
fn a_container_sees_what_its_manifest_says() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("host");
    let stead = Stead::start("pods-see", &["busybox"]);
    stead.apply(SETTINGS);
    stead.apply(&seer(&host.display().to_string()));
    stead.wait("condition=Ready", "pod/seer");

    assert_eq!(stead.run("logs seer"), "/tmp\nhello-seer $(UNKNOWN) $(NAME)\n");
    let ip = stead.field("pod seer", ".status.podIP");
    assert_eq!(
        stead.shell("seer", "echo $COLOR $S_color $password $MEMORY $IP").trim(),
        format!("blue blue hunter2 64 {ip}")
    );
    assert_eq!(stead.shell("seer", "cat /work/order"), "first\nsecond\n", "init containers run in order");
    assert_eq!(
        stead.shell("seer", "cat /conf/app.conf /one.conf /keys/db/pw /info/labels"),
        "one=1\none=1\nhunter2app=\"seer\""
    );
    // A group that the pod's fsGroup names may read what only the owner could.
    assert_eq!(
        stead.shell("seer", "stat -Lc %a-%g /conf/color /keys/db/pw /work"),
        "440-2000\n440-2000\n2777-2000\n"
    );
    assert!(stead.shell("seer", "id").contains("groups=2000"));
    for kept in ["/conf/new", "/keys/new", "/info/new"] {
        let refusal = stead.fails(&format!("exec seer -- touch {kept}"));
        assert!(refusal.contains("Read-only file system"), "{refusal}");
    }
    stead.shell("seer", "echo found > /host/here; echo mine > /mine/x");
    assert_eq!(std::fs::read_to_string(host.join("here")).unwrap(), "found\n");
    assert_eq!(stead.shell("seer", "cat /work/of/seer/x"), "mine\n");
    let limits = "for f in memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us memory.max cpu.max; do \
                  cat /sys/fs/cgroup/$f 2>/dev/null; done; true";
    let limits = stead.shell("seer", limits);
    assert!(["67108864\n50000\n", "67108864\n50000 100000\n"].contains(&limits.as_str()), "{limits}");

    // What shows an object follows it, without a restart.
    stead.run(r#"patch configmap settings --type=merge -p '{"data":{"color":"red"}}'"#);
    stead.run("label pod seer app=changed --overwrite");
    stead.shell("seer", "until grep -q red /conf/color && grep -q changed /info/labels; do sleep 0.05; done");
}

#[test]
fn a_container_may_do_what_its_manifest_allows_and_no_more() {
    let stead = Stead::start("pods-may", &["busybox"]);
    let locked = "securityContext: {runAsUser: 1234, runAsGroup: 5678, readOnlyRootFilesystem: true, \
                  allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}";
    stead.apply(&pod("plain", REST, "", ""));
    stead.apply(&pod("locked", REST, locked, ""));
    stead.apply(&pod("free", REST, "securityContext: {privileged: true}", ""));
    stead.apply(&pod("nobody", REST, "", "securityContext: {runAsNonRoot: true}"));
    for ready in ["plain", "locked", "free"] {
        stead.wait("condition=Ready", &format!("pod/{ready}"));
    }
    let status = |pod: &str, field: &str| {
        let script = format!("grep {field}: /proc/self/status | tr -d \" \\t\" | cut -d: -f2");
        stead.shell(pod, &script).trim().to_owned()
    };
    assert_eq!(
        (status("plain", "Seccomp"), status("plain", "CapEff")),
        ("2".into(), "00000000a80425fb".into())
    );
    assert_eq!(status("locked", "CapEff"), "0000000000000000");
    assert_eq!(status("locked", "NoNewPrivs"), "1");
    assert_eq!(status("free", "Seccomp"), "0");

    assert_eq!(stead.shell("locked", "echo $(id -u) $(id -g)").trim(), "1234 5678");
    let refusal = stead.fails("exec locked -- touch /new");
    assert!(refusal.contains("Read-only file system"), "{refusal}");
    assert_eq!(stead.shell("plain", "cat /proc/keys | wc -l; ls /sys/firmware | wc -l"), "0\n0\n", "masked");
    let refusal = stead.fails("exec plain -- sh -c 'echo 1 > /proc/sys/kernel/panic'");
    assert!(refusal.contains("Read-only file system"), "{refusal}");
    let refusal = stead.fails("exec plain -- mount -t tmpfs none /mnt");
    assert!(refusal.contains("ermi"), "{refusal}");

    let uid = stead.field("pod nobody", ".metadata.uid");
    assert_eq!(
        stead.event("pod/nobody", "Failed"),
        format!(
            "Error: container has runAsNonRoot and image will run as root (pod: \"nobody_default({uid})\", container: main)"
        )
    );
    assert_eq!(state(&stead, "nobody", "state.waiting.reason"), "CreateContainerConfigError");
    assert_eq!(state(&stead, "nobody", "restartCount"), "0");
}

#[test]
fn containers_end_for_a_reason_and_start_again_by_their_policy() {
    let stead = Stead::start("pods-end", &["busybox"]);
    let never = "restartPolicy: Never";
    stead.apply(&pod("done", "echo said; exit 0", "", never));
    stead.apply(&pod("failed", "echo why > /dev/termination-log; exit 3", "", never));
    stead.apply(&pod("greedy", "tail /dev/zero", "resources: {limits: {memory: 16Mi}}", never));
    stead.apply(&pod(
        "wordy",
        "echo last words; exit 1",
        "terminationMessagePolicy: FallbackToLogsOnError",
        never,
    ));
    stead.apply(
        &pod("absent", "exit 0", "", "restartPolicy: Never").replace("[sh, -c", "[/no/such/program, -c"),
    );
    for (name, phase, reason, code) in [
        ("done", "Succeeded", "Completed", "0"),
        ("failed", "Failed", "Error", "3"),
        ("greedy", "Failed", "OOMKilled", "137"),
        ("wordy", "Failed", "Error", "1"),
        ("absent", "Failed", "StartError", "128"),
    ] {
        stead.wait(&format!("jsonpath={{.status.phase}}={phase}"), &format!("pod/{name}"));
        assert_eq!(state(&stead, name, "state.terminated.reason"), reason, "{name}");
        assert_eq!(state(&stead, name, "state.terminated.exitCode"), code, "{name}");
        assert_eq!(state(&stead, name, "restartCount"), "0", "{name}");
    }
    assert_eq!(state(&stead, "failed", "state.terminated.message").trim(), "why");
    assert_eq!(state(&stead, "wordy", "state.terminated.message").trim(), "last words");
    let message = state(&stead, "absent", "state.terminated.message");
    assert!(message.contains("/no/such/program"), "{message}");
    assert_eq!(stead.run("logs done"), "said\n", "what has ended keeps its log");

    // Fails once, then is content.
    let once = "if [ -e /work/x ]; then echo second; exit 0; fi; touch /work/x; echo first; exit 7";
    let volume = "volumeMounts: [{name: work, mountPath: /work}]";
    let retried = "restartPolicy: OnFailure, volumes: [{name: work, emptyDir: {}}]";
    stead.apply(&pod("retried", once, volume, retried));
    stead.wait("jsonpath={.status.phase}=Succeeded", "pod/retried");
    assert_eq!(state(&stead, "retried", "restartCount"), "1");
    assert_eq!(state(&stead, "retried", "lastState.terminated.exitCode"), "7");
    assert_eq!(stead.run("logs retried"), "second\n");
    assert_eq!(stead.run("logs retried --previous"), "first\n");

    stead.apply(&pod("crashing", "echo once more; exit 1", "", ""));
    until(&stead, "crashing", "state.waiting.reason", "CrashLoopBackOff");
    assert!(stead.run("get pod crashing").contains("CrashLoopBackOff"));
    let told = stead.event("pod/crashing", "BackOff");
    assert!(told.starts_with("Back-off restarting failed container main in pod crashing_default("), "{told}");

    // A follower gets all that was said, and ends with the container.
    stead.apply(&pod("talker", "for i in 1 2 3; do echo $i; sleep 0.2; done", "", never));
    stead.wait("jsonpath={.status.containerStatuses[0].state.running.startedAt}", "pod/talker");
    assert_eq!(stead.follow("logs -f talker").rest(), ["1", "2", "3"]);
}

#[test]
fn probes_say_when_a_container_is_ready_and_when_it_must_go() {
    let stead = Stead::start("pods-probes", &["busybox"]);
    let probe = |kind: &str, how: &str| format!("{kind}: {{periodSeconds: 1, failureThreshold: 1, {how}}}");
    let serve = "mkdir /www; echo hello > /www/index.html; httpd -p 8080 -h /www; \
                 trap 'exit 0' TERM; while :; do sleep 0.05; done";
    let exec = probe("readinessProbe", "exec: {command: [cat, /tmp/ready]}");
    stead.apply(&pod("by-exec", REST, &exec, ""));
    stead.apply(&pod(
        "by-http",
        serve,
        &probe("readinessProbe", "httpGet: {port: 8080, path: /index.html}"),
        "",
    ));
    stead.apply(&pod(
        "by-tcp",
        serve,
        &format!(
            "ports: [{{name: web, containerPort: 8080}}], {}",
            probe("readinessProbe", "tcpSocket: {port: web}")
        ),
        "",
    ));
    for pod in ["by-http", "by-tcp"] {
        stead.wait("condition=Ready", &format!("pod/{pod}"));
    }
    let told = stead.event("pod/by-exec", "Unhealthy");
    assert!(told.starts_with("Readiness probe failed: ") && told.contains("/tmp/ready"), "{told}");
    stead.wait("condition=Ready=false", "pod/by-exec");
    stead.shell("by-exec", "touch /tmp/ready");
    stead.wait("condition=Ready", "pod/by-exec");
    stead.shell("by-exec", "rm /tmp/ready");
    stead.wait("condition=Ready=false", "pod/by-exec");
    assert_eq!(state(&stead, "by-exec", "restartCount"), "0", "readiness ends nothing");

    // Lives as long as a file is there.
    let alive = probe("livenessProbe", "exec: {command: [test, -e, /tmp/alive]}");
    let script = format!("touch /tmp/alive; {REST}");
    stead.apply(&pod("mortal", &script, &alive, ""));
    stead.wait("condition=Ready", "pod/mortal");
    stead.shell("mortal", "rm /tmp/alive");
    until(&stead, "mortal", "restartCount", "1");
    stead.wait("condition=Ready", "pod/mortal");
    let told = stead.event("pod/mortal", "Killing");
    assert!(told.starts_with("Container main failed liveness probe, will be restarted"), "{told}");

    // Nothing else is asked before the startup probe has succeeded, and it may fail as often as it likes.
    let slow = format!(
        "startupProbe: {{periodSeconds: 1, failureThreshold: 60, exec: {{command: [test, -e, /tmp/up]}}}}, {}",
        probe("livenessProbe", "exec: {command: [test, -e, /tmp/up]}")
    );
    stead.apply(&pod("slow", REST, &slow, ""));
    assert!(stead.event("pod/slow", "Unhealthy").starts_with("Startup probe failed: "));
    assert_eq!(state(&stead, "slow", "started"), "false");
    stead.shell("slow", "touch /tmp/up");
    stead.wait("condition=Ready", "pod/slow");
    assert_eq!(state(&stead, "slow", "restartCount"), "0");
}

#[test]
fn a_pod_is_asked_to_end_before_it_is_made_to() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("host");
    let stead = Stead::start("pods-stop", &["busybox"]);
    let shared =
        format!("volumes: [{{name: out, hostPath: {{path: {}, type: DirectoryOrCreate}}}}]", host.display());
    let mount = "volumeMounts: [{name: out, mountPath: /out}]";
    let gentle = "trap 'echo term >> /out/gentle; exit 0' TERM; while :; do sleep 0.05; done";
    let hook = "lifecycle: {preStop: {exec: {command: [sh, -c, \"echo hook >> /out/gentle\"]}}}";
    stead.apply(&pod("gentle", gentle, &format!("{mount}, {hook}"), &shared));
    let deaf = "trap 'echo term >> /out/deaf' TERM; while :; do sleep 0.05; done";
    stead.apply(&pod("deaf", deaf, mount, &shared));
    let patient = deaf.replace("deaf", "patient");
    let grace = "terminationGracePeriodSeconds: 1";
    let patient =
        pod("patient", &patient, mount, &shared).replace(grace, "terminationGracePeriodSeconds: 3600");
    stead.apply(&patient);
    for ready in ["gentle", "deaf", "patient"] {
        stead.wait("condition=Ready", &format!("pod/{ready}"));
    }
    let read = |name: &str| std::fs::read_to_string(host.join(name)).unwrap();
    stead.run("delete pod gentle");
    assert_eq!(read("gentle"), "hook\nterm\n");
    // Its period is over, and it has not listened.
    stead.run("delete pod deaf");
    assert_eq!(read("deaf"), "term\n");
    // An hour is long: a second deletion shortens it.
    stead.run("delete pod patient --wait=false");
    stead.run("delete pod patient --grace-period=1");
    assert_eq!(read("patient"), "term\n");
}

#[test]
fn commands_run_in_containers_with_their_streams_and_codes() {
    let stead = Stead::start("pods-exec", &["busybox"]);
    let hook = "lifecycle: {postStart: {exec: {command: [sh, -c, \"echo hooked > /tmp/hook\"]}}}";
    stead.apply(&pod("box", REST, hook, ""));
    stead.wait("condition=Ready", "pod/box");
    assert_eq!(stead.shell("box", "cat /tmp/hook"), "hooked\n", "ready only after the postStart hook");
    let output = stead.try_run("exec box -- sh -c 'echo out; echo err >&2; exit 42'");
    assert_eq!(output.status.code(), Some(42));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out\n");
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("err\n"));
    let output = stead.feed("exec -i box -- sh -c 'cat; echo end'", "typed\n");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "typed\nend\n");
    assert!(stead.fails("exec box -- /no/such/program").contains("/no/such/program"));
    assert!(stead.fails("exec box -c other -- true").contains("other"));
}
