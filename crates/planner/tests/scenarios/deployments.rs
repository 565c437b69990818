//! Stories about one Deployment `web`: pods are called by the order in which they came (`web-r1-1` is the first
//! pod, and of the first template), and a kubelet does what the story tells it.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sim::Sim;

/// What the log tells of.
const TOLD: &[&str] = &["pod/", "replicaset/"];
/// Rounds in which the kubelet does all it is asked to.
const HEALING_ROUNDS: usize = 60;

/// Tells the story: each line of `script` is done, the planners come to rest, and what they did follows. What a
/// line with a `~` in front leads to is not told.
fn tell(script: &str) -> String {
    let mut sim = Sim::new();
    let mut told = String::new();
    let mut seen: Vec<String> = Vec::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        sim.log.clear();
        sim.events.clear();
        let (is_told, line) = line.strip_prefix("~ ").map_or((true, line), |line| (false, line));
        perform(&mut sim, line);
        sim.settle();
        seen.extend(
            sim.names("ReplicaSet").into_iter().filter(|name| !seen.contains(name)).collect::<Vec<_>>(),
        );
        if !is_told {
            continue;
        }
        let mut lines = vec![format!("> {line}")];
        lines.extend(sim.log.iter().filter(|line| TOLD.iter().any(|word| line.contains(word))).cloned());
        let scaled = sim.events.iter().filter_map(|event| event.strip_prefix("ScalingReplicaSet "));
        lines.extend(scaled.map(|event| format!("! {event}")));
        lines.extend(waits(&sim));
        lines.push(status(&sim));
        told += &(lines.join("\n") + "\n");
    }
    // Templates by the order in which they came: their hashes say nothing.
    for (index, name) in seen.iter().enumerate() {
        told = told.replace(name.as_str(), &format!("web-r{}", index + 1));
    }
    told
}

/// The pod that came as the nth; `None` when it is gone.
fn pod(sim: &Sim, number: &str) -> Option<String> {
    sim.names("Pod").into_iter().find(|name| name.rsplit('-').next() == Some(number))
}

