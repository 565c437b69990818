//! What a set's template was and is (`pkg/controller/history`): one ControllerRevision per template, reused
//! when the template comes back, cut to the history limit.

use std::borrow::Cow;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};

use super::identity::revision_label;
use super::snapshot::Snapshot;
use crate::objects::{controller_ref, delete, guarded_patch, is_terminating, name, namespace};
use crate::plan::{Action, Plan};
use crate::template;
use crate::world::to_value;

/// The label with a revision's hash.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// A revision's name is the set's, cut to this, and the hash.
const NAME_PREFIX_MAX: usize = 223;
/// How many clashes of names are stepped over in one plan; each is one in four thousand million.
const COLLISIONS_MAX: i32 = 64;

/// The two revisions that matter.
pub(super) struct Revisions<'w> {
    /// What pods below the partition are made from.
    pub(super) current: Cow<'w, ControllerRevision>,
    /// What the set's template is.
    pub(super) update: Cow<'w, ControllerRevision>,
    /// `status.collisionCount`.
    pub(super) collision_count: i32,
    /// Whether this plan makes the update revision.
    pub(super) is_new: bool,
}

impl Revisions<'_> {
    /// The current revision's name.
    pub(super) fn current_name(&self) -> &str {
        name(&self.current.metadata)
    }

    /// The update revision's name.
    pub(super) fn update_name(&self) -> &str {
        name(&self.update.metadata)
    }
}

/// Finds or makes the update revision and finds the current one (`getStatefulSetRevisions`).
pub(super) fn do_plan_revisions<'w>(snapshot: &Snapshot<'w>, plan: &mut Plan) -> Revisions<'w> {
    let status = snapshot.set.status.as_ref();
    let mut collision_count = status.and_then(|s| s.collision_count).unwrap_or(0);
    let mut is_new = false;
    let update = match unchanged(snapshot).or_else(|| equal_revision(snapshot)) {
        Some(found) => reuse(snapshot, found, plan),
        None => {
            let made = new_revision(snapshot, &mut collision_count);
            // Nothing new for what is being deleted: the garbage collector would take it at once.
            is_new = !snapshot.is_terminating;
            plan.actions.extend(is_new.then(|| Action::Create(to_value(&made))));
            Cow::Owned(made)
        }
    };
    let current = status
        .and_then(|s| s.current_revision.as_deref())
        .and_then(|wanted| snapshot.revisions.iter().find(|r| name(&r.metadata) == wanted))
        .map_or_else(|| update.clone(), |found| Cow::Borrowed(found));
    Revisions { current, update, collision_count, is_new }
}

/// The update revision of old, when nobody has touched the spec since: then the template means what it meant,
/// even if a newer release wrote defaults into it.
fn unchanged<'w>(snapshot: &Snapshot<'w>) -> Option<&'w ControllerRevision> {
    let status = snapshot.set.status.as_ref()?;
    if snapshot.set.metadata.generation.is_none()
        || status.observed_generation != snapshot.set.metadata.generation
    {
        return None;
    }
    let known = status.update_revision.as_deref()?;
    snapshot.revisions.iter().copied().find(|r| name(&r.metadata) == known)
}

/// The newest revision that means the same as the set's template.
fn equal_revision<'w>(snapshot: &Snapshot<'w>) -> Option<&'w ControllerRevision> {
    let wanted = template::meaning(set_template(snapshot.set));
    snapshot.revisions.iter().rev().copied().find(|r| template::meaning(revision_template(r)) == wanted)
}

/// Takes a revision up again; one that is not the newest becomes it (a rollback).
fn reuse<'w>(
    snapshot: &Snapshot<'w>,
    found: &'w ControllerRevision,
    plan: &mut Plan,
) -> Cow<'w, ControllerRevision> {
    let newest = snapshot.revisions.last().map_or(0, |r| r.revision);
    if found.revision < newest && !snapshot.is_terminating {
        plan.actions.push(guarded_patch(found, json!({"revision": newest + 1})));
    }
    Cow::Borrowed(found)
}

fn set_template(set: &StatefulSet) -> PodTemplateSpec {
    set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default()
}

/// The pod template that a revision holds.
pub fn revision_template(revision: &ControllerRevision) -> PodTemplateSpec {
    let template = revision.data.as_ref().and_then(|data| data.0.get("spec")?.get("template"));
    // What cannot be read means nothing, and so never equals a real template.
    template.and_then(|t| serde_json::from_value(t.clone()).ok()).unwrap_or_default()
}

/// A revision of the set's template, under a name that nothing else has (`newRevision`).
fn new_revision(snapshot: &Snapshot<'_>, collision_count: &mut i32) -> ControllerRevision {
    let set = snapshot.set;
    let mut template = serde_json::to_value(set_template(set)).unwrap_or_default();
    template["$patch"] = "replace".into();
    let data = json!({"spec": {"template": template}});
    let mut labels = set_template(set).metadata.and_then(|meta| meta.labels).unwrap_or_default();
    let set_name = name(&set.metadata);
    let prefix = set_name.get(..NAME_PREFIX_MAX).unwrap_or(set_name);
    let mut hash = hash_revision(&data, *collision_count);
    for _ in 0..COLLISIONS_MAX {
        let taken = snapshot.all_revisions.get(namespace(&set.metadata), &format!("{prefix}-{hash}"));
        if taken.is_none() {
            break;
        }
        *collision_count += 1;
        hash = hash_revision(&data, *collision_count);
    }
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}-{hash}")),
            namespace: set.metadata.namespace.clone(),
            labels: Some(labels),
            annotations: set.metadata.annotations.clone(),
            owner_references: Some(vec![controller_ref(set)]),
            ..ObjectMeta::default()
        },
        revision: snapshot.revisions.last().map_or(0, |r| r.revision) + 1,
        data: Some(RawExtension(data)),
    }
}

/// The hash of the content and the collision count (`HashControllerRevision`).
fn hash_revision(data: &Value, collision_count: i32) -> String {
    template::hash(format!("{data}{collision_count}").as_bytes())
}

/// Cuts the history to its limit, the oldest first. What is current, wanted or carried by a pod stays
/// (`truncateHistory`).
pub(super) fn do_plan_history(snapshot: &Snapshot<'_>, revisions: &Revisions<'_>, plan: &mut Plan) {
    let limit = snapshot.set.spec.as_ref().and_then(|spec| spec.revision_history_limit).unwrap_or(10);
    let Ok(limit) = usize::try_from(limit) else { return };
    if snapshot.revisions.len() <= limit {
        return;
    }
    let is_live = |revision: &ControllerRevision| {
        let name = name(&revision.metadata);
        name == revisions.current_name()
            || name == revisions.update_name()
            || snapshot.pods.iter().any(|pod| pod.revision == revision_label(name))
    };
    let history: Vec<_> = snapshot.revisions.iter().copied().filter(|r| !is_live(r)).collect();
    let surplus = history.len().saturating_sub(limit);
    for revision in history.into_iter().take(surplus).filter(|r| !is_terminating(&r.metadata)) {
        plan.actions.push(delete(revision));
    }
}
