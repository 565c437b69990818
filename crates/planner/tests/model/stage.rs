//! From a [`Case`] to a real [`World`], and from a real plan to what it does in a case's words.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use planner::world::KindName;
use planner::{Action, Key, Plan, World};
use serde_json::{Value, json};

use crate::case::{Amount, Case, Claim, Holder, Owner, Phase, Pod, Revision, Spec, Strategy};
use crate::reference::Next;

const NOW: i64 = 1_767_225_600;
const GENERATION: i64 = 7;
const POD: KindName = ("v1", "Pod");
const CLAIM: KindName = ("v1", "PersistentVolumeClaim");
const REVISION: KindName = ("apps/v1", "ControllerRevision");
const SET: KindName = ("apps/v1", "StatefulSet");

/// What a plan does.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) next: Next,
    /// Claims that get another owner, by template and ordinal.
    pub(crate) owned: BTreeMap<(usize, usize), Owner>,
    /// Pods whose labels are put right.
    pub(crate) repaired: BTreeSet<usize>,
}

pub(crate) fn key() -> Key {
    Key::new("default", "web")
}

pub(crate) fn now() -> Timestamp {
    seconds_ago(0)
}

fn seconds_ago(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW - seconds).expect("a time")
}

fn revision_name(revision: Revision) -> &'static str {
    match revision {
        Revision::Old => "web-old",
        Revision::Current => "web-current",
        Revision::Update => "web-update",
    }
}

fn template(revision: Revision) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
           "spec": {"containers": [{"name": "web", "image": revision_name(revision)}]}})
}

fn owner(kind: &str, name: &str, uid: &str) -> Value {
    let version = if kind == "Pod" { "v1" } else { "apps/v1" };
    json!([{"apiVersion": version, "kind": kind, "name": name, "uid": uid,
            "controller": true, "blockOwnerDeletion": true}])
}

/// The world of the case.
pub(crate) fn world(case: &Case) -> World {
    let mut world = World::default();
    let mut put = |kind: KindName, mut object: Value| {
        object["metadata"]["namespace"] = "default".into();
        object["metadata"]["resourceVersion"] = "1".into();
        world.apply(kind, object).expect("an object of its kind");
    };
    put(SET, set(&case.spec));
    for (index, revision) in [Revision::Old, Revision::Current, Revision::Update].into_iter().enumerate() {
        let name = revision_name(revision);
        put(
            REVISION,
            json!({"metadata": {"name": name, "uid": name, "labels": {"app": "web"},
                            "ownerReferences": owner("StatefulSet", "web", "set")},
                   "revision": index + 1, "data": {"spec": {"template": template(revision)}}}),
        );
    }
    for (ordinal, held) in case.pods.iter().enumerate() {
        if let Some(held) = held {
            put(POD, pod(case, ordinal, *held));
        }
    }
    for (template, claims) in case.claims.iter().enumerate() {
        for (ordinal, held) in claims.iter().enumerate() {
            if let Some(held) = held {
                put(CLAIM, claim(template, ordinal, *held));
            }
        }
    }
    world
}

fn set(spec: &Spec) -> Value {
    let delete = |wanted: bool| if wanted { "Delete" } else { "Retain" };
    let reserved: Vec<String> = spec.reserved.iter().map(usize::to_string).collect();
    let mut set = json!({
        "metadata": {"name": "web", "uid": "set", "generation": GENERATION,
                     "annotations": {"stead.dev/reserve-ordinals": reserved.join(","),
                                     "stead.dev/paused": spec.paused.to_string()}},
        "spec": {
            "replicas": spec.replicas, "serviceName": "web", "ordinals": {"start": spec.start},
            "podManagementPolicy": if spec.parallel { "Parallel" } else { "OrderedReady" },
            "selector": {"matchLabels": {"app": "web"}}, "template": template(Revision::Update),
            "minReadySeconds": if spec.min_ready { 10 } else { 0 },
            "persistentVolumeClaimRetentionPolicy": {
                "whenScaled": delete(spec.scaled_delete), "whenDeleted": delete(spec.deleted_delete)},
            "updateStrategy": {"type": "RollingUpdate"},
            "volumeClaimTemplates": (0..spec.claim_templates).map(|template| json!({
                "metadata": {"name": format!("data{template}")},
                "spec": {"accessModes": ["ReadWriteOnce"]}})).collect::<Vec<_>>(),
        },
        "status": {"replicas": 0, "observedGeneration": if spec.observed { GENERATION } else { GENERATION - 1 },
                   "currentRevision": "web-current", "updateRevision": "web-update"},
    });
    match spec.strategy {
        Strategy::OnDelete => set["spec"]["updateStrategy"]["type"] = "OnDelete".into(),
        Strategy::Bare => {}
        Strategy::Rolling { partition, max_unavailable } => {
            let max_unavailable = max_unavailable.map(|amount| match amount {
                Amount::Count(count) => json!(count),
                Amount::Percent(percent) => json!(format!("{percent}%")),
            });
            set["spec"]["updateStrategy"]["rollingUpdate"] =
                json!({"partition": partition, "maxUnavailable": max_unavailable});
        }
    }
    if spec.terminating {
        set["metadata"]["deletionTimestamp"] = now().to_string().into();
    }
    set
}

