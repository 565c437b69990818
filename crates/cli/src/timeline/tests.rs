//! Stories as lines: objects and events in, text out.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Family, Lines, Live, Step, spoken};

/// The moment that all stories begin at, in seconds since 1970.
const BEGIN: i64 = 1_767_323_045;

/// So many milliseconds after the beginning.
fn at(millis: i64) -> Timestamp {
    Timestamp::new(BEGIN, 0).expect("a moment") + SignedDuration::from_millis(millis)
}

/// The same as the API writes it, without what is behind the second.
fn time(millis: i64) -> String {
    apimachinery::time::format_seconds(at(millis))
}

/// An event that a recorder made, named as recorders do.
fn event(about: &str, millis: i64, reason: &str, message: &str) -> Value {
    let (kind, name) = about.split_once('/').expect("KIND/NAME");
    json!({
        "metadata": {"name": format!("{name}.{:x}", at(millis).as_nanosecond())},
        "involvedObject": {"kind": kind, "name": name},
        "type": "Normal", "reason": reason, "message": message,
        "count": 1, "firstTimestamp": time(millis), "lastTimestamp": time(millis),
    })
}

fn warning(about: &str, millis: i64, reason: &str, message: &str) -> Value {
    let mut event = event(about, millis, reason, message);
    event["type"] = "Warning".into();
    event
}

fn condition(kind: &str, status: &str, millis: i64) -> Value {
    json!({"type": kind, "status": status, "lastTransitionTime": time(millis)})
}

fn set() -> Value {
    json!({
        "metadata": {"name": "db", "uid": "set", "creationTimestamp": time(0)},
        "spec": {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]},
    })
}

fn claim(name: &str, millis: i64) -> Value {
    json!({"metadata": {"name": name, "creationTimestamp": time(millis)}})
}

/// A pod of the set that became Ready within its first second.
fn pod(name: &str, millis: i64) -> Value {
    let is = |kind: &str| condition(kind, "True", millis);
    json!({
        "metadata": {"name": name, "creationTimestamp": time(millis),
            "ownerReferences": [{"uid": "set", "controller": true}]},
        "spec": {"nodeName": "n1",
            "volumes": [{"persistentVolumeClaim": {"claimName": format!("data-{name}")}}]},
        "status": {
            "conditions": [is("Ready"), is("ContainersReady"), is("PodScheduled"), is("Initialized")],
            "containerStatuses": [{"name": "db", "state": {"running": {"startedAt": time(millis)}}}],
        },
    })
}

/// What the set's controller, the scheduler and the node tell while a pod comes up.
fn coming_up(pod: &str, millis: i64) -> Vec<Value> {
    let about = format!("Pod/{pod}");
    let create = format!("create Claim data-{pod} Pod {pod} in StatefulSet db success");
    vec![
        event("StatefulSet/db", millis, "SuccessfulCreate", &create),
        event(
            "StatefulSet/db",
            millis + 1,
            "SuccessfulCreate",
            &format!("create Pod {pod} in StatefulSet db successful"),
        ),
        event(&about, millis + 3, "Scheduled", &format!("Successfully assigned default/{pod} to n1")),
        event(&about, millis + 30, "Created", "Created container: db"),
        event(&about, millis + 35, "Started", "Started container db"),
    ]
}

/// Everything at once about an object.
fn told(about: &str, objects: &[(&str, Value)], events: Vec<Value>) -> String {
    let (kind, name) = about.split_once('/').expect("KIND/NAME");
    let mut live = Live::new(Family::new(kind, name));
    objects.iter().for_each(|(kind, object)| drop(live.put(kind, object.clone(), None)));
    live.list("Event", events, None);
    Lines::default().lay(&live.news(None))
}

