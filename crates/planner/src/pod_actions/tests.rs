use std::fmt::Write;

use jiff::ToSpan;
use serde_json::{Value, json};

use super::*;
use crate::scheduler::ResizeRefusal;

mod ephemeral;
mod resize;

/// A pod on a node, by hand: tests say what happened and read what is planned.
struct Pod {
    pod: k8s_openapi::api::core::v1::Pod,
    sandbox: Sandbox,
    volumes: Volumes,
    records: Vec<Record>,
    images: ImageState,
    probes: ProbeState,
    config_error: Option<&'static str>,
    config_retry: bool,
    predecessor: bool,
    resize_refused: Option<ResizeRefusal>,
    resize_error: Option<&'static str>,
    resize_retry: bool,
    now: Timestamp,
}

impl Pod {
    fn new(spec: &Value) -> Self {
        let pod = json!({"metadata": {"name": "db-0", "namespace": "default", "uid": "u"}, "spec": spec});
        Self {
            pod: serde_json::from_value(pod).unwrap(),
            sandbox: Sandbox::Alive { ip: "10.42.0.7".to_owned() },
            volumes: Volumes::Ready,
            records: Vec::new(),
            images: ImageState::Present,
            probes: ProbeState { started: true, ready: true, ..ProbeState::default() },
            config_error: None,
            config_retry: false,
            predecessor: false,
            resize_refused: None,
            resize_error: None,
            resize_retry: false,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
        }
    }

    fn one() -> Self {
        Self::new(&json!({"containers": [{"name": "db"}], "terminationGracePeriodSeconds": 30}))
    }

    fn with_init(policy: &str) -> Self {
        Self::new(&json!({"restartPolicy": policy, "initContainers": [{"name": "setup"}],
            "containers": [{"name": "db"}]}))
    }

    fn runs(mut self, name: &str, attempt: u32) -> Self {
        let state = RecordState::Running { started_at: self.now };
        self.records.push(record(name, attempt, state));
        self
    }

    fn ended(mut self, name: &str, attempt: u32, exit_code: i32) -> Self {
        let reason = if exit_code == 0 { "Completed" } else { "Error" }.to_owned();
        let state = RecordState::Exited {
            started_at: self.now,
            finished_at: self.now,
            exit_code,
            signal: None,
            reason,
            message: String::new(),
        };
        self.records.push(record(name, attempt, state));
        self
    }

    fn deleted(mut self) -> Self {
        let deadline = self.now.checked_add(30.seconds()).unwrap();
        self.pod.metadata.deletion_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(deadline));
        self.pod.metadata.deletion_grace_period_seconds = Some(30);
        self
    }

    fn plan(&self) -> PodPlan {
        self.planned(plan)
    }

    fn planned(&self, plan: impl FnOnce(&Snapshot<'_>, Timestamp) -> PodPlan) -> PodPlan {
        let spec = self.pod.spec.as_ref().unwrap();
        let lasting = spec.init_containers.iter().flatten().chain(&spec.containers).map(|c| &c.name);
        let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| &c.name);
        let names: Vec<String> = lasting.chain(ephemeral).cloned().collect();
        let snapshot = Snapshot {
            pod: &self.pod,
            removed: false,
            predecessor_running: self.predecessor,
            host_ip: "10.0.0.1",
            sandbox: self.sandbox.clone(),
            volumes: self.volumes.clone(),
            records: self.records.clone(),
            killing: Default::default(),
            images: names.iter().map(|n| (n.clone(), self.images.clone())).collect(),
            config_errors: self.config_error.map(|e| ("db".to_owned(), e.to_owned())).into_iter().collect(),
            config_retries: self.config_retry.then(|| "db".to_owned()).into_iter().collect(),
            probes: names.iter().map(|n| (n.clone(), self.probes.clone())).collect(),
            resize_refused: self.resize_refused.clone(),
            resize_errors: self.resize_error.map(|e| ("db".to_owned(), e.to_owned())).into_iter().collect(),
            resize_retries: self.resize_retry.then(|| "db".to_owned()).into_iter().collect(),
        };
        plan(&snapshot, self.now)
    }

    /// What is planned, the phase, and how each container looks, one line each.
    fn told(&self) -> String {
        let plan = self.plan();
        let mut out = String::new();
        for action in &plan.actions {
            writeln!(out, "do {action:?}").unwrap();
        }
        for waiting in &plan.waiting_on {
            writeln!(out, "wait {}: {}", waiting.reason, waiting.message).unwrap();
        }
        let status = plan.status;
        let ready = ready_since(&status).is_some();
        writeln!(out, "{} ready={ready}", status.phase.unwrap()).unwrap();
        let all = status.init_container_statuses.iter().chain(&status.container_statuses);
        for container in all.chain(&status.ephemeral_container_statuses).flatten() {
            let state = container.state.clone().unwrap();
            let words = match (state.waiting, state.running, state.terminated) {
                (Some(w), _, _) => format!("waiting {}", w.reason.unwrap()),
                (_, Some(_), _) => "running".to_owned(),
                (_, _, Some(t)) => format!("terminated {}", t.reason.unwrap()),
                _ => "unknown".to_owned(),
            };
            let restarts = container.restart_count;
            writeln!(out, "{}: {words} ready={} restarts={restarts}", container.name, container.ready)
                .unwrap();
        }
        out
    }
}

