//! The pure controllers: each is a function from what is to what to do next.
//!
//! A [`Planner`] sees a [`World`] (the objects as last heard of) and answers with a [`Plan`]: the writes to
//! make, when to be asked again at the latest, and **what it waits for**. It is not a loop and not a client:
//! `controllers` and `node` feed it and carry out what it says. **Its one rule: no IO, no clock, no
//! randomness; the same world gives the same plan, and a world that needs nothing gives an empty one.**
//!
//! ```
//! use planner::stateful_set::StatefulSetPlanner;
//! use planner::{Action, Key, Planner, World};
//!
//! let mut world = World::default();
//! let set = serde_json::json!({
//!     "metadata": {"name": "web", "namespace": "default", "uid": "1"},
//!     "spec": {"replicas": 3, "selector": {}, "template": {"spec": {"containers": []}}},
//! });
//! world.apply(("apps/v1", "StatefulSet"), set)?;
//! let plan = StatefulSetPlanner.plan(&world, &Key::new("default", "web"), jiff::Timestamp::UNIX_EPOCH);
//! // The revision, then the first pod; the second waits until the first is Ready.
//! let made = |action: &Action| match action {
//!     Action::Create(object) => Some(object["kind"].as_str().unwrap_or_default().to_owned()),
//!     _ => None,
//! };
//! assert_eq!(plan.actions.iter().filter_map(made).collect::<Vec<_>>(), ["ControllerRevision", "Pod"]);
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod check;
pub mod cluster_role_aggregation;
mod controller_ref;
pub mod deployment;
pub mod disruption;
pub mod endpoint_slice;
pub mod explain;
pub mod figures;
pub mod garbage_collector;
pub mod heartbeats;
pub mod namespace;
pub mod node_lifecycle;
pub mod nodes;
mod numbers;
mod objects;
pub mod plan;
pub mod pod_actions;
pub mod pod_gc;
mod pods;
pub mod replica_set;
pub mod scheduler;
pub mod service_proxy;
pub mod stateful_set;
pub mod taint_eviction;
mod template;
pub mod volume_binder;
pub mod world;

use jiff::Timestamp;

pub use plan::{Action, EventType, ObjectRef, Plan, Waiting};
pub use world::{Change, Key, Object, World};

/// A controller without its loop.
pub trait Planner: Send + Sync {
    /// The controller's name as upstream calls it, for instance `statefulset`: logs and events carry it.
    fn name(&self) -> &'static str;

    /// The user that its writes are made as: upstream's, so that the default roles say what it may do.
    fn user(&self) -> &'static str;

    /// What to plan again because `object` changed (or appeared, or went): called with the object as it was
    /// and as it is. `world` already holds the change.
    fn keys(&self, world: &World, object: &Object) -> Vec<Key>;

    /// What to do about `key` now. An empty plan when there is nothing to do.
    fn plan(&self, world: &World, key: &Key, now: Timestamp) -> Plan;
}

/// Every planner that `controllers` runs.
pub static PLANNERS: &[&dyn Planner] = &[
    &stateful_set::StatefulSetPlanner,
    &endpoint_slice::EndpointSlicePlanner,
    &scheduler::Scheduler,
    &volume_binder::VolumeBinder,
    &garbage_collector::GarbageCollector,
    &namespace::NamespacePlanner,
    &disruption::DisruptionController,
    &replica_set::ReplicaSetPlanner,
    &deployment::DeploymentPlanner,
    &cluster_role_aggregation::ClusterRoleAggregation,
    &node_lifecycle::NodeLifecycle,
    &taint_eviction::TaintEviction,
    &pod_gc::PodGarbageCollector,
];