#[test]
fn a_set_comes_up_in_order_within_a_second() {
    let objects = [
        ("StatefulSet", set()),
        (
            "ControllerRevision",
            json!({"metadata": {"name": "db-7d9", "creationTimestamp": time(0),
            "ownerReferences": [{"uid": "set"}]}, "revision": 1}),
        ),
        ("PersistentVolumeClaim", claim("data-db-0", 0)),
        ("PersistentVolumeClaim", claim("data-db-1", 0)),
        ("PersistentVolumeClaim", claim("data-other-0", 0)),
        ("Pod", pod("db-0", 0)),
        ("Pod", pod("db-1", 0)),
    ];
    let events = [coming_up("db-0", 10), coming_up("db-1", 60)].concat();
    insta::assert_snapshot!(told("StatefulSet/db", &objects, events), @r#"
    since 2026-01-02T03:04:05.010Z
         +0 s             statefulset/db             created
         +0 s             controllerrevision/db-7d9  created as revision 1
     +0.000 s             pvc/data-db-0              created
     +0.001 s    0.001 s  pod/db-0                   created
     +0.003 s    0.002 s  pod/db-0                   scheduled to n1
     +0.030 s    0.027 s  pod/db-0                   Created container: db
     +0.035 s    0.005 s  pod/db-0                   container db started
         +0 s             pod/db-0                   Ready
     +0.050 s             pvc/data-db-1              created
     +0.051 s    0.001 s  pod/db-1                   created
     +0.053 s    0.002 s  pod/db-1                   scheduled to n1
     +0.080 s    0.027 s  pod/db-1                   Created container: db
     +0.085 s    0.005 s  pod/db-1                   container db started
         +0 s             pod/db-1                   Ready
    "#);
}

#[test]
fn a_pods_story_has_its_claim_and_leaves_the_others_out() {
    let objects = [
        ("PersistentVolumeClaim", claim("data-db-1", 0)),
        ("PersistentVolumeClaim", claim("data-db-0", 0)),
        ("Pod", pod("db-1", 0)),
        ("Pod", pod("db-0", 0)),
    ];
    let events = [coming_up("db-0", 10), coming_up("db-1", 60)].concat();
    insta::assert_snapshot!(told("Pod/db-1", &objects, events), @r#"
    since 2026-01-02T03:04:05.060Z
     +0.000 s             pvc/data-db-1  created
     +0.001 s    0.001 s  pod/db-1       created
     +0.003 s    0.002 s  pod/db-1       scheduled to n1
     +0.030 s    0.027 s  pod/db-1       Created container: db
     +0.035 s    0.005 s  pod/db-1       container db started
         +0 s             pod/db-1       Ready
    "#);
}

#[test]
fn restarts_and_the_end_of_a_pod_are_told_to_the_second() {
    let pod = json!({
        "metadata": {"name": "db-0", "creationTimestamp": time(0), "deletionTimestamp": time(8_000_000),
            "deletionGracePeriodSeconds": 30},
        "spec": {"nodeName": "n1"},
        "status": {
            "conditions": [
                condition("PodScheduled", "True", 0),
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady",
                    "message": "containers with unready status: [db]", "lastTransitionTime": time(200_000)},
            ],
            "initContainerStatuses": [{"name": "init", "state": {"terminated":
                {"exitCode": 0, "reason": "Completed", "startedAt": time(1000), "finishedAt": time(2000)}}}],
            "containerStatuses": [{"name": "db",
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no password\nat all",
                    "startedAt": time(3000), "finishedAt": time(200_000)}},
                "state": {"running": {"startedAt": time(210_000)}}}],
        },
    });
    let mut back_off = warning("Pod/db-0", 201_500, "BackOff", "Back-off restarting failed container db");
    back_off["count"] = 4.into();
    back_off["lastTimestamp"] = time(209_000).into();
    insta::assert_snapshot!(told("Pod/db-0", &[("Pod", pod)], vec![back_off]), @r#"
    since 2026-01-02T03:04:05Z
           +0 s              pod/db-0  created
           +0 s              pod/db-0  scheduled to n1
           +1 s         1 s  pod/db-0  container init started
           +2 s         1 s  pod/db-0  container init ended with exit code 0 (Completed)
           +3 s         1 s  pod/db-0  container db started
    +3 min 20 s  3 min 17 s  pod/db-0  container db ended with exit code 1 (Error): no password
    +3 min 20 s              pod/db-0  not Ready: containers with unready status: [db]
    +3 min 21 s         1 s  pod/db-0  Warning BackOff: Back-off restarting failed container db
    +3 min 29 s         7 s  pod/db-0  Warning BackOff: Back-off restarting failed container db (4 times by now)
    +3 min 30 s         1 s  pod/db-0  container db started
    +2 h 12 min   2 h 9 min  pod/db-0  told to stop within 30 s
    "#);
}

