//! PodDisruptionBudgets: how many of the pods that a budget covers may be evicted now
//! (`pkg/controller/disruption`).
//!
//! A key is one object, `Kind name` in its namespace: a budget whose status is kept, or a pod that was marked
//! for an eviction that then never came. Evictions themselves are judged by the API (`registry::eviction`).

mod counts;
mod stale;
mod status;

use std::sync::Arc;

use apimachinery::labels::Selector;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::Planner;
use crate::objects::{name, namespace, selector};
use crate::plan::Plan;
use crate::world::{Key, Object, World};

/// The reasons of the condition `DisruptionAllowed` and of events about budgets, upstream's.
pub mod reasons {
    /// More pods are healthy than must be: some may be evicted.
    pub const SUFFICIENT_PODS: &str = "SufficientPods";
    /// No pod may be evicted now.
    pub const INSUFFICIENT_PODS: &str = "InsufficientPods";
    /// The budget cannot be computed; nothing may be evicted until it can.
    pub const SYNC_FAILED: &str = "SyncFailed";
    /// An event: no pod is covered.
    pub const NO_PODS: &str = "NoPods";
    /// An event: how many pods there should be cannot be known.
    pub const CALCULATE_EXPECTED_POD_COUNT_FAILED: &str = "CalculateExpectedPodCountFailed";
    /// An event: pods are covered that no controller manages.
    pub const UNMANAGED_PODS: &str = "UnmanagedPods";
    /// An event on a pod: it was evicted, and is still here.
    pub const NOT_DELETED: &str = "NotDeleted";
}

/// The disruption controller.
pub struct DisruptionController;

impl Planner for DisruptionController {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:disruption-controller"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        let budget_key = |budget: &Arc<PodDisruptionBudget>| key("PodDisruptionBudget", &budget.metadata);
        match object {
            Object::PodDisruptionBudget(budget) => vec![budget_key(budget)],
            Object::Pod(pod) => {
                let mut keys: Vec<Key> = budgets_of(world, pod).map(budget_key).collect();
                keys.extend(stale::marked_since(pod).map(|_| key("Pod", &pod.metadata)));
                keys
            }
            other => {
                let Some(labelled) = template_of(other) else { return Vec::new() };
                let budgets = world.pod_disruption_budgets.in_namespace(namespace(other.metadata()));
                budgets.filter(|budget| covers(budget, labelled)).map(budget_key).collect()
            }
        }
    }

    fn plan(&self, world: &World, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        match key.name.split_once(' ') {
            Some(("PodDisruptionBudget", name)) => {
                if let Some(budget) = world.pod_disruption_budgets.get(&key.namespace, name) {
                    status::do_plan_status(world, budget, now, &mut plan);
                }
            }
            Some(("Pod", name)) => {
                if let Some(pod) = world.pods.get(&key.namespace, name) {
                    stale::do_plan_stale_mark(pod, now, &mut plan);
                }
            }
            _ => {}
        }
        plan
    }
}

fn key(kind: &str, meta: &ObjectMeta) -> Key {
    Key::new(namespace(meta), &format!("{kind} {}", name(meta)))
}

/// What the pods are like of which this object says how many there shall be: a share is a share of those.
fn template_of(object: &Object) -> Option<&ObjectMeta> {
    let template = match object {
        Object::StatefulSet(set) => Some(&set.spec.as_ref()?.template),
        Object::Deployment(deployment) => Some(&deployment.spec.as_ref()?.template),
        Object::ReplicaSet(set) => set.spec.as_ref()?.template.as_ref(),
        _ => None,
    };
    template?.metadata.as_ref()
}

/// The budgets that an eviction of this pod would ask. More than one is a mistake, for which the API refuses.
pub fn budgets_of<'w>(world: &'w World, pod: &'w Pod) -> impl Iterator<Item = &'w Arc<PodDisruptionBudget>> {
    let budgets = world.pod_disruption_budgets.in_namespace(namespace(&pod.metadata));
    budgets.filter(|budget| covers(budget, &pod.metadata))
}

/// Whether the budget covers pods with these labels.
pub(crate) fn covers(budget: &PodDisruptionBudget, labelled: &ObjectMeta) -> bool {
    selected(budget).matches(&labelled.labels)
}

/// What a budget covers: nothing when it has no selector, everything when that is empty.
fn selected(budget: &PodDisruptionBudget) -> Selector {
    let typed = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    typed.map_or_else(Selector::nothing, selector)
}