fn perform(sim: &mut Sim, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let word = words.get(1).copied().unwrap_or_default();
    let pods = |sim: &Sim| -> Vec<String> {
        let named = words[1..].iter();
        named.map(|number| pod(sim, number).unwrap_or_else(|| panic!("no pod {number}"))).collect()
    };
    let number = || word.parse::<i64>().unwrap_or_else(|_| panic!("{word} is no number"));
    match words[0] {
        "deployment" => {
            sim.make(deployment(&words[1..]));
        }
        "replicas" => sim.edit("Deployment", "web", |d| d["spec"]["replicas"] = number().into()),
        "image" => sim.edit("Deployment", "web", |d| {
            d["spec"]["template"]["spec"]["containers"][0]["image"] = word.into();
        }),
        "pause" => sim.edit("Deployment", "web", |d| d["spec"]["paused"] = true.into()),
        "resume" => sim.edit("Deployment", "web", |d| d["spec"]["paused"] = false.into()),
        "ready" => pods(sim).iter().for_each(|pod| sim.ready(pod)),
        "crash" => pods(sim).iter().for_each(|pod| {
            sim.pod_status(
                pod,
                &json!({"phase": "Running", "podIP": "10.42.0.9",
                "conditions": [{"type": "Ready", "status": "False"}],
                "containerStatuses": [{"name": "web", "image": "web:1", "imageID": "", "ready": false,
                    "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
            );
        }),
        "delete" => pods(sim).iter().for_each(|pod| sim.remove("Pod", pod, &[])),
        "finish" => pods(sim).iter().for_each(|pod| sim.finish(pod)),
        "finish-all" => {
            for pod in sim.names("Pod") {
                if is_terminating(sim.pod(&pod).expect("a pod")) {
                    sim.finish(&pod);
                }
            }
        }
        "delete-deployment" => sim.remove("Deployment", "web", &[]),
        "tick" => sim.tick(number()),
        other => panic!("no such verb: {other}"),
    }
}

/// `replicas=3 surge=1 unavailable=0 recreate min-ready=10 history=1 deadline=60`.
fn deployment(options: &[&str]) -> Value {
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "annotations": {"team": "a"}},
        "spec": {
            "replicas": 3, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                         "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
        },
    });
    for option in options {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let amount = || value.parse::<i64>().map_or(Value::from(value), Value::from);
        let spec = &mut deployment["spec"];
        match name {
            "replicas" => spec["replicas"] = amount(),
            "surge" => spec["strategy"]["rollingUpdate"]["maxSurge"] = amount(),
            "unavailable" => spec["strategy"]["rollingUpdate"]["maxUnavailable"] = amount(),
            "recreate" => spec["strategy"] = json!({"type": "Recreate"}),
            "min-ready" => spec["minReadySeconds"] = amount(),
            "history" => spec["revisionHistoryLimit"] = amount(),
            "deadline" => spec["progressDeadlineSeconds"] = amount(),
            other => panic!("no such option: {other}"),
        }
    }
    deployment
}

fn waits(sim: &Sim) -> Vec<String> {
    let plans = sim.all_plans().into_iter().filter(|(planner, ..)| *planner == "deployment-controller");
    let waiting = plans.flat_map(|(_, _, plan)| plan.waiting_on);
    waiting.map(|waiting| format!("  {}: {}", waiting.reason, waiting.message)).collect()
}

/// `= 3 pods, 1 updated, 2 available; Progressing True ReplicaSetUpdated` from the status that was written.
fn status(sim: &Sim) -> String {
    let Some(deployment) = sim.get("Deployment", "default", "web") else { return "= none".to_owned() };
    let status = &deployment["status"];
    assert_eq!(status["observedGeneration"], deployment["metadata"]["generation"]);
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    let condition = |kind: &str| {
        let held = conditions.iter().find(|condition| condition["type"] == kind).cloned().unwrap_or_default();
        let word = |field: &str| held[field].as_str().unwrap_or_default().to_owned();
        format!("{kind} {} {}", word("status"), word("reason"))
    };
    let available = match condition("Available").contains("True") {
        true => "",
        false => ", not enough",
    };
    format!(
        "= {} pods, {} updated, {} available{available}; {}",
        count("replicas"),
        count("updatedReplicas"),
        count("availableReplicas"),
        condition("Progressing")
    )
}

fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn annotation<'v>(object: &'v Value, key: &str) -> &'v str {
    object["metadata"]["annotations"][key].as_str().unwrap_or_default()
}

