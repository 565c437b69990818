//! A ReplicaSet per template: its name, its revision, and what its annotations tell
//! (`getNewReplicaSet`, `SetNewReplicaSetAnnotations`).

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::rollout::{Member, Rollout};
use super::{conditions, reasons, rolling_update};
use crate::objects::{annotation, controller_ref, name, namespace};
use crate::template;

/// The label by which pods of one template are told from those of another.
pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
/// The annotation with a ReplicaSet's place in the history, and on a Deployment that of its newest.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The annotation with the places that a ReplicaSet had before rollbacks to it.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// The annotation with the number of pods that the Deployment wanted when the ReplicaSet was last sized.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The annotation with the number of pods that there might be in all when the ReplicaSet was last sized.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";

/// Annotations of a Deployment that its ReplicaSets do not get (`skipCopyAnnotation`).
const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];
/// How long the history of one ReplicaSet may be, in bytes.
const HISTORY_MAX: usize = 2000;
/// A ReplicaSet's name is the Deployment's, cut to this, and the hash.
const NAME_PREFIX_MAX: usize = 242;
/// How many clashes of names are stepped over in one plan; each is one in four thousand million.
const COLLISIONS_MAX: i32 = 64;

/// Brings the annotations and `minReadySeconds` of the new ReplicaSet up to date, if there is one.
pub(super) fn sync_new(rollout: &mut Rollout<'_>) {
    let Some(mut new) = rollout.new.take() else { return };
    annotate(rollout, &mut new);
    new.wanted.spec.get_or_insert_default().min_ready_seconds = rollout.spec.min_ready_seconds;
    if !conditions::has_progress(rollout) {
        let message = format!("Found new replica set {:?}", new.name());
        conditions::progressing(rollout, "True", reasons::FOUND_NEW_REPLICA_SET, message);
    }
    rollout.new = Some(new);
}

/// Makes the new ReplicaSet, if there is none, as large as it may be at once.
pub(super) fn ensure_new(rollout: &mut Rollout<'_>) {
    if rollout.new.is_some() {
        return;
    }
    let hash = free_hash(rollout);
    let mut new = Member { held: None, wanted: new_replica_set(rollout, &hash) };
    annotate(rollout, &mut new);
    tell_size(&mut new, rollout.replicas(), rollout.most());
    let message = format!("Created new replica set {:?}", new.name());
    conditions::progressing(rollout, "True", reasons::NEW_REPLICA_SET_CREATED, message);
    rollout.new = Some(new);
    let size = rolling_update::new_size(rollout);
    if let Some(new) = &mut rollout.new {
        new.wanted.spec.get_or_insert_default().replicas = Some(size);
    }
}

fn new_replica_set(rollout: &Rollout<'_>, hash: &str) -> ReplicaSet {
    let deployment = rollout.deployment;
    let mut template = rollout.spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
    let labels = labels.clone();
    let mut selector = rollout.spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(replica_set_name(rollout, hash)),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_ref(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            min_ready_seconds: rollout.spec.min_ready_seconds,
            replicas: Some(0),
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

fn replica_set_name(rollout: &Rollout<'_>, hash: &str) -> String {
    let name = name(&rollout.deployment.metadata);
    format!("{}-{hash}", name.get(..NAME_PREFIX_MAX).unwrap_or(name))
}

/// The template's hash, with as many collisions counted as it takes for a name that nobody has.
fn free_hash(rollout: &mut Rollout<'_>) -> String {
    let sets = &rollout.world.replica_sets;
    let place = namespace(&rollout.deployment.metadata);
    for _ in 0..COLLISIONS_MAX {
        let hash = template_hash(&rollout.spec.template, rollout.collision_count);
        if sets.get(place, &replica_set_name(rollout, &hash)).is_none() {
            return hash;
        }
        rollout.collision_count = Some(rollout.collision_count.unwrap_or(0).saturating_add(1));
    }
    template_hash(&rollout.spec.template, rollout.collision_count)
}

/// The hash of the template and the collision count (`controller.ComputeHash`).
fn template_hash(template: &PodTemplateSpec, collision_count: Option<i32>) -> String {
    let mut text = serde_json::to_vec(template).unwrap_or_default();
    text.extend(collision_count.into_iter().flat_map(i32::to_le_bytes));
    template::hash(&text)
}

/// Whether the ReplicaSet is that of the template (`EqualIgnoreHash`): what the label says makes no difference.
pub(super) fn is_of_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let held = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    held.is_some_and(|held| meaning(held) == meaning(template))
}

fn meaning(template: &PodTemplateSpec) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.metadata.as_mut().and_then(|meta| meta.labels.as_mut()) {
        labels.remove(POD_TEMPLATE_HASH);
    }
    template::meaning(template)
}

