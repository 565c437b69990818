//! Containers that run and are not Ready, by the kind of the probe that says so.

use serde_json::{Value, json};

use super::{after, container, moment, running, set_with, warning, why, why_with};
use crate::sim::Sim;

/// A set of two whose first pod runs with this probe, 9 seconds after its start.
fn probed(which: &str, probe: Value) -> Sim {
    let mut sim = set_with("set replicas=2", |spec| spec["containers"][0][which] = probe);
    let mut state = running();
    state["started"] = (which != "startupProbe").into();
    container(&mut sim, "web-0", &state);
    sim.tick(9);
    sim
}

/// Why the set waits, after the probe has told this.
fn said(sim: &Sim, count: i32, message: &str) -> String {
    let mut event = warning("Pod/web-0", 9, "Unhealthy", message);
    event["count"] = count.into();
    why_with(sim, "sts/web", json!([event]))
}

#[test]
fn a_command_that_fails_can_be_tried_by_hand() {
    let sim = probed("readinessProbe", json!({"exec": {"command": ["pg_isready", "-U", "my user"]}}));
    let message = "Readiness probe failed: command exited with 2: /tmp:5432 - no response (container web)";
    insta::assert_snapshot!(said(&sim, 4, message), @r#"
    statefulset/web: web-1 waits until web-0 is Ready (waiting for 9s)
    └ pod/web-0 is not Ready
      └ container web has failed its readiness probe 4 times (exec pg_isready -U 'my user')
          command exited with 2: /tmp:5432 - no response
        → try it yourself: stead exec web-0 -c web -- pg_isready -U 'my user'
    "#);
}

#[test]
fn an_address_that_answers_badly_sends_to_the_logs() {
    let sim = probed("readinessProbe", json!({"httpGet": {"path": "/ready", "port": "http"}}));
    let message = "Readiness probe failed: GET /ready on port 8080 answered 503 (container web)";
    insta::assert_snapshot!(said(&sim, 1, message), @r#"
    statefulset/web: web-1 waits until web-0 is Ready (waiting for 9s)
    └ pod/web-0 is not Ready
      └ container web has failed its readiness probe once (httpGet /ready on port http)
          GET /ready on port 8080 answered 503
        → read what the program says: stead logs web-0 -c web
    "#);
}

#[test]
fn a_port_where_nobody_listens_is_named() {
    let sim = probed("readinessProbe", json!({"tcpSocket": {"port": 5432}}));
    let message = "Readiness probe failed: tcp 10.42.0.7:5432: connection refused (container web)";
    insta::assert_snapshot!(said(&sim, 4, message), @r#"
    statefulset/web: web-1 waits until web-0 is Ready (waiting for 9s)
    └ pod/web-0 is not Ready
      └ container web has failed its readiness probe 4 times (tcpSocket 5432)
          tcp 10.42.0.7:5432: connection refused
        → nothing listens there: read what the program says (stead logs web-0 -c web), or correct the probe's port
    "#);
}

#[test]
fn a_grpc_service_that_answers_late_may_be_given_more_time() {
    let sim = probed("readinessProbe", json!({"grpc": {"port": 9000, "service": "db"}, "timeoutSeconds": 2}));
    let message = "Readiness probe failed: no answer within 2 s (container web)";
    insta::assert_snapshot!(said(&sim, 3, message), @r#"
    statefulset/web: web-1 waits until web-0 is Ready (waiting for 9s)
    └ pod/web-0 is not Ready
      └ container web has failed its readiness probe 3 times (grpc 9000 db)
          no answer within 2 s
        → see why it is slow (stead logs web-0 -c web), or raise the probe's timeoutSeconds (now 2)
    "#);
}

#[test]
fn a_port_that_the_container_does_not_name_is_the_manifests_fault() {
    let sim = probed("readinessProbe", json!({"httpGet": {"path": "/", "port": "htpp"}}));
    let message = "Readiness probe failed: the container has no port named \"htpp\" (container web)";
    insta::assert_snapshot!(said(&sim, 1, message), @r#"
    statefulset/web: web-1 waits until web-0 is Ready (waiting for 9s)
    └ pod/web-0 is not Ready
      └ container web has failed its readiness probe once (httpGet / on port htpp)
          the container has no port named "htpp"
        → name one of the container's ports in the probe, or give its number
    "#);
}

#[test]
fn a_startup_probe_says_how_long_it_is_patient() {
    let probe = json!({"tcpSocket": {"port": 5432}, "periodSeconds": 5, "failureThreshold": 30});
    let sim = probed("startupProbe", probe);
    insta::assert_snapshot!(why(&sim, "sts/web"), @r#"
    statefulset/web: web-1 waits until web-0 is Ready (waiting for 9s)
    └ pod/web-0 is not Ready
      └ container web runs; its startup probe (tcpSocket 5432) has not succeeded yet
        └ it has run for 9 of the 150 s that the probe gives it before it is started again
    "#);
    let message = "Startup probe failed: tcp 10.42.0.7:5432: connection refused (container web)";
    insta::assert_snapshot!(said(&sim, 2, message), @r#"
    statefulset/web: web-1 waits until web-0 is Ready (waiting for 9s)
    └ pod/web-0 is not Ready
      └ container web has failed its startup probe 2 times (tcpSocket 5432)
          tcp 10.42.0.7:5432: connection refused
        └ it has run for 9 of the 150 s that the probe gives it before it is started again
        → nothing listens there: read what the program says (stead logs web-0 -c web), or correct the probe's port
    "#);
}

#[test]
fn a_probe_that_was_not_tried_yet_says_when_it_will_be() {
    let sim = probed("readinessProbe", json!({"tcpSocket": {"port": 5432}, "initialDelaySeconds": 30}));
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web runs; its readiness probe begins in 21 s (initialDelaySeconds)
    "#);
    let sim = probed("readinessProbe", json!({"tcpSocket": {"port": 5432}}));
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web runs; its readiness probe (tcpSocket 5432) has not succeeded yet
    "#);
}

#[test]
fn what_a_probe_found_in_an_earlier_run_is_not_said_of_this_one() {
    let mut sim = probed("readinessProbe", json!({"tcpSocket": {"port": 5432}}));
    container(&mut sim, "web-0", &json!({"started": true, "state": {"running": {"startedAt": moment(20)}}}));
    sim.tick(15);
    let message = "Readiness probe failed: tcp 10.42.0.7:5432: connection refused (container web)";
    insta::assert_snapshot!(said(&sim, 4, message), @r#"
    statefulset/web: web-1 waits until web-0 is Ready (waiting for 24s)
    └ pod/web-0 is not Ready
      └ container web runs; its readiness probe (tcpSocket 5432) has not succeeded yet
    "#);
}

#[test]
fn what_was_told_of_an_earlier_pod_of_that_name_is_not_said_of_this_one() {
    let sim = probed("readinessProbe", json!({"tcpSocket": {"port": 5432}}));
    let mut event = warning("Pod/web-0", 9, "Unhealthy", "Readiness probe failed: refused (container web)");
    event["involvedObject"]["uid"] = "another".into();
    insta::assert_snapshot!(why_with(&sim, "pod/web-0", json!([event])), @r#"
    pod/web-0 is not Ready
    └ container web runs; its readiness probe (tcpSocket 5432) has not succeeded yet
    "#);
}

#[test]
fn a_container_without_probes_is_ready_when_its_node_says_so() {
    let mut sim = after("set replicas=1");
    container(&mut sim, "web-0", &running());
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web has only just been started
    "#);
    sim.tick(7);
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web has run for 7 s, and its node has not said yet that it is ready
    "#);
    sim.edit("Pod", "web-0", |pod| {
        pod["spec"]["containers"][0]["lifecycle"] = json!({"postStart": {"exec": {"command": ["warm-up"]}}});
    });
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web runs; it is ready once its postStart hook has ended
    "#);
}
