//! What `stead why` says: every state in which something waits comes out with its cause and, where it is known,
//! with what to do.

use k8s_openapi::api::core::v1::Event;
use planner::explain::explain;
use serde_json::{Value, json};

use crate::script;
use crate::sim::Sim;

/// A cluster after each line of a script about the set `web`.
fn after(script: &str) -> Sim {
    let mut sim = Sim::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        script::perform(&mut sim, line);
        sim.settle();
    }
    sim
}

fn why(sim: &Sim, about: &str) -> String {
    why_with(sim, about, json!([]))
}

fn why_with(sim: &Sim, about: &str, events: Value) -> String {
    let (kind, name) = about.split_once('/').expect("KIND/NAME");
    let events: Vec<Event> = serde_json::from_value(events).expect("events");
    explain(&sim.world, &events, kind, "default", name, sim.now).to_string()
}

/// The pod's container in this state.
fn container(sim: &mut Sim, pod: &str, status: &Value) {
    let mut held = json!({"name": "web", "image": "web:1", "imageID": "", "ready": false, "restartCount": 0});
    for (field, value) in status.as_object().into_iter().flatten() {
        held[field] = value.clone();
    }
    sim.pod_status(
        pod,
        &json!({"phase": "Running", "podIP": "10.42.0.7", "containerStatuses": [held],
        "conditions": [{"type": "Ready", "status": "False"}]}),
    );
    sim.settle();
}

#[test]
fn a_set_waits_for_a_pod_in_a_crash_loop() {
    let mut sim = after("set replicas=3\n ready web-0");
    container(
        &mut sim,
        "web-1",
        &json!({
            "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff",
                "message": "back-off 1m20s restarting failed container=web pod=web-1_default(1)"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z",
                "message": "Error: Database is uninitialized\nand superuser password is not specified.\n"}},
        }),
    );
    sim.tick(12);
    insta::assert_snapshot!(why(&sim, "statefulset/web"), @r#"
    statefulset/web: web-2 waits until web-1 is Ready (waiting for 12s)
    └ pod/web-1 is not Ready
      └ container web is in CrashLoopBackOff (3 restarts, next in 68 s)
        └ container web ended with exit code 1 (Error) 12s ago
            Error: Database is uninitialized
            and superuser password is not specified.
        → read what it said: stead logs web-1 -c web --previous
    "#);
}

#[test]
fn a_failing_readiness_probe_is_told_with_what_it_found() {
    let mut sim = after("set replicas=1");
    container(
        &mut sim,
        "web-0",
        &json!({"started": true, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}),
    );
    let events = json!([{
        "metadata": {}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-0"},
        "type": "Warning", "reason": "Unhealthy", "count": 4, "lastTimestamp": "2026-01-01T00:00:09Z",
        "message": "Readiness probe failed: tcp 10.42.0.7:5432: connection refused"}]);
    insta::assert_snapshot!(why_with(&sim, "pod/web-0", events), @r#"
    pod/web-0 is not Ready
    └ container web has failed its readiness probe 4 times
        tcp 10.42.0.7:5432: connection refused
    "#);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web has only just been started
    "#);
    sim.edit("Pod", "web-0", |pod| {
        pod["spec"]["containers"][0]["readinessProbe"] = json!({"tcpSocket": {"port": 5432}});
    });
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web runs; its readiness probe has not succeeded yet
    "#);
}

#[test]
fn images_memory_and_missing_programs_come_with_a_fix() {
    let mut sim = after("set replicas=1");
    let waiting =
        json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image \"web:1\": not found"});
    container(&mut sim, "web-0", &json!({"state": {"waiting": waiting}}));
    insta::assert_snapshot!(why(&sim, "po/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web has no image (ImagePullBackOff)
        Back-off pulling image "web:1": not found
      → check the name web:1, or bring the image: stead image import FILE
    "#);
    let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let limits = json!({"limits": {"memory": "64Mi"}});
    container(
        &mut sim,
        "web-0",
        &json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": killed, "resources": limits}),
    );
    insta::assert_snapshot!(why(&sim, "pods/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web is in CrashLoopBackOff (0 restarts)
      └ container web ended with exit code 137 (OOMKilled)
        → it needs more memory: raise resources.limits.memory (now 64Mi)
    "#);
    let ended = json!({"terminated": {"exitCode": 127, "reason": "StartError", "message": "exec: psotgres"}});
    container(&mut sim, "web-0", &json!({"state": ended}));
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web ended with exit code 127 (StartError)
        exec: psotgres
      → the program was not found or cannot run: check command and args
    "#);
}

#[test]
fn a_secret_that_is_missing_or_lacks_a_key_is_named() {
    let mut sim = after("set replicas=1");
    sim.edit("Pod", "web-0", |pod| {
        pod["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "valueFrom": {
            "secretKeyRef": {"name": "postgres-secret", "key": "password"}}}]);
    });
    let waiting =
        json!({"reason": "CreateContainerConfigError", "message": "secret \"postgres-secret\" not found"});
    container(&mut sim, "web-0", &json!({"state": {"waiting": waiting}}));
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-0 is Ready
    └ pod/web-0 cannot start: what it refers to is missing
      └ secret/postgres-secret does not exist
        → create it: stead create secret generic postgres-secret --from-literal=password=VALUE
    "#);
    sim.make(json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "postgres-secret", "namespace": "default"}, "data": {"pass": "eA=="}}));
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 cannot start: what it refers to is missing
    └ secret/postgres-secret has no key "password"; it has pass
      → add the key, or name one that is there: stead edit secret postgres-secret
    "#);
}

