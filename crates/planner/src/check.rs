//! An independent judge of StatefulSet plans: it knows the rules that must never break, and nothing of how the
//! planner comes to its plans. Tests run it after every step, debug builds at every plan.
//!
//! The rules: one pod per identity, ever; no replica before its predecessors and none taken down out of order
//! (OrderedReady); no deletion beyond `maxUnavailable`, below the partition, while paused, or against OnDelete;
//! below the partition nothing new; no claim is deleted or changed but for its owners, and those by its policy, and
//! its size, which only grows, the highest ordinal first; no pod on a claim that goes; nothing is made for what is being deleted; nothing is done when nothing is left to do.

use std::collections::BTreeSet;

use apimachinery::annotations::{PAUSED, RESERVE_ORDINALS};
use apimachinery::ordinals::Reserved;
use apimachinery::quantity::Quantity;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::objects::selector;
use crate::plan::{Action, ObjectRef, Plan};
use crate::pods::{is_available, is_terminal, stuck};
use crate::stateful_set::{
    REVISION_LABEL, claim_names, ordinal_of, parent_and_ordinal, pod_name, pod_revision, revision_label,
};
use crate::world::{Key, World};

/// What the plan for the set `key` would break, in plain words; empty when it may be carried out.
pub fn violations(world: &World, key: &Key, plan: &Plan, now: Timestamp) -> Vec<String> {
    let Some(set) = world.stateful_sets.get(&key.namespace, &key.name) else {
        return if plan.actions.is_empty() {
            Vec::new()
        } else {
            vec!["acts for a set that is not there".into()]
        };
    };
    let mut judge = Judge { world, set, now, found: Vec::new() };
    judge.claims(plan);
    judge.creations(plan);
    judge.deletions(plan);
    judge.idleness(plan);
    judge.found
}

struct Judge<'w> {
    world: &'w World,
    set: &'w StatefulSet,
    now: Timestamp,
    found: Vec<String>,
}

fn creations<'p>(plan: &'p Plan, kind: &'p str) -> impl Iterator<Item = &'p str> {
    plan.actions.iter().filter_map(move |action| match action {
        Action::Create(object) if object["kind"] == kind => object["metadata"]["name"].as_str(),
        _ => None,
    })
}

fn deletions<'p>(plan: &'p Plan, kind: &'p str) -> impl Iterator<Item = &'p ObjectRef> {
    plan.actions.iter().filter_map(move |action| match action {
        Action::Delete { target, .. } if target.kind == kind => Some(target),
        _ => None,
    })
}

/// Whether the action changes whose the claim is.
fn gives_away(action: &Action, claim: &str) -> bool {
    matches!(action, Action::Patch { target, patch } if target.kind == "PersistentVolumeClaim" && target.name == claim
        && !patch["metadata"]["ownerReferences"].is_null())
}

