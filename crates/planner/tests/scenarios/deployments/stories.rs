//! What becomes of a Deployment, step by step.

use planner::deployment::DeploymentPlanner;
use planner::{Action, Key, Planner};
use serde_json::{Value, json};

use super::{annotation, deployment, perform, tell};
use crate::sim::Sim;

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

#[test]
fn sizes_at_the_end_of_numbers_stay_within_them() {
    let mut sim = Sim::new();
    for line in ["deployment replicas=1", "image web:2"] {
        perform(&mut sim, line);
        sim.settle();
    }
    // Somebody sizes the sets by hand; their own planner is not asked.
    let mut world = sim.world.clone();
    for name in sim.names("ReplicaSet") {
        let mut set = (**world.replica_sets.get("default", &name).expect("the set")).clone();
        set.spec.get_or_insert_default().replicas = Some(i32::MAX);
        world.replica_sets.insert(set);
    }
    for options in [&["replicas=1"][..], &["replicas=2147483647", "surge=100%"], &["replicas=0", "recreate"]]
    {
        let mut held = deployment(options);
        held["metadata"]["uid"] =
            sim.get("Deployment", "default", "web").expect("it")["metadata"]["uid"].clone();
        world.deployments.insert(serde_json::from_value(held).expect("a deployment"));
        let plan = DeploymentPlanner.plan(&world, &Key::new("default", "web"), sim.now);
        assert!(!plan.actions.is_empty(), "{options:?}");
        for action in &plan.actions {
            let Action::Patch { patch, .. } = action else { continue };
            let size = patch["spec"]["replicas"].as_i64().unwrap_or(0);
            assert!((0..=i64::from(i32::MAX)).contains(&size), "{options:?} {size}");
        }
    }
}
