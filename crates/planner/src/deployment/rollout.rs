//! A Deployment, its ReplicaSets, and what is to become of them.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{
    Deployment, DeploymentCondition, DeploymentSpec, ReplicaSet, ReplicaSetStatus,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};

use super::{reasons, revisions};
use crate::numbers::{Rounded, share};
use crate::objects::{guarded_patch, name};
use crate::plan::{Action, EventType, Plan};
use crate::replica_set::replicas;
use crate::world::{World, object_ref, to_value};

/// A ReplicaSet as it is, and as it is to be.
pub(super) struct Member<'w> {
    /// `None`: this plan makes it.
    pub(super) held: Option<&'w ReplicaSet>,
    pub(super) wanted: ReplicaSet,
}

impl Member<'_> {
    /// How many pods it is to have.
    pub(super) fn replicas(&self) -> i32 {
        replicas(&self.wanted)
    }

    pub(super) fn name(&self) -> &str {
        name(&self.wanted.metadata)
    }

    /// How many of the pods that it is to have are available, as far as it has told.
    pub(super) fn available(&self) -> i32 {
        self.counts(|status| status.available_replicas).min(self.replicas())
    }

    /// A count of its status.
    pub(super) fn counts(&self, count: impl Fn(&ReplicaSetStatus) -> Option<i32>) -> i32 {
        self.wanted.status.as_ref().and_then(count).unwrap_or(0)
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        crate::objects::annotation(&self.wanted.metadata, key)
    }

    pub(super) fn annotate(&mut self, key: &str, value: String) {
        self.wanted.metadata.annotations.get_or_insert_default().insert(key.to_owned(), value);
    }
}

/// A Deployment and its ReplicaSets.
pub(super) struct Rollout<'w> {
    pub(super) world: &'w World,
    pub(super) deployment: &'w Deployment,
    pub(super) spec: DeploymentSpec,
    /// The one of the present template.
    pub(super) new: Option<Member<'w>>,
    /// The others, the oldest first.
    pub(super) old: Vec<Member<'w>>,
    /// The status's conditions as they are to be.
    pub(super) conditions: Vec<DeploymentCondition>,
    /// `status.collisionCount` as it is to be.
    pub(super) collision_count: Option<i32>,
    pub(super) now: Timestamp,
}

