//! Planners broken on purpose: who shows that a run finds what is wrong must first have something wrong.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy as Retention;
use planner::{Action, Plan, World};

/// A way to break the planner of StatefulSets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// It takes a pod that is terminating for one that is gone.
    ForgetsTermination,
    /// It updates pods below the partition.
    ForgetsPartition,
    /// It makes and takes down pods out of order.
    ForgetsOrder,
    /// It lets claims go with their pods and sets, whatever the policy says.
    ForgetsRetention,
    /// It deletes pods without grace.
    ForgetsGrace,
}

impl Sabotage {
    /// The world as the broken planner sees it.
    pub(crate) fn world(self, world: &World) -> World {
        let mut world = world.clone();
        if self == Self::ForgetsTermination {
            let pods = std::mem::take(&mut world.pods);
            let stay = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
            stay.for_each(|pod| world.pods.insert((**pod).clone()));
        }
        let sets: Vec<StatefulSet> = world.stateful_sets.iter().map(|set| (**set).clone()).collect();
        for mut set in sets {
            self.change(&mut set);
            world.stateful_sets.insert(set);
        }
        world
    }

    fn change(self, set: &mut StatefulSet) {
        let Some(spec) = &mut set.spec else { return };
        match self {
            Self::ForgetsPartition => {
                let strategy = spec.update_strategy.as_mut();
                if let Some(rolling) = strategy.and_then(|strategy| strategy.rolling_update.as_mut()) {
                    rolling.partition = None;
                }
            }
            Self::ForgetsOrder => spec.pod_management_policy = Some("Parallel".to_owned()),
            Self::ForgetsRetention => {
                let delete = || Some("Delete".to_owned());
                spec.persistent_volume_claim_retention_policy =
                    Some(Retention { when_deleted: delete(), when_scaled: delete() });
            }
            Self::ForgetsTermination | Self::ForgetsGrace => {}
        }
    }

    /// The plan as the broken planner gives it.
    pub(crate) fn plan(self, mut plan: Plan) -> Plan {
        if self == Self::ForgetsGrace {
            for action in &mut plan.actions {
                if let Action::Delete { grace_period, .. } = action {
                    *grace_period = Some(0);
                }
            }
        }
        plan
    }
}