impl<'w> Judge<'w> {
    fn namespace(&self) -> &'w str {
        self.set.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn annotation(&self, key: &str) -> &'w str {
        let annotations = self.set.metadata.annotations.as_ref();
        annotations.and_then(|held| held.get(key)).map_or("", String::as_str)
    }

    fn start(&self) -> i64 {
        let start = self.set.spec.as_ref().and_then(|s| s.ordinals.as_ref()?.start);
        start.map_or(0, i64::from).max(0)
    }

    fn reserved(&self) -> Reserved {
        Reserved::parse(self.annotation(RESERVE_ORDINALS)).unwrap_or_default()
    }

    fn count(&self) -> i64 {
        let wanted = self.set.spec.as_ref().and_then(|s| s.replicas).map_or(1, i64::from).max(0);
        wanted.min(self.reserved().free_count(self.start()))
    }

    /// How many wanted ordinals come before this one; `None` when nobody wants it.
    fn rank(&self, ordinal: i64) -> Option<i64> {
        self.reserved().rank(self.start(), ordinal).filter(|rank| *rank < self.count())
    }

    /// The lowest wanted ordinal whose pod is not available.
    fn first_unavailable(&self) -> Option<i64> {
        let reserved = self.reserved();
        let mut wanted = reserved.free_from(self.start()).take(usize::try_from(self.count()).unwrap_or(0));
        wanted.find(|ordinal| !self.pod(*ordinal).is_some_and(|pod| self.available(pod)))
    }

    /// The set's pods; one whose labels are no longer the set's is on its way out of it.
    fn owned(&self) -> impl Iterator<Item = (i64, &'w Pod)> {
        let selects = selector(self.set.spec.as_ref().map(|spec| &spec.selector));
        let pods = self.world.pods.in_namespace(self.namespace()).map(|pod| &**pod);
        let own = pods.filter(move |pod| self.owns(pod) && selects.matches(&pod.metadata.labels));
        own.filter_map(|pod| Some((ordinal_of(self.set, pod)?, pod)))
    }

    fn is_ordered(&self) -> bool {
        self.set.spec.as_ref().and_then(|s| s.pod_management_policy.as_deref()) != Some("Parallel")
    }

    fn pod(&self, ordinal: i64) -> Option<&'w Pod> {
        let name = format!("{}-{ordinal}", self.set.metadata.name.as_deref().unwrap_or_default());
        self.world.pods.get(self.namespace(), &name).map(|pod| &**pod).filter(|pod| self.owns(pod))
    }

    fn owns(&self, pod: &Pod) -> bool {
        let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
        owners.iter().any(|o| o.controller == Some(true) && Some(&o.uid) == self.set.metadata.uid.as_ref())
    }

    fn available(&self, pod: &Pod) -> bool {
        let min_ready = self.set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0);
        pod.metadata.deletion_timestamp.is_none() && is_available(pod, min_ready, self.now)
    }

    fn blame(&mut self, broken: bool, rule: impl FnOnce() -> String) {
        if broken {
            self.found.push(rule());
        }
    }

    fn claims(&mut self, plan: &Plan) {
        for target in deletions(plan, "PersistentVolumeClaim").chain(deletions(plan, "PersistentVolume")) {
            self.found.push(format!("deletes {} {}", target.kind, target.name));
        }
        for action in &plan.actions {
            if let Action::Create(claim) = action
                && claim["kind"] == "PersistentVolumeClaim"
            {
                let name = claim["metadata"]["name"].as_str().unwrap_or_default();
                self.owners(name, &claim["metadata"]["ownerReferences"]);
            }
            let Action::Patch { target, patch } = action else { continue };
            if target.kind != "PersistentVolumeClaim" {
                continue;
            }
            let storage = &patch["spec"]["resources"]["requests"]["storage"];
            if patch["spec"] == json!({"resources": {"requests": {"storage": storage}}})
                && storage.is_string()
            {
                self.growth(&target.name, storage.as_str());
                continue;
            }
            let touched =
                |value: &Value| value.as_object().map(|o| o.keys().cloned().collect::<BTreeSet<_>>());
            let allowed = BTreeSet::from(["uid", "resourceVersion", "ownerReferences"].map(str::to_owned));
            let only_owners = touched(patch) == Some(BTreeSet::from(["metadata".to_owned()]))
                && touched(&patch["metadata"]).is_some_and(|fields| fields.is_subset(&allowed));
            self.blame(!only_owners, || format!("changes more of claim {} than its owners", target.name));
            self.owners(&target.name, &patch["metadata"]["ownerReferences"]);
        }
    }

    /// A claim only grows, to what its template says, after every claim of a higher ordinal.
    fn growth(&mut self, name: &str, storage: Option<&str>) {
        let amount = |text: Option<&str>| text.and_then(|text| Quantity::parse(text).ok());
        let size = |claim: &PersistentVolumeClaim| {
            let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
            amount(requests.and_then(|r| r.get("storage")).map(|storage| storage.0.as_str()))
        };
        let held = self.world.claims.get(self.namespace(), name).and_then(|claim| size(claim));
        self.blame(held >= amount(storage), || format!("lets claim {name} shrink"));
        let own = parent_and_ordinal(name).map_or(-1, |(_, ordinal)| ordinal);
        let templates = self.set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
        for template in templates {
            let prefix = template.metadata.name.as_deref().unwrap_or_default();
            let higher = self.world.claims.in_namespace(self.namespace()).filter(|claim| {
                let claim = claim.metadata.name.as_deref().unwrap_or_default();
                let pod = claim.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
                let ordinal = pod
                    .and_then(parent_and_ordinal)
                    .filter(|(set, _)| Some(*set) == self.set.metadata.name.as_deref());
                ordinal.is_some_and(|(_, ordinal)| ordinal > own && self.rank(ordinal).is_some())
            });
            let behind =
                higher.filter(|c| c.metadata.deletion_timestamp.is_none() && size(c) < size(template));
            let behind: Vec<String> = behind.filter_map(|claim| claim.metadata.name.clone()).collect();
            self.blame(!behind.is_empty(), || format!("lets {name} grow before {behind:?}"));
        }
    }

    /// A claim goes with the set, or with a pod that is scaled away, only by the retention policy.
    fn owners(&mut self, claim: &str, owners: &Value) {
        let policy = self.set.spec.as_ref().and_then(|s| s.persistent_volume_claim_retention_policy.as_ref());
        let goes_with_set = policy.and_then(|p| p.when_deleted.as_deref()) == Some("Delete");
        let goes_when_scaled = policy.and_then(|p| p.when_scaled.as_deref()) == Some("Delete");
        let ordinal = parent_and_ordinal(claim).map_or(-1, |(_, ordinal)| ordinal);
        for owner in owners.as_array().into_iter().flatten() {
            let is_set = owner["uid"].as_str() == self.set.metadata.uid.as_deref();
            let is_pod = owner["kind"] == "Pod" && owner["name"] == pod_name(self.set, ordinal);
            let goes_with_pod = goes_when_scaled && self.rank(ordinal).is_none();
            let broken = (is_set && !goes_with_set) || (is_pod && !goes_with_pod);
            self.blame(broken, || format!("lets claim {claim} go with {} against its policy", owner["name"]));
        }
    }

    /// Whether the claim goes, or is about to go, with the pod of this name.
    fn goes_with_pod(&self, claim: &str, pod: &str) -> bool {
        let claim = self.world.claims.get(self.namespace(), claim);
        let stays = claim.filter(|claim| claim.metadata.deletion_timestamp.is_none());
        let owners = stays.and_then(|claim| claim.metadata.owner_references.as_deref()).unwrap_or_default();
        owners.iter().any(|owner| owner.kind == "Pod" && owner.name == pod)
    }

    fn creations(&mut self, plan: &Plan) {
        let made: Vec<&str> = creations(plan, "Pod").collect();
        let terminating = self.set.metadata.deletion_timestamp.is_some();
        self.blame(terminating && !made.is_empty(), || "makes pods for a set that is being deleted".into());
        self.blame(self.is_ordered() && made.len() > 1, || format!("makes {made:?} at a time"));
        let mut seen = BTreeSet::new();
        let new_claims: BTreeSet<&str> = creations(plan, "PersistentVolumeClaim").collect();
        for name in made {
            let held = self.world.pods.get(self.namespace(), name).is_some();
            self.blame(held || !seen.insert(name), || format!("makes a second {name}"));
            let ordinal = parent_and_ordinal(name).map_or(-1, |(_, ordinal)| ordinal);
            self.blame(self.rank(ordinal).is_none(), || format!("makes {name}, which nobody wants"));
            for claim in claim_names(self.set, ordinal) {
                let held = self.world.claims.get(self.namespace(), &claim);
                let usable = held.map_or(new_claims.contains(claim.as_str()), |claim| {
                    claim.metadata.deletion_timestamp.is_none()
                });
                let usable = usable && !self.goes_with_pod(&claim, name);
                self.blame(!usable, || format!("makes {name} without its claim {claim}"));
            }
            let skipped = self.first_unavailable().filter(|before| *before < ordinal);
            let broken = self.is_ordered() && skipped.is_some();
            self.blame(broken, || format!("makes {name} before {skipped:?} is available"));
        }
        self.kept_revisions(plan);
    }

    /// Below the partition pods are made again of what they were of.
    fn kept_revisions(&mut self, plan: &Plan) {
        let Some(current) = self.set.status.as_ref().and_then(|status| status.current_revision.as_deref())
        else {
            return;
        };
        let is_known = self.world.controller_revisions.get(self.namespace(), current).is_some();
        for action in &plan.actions {
            let Action::Create(pod) = action else { continue };
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let rank = parent_and_ordinal(name).and_then(|(_, ordinal)| self.rank(ordinal));
            let is_kept = pod["kind"] == "Pod"
                && self.partition().is_some_and(|partition| rank.is_some_and(|rank| rank < partition));
            let revision = &pod["metadata"]["labels"][REVISION_LABEL];
            let broken = is_known && is_kept && revision != revision_label(current);
            self.blame(broken, || format!("makes {name} of {revision} below the partition"));
        }
    }

    fn deletions(&mut self, plan: &Plan) {
        let mut condemned = Vec::new();
        let mut replaced = Vec::new();
        for target in deletions(plan, "Pod") {
            let Some(pod) = self.world.pods.get(self.namespace(), &target.name) else {
                self.found.push(format!("deletes {}, which is not there", target.name));
                continue;
            };
            let same = Some(&target.uid) == pod.metadata.uid.as_ref() && self.owns(pod);
            self.blame(!same, || format!("deletes {}, which is not the set's", target.name));
            let ordinal = ordinal_of(self.set, pod);
            if let Some(ordinal) = ordinal.filter(|ordinal| self.rank(*ordinal).is_some()) {
                let claim = claim_names(self.set, ordinal).find(|c| self.goes_with_pod(c, &target.name));
                let let_go =
                    claim.filter(|claim| !plan.actions.iter().any(|action| gives_away(action, claim)));
                self.blame(let_go.is_some(), || format!("deletes {} and with it {let_go:?}", target.name));
            }
            if is_terminal(pod) {
                continue;
            }
            match ordinal {
                Some(ordinal) if self.rank(ordinal).is_some() => replaced.push(ordinal),
                Some(ordinal) => condemned.push(ordinal),
                None => self.found.push(format!("deletes {}, which has no ordinal", target.name)),
            }
        }
        let terminating = self.set.metadata.deletion_timestamp.is_some();
        let acts = !condemned.is_empty() || !replaced.is_empty();
        self.blame(terminating && acts, || "deletes pods of a set that is being deleted".into());
        self.condemned(&condemned);
        self.replaced(plan, &replaced);
    }

    fn condemned(&mut self, deleted: &[i64]) {
        let [last] = deleted else {
            let broken = self.is_ordered() && deleted.len() > 1;
            return self.blame(broken, || format!("scales {deleted:?} down at a time"));
        };
        if !self.is_ordered() {
            return;
        }
        let outside = self.owned().map(|(ordinal, _)| ordinal).filter(|o| self.rank(*o).is_none());
        let above = outside.max();
        self.blame(above != Some(*last), || format!("scales {last} down before {above:?}"));
        let missing = self.first_unavailable();
        self.blame(missing.is_some(), || format!("scales {last} down while {missing:?} is not available"));
    }

    fn replaced(&mut self, plan: &Plan, deleted: &[i64]) {
        let available =
            |judge: &Self, ordinal: i64| judge.pod(ordinal).is_some_and(|pod| judge.available(pod));
        let spent = deleted.iter().filter(|o| available(self, **o)).count() as i64;
        let wanted = self.owned().filter(|(ordinal, _)| self.rank(*ordinal).is_some());
        let lost = self.count() - wanted.filter(|(_, pod)| self.available(pod)).count() as i64;
        let allowed = self.max_unavailable();
        self.blame(spent > 0 && spent + lost > allowed, || {
            format!("replaces {deleted:?} with {lost} unavailable already; {allowed} may be")
        });
        for ordinal in deleted {
            let Some(pod) = self.pod(*ordinal) else { continue };
            if !self.mounts_its_claims(*ordinal, pod) {
                continue;
            }
            let in_reach = self.reach().is_some_and(|reach| self.rank(*ordinal) >= Some(reach));
            self.blame(!in_reach, || format!("replaces {ordinal}, which the update strategy keeps"));
            let update = self.update_revision(plan);
            let outdated = pod_revision(pod) != revision_label(&update);
            self.blame(!outdated, || format!("replaces {ordinal}, which is of revision {update}"));
            let is_available = self.available(pod);
            let stuck = is_available || stuck(pod, self.now).is_some();
            self.blame(self.is_ordered() && !stuck, || format!("replaces {ordinal}, which only starts"));
            let skipped = self.owned().filter(|(higher, pod)| {
                higher > ordinal
                    && self.rank(*higher).is_some()
                    && !deleted.contains(higher)
                    && pod_revision(pod) != revision_label(&update)
                    && self.available(pod)
            });
            let skipped = skipped.map(|(higher, _)| higher).max();
            self.blame(is_available && skipped.is_some(), || {
                format!("replaces {ordinal} before {skipped:?}")
            });
        }
    }

    fn mounts_its_claims(&self, ordinal: i64, pod: &Pod) -> bool {
        let mounted: Vec<&str> = crate::pods::claim_names(pod).collect();
        claim_names(self.set, ordinal).all(|claim| mounted.contains(&claim.as_str()))
    }

    /// How many replicas, from below, an update must not replace; `None` when it may not replace any.
    fn reach(&self) -> Option<i64> {
        if self.annotation(PAUSED) == "true" {
            return None;
        }
        let strategy = self.set.spec.as_ref().and_then(|s| s.update_strategy.as_ref());
        if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            return None;
        }
        Some(self.partition().unwrap_or(0))
    }

    /// `None` where the set says nothing of it.
    fn partition(&self) -> Option<i64> {
        let strategy = self.set.spec.as_ref()?.update_strategy.as_ref()?;
        strategy.rolling_update.as_ref()?.partition.map(i64::from)
    }

    fn max_unavailable(&self) -> i64 {
        let strategy = self.set.spec.as_ref().and_then(|s| s.update_strategy.as_ref());
        let count = match strategy.and_then(|s| s.rolling_update.as_ref()?.max_unavailable.as_ref()) {
            Some(IntOrString::Int(count)) => (*count).into(),
            Some(IntOrString::String(text)) => {
                let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
                self.count() * percent / 100
            }
            None => 1,
        };
        count.max(1)
    }

    /// The update revision as the plan writes it into the status, or as it stands there.
    fn update_revision(&self, plan: &Plan) -> String {
        let written = plan.actions.iter().find_map(|action| match action {
            Action::ReplaceStatus(set) => set["status"]["updateRevision"].as_str().map(str::to_owned),
            _ => None,
        });
        let held = || self.set.status.as_ref().and_then(|s| s.update_revision.clone());
        written.or_else(held).unwrap_or_default()
    }

    fn idleness(&mut self, plan: &Plan) {
        if !goal_reached(self) {
            return;
        }
        let acts = plan.actions.iter().find(|action| match action {
            Action::Create(_) | Action::Bind { .. } => true,
            Action::Delete { target, .. } => target.kind != "ControllerRevision",
            _ => false,
        });
        self.blame(acts.is_some(), || format!("does {acts:?} though nothing is left to do"));
    }
}

/// Whether every replica is there, available and of the set's own revision, and nothing else is.
fn goal_reached(judge: &Judge<'_>) -> bool {
    let Some(status) = judge.set.status.as_ref() else { return false };
    let update = status.update_revision.as_deref().unwrap_or_default();
    let settled = |(ordinal, pod): (i64, &Pod)| {
        pod_revision(pod) == revision_label(update) && judge.mounts_its_claims(ordinal, pod)
    };
    status.observed_generation.is_some()
        && status.observed_generation == judge.set.metadata.generation
        && judge.set.metadata.deletion_timestamp.is_none()
        && judge.owned().count() as i64 == judge.count()
        && judge.first_unavailable().is_none()
        && judge.owned().all(settled)
}
