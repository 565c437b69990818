//! Containers that end, or do not come to start.

use serde_json::{Value, json};

use super::{after, container, go_on, moment, why, why_with};

#[test]
fn a_set_waits_for_a_pod_in_a_crash_loop() {
    let mut sim = after("set replicas=3\n ready web-0");
    container(
        &mut sim,
        "web-1",
        &json!({
            "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff",
                "message": "back-off 1m20s restarting failed container=web pod=web-1_default(1)"}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": moment(0),
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
fn a_container_that_takes_too_much_memory_says_how_much_it_may_have() {
    let mut sim = after("set replicas=1");
    container(
        &mut sim,
        "web-0",
        &json!({"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            "resources": {"limits": {"memory": "64Mi"}}}),
    );
    insta::assert_snapshot!(why(&sim, "pods/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web is in CrashLoopBackOff (2 restarts)
      └ container web ended with exit code 137 (OOMKilled)
        → it needs more memory: raise resources.limits.memory (now 64Mi)
    "#);
}

#[test]
fn a_program_that_is_not_in_the_image_is_told_apart_from_one_that_fails() {
    let mut sim = after("set replicas=1");
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
fn a_container_that_runs_again_after_a_crash_says_how_it_ended_before() {
    let mut sim = after("set replicas=1");
    container(
        &mut sim,
        "web-0",
        &json!({"restartCount": 2, "state": {"running": {"startedAt": moment(20)}},
            "lastState": {"terminated": {"exitCode": 139, "reason": "Error", "startedAt": moment(5),
                "finishedAt": moment(10), "message": "segmentation fault in plugin.so"}}}),
    );
    sim.tick(25);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web has run for 5 s, and its node has not said yet that it is ready
      └ it was started again 2 times
        └ container web ended with exit code 139 (SIGSEGV) 15s ago
            segmentation fault in plugin.so
    "#);
}

#[test]
fn a_container_that_its_liveness_probe_stops_says_so_and_what_the_probe_found() {
    let mut sim = after("set replicas=1");
    sim.edit("Pod", "web-0", |pod| {
        pod["spec"]["containers"][0]["livenessProbe"] =
            json!({"httpGet": {"path": "/healthz", "port": 8080}});
    });
    let ended = json!({"terminated": {"exitCode": 143, "reason": "Error", "startedAt": moment(0),
        "finishedAt": moment(30)}});
    container(
        &mut sim,
        "web-0",
        &json!({"restartCount": 1, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}),
    );
    sim.tick(40);
    let event =
        |second: i64, reason: &str, message: &str| super::warning("Pod/web-0", second, reason, message);
    let events = json!([
        event(
            29,
            "Unhealthy",
            "Liveness probe failed: HTTP probe failed with statuscode: 500 (container web)"
        ),
        event(29, "Unhealthy", "Liveness probe failed: command exited with 1:  (container sidecar)"),
        event(30, "Killing", "Container web failed liveness probe, will be restarted"),
    ]);
    insta::assert_snapshot!(why_with(&sim, "pod/web-0", events), @r#"
    pod/web-0 is not Ready
    └ container web is in CrashLoopBackOff (1 restart)
      └ container web ended with exit code 143 (SIGTERM) 10s ago
        └ it was stopped because it failed its liveness probe (httpGet /healthz on port 8080)
            HTTP probe failed with statuscode: 500
      → read what it said: stead logs web-0 -c web --previous
    "#);
}

#[test]
fn a_crash_is_not_blamed_on_a_probe_that_stopped_an_earlier_run() {
    let mut sim = after("set replicas=1");
    let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": moment(60),
        "finishedAt": moment(61), "message": "cannot open the database"}});
    container(
        &mut sim,
        "web-0",
        &json!({"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended}),
    );
    sim.tick(65);
    let events = json!([super::warning(
        "Pod/web-0",
        30,
        "Killing",
        "Container web failed liveness probe, will be restarted"
    ),]);
    insta::assert_snapshot!(why_with(&sim, "pod/web-0", events), @r#"
    pod/web-0 is not Ready
    └ container web is in CrashLoopBackOff (2 restarts)
      └ container web ended with exit code 1 (Error) 4s ago
          cannot open the database
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
    let running = json!({"running": {"startedAt": moment(0)}});
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
fn an_update_that_cannot_go_on_comes_with_the_way_back() {
    let mut sim = after("set replicas=2\n ready web-0\n ready web-1\n image web:2\n finish web-1");
    let waiting = json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image \"web:2\": Failed to pull \
        image \"web:2\": cannot pull docker.io/library/web:2: docker.io has no such image; check the name and the tag"});
    container(&mut sim, "web-1", &json!({"image": "web:2", "state": {"waiting": waiting}}));
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-1 is Ready
    └ pod/web-1 is not Ready
      └ container web has no image (ImagePullBackOff)
          cannot pull docker.io/library/web:2: docker.io has no such image
        → check the name and the tag web:2; name another: stead set image sts/web web=IMAGE; or bring it: stead image import FILE
    → or go back: stead rollout undo sts/web
    statefulset/web: web-0 is updated once web-1 is available
    "#);
    go_on(&mut sim, "image web:1");
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web waits until web-1 is gone, which is terminating
    └ pod/web-1 is terminating and was to stop at once, less than a second ago
    "#);
}
