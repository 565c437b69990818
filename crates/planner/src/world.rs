//! What planners see: the objects of a cluster, as they were last heard of.
//!
//! A world is plain data. Informers feed it from watches ([`World::apply`], [`World::remove`],
//! [`World::replace`]) and from the answers to writes ([`World::observe`]), so that a planner never acts on
//! something older than the last write it caused. Tests build worlds by hand.

mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::ser::Serialize;
use serde_json::Value;

use crate::heartbeats::Heartbeats;
use crate::plan::ObjectRef;
pub use crate::pods::PodFacts;
use table::revision;
pub use table::{Facts, Table};

/// An object's place within its kind. The namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of `namespace`/`name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The key of an object with this metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    fn of_value(object: &Value) -> Self {
        let said = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        Self::new(said("namespace"), said("name"))
    }
}

/// What planners keep of an object.
fn read<'de, K>(
    object: impl Deserializer<'de, Error = serde_json::Error>,
) -> Result<Arc<K>, serde_json::Error>
where
    K: Metadata<Ty = ObjectMeta> + Deserialize<'de> + Clone,
{
    let mut object = K::deserialize(object)?;
    // No planner asks who owns which field, and it is half of an object.
    object.metadata_mut().managed_fields = None;
    // A list that grew while it was read keeps room for more; its clone has none.
    Ok(Arc::new(object.clone()))
}

/// What became of one object.
#[derive(Clone, Debug)]
pub struct Change {
    /// Before; `None` when it was not known.
    pub old: Option<Object>,
    /// After; `None` when it is gone.
    pub new: Option<Object>,
}

/// How to name an object's kind: `apiVersion` and `kind`.
pub type KindName = (&'static str, &'static str);

