//! The objects of one kind, found by name and by owner.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use k8s_openapi::Metadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Key;
use crate::objects::{controller_of, namespace, owners, uid};

/// What the owner of objects of kind `K` asks of each of them at every plan: read once, when the object changes.
pub trait Facts<K>: Sized {
    /// Reads the object. `beside` are the facts of others of the same owner, nearest first, to share with them what
    /// is the same.
    fn of<'f>(object: &K, beside: impl Iterator<Item = &'f Self>) -> Self
    where
        Self: 'f;
}

/// Nothing is asked that often.
impl<K> Facts<K> for () {
    fn of<'f>(_: &K, _: impl Iterator<Item = &'f Self>) -> Self {}
}

/// The objects of one kind, by namespace and name.
#[derive(Clone, Debug)]
pub struct Table<K, F = ()> {
    objects: BTreeMap<Arc<Key>, Arc<K>>,
    /// Who names an owner of this uid.
    by_owner: HashMap<Box<str>, Family<K, F>>,
    /// Who has no controller.
    uncontrolled: BTreeSet<Arc<Key>>,
    /// The newest revision that a list or watch of this kind has told.
    seen: u64,
}

/// The objects of one owner.
type Family<K, F> = BTreeMap<Arc<Key>, Owned<K, F>>;

/// An object, as its owner finds it.
#[derive(Clone, Debug)]
struct Owned<K, F> {
    object: Arc<K>,
    /// Whether this owner manages it.
    is_controlled: bool,
    facts: F,
}

impl<K, F> Default for Table<K, F> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), by_owner: HashMap::new(), uncontrolled: BTreeSet::new(), seen: 0 }
    }
}

impl<K: Metadata<Ty = ObjectMeta>, F: Facts<K>> Table<K, F> {
    /// The object, if it is known.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(&Key::new(namespace, name))
    }

    /// The objects of a namespace, by name.
    pub fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<K>> {
        self.objects
            .range(Key::new(namespace, "")..)
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// The objects that name this one as an owner, by namespace and name. An owner without a namespace can have them
    /// anywhere.
    pub fn owned_by<'a>(&'a self, owner: &'a ObjectMeta) -> impl Iterator<Item = &'a Arc<K>> {
        self.in_reach(owner).map(|owned| &owned.object)
    }

    /// The objects that this one manages, by namespace and name, with what it asks of them.
    pub(crate) fn controlled_by<'a>(
        &'a self,
        owner: &'a ObjectMeta,
    ) -> impl Iterator<Item = (&'a Arc<K>, &'a F)> {
        let controlled = self.in_reach(owner).filter(|owned| owned.is_controlled);
        controlled.map(|owned| (&owned.object, &owned.facts))
    }

    fn in_reach(&self, owner: &ObjectMeta) -> impl Iterator<Item = &Owned<K, F>> {
        let home = namespace(owner);
        let owned = self.by_owner.get(uid(owner));
        let from = Key::new(home, "");
        // The first name that can follow a namespace's own.
        let to = (!home.is_empty()).then(|| Key::new(&format!("{home}\0"), ""));
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        owned
            .into_iter()
            .flat_map(move |owned| owned.range((Bound::Included(from.clone()), to.clone())))
            .map(|(_, owned)| owned)
    }

    /// The objects of a namespace that no controller manages, by name.
    pub fn uncontrolled<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<K>> {
        let keys = self.uncontrolled.range(Key::new(namespace, "")..);
        keys.take_while(move |key| key.namespace == namespace).filter_map(|key| self.objects.get(key))
    }

    /// All objects, by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// Puts an object in place; for tests and for worlds made by hand.
    pub fn insert(&mut self, object: K) {
        self.put(Key::of(object.metadata()), &Arc::new(object));
    }

    /// The places that are taken.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.objects.keys().map(|key| &**key)
    }

    /// The newest revision that a list or watch has told.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// A list or watch has come as far as this.
    pub(super) fn tell(&mut self, revision: u64) {
        self.seen = self.seen.max(revision);
    }

    pub(super) fn upsert(&mut self, new: Arc<K>) -> Option<(Option<Arc<K>>, Arc<K>)> {
        let key = Key::of(new.metadata());
        if self.holds(&key, revision(new.metadata())) {
            return None;
        }
        let old = self.put(key, &new);
        Some((old, new))
    }

    /// Whether this revision of the object, or a newer one, is here.
    pub(super) fn holds(&self, key: &Key, at: u64) -> bool {
        at != 0 && self.objects.get(key).is_some_and(|held| revision(held.metadata()) >= at)
    }

    /// Whether a watch need not tell of this revision of the object any more. Then it counts as told.
    pub(super) fn has_heard(&mut self, key: &Key, at: u64) -> bool {
        let holds = self.holds(key, at);
        if holds {
            self.tell(at);
        }
        holds
    }

    pub(super) fn take(&mut self, key: &Key, at: u64) -> Option<Arc<K>> {
        let held = self.objects.get(key)?;
        if at != 0 && revision(held.metadata()) > at {
            return None;
        }
        let (key, held) = self.objects.remove_entry(key)?;
        self.forget_owners(&key, held.metadata());
        Some(held)
    }

    fn put(&mut self, key: Key, new: &Arc<K>) -> Option<Arc<K>> {
        let key =
            self.objects.get_key_value(&key).map_or_else(|| Arc::new(key), |(held, _)| Arc::clone(held));
        let old = self.objects.insert(Arc::clone(&key), Arc::clone(new));
        if let Some(old) = old.as_ref().filter(|old| owners(old.metadata()) != owners(new.metadata())) {
            self.forget_owners(&key, old.metadata());
        }
        self.note_owners(&key, new);
        old
    }

    fn note_owners(&mut self, key: &Arc<Key>, object: &Arc<K>) {
        let meta = object.metadata();
        let controller = controller_of(meta).map(|owner| owner.uid.as_str());
        for owner in owners(meta) {
            let all = self.by_owner.entry(owner.uid.as_str().into()).or_default();
            let facts = {
                let before = all.range(..Arc::clone(key)).next_back();
                let beside =
                    all.range(Arc::clone(key)..).take(2).chain(before).map(|(_, owned)| &owned.facts);
                F::of(object, beside)
            };
            let is_controlled = controller == Some(owner.uid.as_str());
            all.insert(Arc::clone(key), Owned { object: Arc::clone(object), is_controlled, facts });
        }
        if controller_of(meta).is_none() {
            self.uncontrolled.insert(Arc::clone(key));
        }
    }

    fn forget_owners(&mut self, key: &Key, meta: &ObjectMeta) {
        for owner in owners(meta) {
            if let Some(owned) = self.by_owner.get_mut(owner.uid.as_str()) {
                owned.remove(key);
                if owned.is_empty() {
                    self.by_owner.remove(owner.uid.as_str());
                }
            }
        }
        self.uncontrolled.remove(key);
    }
}

