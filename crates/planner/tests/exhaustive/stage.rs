//! From a [`State`] to a real [`World`], and from the real planner's plan to what it does to a [`State`].

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod as RealPod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use planner::stateful_set::StatefulSetPlanner;
use planner::{Action, Key, Plan, Planner, World};
use serde_json::{Value, json};

use crate::state::{Claim, Config, ORDINALS, Owner, Phase, Pod, Rev, State, Strategy, TEMPLATES};
use crate::write::Write;

const NOW: i64 = 1_767_225_600;
const MIN_READY_SECONDS: i64 = 10;
/// The spec's generation; a status of an older one says so.
const GENERATION: i64 = 7;

const PHASES: [Phase; 8] = [
    Phase::Pending,
    Phase::Unschedulable,
    Phase::Running,
    Phase::Young,
    Phase::Ready,
    Phase::Stuck,
    Phase::Failed,
    Phase::Terminating,
];

/// What a plan comes to.
pub(crate) struct Planned {
    pub(crate) writes: Vec<Write>,
    pub(crate) independent: bool,
    /// Why it waits.
    pub(crate) waits: Vec<String>,
    /// Whether it asks to be called again by the clock.
    pub(crate) requeues: bool,
}

/// Objects of every sort that a state may have, made by the planner itself.
pub(crate) struct Stage {
    config: Config,
    set: StatefulSet,
    revisions: Vec<ControllerRevision>,
    /// As made: by revision, then by ordinal.
    pods: Vec<Vec<RealPod>>,
    /// What the node says of a pod in each phase.
    statuses: Vec<(Phase, PodStatus)>,
    /// By ordinal.
    claims: Vec<PersistentVolumeClaim>,
}

fn key() -> Key {
    Key::new("default", "web")
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of its kind")
}

fn created<'p>(plan: &'p Plan, kind: &'p str) -> impl Iterator<Item = Value> + 'p {
    plan.actions.iter().filter_map(move |action| match action {
        Action::Create(object) if object["kind"] == kind => Some(object.clone()),
        _ => None,
    })
}

fn set(config: &Config, rev: usize) -> Value {
    let delete = |wanted: bool| if wanted { "Delete" } else { "Retain" };
    let mut set = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "set", "resourceVersion": "1",
                     "generation": GENERATION, "annotations": {}},
        "spec": {
            "replicas": ORDINALS, "serviceName": "web", "ordinals": {"start": 0},
            "podManagementPolicy": if config.parallel { "Parallel" } else { "OrderedReady" },
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                         "spec": {"containers": [{"name": "web", "image": format!("web:{rev}")}]}},
            "revisionHistoryLimit": config.history_limit,
            "minReadySeconds": if config.min_ready { MIN_READY_SECONDS } else { 0 },
            "persistentVolumeClaimRetentionPolicy": {
                "whenScaled": delete(config.scaled_delete), "whenDeleted": delete(config.deleted_delete)},
            "updateStrategy": match config.strategy {
                Strategy::OnDelete => json!({"type": "OnDelete"}),
                Strategy::Bare => json!({"type": "RollingUpdate"}),
                Strategy::Rolling(partition, unavailable) => json!({"type": "RollingUpdate",
                    "rollingUpdate": {"partition": partition, "maxUnavailable": unavailable}}),
            }},
    });
    if config.claims {
        set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]);
    }
    if !config.reserved.is_empty() {
        let list: Vec<String> = config.reserved.iter().map(u8::to_string).collect();
        set["metadata"]["annotations"]["stead.dev/reserve-ordinals"] = list.join(",").into();
    }
    set
}