impl<'w> Rollout<'w> {
    pub(super) fn new(
        world: &'w World,
        deployment: &'w Deployment,
        mut sets: Vec<&'w ReplicaSet>,
        now: Timestamp,
    ) -> Self {
        sets.sort_by_key(|set| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone()));
        let spec = deployment.spec.clone().unwrap_or_default();
        let member = |set: &'w ReplicaSet| Member { held: Some(set), wanted: set.clone() };
        let mut old: Vec<Member<'_>> = sets.into_iter().map(member).collect();
        // The oldest where there are several, as upstream: all clients choose the same one.
        let new = old.iter().position(|set| revisions::is_of_template(&set.wanted, &spec.template));
        let new = new.map(|index| old.remove(index));
        let status = deployment.status.clone().unwrap_or_default();
        Self {
            world,
            deployment,
            spec,
            new,
            old,
            conditions: status.conditions.unwrap_or_default(),
            collision_count: status.collision_count,
            now,
        }
    }

    /// How many pods are wanted.
    pub(super) fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1).max(0)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.spec.paused == Some(true)
    }

    pub(super) fn is_recreate(&self) -> bool {
        is_recreate(self.deployment)
    }

    /// All ReplicaSets, the old ones first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Member<'w>> {
        self.old.iter().chain(&self.new)
    }

    /// How many pods all ReplicaSets are to have.
    pub(super) fn total(&self) -> i32 {
        self.all().map(Member::replicas).fold(0, i32::saturating_add)
    }

    /// How many pods more than wanted there may be, and how many fewer available ones (`ResolveFenceposts`). Of
    /// shares, the first is rounded up and the second down; an update that could not move at all may take one down.
    pub(super) fn fenceposts(&self) -> (i32, i32) {
        if self.is_recreate() {
            return (0, 0);
        }
        let rolling = self.spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.as_ref());
        let of_all = |value: &Option<IntOrString>, rounded: Rounded| -> i32 {
            let number = value.as_ref().and_then(|value| share(value, self.replicas().into(), rounded));
            i32::try_from(number.unwrap_or(0).max(0)).unwrap_or(i32::MAX)
        };
        let surge = rolling.map_or(0, |rolling| of_all(&rolling.max_surge, Rounded::Up));
        let unavailable = rolling.map_or(0, |rolling| of_all(&rolling.max_unavailable, Rounded::Down));
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    /// How many pods there may be in all while an update goes on.
    pub(super) fn most(&self) -> i32 {
        self.replicas().saturating_add(self.fenceposts().0)
    }

    /// How many pods must be available while an update goes on.
    pub(super) fn least(&self) -> i32 {
        (self.replicas() - self.fenceposts().1).max(0)
    }

    /// Wants the ReplicaSet to have so many pods, and it to know of how many that is a part (`scaleReplicaSet`).
    pub(super) fn scale_to(&mut self, which: Which, replicas: i32) {
        let (desired, most) = (self.replicas(), self.most());
        let member = match which {
            Which::New => self.new.as_mut(),
            Which::Old(index) => self.old.get_mut(index),
        };
        let Some(member) = member else { return };
        member.wanted.spec.get_or_insert_default().replicas = Some(replicas);
        revisions::tell_size(member, desired, most);
    }

    /// Whether all pods are of the present template and available, as the status that stands says it
    /// (`DeploymentComplete`).
    pub(super) fn is_complete(&self) -> bool {
        self.deployment.status.as_ref().is_some_and(|status| {
            let all = |count: Option<i32>| count.unwrap_or(0) == self.replicas();
            all(status.updated_replicas)
                && all(status.replicas)
                && all(status.available_replicas)
                && status.observed_generation == self.deployment.metadata.generation
        })
    }

    /// Writes what differs.
    pub(super) fn do_plan_writes(&self, plan: &mut Plan) {
        for member in self.new.iter().chain(&self.old) {
            let before = member.held.map_or(0, replicas);
            match member.held {
                None => plan.actions.push(Action::Create(to_value(&member.wanted))),
                Some(held) if *held == member.wanted => continue,
                Some(held) => plan.actions.push(guarded_patch(held, difference(held, &member.wanted))),
            }
            let after = member.replicas();
            if before == after {
                continue;
            }
            let direction = if before < after { "up" } else { "down" };
            let message =
                format!("Scaled {direction} replica set {} from {before} to {after}", member.name());
            let about = object_ref(self.deployment);
            plan.record(&about, EventType::Normal, reasons::SCALING_REPLICA_SET, message);
        }
    }
}

/// One ReplicaSet of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// That of the present template.
    New,
    /// An old one, by its index.
    Old(usize),
}

/// Whether all old pods go before the first new one comes.
pub(super) fn is_recreate(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// What a rollout changes of a ReplicaSet, as a merge patch.
fn difference(held: &ReplicaSet, wanted: &ReplicaSet) -> Value {
    let mut patch = json!({"metadata": {}});
    let known = |key: &str| crate::objects::annotation(&held.metadata, key);
    let told = wanted.metadata.annotations.iter().flatten();
    let changed: Map<String, Value> = told
        .filter(|(key, value)| known(key) != Some(value.as_str()))
        .map(|(key, value)| (key.clone(), value.as_str().into()))
        .collect();
    if !changed.is_empty() {
        patch["metadata"]["annotations"] = changed.into();
    }
    let (before, after) = (held.spec.clone().unwrap_or_default(), wanted.spec.clone().unwrap_or_default());
    if before.replicas != after.replicas {
        patch["spec"]["replicas"] = json!(after.replicas);
    }
    if before.min_ready_seconds != after.min_ready_seconds {
        patch["spec"]["minReadySeconds"] = json!(after.min_ready_seconds);
    }
    patch
}
