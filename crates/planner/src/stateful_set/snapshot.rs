//! All that one plan of a set looks at.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use super::identity::{is_owned, ordinal_of, parent_and_ordinal};
use crate::objects::{is_going, is_terminating, name, namespace, selector};
use crate::world::{Key, Table, World};

/// A set and what belongs to it.
pub(super) struct Snapshot<'w> {
    /// The set.
    pub(super) set: &'w StatefulSet,
    /// Pods that the set manages and may keep, with their ordinals, upward.
    pub(super) pods: Vec<(i64, &'w Pod)>,
    /// Pods that nobody manages and the set may take.
    pub(super) orphans: Vec<&'w Pod>,
    /// Pods that the set manages, but whose labels or name are no longer its own.
    pub(super) strays: Vec<&'w Pod>,
    /// The set's revisions, the newest last.
    pub(super) revisions: Vec<&'w ControllerRevision>,
    /// Revisions that nobody manages and the set may take.
    pub(super) orphan_revisions: Vec<&'w ControllerRevision>,
    /// Every claim.
    pub(super) claims: &'w Table<PersistentVolumeClaim>,
    /// Every pod: a name may be held by somebody else's.
    pub(super) all_pods: &'w Table<Pod>,
    /// Every revision: a name may be held by somebody else's.
    pub(super) all_revisions: &'w Table<ControllerRevision>,
    /// Whether the set, or its whole namespace, is being deleted: then nothing is made any more.
    pub(super) is_terminating: bool,
}

impl<'w> Snapshot<'w> {
    /// What there is about the set `key`; `None` when there is no such set.
    pub(super) fn of(world: &'w World, key: &Key) -> Option<Self> {
        let set = world.stateful_sets.get(&key.namespace, &key.name)?;
        let mut snapshot = Self {
            set,
            pods: Vec::new(),
            orphans: Vec::new(),
            strays: Vec::new(),
            revisions: Vec::new(),
            orphan_revisions: Vec::new(),
            claims: &world.claims,
            all_pods: &world.pods,
            all_revisions: &world.controller_revisions,
            is_terminating: is_going(world, &set.metadata),
        };
        snapshot.sort_pods();
        snapshot.sort_revisions();
        Some(snapshot)
    }

    /// `PodControllerRefManager.ClaimPods`.
    fn sort_pods(&mut self) {
        let set = self.set;
        let selects = selector(set.spec.as_ref().map(|spec| &spec.selector));
        let fitting = |pod| ordinal_of(set, pod).filter(|_| selects.matches(&pod.metadata.labels));
        for pod in self.all_pods.owned_by(&set.metadata).filter(|pod| is_owned(set, &pod.metadata)) {
            match fitting(pod) {
                Some(ordinal) => self.pods.push((ordinal, pod)),
                None => self.strays.push(pod),
            }
        }
        self.pods.sort_unstable_by_key(|(ordinal, _)| *ordinal);
        let free = self.all_pods.uncontrolled(namespace(&set.metadata)).map(|pod| &**pod);
        self.orphans.extend(free.filter(|pod| fitting(pod).is_some() && !is_terminating(&pod.metadata)));
    }

    fn sort_revisions(&mut self) {
        let set = self.set;
        let selects = selector(set.spec.as_ref().map(|spec| &spec.selector));
        let owned = self.all_revisions.owned_by(&set.metadata).map(|revision| &**revision);
        self.revisions.extend(owned.filter(|revision| is_owned(set, &revision.metadata)));
        let prefix = format!("{}-", name(&set.metadata));
        let free = self.all_revisions.uncontrolled(namespace(&set.metadata)).map(|revision| &**revision);
        self.orphan_revisions.extend(free.filter(|revision| {
            !is_terminating(&revision.metadata)
                && name(&revision.metadata).starts_with(&prefix)
                && selects.matches(&revision.metadata.labels)
        }));
        self.revisions
            .sort_by_key(|r| (r.revision, r.metadata.creation_timestamp.clone(), r.metadata.name.clone()));
    }

    /// The pod that holds this name without being the set's to keep, if there is one.
    pub(super) fn foreign_holder(&self, pod_name: &str) -> Option<&'w Pod> {
        self.all_pods.get(namespace(&self.set.metadata), pod_name).map(|pod| &**pod)
    }
}

/// The sets that an object of this name in this namespace may concern, by the name alone.
pub(super) fn set_of_pod_name(namespace: &str, pod_name: &str) -> Option<Key> {
    parent_and_ordinal(pod_name).map(|(parent, _)| Key::new(namespace, parent))
}