#[test]
fn pods_that_are_gone_live_on_in_events() {
    let events = vec![
        event("StatefulSet/db", 5000, "SuccessfulDelete", "delete Pod db-2 in StatefulSet db successful"),
        event("Pod/db-2", 5010, "Killing", "Stopping container db"),
        event("Pod/db-x", 5020, "Killing", "Stopping container x"),
        event(
            "PersistentVolumeClaim/data-db-2",
            0,
            "ProvisioningSucceeded",
            "Successfully provisioned volume v",
        ),
    ];
    insta::assert_snapshot!(told("StatefulSet/db", &[("StatefulSet", set())], events.clone()), @r#"
    since 2026-01-02T03:04:05.000Z
         +0 s             statefulset/db  created
     +0.000 s             pvc/data-db-2   ProvisioningSucceeded: Successfully provisioned volume v
     +5.000 s    5.000 s  pod/db-2        deleted by statefulset/db
     +5.010 s    0.010 s  pod/db-2        Killing: Stopping container db
    "#);
    insta::assert_snapshot!(told("Pod/db-2", &[], events), @r#"
    since 2026-01-02T03:04:10.000Z
     +0.000 s             pod/db-2  deleted by statefulset/db
     +0.010 s    0.010 s  pod/db-2  Killing: Stopping container db
    "#);
}

#[test]
fn a_step_that_is_known_to_the_second_stands_behind_what_must_come_first() {
    let unready = warning("Pod/db-0", 500, "Unhealthy", "Readiness probe failed: refused");
    let killing = event("Pod/db-0", 700, "Killing", "Stopping container db");
    insta::assert_snapshot!(told("Pod/db-0", &[("Pod", pod("db-0", 0))], vec![unready, killing]), @r#"
    since 2026-01-02T03:04:05.500Z
         +0 s             pod/db-0  created
         +0 s             pod/db-0  scheduled to n1
         +0 s             pod/db-0  container db started
     +0.000 s             pod/db-0  Warning Unhealthy: Readiness probe failed: refused
         +0 s             pod/db-0  Ready
     +0.200 s             pod/db-0  Killing: Stopping container db
    "#);
}

#[test]
fn what_is_watched_is_told_once_and_as_it_is_heard() {
    let mut live = Live::new(Family::new("Pod", "db-0"));
    let mut lines = Lines::default();
    let mut out = String::new();
    let mut tell = |live: &mut Live, first: Vec<Step>, millis: Option<i64>| {
        let mut steps = first;
        steps.extend(live.news(millis.map(at)));
        out += &lines.lay(&steps);
    };
    let mut young = pod("db-0", 0);
    young["status"] = json!({});
    live.list("Pod", vec![young.clone(), pod("other", 0)], None);
    tell(&mut live, Vec::new(), None);
    // A status, and then the event about the same, which is more exact but no news.
    let seen = live.put("Pod", pod("db-0", 0), Some(at(120)));
    tell(&mut live, seen, Some(120));
    live.list("Event", coming_up("db-0", 10), Some(at(130)));
    tell(&mut live, Vec::new(), Some(130));
    let gone = live.remove("Pod", "db-0", Some(at(900))).into_iter().collect();
    tell(&mut live, gone, Some(900));
    let others = live.remove("Pod", "other", Some(at(950)));
    assert_eq!(others, None);
    insta::assert_snapshot!(out, @r#"
    since 2026-01-02T03:04:05Z
         +0 s             pod/db-0  created
     +0.120 s             pod/db-0  scheduled to n1
     +0.120 s             pod/db-0  container db started
     +0.120 s             pod/db-0  Ready
     +0.010 s             pvc/data-db-0  created
     +0.040 s    0.030 s  pod/db-0       Created container: db
     +0.900 s    0.860 s  pod/db-0       gone
    "#);
}

#[test]
fn long_spans_lose_their_milliseconds_and_long_kinds_their_names() {
    let steps: Vec<Step> = [0, 99_999, 100_000, 3_600_000, 200_000_000]
        .map(|millis| Step::seen(at(millis), spoken("PersistentVolumeClaim", "data"), "seen"))
        .into();
    insta::assert_snapshot!(Lines::default().lay(&steps), @r#"
    since 2026-01-02T03:04:05.000Z
       +0.000 s               pvc/data  seen
      +99.999 s     99.999 s  pvc/data  seen
    +1 min 40 s      0.001 s  pvc/data  seen
     +1 h 0 min  58 min 20 s  pvc/data  seen
       +2 d 7 h      2 d 6 h  pvc/data  seen
    "#);
    assert_eq!(Lines::default().lay(&[]), "");
}

/// A set's condition, as it has been since this moment.
fn of_set(kind: &str, status: &str, millis: i64, message: &str) -> Value {
    let mut condition = condition(kind, status, millis);
    condition["message"] = message.into();
    condition
}

#[test]
fn a_sets_conditions_tell_when_it_became_available_and_when_it_stalled() {
    let mut set = set();
    set["status"]["conditions"] = json!([
        of_set("Available", "False", 0, "0 of 2 replicas are available"),
        of_set("Progressing", "True", 0, "db-1 waits until db-0 is Ready"),
        of_set("Stalled", "False", 0, ""),
    ]);
    insta::assert_snapshot!(told("StatefulSet/db", &[("StatefulSet", set.clone())], vec![]), @r#"
    since 2026-01-02T03:04:05Z
         +0 s             statefulset/db  created
         +0 s             statefulset/db  Progressing
    "#);
    set["status"]["conditions"] = json!([
        of_set("Available", "True", 9000, "2 of 2 replicas are available"),
        of_set("Progressing", "False", 9000, "db-1 is not Ready: CrashLoopBackOff"),
        of_set("Stalled", "True", 65_000, "db-1 is not Ready: CrashLoopBackOff: back-off 40s"),
        of_set("BackedUp", "True", 30_000, ""),
    ]);
    let stalled =
        warning("StatefulSet/db", 65_200, "Stalled", "db-1 is not Ready: CrashLoopBackOff: back-off 10s");
    insta::assert_snapshot!(told("StatefulSet/db", &[("StatefulSet", set.clone())], vec![stalled]), @r#"
    since 2026-01-02T03:04:05Z
         +0 s             statefulset/db  created
         +9 s        9 s  statefulset/db  Available
         +9 s             statefulset/db  not Progressing
        +30 s       21 s  statefulset/db  BackedUp
    +65.200 s       35 s  statefulset/db  Stalled: db-1 is not Ready
    "#);
    set["status"]["conditions"][2] = of_set("Stalled", "False", 80_000, "");
    insta::assert_snapshot!(told("StatefulSet/db", &[("StatefulSet", set)], vec![]), @r#"
    since 2026-01-02T03:04:05Z
         +0 s             statefulset/db  created
         +9 s        9 s  statefulset/db  Available
         +9 s             statefulset/db  not Progressing
        +30 s       21 s  statefulset/db  BackedUp
        +80 s       50 s  statefulset/db  not Stalled any more
    "#);
}

#[test]
fn an_update_is_told_with_its_revision_and_the_pods_that_make_way() {
    let revision = |name: &str, number: i64, millis: i64| {
        json!({"metadata": {"name": name, "creationTimestamp": time(millis), "ownerReferences": [{"uid": "set"}]},
            "revision": number})
    };
    let objects = [
        ("StatefulSet", set()),
        ("ControllerRevision", revision("db-7d9", 1, 0)),
        ("ControllerRevision", revision("db-f00", 2, 60_000)),
        ("PersistentVolumeClaim", claim("data-db-0", 0)),
        ("Pod", pod("db-0", 61_000)),
    ];
    let mut events = coming_up("db-0", 10);
    events.push(event(
        "StatefulSet/db",
        60_010,
        "SuccessfulDelete",
        "delete Pod db-0 in StatefulSet db successful",
    ));
    events.push(event("Pod/db-0", 60_020, "Killing", "Stopping container db"));
    events.extend(coming_up("db-0", 61_010).split_off(1));
    insta::assert_snapshot!(told("StatefulSet/db", &objects, events), @r#"
    since 2026-01-02T03:04:05.010Z
         +0 s             statefulset/db             created
         +0 s             controllerrevision/db-7d9  created as revision 1
     +0.000 s             pvc/data-db-0              created
     +0.001 s    0.001 s  pod/db-0                   created
     +0.003 s    0.002 s  pod/db-0                   scheduled to n1
     +0.030 s    0.027 s  pod/db-0                   Created container: db
     +0.035 s    0.005 s  pod/db-0                   container db started
        +59 s       59 s  controllerrevision/db-f00  created as revision 2
    +60.000 s             pod/db-0                   deleted by statefulset/db
    +60.010 s    0.010 s  pod/db-0                   Killing: Stopping container db
    +61.001 s    0.991 s  pod/db-0                   created
    +61.003 s    0.002 s  pod/db-0                   scheduled to n1
    +61.030 s    0.027 s  pod/db-0                   Created container: db
    +61.035 s    0.005 s  pod/db-0                   container db started
        +60 s             pod/db-0                   Ready
    "#);
}

#[test]
fn what_goes_on_and_on_is_told_ever_more_seldom() {
    let mut live = Live::new(Family::new("Pod", "db-0"));
    let mut lines = Lines::default();
    let mut out = String::new();
    live.list("Pod", vec![pod("db-0", 0)], None);
    live.news(None);
    for count in 1..=20_i64 {
        let mut unready = warning("Pod/db-0", 5000, "Unhealthy", "Readiness probe failed: refused");
        unready["count"] = count.into();
        unready["lastTimestamp"] = time(5000 + 10_000 * (count - 1)).into();
        let heard = at(5100 + 10_000 * (count - 1));
        live.put("Event", unready, Some(heard));
        out += &lines.lay(&live.news(Some(heard)));
    }
    insta::assert_snapshot!(out, @r#"
    since 2026-01-02T03:04:10.000Z
     +0.000 s             pod/db-0  Warning Unhealthy: Readiness probe failed: refused
    +10.100 s   10.100 s  pod/db-0  Warning Unhealthy: Readiness probe failed: refused (2 times by now)
    +30.100 s   20.000 s  pod/db-0  Warning Unhealthy: Readiness probe failed: refused (4 times by now)
    +70.100 s   40.000 s  pod/db-0  Warning Unhealthy: Readiness probe failed: refused (8 times by now)
    +2 min 30 s   80.000 s  pod/db-0  Warning Unhealthy: Readiness probe failed: refused (16 times by now)
    "#);
}

#[test]
fn who_watches_sees_probes_and_claims_change() {
    let mut live = Live::new(Family::new("StatefulSet", "db"));
    let mut out = String::new();
    let mut lines = Lines::default();
    let probed = |started: bool, ready: bool| {
        let mut pod = pod("db-0", 0);
        pod["spec"]["containers"] = json!([{"name": "db", "startupProbe": {}, "readinessProbe": {}}]);
        pod["status"]["conditions"] = json!([]);
        let status = &mut pod["status"]["containerStatuses"][0];
        (status["started"], status["ready"]) = (started.into(), ready.into());
        pod
    };
    let mut pending = claim("data-db-0", 0);
    pending["status"]["phase"] = "Pending".into();
    live.list("StatefulSet", vec![set()], None);
    live.list("PersistentVolumeClaim", vec![pending.clone()], None);
    live.list("Pod", vec![probed(false, false)], None);
    out += &lines.lay(&live.news(None));
    pending["status"]["phase"] = "Bound".into();
    pending["spec"]["volumeName"] = "pvc-1".into();
    out += &lines.lay(&live.put("PersistentVolumeClaim", pending, Some(at(40))));
    let moments = [(true, false, 900), (true, true, 950), (true, true, 960), (true, false, 5000)];
    for (started, ready, millis) in moments {
        out += &lines.lay(&live.put("Pod", probed(started, ready), Some(at(millis))));
    }
    // Another run begins anew.
    let mut again = probed(true, true);
    again["status"]["containerStatuses"][0]["containerID"] = "second".into();
    out += &lines.lay(&live.put("Pod", again, Some(at(6000))));
    insta::assert_snapshot!(out, @r#"
    since 2026-01-02T03:04:05Z
         +0 s             statefulset/db  created
         +0 s             pvc/data-db-0   created
         +0 s             pod/db-0        created
         +0 s             pod/db-0        container db started
     +0.040 s             pvc/data-db-0   bound to pvc-1
     +0.900 s    0.860 s  pod/db-0        container db passed its startup probe
     +0.950 s    0.050 s  pod/db-0        container db passed its readiness probe
     +5.000 s    4.050 s  pod/db-0        container db fails its readiness probe
    "#);
}