/// The place in the history that a ReplicaSet has; 0 when it has none.
pub(super) fn revision(member: &Member<'_>) -> i64 {
    member.annotation(REVISION).and_then(|revision| revision.parse().ok()).unwrap_or(0)
}

/// Gives the ReplicaSet of the present template the Deployment's annotations, and the newest place in the history.
fn annotate(rollout: &Rollout<'_>, new: &mut Member<'_>) {
    let told = rollout.deployment.metadata.annotations.iter().flatten();
    for (key, value) in told.filter(|(key, _)| !NOT_COPIED.contains(&key.as_str())) {
        new.annotate(key, value.clone());
    }
    let newest = rollout.old.iter().map(revision).max().unwrap_or(0).saturating_add(1);
    if revision(new) >= newest {
        return;
    }
    if let Some(before) = new.annotation(REVISION).map(str::to_owned) {
        remember(new, &before);
    }
    new.annotate(REVISION, newest.to_string());
}

/// Adds a place that a ReplicaSet had to those that it had before; the oldest are forgotten.
fn remember(member: &mut Member<'_>, place: &str) {
    let mut places: Vec<&str> =
        member.annotation(REVISION_HISTORY).into_iter().flat_map(|all| all.split(',')).collect();
    places.push(place);
    let mut length: usize = places.iter().map(|place| place.len() + 1).sum();
    let mut first = 0;
    while length > HISTORY_MAX && first + 1 < places.len() {
        length -= places[first].len() + 1;
        first += 1;
    }
    let history = places[first..].join(",");
    member.annotate(REVISION_HISTORY, history);
}

/// Tells a ReplicaSet of how many pods its size is a part.
pub(super) fn tell_size(member: &mut Member<'_>, desired: i32, most: i32) {
    member.annotate(DESIRED_REPLICAS, desired.to_string());
    member.annotate(MAX_REPLICAS, most.to_string());
}

/// The revision that the Deployment does not tell of yet: that of its new ReplicaSet.
pub(super) fn untold_revision<'r>(rollout: &'r Rollout<'_>) -> Option<&'r str> {
    let revision = rollout.new.as_ref()?.annotation(REVISION)?;
    (annotation(&rollout.deployment.metadata, REVISION) != Some(revision)).then_some(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_rollbacks_the_oldest_are_forgotten() {
        let mut member = Member { held: None, wanted: ReplicaSet::default() };
        (1..=1000).for_each(|place: i32| remember(&mut member, &place.to_string()));
        let history = member.annotation(REVISION_HISTORY).unwrap_or_default();
        assert!(history.len() <= HISTORY_MAX, "{}", history.len());
        assert!(history.ends_with(",998,999,1000"), "{history}");
        assert!(!history.starts_with("1,"), "{history}");
    }

    #[test]
    fn a_template_has_another_hash_for_each_collision_and_no_word_in_it() {
        let template = PodTemplateSpec::default();
        let hashes = [None, Some(1), Some(2)].map(|count| template_hash(&template, count));
        assert_ne!(hashes[0], hashes[1]);
        assert_ne!(hashes[1], hashes[2]);
        assert!(hashes.iter().flat_map(|hash| hash.chars()).all(|c| !"aeiou013".contains(c)), "{hashes:?}");
    }
}