fn record(name: &str, attempt: u32, state: RecordState) -> Record {
    Record {
        id: ContainerId { name: name.to_owned(), attempt },
        state,
        backoff_step: attempt,
        container_id: format!("stead://u/{name}.{attempt}"),
        image: "i".to_owned(),
        image_id: "sha256:1".to_owned(),
        resources: Default::default(),
    }
}

#[test]
fn a_new_pod_gets_volumes_and_a_sandbox_while_its_image_comes() {
    let mut pod = Pod::one();
    pod.sandbox = Sandbox::Absent;
    pod.volumes = Volumes::Absent;
    pod.images = ImageState::Needed;
    insta::assert_snapshot!(pod.told(), @r#"
    do PullImage { container: "db" }
    do PrepareVolumes
    do RunSandbox
    Pending ready=false
    db: waiting ContainerCreating ready=false restarts=0
    "#);
}

#[test]
fn a_successor_does_nothing_while_its_predecessor_has_processes() {
    let mut pod = Pod::one();
    pod.sandbox = Sandbox::Absent;
    pod.predecessor = true;
    insta::assert_snapshot!(pod.told(), @r"
    wait PredecessorRunning: processes of the former pod db-0 still run here
    Pending ready=false
    db: waiting ContainerCreating ready=false restarts=0
    ");
}

#[test]
fn a_container_is_started_once_all_is_there_and_is_ready_when_its_probe_says_so() {
    let pod = Pod::one();
    insta::assert_snapshot!(pod.told(), @r#"
    do StartContainer { id: ContainerId { name: "db", attempt: 0 }, backoff_step: 0 }
    Pending ready=false
    db: waiting ContainerCreating ready=false restarts=0
    "#);
    let mut pod = pod.runs("db", 0);
    insta::assert_snapshot!(pod.told(), @r"
    Running ready=true
    db: running ready=true restarts=0
    ");
    pod.probes.ready = false;
    insta::assert_snapshot!(pod.told(), @r"
    Running ready=false
    db: running ready=false restarts=0
    ");
}

#[test]
fn init_containers_run_to_their_end_one_after_another_before_the_rest() {
    insta::assert_snapshot!(Pod::with_init("Always").runs("setup", 0).told(), @r"
    wait InitContainerRunning: init container setup has not finished yet
    Pending ready=false
    setup: running ready=false restarts=0
    db: waiting PodInitializing ready=false restarts=0
    ");
    insta::assert_snapshot!(Pod::with_init("Always").ended("setup", 0, 0).told(), @r#"
    do StartContainer { id: ContainerId { name: "db", attempt: 0 }, backoff_step: 0 }
    Pending ready=false
    setup: terminated Completed ready=true restarts=0
    db: waiting ContainerCreating ready=false restarts=0
    "#);
    insta::assert_snapshot!(Pod::with_init("Never").ended("setup", 0, 1).told(), @r"
    Failed ready=false
    setup: terminated Error ready=false restarts=0
    db: waiting PodInitializing ready=false restarts=0
    ");
}

#[test]
fn a_crash_is_answered_at_once_the_first_time_and_after_a_back_off_then() {
    insta::assert_snapshot!(Pod::one().ended("db", 0, 1).told(), @r#"
    do StartContainer { id: ContainerId { name: "db", attempt: 1 }, backoff_step: 1 }
    Running ready=false
    db: terminated Error ready=false restarts=0
    "#);
    let mut pod = Pod::one().ended("db", 0, 1).ended("db", 1, 1);
    insta::assert_snapshot!(pod.told(), @r"
    wait CrashLoopBackOff: container db ended and is started again after a pause of 10 s
    Running ready=false
    db: waiting CrashLoopBackOff ready=false restarts=1
    ");
    assert_eq!(pod.plan().requeue_after, Some(SignedDuration::from_secs(10)));
    pod.now = pod.now.checked_add(10.seconds()).unwrap();
    assert!(matches!(&pod.plan().actions[..], [PodAction::StartContainer { backoff_step: 2, .. }]));
}

#[test]
fn back_off_doubles_up_to_five_minutes() {
    let seconds: Vec<i64> = (0..8).map(|step| backoff_delay(step).as_secs()).collect();
    assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 300, 300]);
}

#[test]
fn a_run_of_ten_minutes_makes_up_for_all_crashes_before_it() {
    let ran = |pod: &mut Pod, minutes: i64| {
        let finished_at = pod.now.checked_add(minutes.minutes()).unwrap();
        let RecordState::Exited { finished_at: end, .. } = &mut pod.records[0].state else {
            panic!("it ended")
        };
        *end = finished_at;
        pod.records[0].backoff_step = 6;
        pod.now = finished_at;
        pod.plan()
    };
    let short = ran(&mut Pod::one().ended("db", 6, 1), 9);
    assert_eq!((short.actions, short.requeue_after), (vec![], Some(SignedDuration::from_mins(5))));
    let long = ran(&mut Pod::one().ended("db", 6, 1), 10);
    assert!(
        matches!(&long.actions[..], [PodAction::StartContainer { backoff_step: 1, .. }]),
        "{:?}",
        long.actions
    );
}

#[test]
fn a_failed_liveness_probe_ends_the_container() {
    let mut pod = Pod::one().runs("db", 0);
    pod.probes.failed = Some("failed liveness probe".to_owned());
    insta::assert_snapshot!(pod.told(), @r#"
    do KillContainer { id: ContainerId { name: "db", attempt: 0 }, grace: 30, message: "failed liveness probe" }
    Running ready=true
    db: running ready=true restarts=0
    "#);
}

#[test]
fn a_missing_key_is_told_and_nothing_is_started() {
    let mut pod = Pod::one();
    pod.config_error = Some("secret \"s\" not found");
    insta::assert_snapshot!(pod.told(), @r#"
    wait ConfigError: secret "s" not found
    Pending ready=false
    db: waiting CreateContainerConfigError ready=false restarts=0
    "#);
}

#[test]
fn a_wrong_configuration_is_told_also_while_it_is_tried_again() {
    let mut pod = Pod::one();
    pod.config_error = Some("no such user");
    pod.config_retry = true;
    insta::assert_snapshot!(pod.told(), @r#"
    do StartContainer { id: ContainerId { name: "db", attempt: 0 }, backoff_step: 0 }
    Pending ready=false
    db: waiting CreateContainerConfigError ready=false restarts=0
    "#);
}

#[test]
fn a_deleted_pod_stops_before_it_gives_anything_back() {
    insta::assert_snapshot!(Pod::one().runs("db", 0).deleted().told(), @r#"
    do KillContainer { id: ContainerId { name: "db", attempt: 0 }, grace: 30, message: "Stopping container db" }
    wait ContainersTerminating: stopping db (at most 30 s)
    Running ready=true
    db: running ready=true restarts=0
    "#);
    insta::assert_snapshot!(Pod::one().ended("db", 0, 0).deleted().told(), @r"
    do StopSandbox
    do RemoveSandbox
    do TeardownVolumes
    do Finish
    Succeeded ready=false
    db: terminated Completed ready=false restarts=0
    ");
}

#[test]
fn jobs_end_for_good_and_keep_their_records() {
    let mut pod = Pod::new(&json!({"restartPolicy": "OnFailure", "containers": [{"name": "db"}]}));
    pod = pod.ended("db", 0, 0);
    insta::assert_snapshot!(pod.told(), @r"
    Succeeded ready=false
    db: terminated Completed ready=false restarts=0
    ");
    pod.pod.status = Some(pod.plan().status);
    insta::assert_snapshot!(pod.told(), @r"
    do StopSandbox
    do TeardownVolumes
    Succeeded ready=false
    db: terminated Completed ready=false restarts=0
    ");
}

#[test]
fn after_a_lost_sandbox_the_containers_begin_anew_and_the_count_goes_on() {
    let mut pod = Pod::one().runs("db", 0);
    pod.pod.status = Some(pod.plan().status);
    pod.sandbox = Sandbox::Dead;
    assert_eq!(pod.plan().actions, [PodAction::StopSandbox, PodAction::RemoveSandbox]);
    pod.records.clear();
    pod.sandbox = Sandbox::Alive { ip: "10.42.0.8".to_owned() };
    assert!(
        matches!(&pod.plan().actions[..], [PodAction::StartContainer { id, .. }] if id.attempt == 1),
        "the second run of the container is run 1"
    );
}

#[test]
fn planning_again_on_the_status_that_was_written_changes_nothing() {
    let mut pod = Pod::one().runs("db", 0);
    let first = pod.plan().status;
    pod.pod.status = Some(first.clone());
    pod.now = pod.now.checked_add(5.seconds()).unwrap();
    assert_eq!(pod.plan().status, first);
    assert!(pod.plan().actions.is_empty());
}

#[test]
fn a_run_that_was_made_and_never_started_goes_and_keeps_its_number() {
    let mut pod = Pod::one();
    pod.records.push(record("db", 0, RecordState::Created));
    insta::assert_snapshot!(pod.told(), @r#"
    do RemoveContainer { id: ContainerId { name: "db", attempt: 0 } }
    Pending ready=false
    db: waiting ContainerCreating ready=false restarts=0
    "#);
    pod.pod.status = Some(pod.plan().status);
    pod.records.clear();
    assert!(matches!(&pod.plan().actions[..], [PodAction::StartContainer { id, .. }] if id.attempt == 0));
}

#[test]
fn a_job_that_lost_its_sandbox_runs_only_what_has_not_succeeded() {
    let spec = json!({"restartPolicy": "OnFailure", "containers": [{"name": "done"}, {"name": "going"}]});
    let mut pod = Pod::new(&spec).ended("done", 0, 0).runs("going", 0);
    pod.pod.status = Some(pod.plan().status);
    pod.records.clear();
    pod.images = ImageState::Needed;
    insta::assert_snapshot!(pod.told(), @r#"
    do PullImage { container: "going" }
    wait ImageNotPresent: image  is not here yet
    Pending ready=false
    done: terminated Completed ready=false restarts=0
    going: waiting ContainerCreating ready=false restarts=0
    "#);
}

#[test]
fn an_image_is_fetched_for_a_start_to_come_and_not_for_a_container_that_runs() {
    let mut pod = Pod::one().runs("db", 0);
    pod.images = ImageState::Needed;
    assert!(pod.plan().actions.is_empty());
}

#[test]
fn a_probe_may_have_a_grace_period_of_its_own() {
    let liveness = json!({"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 3});
    let mut pod = Pod::new(&json!({"containers": [{"name": "db", "livenessProbe": liveness}]})).runs("db", 0);
    pod.probes.failed = Some("failed liveness probe".to_owned());
    assert!(matches!(&pod.plan().actions[..], [PodAction::KillContainer { grace: 3, .. }]));
}

#[test]
fn sidecars_stop_after_the_containers_and_the_last_one_first() {
    let sidecar = |name: &str| json!({"name": name, "restartPolicy": "Always"});
    let spec = json!({"initContainers": [sidecar("log"), sidecar("proxy")], "containers": [{"name": "db"}]});
    let stopped = |pod: &Pod| -> Vec<String> {
        let kill = |action: &PodAction| match action {
            PodAction::KillContainer { id, .. } => Some(id.name.clone()),
            _ => None,
        };
        pod.plan().actions.iter().filter_map(kill).collect()
    };
    let mut pod = Pod::new(&spec).runs("log", 0).runs("proxy", 0).runs("db", 0).deleted();
    assert_eq!(stopped(&pod), ["db"]);
    pod.records.retain(|r| r.id.name != "db");
    assert_eq!(stopped(&pod), ["proxy"]);
    pod.records.retain(|r| r.id.name != "proxy");
    assert_eq!(stopped(&pod), ["log"]);
}

#[test]
fn nothing_is_killed_without_having_been_asked_to_end() {
    let mut pod = Pod::one().runs("db", 0).deleted();
    pod.now = pod.now.checked_add(60.seconds()).unwrap();
    assert_eq!(grace(&pod.pod, false, pod.now), 1, "the period is over");
    assert_eq!(grace(&pod.pod, true, pod.now), 1, "deleted by force");
    pod.now = pod.now.checked_sub(55.seconds()).unwrap();
    assert_eq!(grace(&pod.pod, false, pod.now), 25, "what is left of it");
}

#[test]
fn a_pod_that_asks_for_no_grace_gets_none() {
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "db"}]});
    let pod = Pod::new(&spec).runs("db", 0);
    assert_eq!(grace(&pod.pod, true, pod.now), 0);
    assert!(wants_no_notice(&pod.pod) && !wants_no_notice(&Pod::one().pod));
}

#[test]
fn a_pod_that_is_over_its_active_deadline_fails() {
    let spec = json!({"restartPolicy": "Never", "activeDeadlineSeconds": 60, "containers": [{"name": "db"}]});
    let mut pod = Pod::new(&spec).runs("db", 0);
    pod.pod.status = Some(pod.plan().status);
    assert_eq!(pod.plan().requeue_after, Some(SignedDuration::from_secs(60)));
    pod.now = pod.now.checked_add(60.seconds()).unwrap();
    let status = pod.plan().status;
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
    pod.pod.status = Some(status);
    assert!(matches!(&pod.plan().actions[..], [PodAction::KillContainer { .. }]));
}

/// The conditions and their reasons, one line each.
fn conditions(status: &PodStatus) -> String {
    let told = |c: &k8s_openapi::api::core::v1::PodCondition| {
        format!("{}={} {}\n", c.type_, c.status, c.reason.as_deref().unwrap_or_default())
    };
    status.conditions.iter().flatten().map(told).collect()
}

#[test]
fn a_pod_that_failed_has_not_completed() {
    let job = Pod::new(&json!({"restartPolicy": "Never", "containers": [{"name": "db"}]}));
    insta::assert_snapshot!(conditions(&job.ended("db", 0, 1).plan().status), @r"
    PodReadyToStartContainers=True 
    Initialized=True 
    ContainersReady=False PodFailed
    Ready=False PodFailed
    ");
    let job = Pod::new(&json!({"restartPolicy": "Never", "containers": [{"name": "db"}]}));
    insta::assert_snapshot!(conditions(&job.ended("db", 0, 0).plan().status), @r"
    PodReadyToStartContainers=True 
    Initialized=True PodCompleted
    ContainersReady=False PodCompleted
    Ready=False PodCompleted
    ");
}

#[test]
fn a_pod_that_the_node_does_not_take_fails_and_is_never_begun() {
    let mut pod = Pod::one();
    pod.sandbox = Sandbox::Absent;
    pod.volumes = Volumes::Absent;
    let rejection = Rejection { reason: "NodePorts".to_owned(), message: "it is taken".to_owned() };
    let plan = pod.planned(|snapshot, now| plan_rejection(snapshot, &rejection, now));
    assert_eq!(plan.actions, []);
    let status = plan.status;
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.reason.as_deref(), Some("NodePorts"));
    assert_eq!(status.message.as_deref(), Some("Pod was rejected: it is taken"));
    assert_eq!(status.container_statuses, None);
    insta::assert_snapshot!(conditions(&status), @r"
    PodReadyToStartContainers=False 
    Initialized=True 
    ContainersReady=False PodFailed
    Ready=False PodFailed
    ");
    pod.pod.status = Some(status);
    let plan = pod.plan();
    assert_eq!((plan.actions, Some(plan.status)), (vec![], pod.pod.status.clone()), "that is all");
    assert_eq!(pod.deleted().plan().actions, [PodAction::Finish]);
}