#[test]
fn a_pod_without_a_node_leads_to_its_claim_and_the_class_that_is_missing() {
    let mut sim = Sim::new();
    sim.remove("StorageClass", "local", &[]);
    script::perform(&mut sim, "set replicas=2 claims");
    sim.settle();
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
fn a_pod_that_is_too_big_is_told_what_is_short() {
    let mut sim = after("set replicas=1");
    sim.make(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "big", "namespace": "default"},
        "spec": {"containers": [{"name": "main", "resources": {"requests": {"memory": "9Gi"}}}]}}));
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pod/big"), @r#"
    pod/big has no node: 0/1 nodes are available: 1 Insufficient memory.
    → lower the containers' resources.requests, or make room on the node
    "#);
}

#[test]
fn waits_of_a_set_come_out_as_they_are() {
    let said = |script: &str| why(&after(script), "sts/web");
    insta::assert_snapshot!(said("set replicas=2 min-ready=10\n ready web-0"), @r#"
    statefulset/web: web-1 waits until web-0 has been Ready for 10 s (minReadySeconds)
    └ pod/web-0 is Running and Ready for less than a second
    "#);
    insta::assert_snapshot!(said("set replicas=1\n ready web-0\n delete web-0"), @r#"
    statefulset/web waits until web-0 is gone, which is terminating
    └ pod/web-0 is terminating and was to stop at once, less than a second ago
    "#);
    insta::assert_snapshot!(said("foreign web-0\n set replicas=1"), @r#"
    statefulset/web: web-0 cannot be made: a pod of that name exists and is not the set's; delete it
    └ pod/web-0 is being started by node node-a
    "#);
    insta::assert_snapshot!(
        said("set replicas=1 claims\n ready web-0\n delete-claim data-web-0\n delete web-0\n finish web-0"), @r#"
        statefulset/web: web-0 is made once its old claim data-web-0 is gone, which is being deleted
        └ claim/data-web-0 is being deleted
          └ finalizers hold it: example.com/backup
            → whoever set them must take them off
        "#);
    insta::assert_snapshot!(
        said("set replicas=2\n ready web-0\n ready web-1\n unready web-0\n replicas 1"), @r#"
        statefulset/web waits until web-0 is Ready
        └ pod/web-0 is being started by node node-a
        statefulset/web: web-1 goes once web-0, which stays, is available
        "#);
    insta::assert_snapshot!(
        said("set replicas=2 parallel\n ready web-0 web-1\n unready web-0\n replicas 1\n partition 2"), @r#"
        statefulset/web waits until web-0 is Ready
        └ pod/web-0 is being started by node node-a
        statefulset/web waits until web-1 is gone, which is terminating
        └ pod/web-1 is terminating and was to stop at once, less than a second ago
        "#);
    insta::assert_snapshot!(said("set replicas=1 on-delete\n ready web-0\n image web:2"), @r#"
    statefulset/web: 1 of 1 pods are of an older revision and are replaced when you delete them (OnDelete), for instance: delete pod web-0
    "#);
    insta::assert_snapshot!(said("set replicas=1 partition=1\n ready web-0\n image web:2"), @r#"
    statefulset/web: the partition (1) keeps 1 of 1 pods at their revision; lower spec.updateStrategy.rollingUpdate.partition to update them
    "#);
    insta::assert_snapshot!(said("set replicas=1\n ready web-0\n delete-set foregroundDeletion"), @r#"
    statefulset/web is being deleted: its pods go with it, and its claims only where the retention policy says so
    statefulset/web goes once pod/web-0, which it owns, is gone
    └ pod/web-0 is terminating and was to stop at once, less than a second ago
    "#);
    insta::assert_snapshot!(said("set replicas=1\n ready web-0"), @r#"
    statefulset/web waits for nothing: its pod is available
    "#);
}

#[test]
fn a_container_that_its_liveness_probe_stops_says_so() {
    let mut sim = after("set replicas=1");
    let ended =
        json!({"terminated": {"exitCode": 143, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}});
    container(
        &mut sim,
        "web-0",
        &json!({"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}),
    );
    let event = |reason: &str, message: &str| {
        json!({"metadata": {}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web-0"},
            "type": "Warning", "reason": reason, "message": message})
    };
    let events = json!([
        event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500 (container web)"),
        event("Unhealthy", "Liveness probe failed: command exited with 1:  (container sidecar)"),
        event("Killing", "Container web failed liveness probe, will be restarted"),
    ]);
    insta::assert_snapshot!(why_with(&sim, "pod/web-0", events), @r#"
    pod/web-0 is not Ready
    └ container web is in CrashLoopBackOff (1 restart)
      └ container web ended with exit code 143 (SIGTERM) less than a second ago
        └ it was stopped because it failed its liveness probe
            HTTP probe failed with statuscode: 500
      → read what it said: stead logs web-0 -c web --previous
    "#);
}

#[test]
fn init_containers_hold_the_pod_until_they_are_done() {
    let mut sim = after("set replicas=1");
    sim.edit("Pod", "web-0", |pod| {
        pod["spec"]["initContainers"] = json!([{"name": "fetch"}, {"name": "migrate"}]);
    });
    let status = |name: &str, state: Value| json!({"name": name, "image": "web:1", "imageID": "", "ready": false, "restartCount": 0, "state": state});
    let done = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let waiting = json!({"waiting": {"reason": "PodInitializing"}});
    sim.pod_status(
        "web-0",
        &json!({"phase": "Pending", "containerStatuses": [status("web", waiting)],
            "initContainerStatuses": [status("fetch", done), status("migrate", running)]}),
    );
    sim.tick(40);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ init container migrate has not finished yet; it has run for 40s
    "#);
}

#[test]
fn a_pod_that_is_not_made_yet_leads_to_its_set() {
    let sim = after("set replicas=2");
    insta::assert_snapshot!(why(&sim, "pod/web-1"), @r#"
    pod/web-1 does not exist
    └ statefulset/web: web-1 waits until web-0 is Ready
      └ pod/web-0 is being started by node node-a
    "#);
}

#[test]
fn a_pod_beyond_the_sets_replicas_is_not_waited_for() {
    let sim = after("set replicas=2 claims\n ready web-0");
    insta::assert_snapshot!(why(&sim, "pod/web-7"), @r#"
    pod/web-7 does not exist
    └ statefulset/web has 2 replicas, web-0 to web-1
    → for more: stead scale sts/web --replicas=8
    "#);
    insta::assert_snapshot!(why(&sim, "pvc/data-web-7"), @r#"
    claim/data-web-7 does not exist
    └ pod/web-7 does not exist
      └ statefulset/web has 2 replicas, web-0 to web-1
      → for more: stead scale sts/web --replicas=8
    "#);
}

#[test]
fn nodes_say_whether_they_can_be_used() {
    let mut sim = after("set replicas=1");
    let node = sim.names("Node")[0].clone();
    let about = format!("node/{node}");
    insta::assert_snapshot!(why(&sim, &about), @"node/node-a is Ready and has 1 pod");
    sim.edit("Node", &node, |node| {
        node["spec"]["unschedulable"] = json!(true);
        node["status"]["conditions"] = json!([{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    });
    sim.tick(90);
    insta::assert_snapshot!(why(&sim, &about), @r#"
    node/node-a, which has 1 pod, is not as it should be
    └ it has not been Ready for 90s (NodeStatusUnknown)
        Kubelet stopped posting node status.
      → start stead there, if it does not run: stead up
    └ it takes no new pods (spec.unschedulable)
      → let it take pods again: stead patch node node-a -p '{"spec":{"unschedulable":false}}'
    "#);
}

#[test]
fn claims_say_what_they_wait_for() {
    let mut sim = after("set replicas=1 claims\n ready web-0\n");
    sim.remove("PersistentVolumeClaim", "data-web-0", &[]);
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/data-web-0"), @r#"
    claim/data-web-0 is being deleted and goes once pod/web-0 no longer uses it
    └ pod/web-0 is Running and Ready for less than a second
    "#);
    sim.make(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "unused", "namespace": "default"},
        "spec": {"storageClassName": "local", "resources": {"requests": {"storage": "1Gi"}}}}));
    sim.settle();
    insta::assert_snapshot!(why(&sim, "pvc/unused"), @r#"
    claim/unused has no volume yet: class local gives one when a pod that mounts it has a node (WaitForFirstConsumer)
    └ no pod mounts it yet: it gets its volume when one does
    "#);
    insta::assert_snapshot!(why(&sim, "pvc/none"), @r#"
    claim/none does not exist
    → create it, or check the name that the pod mounts
    "#);
}

#[test]
fn services_say_who_is_behind_them() {
    let mut sim = after("set replicas=2 parallel\n ready web-0");
    let service = |name: &str, app: &str, port: &str| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
            "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": port}]}})
    };
    sim.make(service("web", "web", "http"));
    sim.make(service("typo", "wep", "http"));
    sim.settle();
    insta::assert_snapshot!(why(&sim, "svc/web"), @r#"
    service/web has 1 of 2 pods ready
    └ no container has a port named http
      → name one of the containers' ports in the service's targetPort, or give its number
    └ pod/web-1 is being started by node node-a
    "#);
    insta::assert_snapshot!(why(&sim, "svc/typo"), @r#"
    service/typo selects no pod (app=wep)
    → compare spec.selector with the labels: stead get pods --show-labels
    "#);
}

#[test]
fn namespaces_and_volumes_say_what_holds_them() {
    let mut sim = after("set replicas=1 claims\n ready web-0");
    let volume = sim.names("PersistentVolume")[0].clone();
    sim.remove("PersistentVolume", &volume, &[]);
    sim.settle();
    let said = why(&sim, &format!("pv/{volume}")).replace(&volume, "VOLUME");
    insta::assert_snapshot!(said, @r#"
    persistentvolume/VOLUME is being deleted and goes once claim default/data-web-0 is gone
    └ claim/data-web-0 is bound to volume VOLUME
    "#);
    sim.remove("Namespace", "default", &[]);
    sim.settle();
    insta::assert_snapshot!(why(&sim, "ns/default"), @r#"
    namespace/default goes once the 2 objects in it are gone, pod/web-0 among them
    └ pod/web-0 is terminating and was to stop at once, less than a second ago
    "#);
    insta::assert_snapshot!(why(&sim, "deployment/web"), @r#"
    nothing is known about the kind deployment
    → ask about a statefulset, pod, persistentvolumeclaim, persistentvolume, service, node or namespace
    "#);
}