fn pod(case: &Case, ordinal: usize, held: Pod) -> Value {
    let name = format!("web-{ordinal}");
    let said = if held.identity_matches { name.clone() } else { "web-99".to_owned() };
    let app = if held.holder == Holder::Stray { "other" } else { "web" };
    let volumes: Vec<Value> = (0..case.spec.claim_templates)
        .map(|template| {
            let own = format!("data{template}-{name}");
            let claim = if held.storage_matches { own } else { "another".to_owned() };
            json!({"name": format!("data{template}"), "persistentVolumeClaim": {"claimName": claim}})
        })
        .collect();
    let mut pod = json!({
        "metadata": {"name": name, "uid": format!("pod-{ordinal}"), "labels": {
            "app": app, "controller-revision-hash": revision_name(held.revision),
            "statefulset.kubernetes.io/pod-name": said, "apps.kubernetes.io/pod-index": ordinal.to_string()}},
        "spec": {"containers": [{"name": "web"}], "volumes": volumes},
        "status": status(held.phase),
    });
    pod["metadata"]["ownerReferences"] = match held.holder {
        Holder::Set | Holder::Stray => owner("StatefulSet", "web", "set"),
        Holder::Nobody => json!([]),
        Holder::Other => owner("StatefulSet", "another", "another"),
    };
    if held.terminating {
        pod["metadata"]["deletionTimestamp"] = now().to_string().into();
    }
    if held.has_node() {
        pod["spec"]["nodeName"] = "node".into();
    }
    pod
}

