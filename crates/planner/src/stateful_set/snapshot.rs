//! All that one plan of a set looks at.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use super::identity::{is_owned, ordinal_of, parent_and_ordinal};
use crate::objects::{is_going, is_terminating, name, namespace, selector};
use crate::pods::{Kin, PodFacts};
use crate::world::{Key, Table, World};

/// A pod that the set manages and may keep.
pub(super) struct Claimed<'w> {
    /// The pod.
    pub(super) pod: &'w Pod,
    /// What is asked of it at every plan.
    pub(super) facts: &'w PodFacts,
    /// By its name.
    pub(super) ordinal: i64,
    /// What its label says that it was made from.
    pub(super) revision: &'w str,
}

/// A set and what belongs to it.
pub(super) struct Snapshot<'w> {
    /// The set.
    pub(super) set: &'w StatefulSet,
    /// Pods that the set manages and may keep, upward.
    pub(super) pods: Vec<Claimed<'w>>,
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
    pub(super) all_pods: &'w Table<Pod, PodFacts>,
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
        // What holds for one pod holds for all of its kin, unless the selector asks for what only one has.
        let asks_for_one = selects.requirements().iter().any(|asked| Kin::LEFT_OUT.contains(&asked.key()));
        let kin_fits =
            |kin: &Kin| kin.parent == name(&set.metadata) && (asks_for_one || selects.matches(&kin.labels));
        let mut last: Option<(&Arc<Kin>, bool)> = None;
        for (pod, facts) in self.all_pods.controlled_by(&set.metadata) {
            let fits = match last {
                Some((kin, fits)) if Arc::ptr_eq(kin, &facts.kin) => fits,
                _ => kin_fits(&facts.kin),
            };
            last = Some((&facts.kin, fits));
            let fits = fits && (!asks_for_one || selects.matches(&pod.metadata.labels));
            if let Some(ordinal) = facts.ordinal.filter(|_| fits) {
                self.pods.push(Claimed { pod, facts, ordinal, revision: facts.kin.revision() });
            } else {
                self.strays.push(pod);
            }
        }
        self.pods.sort_unstable_by_key(|claimed| claimed.ordinal);
        let fits = |pod: &Pod| ordinal_of(set, pod).is_some() && selects.matches(&pod.metadata.labels);
        let free = self.all_pods.uncontrolled(namespace(&set.metadata)).map(|pod| &**pod);
        self.orphans.extend(free.filter(|pod| fits(pod) && !is_terminating(&pod.metadata)));
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The pods that a set with this selector keeps and those that it lets go, of `db-0` to `db-2`.
    #[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
    fn claimed(selector: Value) -> (Vec<i64>, Vec<String>) {
        let mut world = World::default();
        let set = json!({"metadata": {"name": "db", "namespace": "shop", "uid": "1"}, "spec": {"selector": selector, "template": {}}});
        world.apply(("apps/v1", "StatefulSet"), set).unwrap();
        for ordinal in 0..3 {
            let name = format!("db-{ordinal}");
            let labels = json!({"app": "db", "apps.kubernetes.io/pod-index": ordinal.to_string()});
            let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "1", "controller": true});
            let meta =
                json!({"name": name, "namespace": "shop", "labels": labels, "ownerReferences": [owner]});
            world.apply(("v1", "Pod"), json!({ "metadata": meta })).unwrap();
        }
        let snapshot = Snapshot::of(&world, &Key::new("shop", "db")).unwrap();
        let strays = snapshot.strays.iter().map(|pod| name(&pod.metadata).to_owned());
        (snapshot.pods.iter().map(|pod| pod.ordinal).collect(), strays.collect())
    }

    #[test]
    fn a_selector_may_ask_for_what_only_one_pod_has() {
        let none = Vec::<String>::new();
        assert_eq!(claimed(json!({"matchLabels": {"app": "db"}})), (vec![0, 1, 2], none));
        assert_eq!(claimed(json!({"matchLabels": {"app": "web"}})).0, Vec::<i64>::new());
        let second = json!({"matchLabels": {"app": "db", "apps.kubernetes.io/pod-index": "1"}});
        assert_eq!(claimed(second), (vec![1], vec!["db-0".to_owned(), "db-2".to_owned()]));
    }
}