pub(super) fn revision(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pod(name: usize, owners: &[(u8, bool)], revision: u64) -> Pod {
        let owner = |(uid, controls): &(u8, bool)| json!({"apiVersion": "v1", "kind": "Node", "name": "a", "uid": uid.to_string(), "controller": controls});
        let meta = json!({"name": format!("db-{name}"), "namespace": "shop", "resourceVersion": revision.to_string(),
            "ownerReferences": owners.iter().map(owner).collect::<Vec<_>>()});
        serde_json::from_value(json!({ "metadata": meta })).unwrap()
    }

    /// Facts that change with every change.
    #[derive(Clone, Copy, PartialEq)]
    struct Version(u64);

    impl Facts<Pod> for Version {
        fn of<'f>(pod: &Pod, _: impl Iterator<Item = &'f Self>) -> Self {
            Self(revision(&pod.metadata))
        }
    }

    proptest! {
        /// Whatever came and went: the index finds what a search of all objects finds, and knows it as it is now.
        #[test]
        fn owners_find_what_they_own(
            steps in prop::collection::vec((0_usize..6, prop::option::of(prop::collection::vec((0_u8..3, any::<bool>()), 0..3))), 0..40)
        ) {
            let mut table: Table<Pod, Version> = Table::default();
            for (revision, (name, owners)) in (1..).zip(&steps) {
                match owners {
                    Some(owners) => drop(table.upsert(Arc::new(pod(*name, owners, revision)))),
                    None => drop(table.take(&Key::new("shop", &format!("db-{name}")), revision)),
                }
            }
            for uid in ["0", "1", "2"] {
                let owner = |namespace: Option<&str>| ObjectMeta {
                    namespace: namespace.map(str::to_owned),
                    uid: Some(uid.to_owned()),
                    ..ObjectMeta::default()
                };
                let owned = |pod: &&Arc<Pod>| owners(&pod.metadata).iter().any(|owner| owner.uid == uid);
                for home in [Some("shop"), None] {
                    let controlled = |pod: &&Arc<Pod>| controller_of(&pod.metadata).is_some_and(|owner| owner.uid == uid);
                    let owner = owner(home);
                    let managed = table.controlled_by(&owner).map(|(pod, facts)| (pod, *facts));
                    let searched = table.iter().filter(controlled).map(|pod| (pod, Version::of(pod, [].iter())));
                    prop_assert!(managed.collect::<Vec<_>>() == searched.collect::<Vec<_>>());
                    prop_assert!(table.owned_by(&owner).eq(table.iter().filter(owned)));
                }
                prop_assert!(table.owned_by(&owner(Some("another"))).next().is_none());
            }
            let free = |pod: &&Arc<Pod>| controller_of(&pod.metadata).is_none();
            prop_assert!(table.uncontrolled("shop").eq(table.iter().filter(free)));
            prop_assert!(table.uncontrolled("another").next().is_none());
            prop_assert_eq!(table.by_owner.values().filter(|keys| keys.is_empty()).count(), 0);
        }
    }
}