fn status(phase: Phase) -> Value {
    let since = |kind: &str, status: &str, seconds| json!({"type": kind, "status": status, "lastTransitionTime": seconds_ago(seconds).to_string()});
    let unschedulable = |seconds| {
        let mut condition = since("PodScheduled", "False", seconds);
        condition["reason"] = "Unschedulable".into();
        json!({"phase": "Pending", "conditions": [condition]})
    };
    match phase {
        Phase::Pending => json!({"phase": "Pending"}),
        Phase::BrieflyUnschedulable => unschedulable(1),
        Phase::Unschedulable => unschedulable(3600),
        Phase::Running => json!({"phase": "Running", "conditions": [since("Ready", "False", 1)]}),
        Phase::CrashLoop => json!({"phase": "Running", "conditions": [since("Ready", "False", 1)],
            "containerStatuses": [{"name": "web", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                                   "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
        Phase::Young => json!({"phase": "Running", "conditions": [since("Ready", "True", 1)]}),
        Phase::Ready => json!({"phase": "Running", "conditions": [since("Ready", "True", 3600)]}),
        Phase::Failed => json!({"phase": "Failed"}),
        Phase::Succeeded => json!({"phase": "Succeeded"}),
    }
}

fn claim(template: usize, ordinal: usize, held: Claim) -> Value {
    let pod = format!("web-{ordinal}");
    let name = format!("data{template}-{pod}");
    let mut claim = json!({"metadata": {"name": name, "uid": name}, "status": {"phase": "Bound"}});
    claim["metadata"]["ownerReferences"] = match held.owner {
        Owner::Nobody => json!([]),
        Owner::Set => owner("StatefulSet", "web", "set"),
        Owner::Pod => owner("Pod", &pod, &format!("pod-{ordinal}")),
        Owner::DeadPod => owner("Pod", &pod, "gone"),
        Owner::Other => owner("StatefulSet", "another", "another"),
    };
    if held.terminating {
        claim["metadata"]["deletionTimestamp"] = now().to_string().into();
    }
    claim
}

/// The template and the ordinal that a claim's name tells of.
fn claim_of(name: &str) -> (usize, usize) {
    let place = || {
        let (template, ordinal) = name.strip_prefix("data")?.split_once("-web-")?;
        Some((template.parse().ok()?, ordinal.parse().ok()?))
    };
    place().unwrap_or_else(|| panic!("{name} is no claim of the set"))
}

fn ordinal_of(name: &str) -> usize {
    let digits = name.strip_prefix("web-").unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("{name} is no pod of the set"))
}

/// What the plan does.
pub(crate) fn done(plan: &Plan) -> Done {
    let mut done = Done::default();
    for action in &plan.actions {
        match action {
            Action::Create(object) => creation(object, &mut done),
            Action::Delete { target, .. } if target.kind == "Pod" => {
                let ordinal = ordinal_of(&target.name);
                assert_eq!(target.uid, format!("pod-{ordinal}"));
                assert!(done.next.deleted.insert(ordinal), "{} is deleted twice", target.name);
            }
            Action::Patch { target, patch } => {
                change(&target.kind, &target.name, &patch["metadata"], &mut done);
            }
            Action::ReplaceStatus(_) | Action::Record { .. } => {}
            other => panic!("nothing is known of {other:?}"),
        }
    }
    done
}

fn creation(object: &Value, done: &mut Done) {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match object["kind"].as_str().unwrap_or_default() {
        "Pod" => {
            let label = &object["metadata"]["labels"]["controller-revision-hash"];
            assert_eq!(
                *label, object["spec"]["containers"][0]["image"],
                "{name} is not of the revision it says"
            );
            let all = [Revision::Old, Revision::Current, Revision::Update];
            let revision = all.into_iter().find(|revision| *label == revision_name(*revision));
            let revision = revision.unwrap_or_else(|| panic!("{name} is of {label}"));
            let before = done.next.made.insert(ordinal_of(name), revision);
            assert_eq!(before, None, "{name} is made twice");
        }
        "PersistentVolumeClaim" => {
            assert!(done.next.claims.insert(claim_of(name)), "{name} is made twice");
        }
        kind => panic!("makes {kind} {name}"),
    }
}

fn change(kind: &str, name: &str, patch: &Value, done: &mut Done) {
    assert_eq!(patch["resourceVersion"], "1", "{name} is patched whatever it has become");
    let owners = patch["ownerReferences"].as_array();
    match (kind, owners) {
        ("Pod", Some(_)) => {
            done.next.adopted_or_released.insert(ordinal_of(name));
        }
        ("Pod", None) => {
            done.repaired.insert(ordinal_of(name));
        }
        ("PersistentVolumeClaim", Some(owners)) => {
            let owner = match owners.as_slice() {
                [] => Owner::Nobody,
                [owner] if owner["uid"] == "set" => Owner::Set,
                [owner] if owner["uid"] == format!("pod-{}", claim_of(name).1) => Owner::Pod,
                others => panic!("{name} is given to {others:?}"),
            };
            done.owned.insert(claim_of(name), owner);
        }
        _ => panic!("patches {kind} {name}: {patch}"),
    }
}

impl Pod {
    /// Whether there are processes, so that a deletion takes its time.
    fn has_node(self) -> bool {
        !matches!(self.phase, Phase::Pending | Phase::BrieflyUnschedulable | Phase::Unschedulable)
    }
}

impl Case {
    /// The case once the plan was carried out and its objects are known.
    pub(crate) fn after(&self, done: &Done) -> Self {
        let mut case = self.clone();
        let ordinals = done.next.made.keys().max().map_or(0, |last| last + 1).max(case.pods.len());
        case.pods.resize(ordinals, None);
        for ordinal in &done.next.adopted_or_released {
            if let Some(pod) = &mut case.pods[*ordinal] {
                pod.holder = if pod.holder == Holder::Nobody { Holder::Set } else { Holder::Other };
            }
        }
        for ordinal in &done.next.deleted {
            let held = case.pods[*ordinal].as_mut();
            let Some(pod) = held else { continue };
            pod.terminating = true;
            if !pod.has_node() || matches!(pod.phase, Phase::Failed | Phase::Succeeded) {
                case.pods[*ordinal] = None;
            }
        }
        for (ordinal, revision) in &done.next.made {
            case.pods[*ordinal] = Some(Pod {
                holder: Holder::Set,
                revision: *revision,
                phase: Phase::Pending,
                terminating: false,
                storage_matches: true,
                identity_matches: true,
            });
        }
        for ordinal in &done.repaired {
            if let Some(pod) = &mut case.pods[*ordinal] {
                pod.identity_matches = true;
            }
        }
        let owner = if self.spec.deleted_delete { Owner::Set } else { Owner::Nobody };
        let made = done.next.claims.iter().map(|place| (*place, owner));
        for ((template, ordinal), owner) in
            made.chain(done.owned.iter().map(|(place, owner)| (*place, *owner)))
        {
            let claims = &mut case.claims[template];
            claims.resize(claims.len().max(ordinal + 1), None);
            claims[ordinal] = Some(Claim { owner, terminating: false });
        }
        case
    }
}