fn status(phase: Phase) -> PodStatus {
    let ready_since = |seconds: i64| {
        let since = Timestamp::from_second(NOW - seconds).expect("a time").to_string();
        json!({"phase": "Running",
               "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]})
    };
    typed(match phase {
        Phase::Pending => json!({"phase": "Pending"}),
        Phase::Unschedulable => json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "lastTransitionTime": Timestamp::from_second(NOW - 60).expect("a time").to_string()}]}),
        Phase::Running => json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}),
        Phase::Young => ready_since(1),
        Phase::Ready | Phase::Terminating => ready_since(MIN_READY_SECONDS),
        Phase::Failed => json!({"phase": "Failed"}),
        Phase::Stuck => json!({"phase": "Pending", "containerStatuses": [
            {"name": "web", "image": "web", "imageID": "", "ready": false, "restartCount": 0,
             "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}),
    })
}

impl Stage {
    /// Has the planner make all pods, claims and revisions that there may be.
    pub(crate) fn new(config: &Config) -> Self {
        let mut stage = Self {
            config: config.clone(),
            set: typed(set(config, 0)),
            revisions: Vec::new(),
            pods: Vec::new(),
            statuses: PHASES.map(|phase| (phase, status(phase))).into(),
            claims: Vec::new(),
        };
        for rev in 0..TEMPLATES {
            let mut all_at_once = set(config, rev);
            all_at_once["spec"]["podManagementPolicy"] = "Parallel".into();
            all_at_once["metadata"]["annotations"] = json!({});
            let mut world = World::default();
            world.stateful_sets.insert(typed(all_at_once));
            let plan = StatefulSetPlanner.plan(&world, &key(), now());
            stage.revisions.extend(created(&plan, "ControllerRevision").map(typed::<ControllerRevision>));
            stage.pods.push(created(&plan, "Pod").map(typed).collect());
            stage.claims = created(&plan, "PersistentVolumeClaim").map(typed).collect();
        }
        let made = (stage.revisions.len(), stage.pods.iter().map(Vec::len).sum::<usize>());
        assert_eq!(made, (TEMPLATES, TEMPLATES * ORDINALS), "a revision and three pods of each template");
        stage
    }

    /// What the planner wants done in this state.
    pub(crate) fn plan(&self, state: &State) -> Planned {
        let world = self.world(state);
        let plan = StatefulSetPlanner.plan(&world, &key(), now());
        Planned {
            writes: plan.actions.iter().filter_map(|action| self.write(action)).collect(),
            independent: plan.independent,
            waits: plan.waiting_on.iter().map(|waiting| waiting.reason.to_owned()).collect(),
            requeues: plan.requeue_after.is_some(),
        }
    }

    fn revision_name(&self, rev: Rev) -> String {
        self.revisions[usize::from(rev)].metadata.name.clone().unwrap_or_default()
    }

    fn rev_named(&self, name: &str) -> Rev {
        let found = self.revisions.iter().position(|r| r.metadata.name.as_deref() == Some(name));
        let found = found.unwrap_or_else(|| panic!("no revision is called {name:?}"));
        u8::try_from(found).expect("few revisions")
    }

    fn world(&self, state: &State) -> World {
        let mut world = World::default();
        world.stateful_sets.insert(self.set_in(state));
        for (index, rev) in state.history.iter().flatten().enumerate() {
            let mut revision = self.revisions[usize::from(*rev)].clone();
            revision.metadata.uid = Some(format!("revision-{rev}"));
            revision.metadata.resource_version = Some("1".into());
            revision.revision = 1 + index as i64;
            world.controller_revisions.insert(revision);
        }
        for ordinal in 0..ORDINALS {
            match state.pods[ordinal] {
                Pod::Absent => {}
                Pod::Foreign => world.pods.insert(self.foreign(ordinal)),
                Pod::Held(rev, phase) => world.pods.insert(self.pod(ordinal, rev, phase)),
            }
            if let Some(claim) = self.claim(ordinal, state.claims[ordinal]) {
                world.claims.insert(claim);
            }
        }
        world
    }

    fn set_in(&self, state: &State) -> StatefulSet {
        let mut set = self.set.clone();
        let spec = set.spec.as_mut().expect("a spec");
        spec.replicas = Some(state.replicas.into());
        spec.ordinals.as_mut().expect("ordinals").start = Some(state.start.into());
        if state.paused {
            let annotations = set.metadata.annotations.get_or_insert_default();
            annotations.insert("stead.dev/paused".into(), "true".into());
        }
        if state.current.is_some() || state.update.is_some() {
            set.status = Some(StatefulSetStatus {
                observed_generation: Some(if state.observed { GENERATION } else { GENERATION - 1 }),
                current_revision: state.current.map(|rev| self.revision_name(rev)),
                update_revision: state.update.map(|rev| self.revision_name(rev)),
                ..StatefulSetStatus::default()
            });
        }
        set
    }

    fn pod(&self, ordinal: usize, rev: Rev, phase: Phase) -> RealPod {
        let mut pod = self.pods[usize::from(rev)][ordinal].clone();
        pod.metadata.uid = Some(format!("pod-{ordinal}"));
        pod.metadata.resource_version = Some("1".into());
        if !matches!(phase, Phase::Pending | Phase::Unschedulable) {
            pod.spec.as_mut().expect("a spec").node_name = Some("node".into());
        }
        if phase == Phase::Terminating {
            pod.metadata.deletion_timestamp = Some(Time(now()));
        }
        pod.status = self.statuses.iter().find(|(held, _)| *held == phase).map(|(_, status)| status.clone());
        pod
    }

    fn foreign(&self, ordinal: usize) -> RealPod {
        let mut pod = self.pod(ordinal, 0, Phase::Ready);
        pod.metadata.uid = Some(format!("foreign-{ordinal}"));
        pod.metadata.owner_references = None;
        pod.metadata.labels = None;
        pod
    }

    fn claim(&self, ordinal: usize, claim: Claim) -> Option<PersistentVolumeClaim> {
        if claim == Claim::Absent {
            return None;
        }
        let mut real = self.claims[ordinal].clone();
        real.metadata.uid = Some(format!("claim-{ordinal}"));
        real.metadata.resource_version = Some("1".into());
        let owner = |kind: &str, name: String, uid: String| {
            vec![OwnerReference {
                api_version: if kind == "Pod" { "v1" } else { "apps/v1" }.into(),
                kind: kind.into(),
                name,
                uid,
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]
        };
        real.metadata.owner_references = match claim.owner() {
            Owner::Nobody => None,
            Owner::Set => Some(owner("StatefulSet", "web".into(), "set".into())),
            Owner::Pod => Some(owner("Pod", format!("web-{ordinal}"), format!("pod-{ordinal}"))),
            Owner::DeadPod => Some(owner("Pod", format!("web-{ordinal}"), "gone".into())),
        };
        if claim == Claim::Terminating {
            real.metadata.deletion_timestamp = Some(Time(now()));
        }
        Some(real)
    }

    /// What an action does, in a state's words; nothing for an event that is told.
    fn write(&self, action: &Action) -> Option<Write> {
        Some(match action {
            Action::Create(object) => self.creation(object),
            Action::Delete { target, grace_period, .. } => {
                assert_eq!(*grace_period, None, "{} is deleted by force", target.name);
                match target.kind.as_str() {
                    "Pod" => {
                        let ordinal = ordinal(&target.name);
                        assert_eq!(
                            target.uid,
                            format!("pod-{ordinal}"),
                            "deletes another pod than the set's"
                        );
                        Write::DeletePod(ordinal)
                    }
                    "ControllerRevision" => Write::DeleteRevision(self.rev_named(&target.name)),
                    kind => panic!("deletes {kind} {}", target.name),
                }
            }
            Action::Patch { target, patch } if target.kind == "PersistentVolumeClaim" => {
                assert_eq!(
                    patch["metadata"]["resourceVersion"], "1",
                    "a claim is patched whatever it has become"
                );
                Write::OwnClaim(ordinal(&target.name), owner(&patch["metadata"]["ownerReferences"]))
            }
            Action::Patch { target, patch } if target.kind == "ControllerRevision" => {
                assert!(patch["revision"].is_i64(), "{patch}");
                Write::RaiseRevision(self.rev_named(&target.name))
            }
            Action::ReplaceStatus(set) => {
                let rev = |field: &str| self.rev_named(set["status"][field].as_str().unwrap_or_default());
                assert_eq!(set["status"]["observedGeneration"], GENERATION);
                Write::Status { current: rev("currentRevision"), update: rev("updateRevision") }
            }
            Action::Record { .. } => return None,
            other => panic!("nothing is known of {other:?}"),
        })
    }

    fn creation(&self, object: &Value) -> Write {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match object["kind"].as_str().unwrap_or_default() {
            "Pod" => {
                let label = object["metadata"]["labels"]["controller-revision-hash"].as_str();
                let rev = self.rev_named(label.unwrap_or_default());
                let image = object["spec"]["containers"][0]["image"].as_str();
                assert_eq!(
                    image,
                    Some(format!("web:{rev}").as_str()),
                    "{name} is not of the revision it says"
                );
                Write::CreatePod(ordinal(name), rev)
            }
            "PersistentVolumeClaim" => {
                Write::CreateClaim(ordinal(name), owner(&object["metadata"]["ownerReferences"]))
            }
            "ControllerRevision" => Write::CreateRevision(self.rev_named(name)),
            kind => panic!("makes {kind} {name}"),
        }
    }

    /// What the search runs on.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }
}

fn ordinal(name: &str) -> usize {
    let ordinal = name.rsplit_once('-').and_then(|(_, digits)| digits.parse().ok());
    ordinal.filter(|ordinal| *ordinal < ORDINALS).unwrap_or_else(|| panic!("{name} is out of this world"))
}

fn owner(references: &Value) -> Owner {
    let references = references.as_array().map_or(&[][..], Vec::as_slice);
    match references {
        [] => Owner::Nobody,
        [owner] if owner["kind"] == "StatefulSet" && owner["uid"] == "set" => Owner::Set,
        [owner] if owner["kind"] == "Pod" && owner["uid"] != "gone" => Owner::Pod,
        other => panic!("a claim of {other:?}"),
    }
}