#[test]
fn pods_come_all_at_once_and_the_rollout_is_complete_when_they_are_ready() {
    let story = "
        deployment replicas=2
        ready 1
        ready 2
        replicas 3
        ready 3
        replicas 1
    ";
    insta::assert_snapshot!(tell(story), @r"
    > deployment replicas=2
    create replicaset/web-r1
    create pod/web-r1-1
    create pod/web-r1-2
    ! Scaled up replica set web-r1 from 0 to 2
      NewPodsUnavailable: 0 of 2 pods of replicaset/web-r1 are available
    = 2 pods, 2 updated, 0 available, not enough; Progressing True ReplicaSetUpdated
    > ready 1
      NewPodsUnavailable: 1 of 2 pods of replicaset/web-r1 are available
    = 2 pods, 2 updated, 1 available, not enough; Progressing True ReplicaSetUpdated
    > ready 2
    = 2 pods, 2 updated, 2 available; Progressing True NewReplicaSetAvailable
    > replicas 3
    create pod/web-r1-3
    ! Scaled up replica set web-r1 from 2 to 3
      NewPodsUnavailable: 2 of 3 pods of replicaset/web-r1 are available
    = 3 pods, 3 updated, 2 available, not enough; Progressing True NewReplicaSetAvailable
    > ready 3
    = 3 pods, 3 updated, 3 available; Progressing True NewReplicaSetAvailable
    > replicas 1
    delete pod/web-r1-1
    delete pod/web-r1-2
    ! Scaled down replica set web-r1 from 3 to 1
    = 1 pods, 1 updated, 1 available; Progressing True NewReplicaSetAvailable
    ");
}

#[test]
fn an_update_makes_new_pods_within_the_surge_and_takes_old_ones_as_new_ones_become_ready() {
    let story = "
        ~ deployment replicas=4
        ~ ready 1 2 3 4
        image web:2
        ready 5
        finish-all
        ready 6 7
        finish-all
        ready 8
        finish-all
    ";
    insta::assert_snapshot!(tell(story), @r"
    > image web:2
    create replicaset/web-r2
    create pod/web-r2-5
    delete pod/web-r1-4
    create pod/web-r2-6
    ! Scaled up replica set web-r2 from 0 to 1
    ! Scaled down replica set web-r1 from 4 to 3
    ! Scaled up replica set web-r2 from 1 to 2
      NewPodsUnavailable: 0 of 2 pods of replicaset/web-r2 are available
    = 5 pods, 2 updated, 3 available; Progressing True ReplicaSetUpdated
    > ready 5
    delete pod/web-r1-1
    create pod/web-r2-7
    ! Scaled down replica set web-r1 from 3 to 2
    ! Scaled up replica set web-r2 from 2 to 3
      NewPodsUnavailable: 1 of 3 pods of replicaset/web-r2 are available
    = 5 pods, 3 updated, 3 available; Progressing True ReplicaSetUpdated
    > finish-all
    gone pod/web-r1-1
    gone pod/web-r1-4
      NewPodsUnavailable: 1 of 3 pods of replicaset/web-r2 are available
    = 5 pods, 3 updated, 3 available; Progressing True ReplicaSetUpdated
    > ready 6 7
    delete pod/web-r1-2
    delete pod/web-r1-3
    create pod/web-r2-8
    ! Scaled down replica set web-r1 from 2 to 0
    ! Scaled up replica set web-r2 from 3 to 4
      NewPodsUnavailable: 3 of 4 pods of replicaset/web-r2 are available
    = 4 pods, 4 updated, 3 available; Progressing True ReplicaSetUpdated
    > finish-all
    gone pod/web-r1-2
    gone pod/web-r1-3
      NewPodsUnavailable: 3 of 4 pods of replicaset/web-r2 are available
    = 4 pods, 4 updated, 3 available; Progressing True ReplicaSetUpdated
    > ready 8
    = 4 pods, 4 updated, 4 available; Progressing True NewReplicaSetAvailable
    > finish-all
    = 4 pods, 4 updated, 4 available; Progressing True NewReplicaSetAvailable
    ");
}

#[test]
fn without_surge_an_old_pod_goes_first() {
    let story = "
        ~ deployment replicas=2 surge=0 unavailable=1
        ~ ready 1 2
        image web:2
        finish-all
        ready 3
        finish-all
        ready 4
    ";
    insta::assert_snapshot!(tell(story), @r"
    > image web:2
    create replicaset/web-r2
    delete pod/web-r1-1
    create pod/web-r2-3
    ! Scaled down replica set web-r1 from 2 to 1
    ! Scaled up replica set web-r2 from 0 to 1
      NewPodsUnavailable: 0 of 1 pods of replicaset/web-r2 are available
    = 2 pods, 1 updated, 1 available; Progressing True ReplicaSetUpdated
    > finish-all
    gone pod/web-r1-1
      NewPodsUnavailable: 0 of 1 pods of replicaset/web-r2 are available
    = 2 pods, 1 updated, 1 available; Progressing True ReplicaSetUpdated
    > ready 3
    delete pod/web-r1-2
    create pod/web-r2-4
    ! Scaled down replica set web-r1 from 1 to 0
    ! Scaled up replica set web-r2 from 1 to 2
      NewPodsUnavailable: 1 of 2 pods of replicaset/web-r2 are available
    = 2 pods, 2 updated, 1 available; Progressing True ReplicaSetUpdated
    > finish-all
    gone pod/web-r1-2
      NewPodsUnavailable: 1 of 2 pods of replicaset/web-r2 are available
    = 2 pods, 2 updated, 1 available; Progressing True ReplicaSetUpdated
    > ready 4
    = 2 pods, 2 updated, 2 available; Progressing True NewReplicaSetAvailable
    ");
}

#[test]
fn a_rollback_takes_the_old_replica_set_up_again_and_remembers_its_places() {
    let story = "
        ~ deployment replicas=1
        ~ ready 1
        ~ image web:2
        ~ ready 2
        ~ finish-all
        image web:1
        ready 3
        finish-all
    ";
    insta::assert_snapshot!(tell(story), @r"
    > image web:1
    create pod/web-r1-3
    ! Scaled up replica set web-r1 from 0 to 1
      NewPodsUnavailable: 0 of 1 pods of replicaset/web-r1 are available
    = 2 pods, 1 updated, 1 available; Progressing True ReplicaSetUpdated
    > ready 3
    delete pod/web-r2-2
    ! Scaled down replica set web-r2 from 1 to 0
    = 1 pods, 1 updated, 1 available; Progressing True NewReplicaSetAvailable
    > finish-all
    gone pod/web-r2-2
    = 1 pods, 1 updated, 1 available; Progressing True NewReplicaSetAvailable
    ");
}

#[test]
fn revisions_are_told_by_annotations() {
    let mut sim = Sim::new();
    for line in ["deployment replicas=1", "ready 1", "image web:2", "ready 2", "image web:1", "ready 3"] {
        perform(&mut sim, line);
        sim.settle();
    }
    let deployment = sim.get("Deployment", "default", "web").expect("the deployment");
    assert_eq!(annotation(deployment, "deployment.kubernetes.io/revision"), "3");
    let sets: Vec<&Value> = sim
        .names("ReplicaSet")
        .iter()
        .map(|name| sim.get("ReplicaSet", "default", name).expect("a replica set"))
        .collect();
    let of_image = |image: &str| {
        let spec = |set: &Value| set["spec"]["template"]["spec"]["containers"][0]["image"] == image;
        *sets.iter().find(|set| spec(set)).expect("a replica set of the image")
    };
    let told = |set: &Value| {
        ["revision", "revision-history", "desired-replicas", "max-replicas"]
            .map(|key| annotation(set, &format!("deployment.kubernetes.io/{key}")).to_owned())
    };
    assert_eq!(told(of_image("web:1")), ["3", "1", "1", "2"]);
    assert_eq!(told(of_image("web:2")), ["2", "", "1", "2"]);
    assert_eq!(annotation(of_image("web:1"), "team"), "a");
    for set in sets {
        let hash = set["metadata"]["labels"]["pod-template-hash"].as_str().expect("a hash");
        assert_eq!(set["metadata"]["name"], format!("web-{hash}"));
        assert_eq!(set["spec"]["selector"]["matchLabels"], json!({"app": "web", "pod-template-hash": hash}));
        assert_eq!(set["spec"]["template"]["metadata"]["labels"]["pod-template-hash"], hash);
    }
}

#[test]
fn recreating_waits_until_the_last_old_pod_is_really_gone() {
    let story = "
        ~ deployment replicas=2 recreate
        ~ ready 1 2
        image web:2
        finish 1
        finish 2
        ready 3 4
    ";
    insta::assert_snapshot!(tell(story), @r"
    > image web:2
    delete pod/web-r1-1
    delete pod/web-r1-2
    ! Scaled down replica set web-r1 from 2 to 0
      OldPodsRunning: new pods are made once web-r1-1 is gone
    = 0 pods, 0 updated, 0 available, not enough; Progressing True NewReplicaSetAvailable
    > finish 1
    gone pod/web-r1-1
      OldPodsRunning: new pods are made once web-r1-2 is gone
    = 0 pods, 0 updated, 0 available, not enough; Progressing True NewReplicaSetAvailable
    > finish 2
    gone pod/web-r1-2
    create replicaset/web-r2
    create pod/web-r2-3
    create pod/web-r2-4
    ! Scaled up replica set web-r2 from 0 to 2
      NewPodsUnavailable: 0 of 2 pods of replicaset/web-r2 are available
    = 2 pods, 2 updated, 0 available, not enough; Progressing True ReplicaSetUpdated
    > ready 3 4
    = 2 pods, 2 updated, 2 available; Progressing True NewReplicaSetAvailable
    ");
}

#[test]
fn a_paused_rollout_stands_still_and_scales_in_proportion() {
    let story = "
        ~ deployment replicas=4 surge=2 unavailable=0
        ~ ready 1 2 3 4
        ~ image web:2
        ~ ready 5 6
        ~ finish-all
        pause
        image web:3
        replicas 8
        resume
    ";
    insta::assert_snapshot!(tell(story), @r"
    > pause
      Paused: it is paused; to go on, set spec.paused to false (kubectl rollout resume)
    = 6 pods, 4 updated, 4 available; Progressing Unknown DeploymentPaused
    > image web:3
      Paused: it is paused; to go on, set spec.paused to false (kubectl rollout resume)
    = 6 pods, 0 updated, 4 available; Progressing Unknown DeploymentPaused
    > replicas 8
    create pod/web-r1-9
    create pod/web-r2-10
    create pod/web-r2-11
    create pod/web-r2-12
    ! Scaled up replica set web-r1 from 2 to 3
    ! Scaled up replica set web-r2 from 4 to 7
      Paused: it is paused; to go on, set spec.paused to false (kubectl rollout resume)
    = 10 pods, 0 updated, 4 available, not enough; Progressing Unknown DeploymentPaused
    > resume
    create replicaset/web-r3
    delete pod/web-r1-9
    delete pod/web-r2-7
    create pod/web-r3-13
    create pod/web-r3-14
    ! Scaled down replica set web-r1 from 3 to 2
    ! Scaled down replica set web-r2 from 7 to 6
    ! Scaled up replica set web-r3 from 0 to 2
      NewPodsUnavailable: 0 of 2 pods of replicaset/web-r3 are available
    = 10 pods, 2 updated, 4 available, not enough; Progressing True ReplicaSetUpdated
    ");
}

#[test]
fn a_stuck_rollout_says_so_and_takes_no_good_pod_away() {
    let story = "
        ~ deployment replicas=3 surge=1 unavailable=0 deadline=60
        ~ ready 1 2 3
        image web:broken
        crash 4
        tick 62
        image web:1
        finish-all
    ";
    insta::assert_snapshot!(tell(story), @r"
    > image web:broken
    create replicaset/web-r2
    create pod/web-r2-4
    ! Scaled up replica set web-r2 from 0 to 1
      NewPodsUnavailable: 0 of 1 pods of replicaset/web-r2 are available
    = 4 pods, 1 updated, 3 available; Progressing True ReplicaSetUpdated
    > crash 4
      NewPodsUnavailable: 0 of 1 pods of replicaset/web-r2 are available
    = 4 pods, 1 updated, 3 available; Progressing True ReplicaSetUpdated
    > tick 62
      NewPodsUnavailable: 0 of 1 pods of replicaset/web-r2 are available
    = 4 pods, 1 updated, 3 available; Progressing False ProgressDeadlineExceeded
    > image web:1
    delete pod/web-r2-4
    ! Scaled down replica set web-r2 from 1 to 0
    = 3 pods, 3 updated, 3 available; Progressing True NewReplicaSetAvailable
    > finish-all
    gone pod/web-r2-4
    = 3 pods, 3 updated, 3 available; Progressing True NewReplicaSetAvailable
    ");
}

#[test]
fn pods_of_no_use_go_before_good_ones() {
    let story = "
        ~ deployment replicas=4 surge=1 unavailable=1
        ~ ready 1 2 3 4
        ~ image web:broken
        ~ crash 5 6
        ~ finish-all
        image web:3
    ";
    insta::assert_snapshot!(tell(story), @r"
    > image web:3
    create replicaset/web-r3
    delete pod/web-r2-5
    delete pod/web-r2-6
    create pod/web-r3-7
    create pod/web-r3-8
    ! Scaled down replica set web-r2 from 2 to 0
    ! Scaled up replica set web-r3 from 0 to 2
      NewPodsUnavailable: 0 of 2 pods of replicaset/web-r3 are available
    = 5 pods, 2 updated, 3 available; Progressing True ReplicaSetUpdated
    ");
}

#[test]
fn the_history_is_cut_to_its_limit_and_goes_with_the_deployment() {
    let story = "
        ~ deployment replicas=1 history=1
        ~ ready 1
        ~ image web:2
        ~ ready 2
        ~ finish-all
        image web:3
        ready 3
        finish-all
        delete-deployment
    ";
    insta::assert_snapshot!(tell(story), @r"
    > image web:3
    create replicaset/web-r3
    create pod/web-r3-3
    ! Scaled up replica set web-r3 from 0 to 1
      NewPodsUnavailable: 0 of 1 pods of replicaset/web-r3 are available
    = 2 pods, 1 updated, 1 available; Progressing True ReplicaSetUpdated
    > ready 3
    delete pod/web-r2-2
    delete replicaset/web-r1
    gone replicaset/web-r1
    ! Scaled down replica set web-r2 from 1 to 0
    = 1 pods, 1 updated, 1 available; Progressing True NewReplicaSetAvailable
    > finish-all
    gone pod/web-r2-2
    = 1 pods, 1 updated, 1 available; Progressing True NewReplicaSetAvailable
    > delete-deployment
    delete replicaset/web-r3
    gone replicaset/web-r3
    delete replicaset/web-r2
    gone replicaset/web-r2
    delete pod/web-r3-3
    = none
    ");
}

#[test]
fn a_name_that_another_replica_set_has_is_stepped_over() {
    let mut sim = Sim::new();
    perform(&mut sim, "deployment replicas=1");
    sim.settle();
    let name = sim.names("ReplicaSet").remove(0);
    let mut foreign = sim.get("ReplicaSet", "default", &name).expect("the replica set").clone();
    let mut sim = Sim::new();
    foreign["metadata"] = json!({"name": name, "namespace": "default"});
    foreign["spec"]["selector"]["matchLabels"] = json!({"app": "other"});
    foreign["spec"]["replicas"] = 0.into();
    sim.make(foreign);
    perform(&mut sim, "deployment replicas=1");
    sim.settle();
    assert_eq!(sim.names("ReplicaSet").len(), 2, "{:?}", sim.log);
    assert_eq!(sim.names("Pod").len(), 1);
    let status = &sim.get("Deployment", "default", "web").expect("the deployment")["status"];
    assert_eq!(status["collisionCount"], 1);
}

#[test]
fn an_old_replica_set_that_nobody_manages_is_taken_over() {
    let mut sim = Sim::new();
    perform(&mut sim, "deployment replicas=1");
    sim.settle();
    let name = sim.names("ReplicaSet").remove(0);
    let before = sim.names("Pod");
    sim.remove("Deployment", "web", &["orphan"]);
    sim.settle();
    let set = sim.get("ReplicaSet", "default", &name).expect("it stays");
    assert_eq!(set["metadata"]["ownerReferences"], json!([]));
    perform(&mut sim, "deployment replicas=1");
    sim.settle();
    assert_eq!((sim.names("ReplicaSet"), sim.names("Pod")), (vec![name], before));
}

/// The bounds of an update, from the spec.
struct Bounds {
    most: usize,
    least: usize,
}

impl Bounds {
    fn of(sim: &Sim) -> Self {
        let deployment = sim.get("Deployment", "default", "web").expect("the deployment");
        let spec = &deployment["spec"];
        let replicas = spec["replicas"].as_u64().expect("a number");
        let rolling = &spec["strategy"]["rollingUpdate"];
        let bound = |field: &str, up: bool| {
            let value = &rolling[field];
            let percent = value.as_str().and_then(|share| share.strip_suffix('%')?.parse::<u64>().ok());
            let share = percent.map(|percent| (percent * replicas + if up { 99 } else { 0 }) / 100);
            share.or(value.as_u64()).unwrap_or(0)
        };
        let (surge, mut unavailable) = (bound("maxSurge", true), bound("maxUnavailable", false));
        if surge == 0 && unavailable == 0 {
            unavailable = 1;
        }
        let size = |number: u64| usize::try_from(number).expect("a small number");
        Self { most: size(replicas + surge), least: size(replicas.saturating_sub(unavailable)) }
    }
}

/// Follows what was done since the log was last cleared: at no moment are there more pods than `most` (those that
/// are being deleted do not count), and no deletion leaves fewer ready ones than `least`.
fn assert_within(sim: &Sim, bounds: &Bounds, before: &Census) {
    let mut alive = before.alive.clone();
    let mut ready = before.ready.clone();
    for line in &sim.log {
        if let Some(pod) = line.strip_prefix("create pod/") {
            alive.insert(pod.to_owned());
            assert!(
                alive.len() <= bounds.most.max(before.alive.len()),
                "{pod} is one too many: {:#?}",
                sim.log
            );
        }
        if let Some(pod) = line.strip_prefix("delete pod/") {
            alive.remove(pod);
            if ready.remove(pod) {
                assert!(ready.len() >= bounds.least, "{pod} was needed: {:#?}", sim.log);
            }
        }
    }
}

/// The pods that are there, and those of them that are ready.
#[derive(Clone, Default)]
struct Census {
    alive: std::collections::BTreeSet<String>,
    ready: std::collections::BTreeSet<String>,
}

impl Census {
    fn of(sim: &Sim) -> Self {
        let mut seen = Self::default();
        for name in sim.names("Pod") {
            let pod = sim.pod(&name).expect("a pod");
            if !is_terminating(pod) {
                seen.alive.insert(name.clone());
                if is_ready(pod) {
                    seen.ready.insert(name);
                }
            }
        }
        seen
    }
}

fn options() -> impl Strategy<Value = String> {
    let amount =
        prop_oneof![(0..3_u8).prop_map(|n| n.to_string()), (0..101_u8).prop_map(|n| format!("{n}%"))];
    let strategy = prop_oneof![
        1 => Just("recreate".to_owned()),
        5 => (amount.clone(), amount).prop_map(|(s, u)| format!("surge={s} unavailable={u}")),
    ];
    (0..6_u8, strategy, 0..3_u8, 0..3_u8).prop_map(|(replicas, strategy, min_ready, history)| {
        format!("deployment replicas={replicas} {strategy} min-ready={} history={history}", min_ready * 10)
    })
}

fn step() -> impl Strategy<Value = String> {
    let verb = prop_oneof![8 => Just("ready"), 1 => Just("crash"), 2 => Just("delete"), 5 => Just("finish")];
    prop_oneof![
        12 => (verb, 1..14_u8).prop_map(|(verb, pod)| format!("{verb} {pod}")),
        2 => (0..7_u8).prop_map(|replicas| format!("replicas {replicas}")),
        3 => (1..4_u8).prop_map(|image| format!("image web:{image}")),
        1 => prop_oneof![Just("pause".to_owned()), Just("resume".to_owned())],
        1 => Just("tick 17".to_owned()),
    ]
}

/// Does a step that makes sense now; others are passed over.
fn perform_if_possible(sim: &mut Sim, line: &str) {
    let (verb, number) = line.split_once(' ').unwrap_or((line, ""));
    let held = pod(sim, number).and_then(|pod| sim.pod(&pod).cloned());
    let is_possible = match verb {
        "ready" | "crash" | "delete" => held.is_some_and(|pod| !is_terminating(&pod)),
        "finish" => held.is_some_and(|pod| is_terminating(&pod)),
        _ => true,
    };
    if is_possible {
        perform(sim, line);
        sim.settle();
    }
}

/// The kubelet does its work, and time passes.
fn heal(sim: &mut Sim) {
    perform_if_possible(sim, "resume");
    for _ in 0..HEALING_ROUNDS {
        let before = sim.revision();
        for name in sim.names("Pod") {
            let Some(pod) = sim.pod(&name) else { continue };
            if is_terminating(pod) {
                sim.finish(&name);
            } else if !is_ready(pod) {
                sim.ready(&name);
            } else {
                continue;
            }
            sim.settle();
        }
        sim.tick(31);
        sim.settle();
        if sim.revision() == before {
            return;
        }
    }
    panic!("the deployment never comes to rest: {:#?}", sim.log);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_deployment_reaches_its_goal_when_the_trouble_is_over(
        line in options(), steps in proptest::collection::vec(step(), 0..40),
    ) {
        let mut sim = Sim::new();
        perform(&mut sim, &line);
        sim.settle();
        for line in &steps {
            perform_if_possible(&mut sim, line);
        }
        heal(&mut sim);

        let deployment = sim.get("Deployment", "default", "web").expect("the deployment").clone();
        let (spec, status) = (&deployment["spec"], &deployment["status"]);
        let wanted = spec["replicas"].as_i64().expect("a number");
        for count in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
            prop_assert_eq!(status[count].as_i64().unwrap_or(0), wanted, "{}", count);
        }
        let pods = sim.names("Pod");
        prop_assert_eq!(i64::try_from(pods.len()).expect("few"), wanted);
        for pod in pods {
            let image = &sim.pod(&pod).expect("a pod")["spec"]["containers"][0]["image"];
            prop_assert_eq!(image, &spec["template"]["spec"]["containers"][0]["image"]);
        }
        let progress = status["conditions"].as_array().expect("conditions").iter()
            .find(|condition| condition["type"] == "Progressing").expect("Progressing");
        prop_assert_eq!(&progress["reason"], "NewReplicaSetAvailable");
        let limit = spec["revisionHistoryLimit"].as_i64().expect("a number");
        prop_assert!(i64::try_from(sim.names("ReplicaSet").len()).expect("few") <= limit + 1);
    }

    #[test]
    fn an_update_never_leaves_the_bounds_of_surge_and_unavailability(
        replicas in 1..9_u8, surge in 0..101_u8, unavailable in 0..101_u8, order in proptest::collection::vec(0..8_usize, 60),
    ) {
        let mut sim = Sim::new();
        perform(&mut sim, &format!("deployment replicas={replicas} surge={surge}% unavailable={unavailable}%"));
        sim.settle();
        heal(&mut sim);
        let bounds = Bounds::of(&sim);
        for image in ["web:2", "web:3"] {
            let before = Census::of(&sim);
            sim.log.clear();
            perform(&mut sim, &format!("image {image}"));
            sim.settle();
            assert_within(&sim, &bounds, &before);
            for chosen in &order {
                let unfinished: Vec<String> = sim.names("Pod").into_iter()
                    .filter(|name| sim.pod(name).is_some_and(|pod| is_terminating(pod) || !is_ready(pod)))
                    .collect();
                let Some(name) = unfinished.get(chosen % unfinished.len().max(1)) else { break };
                sim.log.clear();
                match is_terminating(sim.pod(name).expect("a pod")) {
                    true => sim.finish(name),
                    false => sim.ready(name),
                }
                let before = Census::of(&sim);
                sim.settle();
                assert_within(&sim, &bounds, &before);
            }
        }
    }
}