macro_rules! world {
    ($($(#[$doc:meta])* $table:ident: $type:ident $(=> $facts:ty)?,)*) => {
        /// An object of any kind that planners know.
        #[derive(Clone, Debug)]
        pub enum Object {
            $($(#[$doc])* $type(Arc<$type>),)*
        }

        impl Object {
            /// The object as planners see it; `None` when its kind is none of theirs.
            ///
            /// # Errors
            /// When the object is not what its kind says.
            pub fn read<'de>(
                kind: KindName,
                object: impl Deserializer<'de, Error = serde_json::Error>,
            ) -> Result<Option<Self>, serde_json::Error> {
                $(if kind == ($type::API_VERSION, $type::KIND) {
                    return read(object).map(|object| Some(Self::$type(object)));
                })*
                Ok(None)
            }

            /// How plans name the object.
            pub fn reference(&self) -> ObjectRef {
                match self { $(Self::$type(object) => object_ref(&**object),)* }
            }

            /// What all objects share.
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$type(object) => &object.metadata,)* }
            }

            /// `apiVersion` and `kind`.
            pub fn kind(&self) -> KindName {
                match self { $(Self::$type(_) => ($type::API_VERSION, $type::KIND),)* }
            }
        }

        /// The objects of a cluster.
        #[derive(Clone, Debug, Default)]
        pub struct World {
            $($(#[$doc])* pub $table: Table<$type $(, $facts)?>,)*
            /// When nodes were last heard of; whoever feeds the world says so, or nobody listens.
            pub heartbeats: Heartbeats,
        }

        impl World {
            /// The kinds that a world holds.
            pub const KINDS: &'static [KindName] = &[$(($type::API_VERSION, $type::KIND),)*];

            /// The object of this kind (`Pod`), if it is known.
            pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<Object> {
                $(if kind == $type::KIND {
                    return self.$table.get(namespace, name).map(|object| Object::$type(Arc::clone(object)));
                })*
                None
            }

            /// The object of this kind (`Pod`) with this uid, in whatever namespace.
            pub fn find_uid(&self, kind: &str, uid: &str) -> Option<Object> {
                $(if kind == $type::KIND {
                    let mut objects = self.$table.iter();
                    let found = objects.find(|object| object.metadata.uid.as_deref() == Some(uid));
                    return found.map(|object| Object::$type(Arc::clone(object)));
                })*
                None
            }

            /// Every object of a namespace, or every cluster-scoped one when it is empty: kind by kind.
            pub fn objects_in(&self, namespace: &str) -> Vec<Object> {
                let mut objects = Vec::new();
                $(objects.extend(self.$table.in_namespace(namespace).map(|o| Object::$type(Arc::clone(o))));)*
                objects
            }

            /// The objects that name this one as an owner. Cluster-scoped owners can have them anywhere.
            pub fn owned_by(&self, owner: &ObjectMeta) -> Vec<Object> {
                let mut objects = Vec::new();
                $(objects.extend(self.$table.owned_by(owner).map(|o| Object::$type(Arc::clone(o))));)*
                objects
            }

            /// Every object, kind by kind.
            pub fn objects(&self) -> Vec<Object> {
                let mut objects = Vec::new();
                $(objects.extend(self.$table.iter().map(|o| Object::$type(Arc::clone(o))));)*
                objects
            }

            /// Whether a watch that tells of this revision of an object tells nothing new, and reading the object can be
            /// spared.
            pub fn has_heard(&mut self, kind: KindName, key: &Key, revision: u64) -> bool {
                $(if kind == ($type::API_VERSION, $type::KIND) {
                    return self.$table.has_heard(key, revision);
                })*
                false
            }

            /// Whether the answer to a write tells nothing new, and reading it can be spared: the watch has come as
            /// far, or this revision is known.
            pub fn has_observed(&self, kind: KindName, key: &Key, revision: u64) -> bool {
                $(if kind == ($type::API_VERSION, $type::KIND) {
                    return revision <= self.$table.seen() || self.$table.holds(key, revision);
                })*
                true
            }

            /// A watch told of this object (added or modified). `None` when a newer one is known already.
            ///
            /// # Errors
            /// When the object is not what its kind says.
            pub fn apply(&mut self, kind: KindName, object: Value) -> Result<Option<Change>, serde_json::Error> {
                Ok(Object::read(kind, object)?.and_then(|object| self.apply_object(object)))
            }

            /// See [`World::apply`].
            pub fn apply_object(&mut self, object: Object) -> Option<Change> {
                match object {
                    $(Object::$type(object) => {
                        self.$table.tell(revision(&object.metadata));
                        self.$table.upsert(object).map(|(old, new)| Change {
                            old: old.map(Object::$type),
                            new: Some(Object::$type(new)),
                        })
                    })*
                }
            }

            /// A watch told that this object is gone, as of the object's revision.
            ///
            /// # Errors
            /// When the object is not what its kind says.
            pub fn remove(&mut self, kind: KindName, object: Value) -> Result<Option<Change>, serde_json::Error> {
                Ok(Object::read(kind, object)?.and_then(|object| self.remove_object(&object)))
            }

            /// See [`World::remove`].
            pub fn remove_object(&mut self, object: &Object) -> Option<Change> {
                match object {
                    $(Object::$type(object) => {
                        let at = revision(&object.metadata);
                        self.$table.tell(at);
                        self.$table.take(&Key::of(&object.metadata), at)
                            .map(|old| Change { old: Some(Object::$type(old)), new: None })
                    })*
                }
            }

            /// A write answered with this object. Taken only when the watch has not come as far yet.
            ///
            /// # Errors
            /// When the object is not what its kind says.
            pub fn observe(&mut self, kind: KindName, object: Value) -> Result<Option<Change>, serde_json::Error> {
                Ok(Object::read(kind, object)?.and_then(|object| self.observe_object(object)))
            }

            /// See [`World::observe`].
            pub fn observe_object(&mut self, object: Object) -> Option<Change> {
                match object {
                    $(Object::$type(object) => {
                        if revision(&object.metadata) <= self.$table.seen() {
                            return None;
                        }
                        self.$table.upsert(object).map(|(old, new)| Change {
                            old: old.map(Object::$type),
                            new: Some(Object::$type(new)),
                        })
                    })*
                }
            }

            /// A list told that these objects, and no others, exist as of `at`. An object that is not what its
            /// kind says stays as it was known before, if it was, and is told by its error.
            pub fn replace(
                &mut self,
                kind: KindName,
                objects: Vec<Value>,
                at: u64,
            ) -> (Vec<Change>, Vec<serde_json::Error>) {
                $(if kind == ($type::API_VERSION, $type::KIND) {
                    let (mut changes, mut unreadable) = (Vec::new(), Vec::new());
                    let mut gone: BTreeSet<Key> = self.$table.keys().cloned().collect();
                    for object in objects {
                        gone.remove(&Key::of_value(&object));
                        let object = match read(object) {
                            Ok(object) => object,
                            Err(error) => {
                                unreadable.push(error);
                                continue;
                            }
                        };
                        if let Some((old, new)) = self.$table.upsert(object) {
                            changes.push(Change { old: old.map(Object::$type), new: Some(Object::$type(new)) });
                        }
                    }
                    for key in &gone {
                        if let Some(old) = self.$table.take(key, at) {
                            changes.push(Change { old: Some(Object::$type(old)), new: None });
                        }
                    }
                    self.$table.tell(at);
                    return (changes, unreadable);
                })*
                (Vec::new(), Vec::new())
            }
        }
    };
}

world! {
    /// Namespaces.
    namespaces: Namespace,
    /// Nodes.
    nodes: Node,
    /// Leases, those by which nodes show that they live among them.
    leases: Lease,
    /// Pods.
    pods: Pod => PodFacts,
    /// Services.
    services: Service,
    /// Endpoints, the older form.
    endpoints: Endpoints,
    /// EndpointSlices.
    endpoint_slices: EndpointSlice,
    /// ConfigMaps.
    config_maps: ConfigMap,
    /// Secrets.
    secrets: Secret,
    /// ServiceAccounts.
    service_accounts: ServiceAccount,
    /// PersistentVolumeClaims.
    claims: PersistentVolumeClaim,
    /// PersistentVolumes.
    volumes: PersistentVolume,
    /// StorageClasses.
    storage_classes: StorageClass,
    /// ClusterRoles.
    cluster_roles: ClusterRole,
    /// StatefulSets.
    stateful_sets: StatefulSet,
    /// ControllerRevisions.
    controller_revisions: ControllerRevision,
    /// Deployments.
    deployments: Deployment,
    /// ReplicaSets.
    replica_sets: ReplicaSet,
    /// PodDisruptionBudgets.
    pod_disruption_budgets: PodDisruptionBudget,
}

/// The reference of a typed object.
pub fn object_ref<K: Resource + Metadata<Ty = ObjectMeta>>(object: &K) -> ObjectRef {
    let meta = object.metadata();
    ObjectRef {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
        uid: meta.uid.clone().unwrap_or_default(),
    }
}

/// A typed object as the value that travels, with `apiVersion` and `kind`.
pub fn to_value<K: Resource + Serialize + DeserializeOwned>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    value["apiVersion"] = K::API_VERSION.into();
    value["kind"] = K::KIND.into();
    value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const POD: KindName = ("v1", "Pod");

    fn pod(revision: &str, ip: &str) -> Value {
        json!({"metadata": {"name": "db-0", "namespace": "default", "resourceVersion": revision},
               "status": {"podIP": ip}})
    }

    fn ip(world: &World) -> Option<&str> {
        world.pods.get("default", "db-0")?.status.as_ref()?.pod_ip.as_deref()
    }

    #[test]
    fn a_late_watch_event_does_not_undo_an_observed_write() {
        let mut world = World::default();
        world.apply(POD, pod("5", "old")).unwrap();
        world.observe(POD, pod("7", "new")).unwrap();
        assert!(world.apply(POD, pod("6", "between")).unwrap().is_none());
        assert_eq!(ip(&world), Some("new"));
    }

    #[test]
    fn a_world_does_not_hold_who_owns_which_field() {
        let mut world = World::default();
        let mut owned = pod("5", "a");
        owned["metadata"]["managedFields"] = json!([{"manager": "kubectl", "operation": "Apply"}]);
        world.apply(POD, owned).unwrap();
        assert_eq!(world.pods.get("default", "db-0").unwrap().metadata.managed_fields, None);
    }

    #[test]
    fn an_answer_that_the_watch_has_overtaken_does_not_bring_a_pod_back() {
        let mut world = World::default();
        world.apply(POD, pod("5", "a")).unwrap();
        world.remove(POD, pod("8", "a")).unwrap();
        assert!(world.observe(POD, pod("7", "ghost")).unwrap().is_none());
        assert_eq!(ip(&world), None);
    }

    #[test]
    fn what_is_held_takes_no_more_room_than_it_needs() {
        let text = r#"{"metadata": {"name": "db-0", "uid": "1"}, "spec": {"containers": [{"name": "one"}]}}"#;
        let read = Object::read(POD, &mut serde_json::Deserializer::from_str(text)).unwrap();
        let Some(Object::Pod(pod)) = read else { panic!("a pod") };
        let containers = &pod.spec.as_ref().unwrap().containers;
        assert_eq!((containers.len(), containers.capacity()), (1, 1));
    }

    #[test]
    fn what_is_known_need_not_be_read_again_and_counts_as_told() {
        let key = Key::new("default", "db-0");
        let mut world = World::default();
        world.observe(POD, pod("7", "new")).unwrap();
        assert!(!world.has_observed(POD, &key, 8), "something newer");
        assert!(!world.has_heard(POD, &key, 8));
        // Nobody took 8 in: an answer with it is news.
        assert!(world.has_heard(POD, &key, 7) && world.has_observed(POD, &key, 7));
        assert!(world.observe(POD, pod("8", "newer")).unwrap().is_some());
        assert!(!world.has_heard(POD, &Key::new("default", "db-1"), 7), "another pod");
    }

    #[test]
    fn an_answer_that_the_watch_has_come_past_need_not_be_read() {
        let mut world = World::default();
        world.apply(POD, pod("8", "a")).unwrap();
        world.remove(POD, pod("9", "a")).unwrap();
        assert!(world.has_observed(POD, &Key::new("default", "db-0"), 8));
        assert!(!world.has_heard(POD, &Key::new("default", "db-0"), 10), "a successor");
    }

    #[test]
    fn a_late_deletion_does_not_take_the_successor_away() {
        let mut world = World::default();
        world.apply(POD, pod("5", "first")).unwrap();
        world.observe(POD, pod("9", "second")).unwrap();
        assert!(world.remove(POD, pod("8", "first")).unwrap().is_none());
        assert_eq!(ip(&world), Some("second"));
    }

    #[test]
    fn a_list_removes_what_it_does_not_name() {
        let mut world = World::default();
        world.apply(POD, pod("5", "a")).unwrap();
        let (changes, unreadable) = world.replace(POD, vec![], 9);
        assert_eq!((changes.len(), unreadable.len()), (1, 0));
        assert!(world.pods.is_empty());
    }

    #[test]
    fn one_unreadable_object_of_a_list_hides_no_other_and_is_not_taken_for_gone() {
        let mut world = World::default();
        world.apply(POD, pod("5", "known")).unwrap();
        let mut broken = pod("8", "newer");
        broken["spec"] = "not a pod's".into();
        let mut other = pod("7", "other");
        other["metadata"]["name"] = "db-1".into();
        let (changes, unreadable) = world.replace(POD, vec![broken, other], 9);
        assert_eq!((changes.len(), unreadable.len()), (1, 1));
        assert_eq!(ip(&world), Some("known"));
        assert!(world.pods.get("default", "db-1").is_some());
    }
}
