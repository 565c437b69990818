//! The status of a budget (`trySync`, `failSafe`, `updatePdbStatus`).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::counts::{self, Expected};
use super::{reasons, selected};
use crate::numbers::{count, time};
use crate::objects::{is_terminating, name, namespace};
use crate::plan::{Action, EventType, Plan};
use crate::pods::is_ready;
use crate::world::{World, object_ref, to_value};

/// How long an evicted pod may take to be deleted; then it is believed to stay (`DeletionTimeout`).
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_secs(2 * 60);

/// The condition of budgets.
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// Writes the budget's status when it says something else than before.
pub(super) fn do_plan_status(world: &World, budget: &PodDisruptionBudget, now: Timestamp, plan: &mut Plan) {
    let covered = selected(budget);
    let pods: Vec<&Arc<Pod>> = world
        .pods
        .in_namespace(namespace(&budget.metadata))
        .filter(|pod| covered.matches(&pod.metadata.labels))
        .collect();
    let expected = counts::expected(world, budget, &pods);
    let evicted = Evicted::of(budget, &pods, now);
    let status = match &expected {
        Ok(expected) => synced(budget, expected, &pods, &evicted, now),
        Err(why) => failed(budget, why, now),
    };
    if let (Ok(_), Some(after)) = (&expected, evicted.recheck_after) {
        plan.requeue(after);
    }
    if budget.status.as_ref() == Some(&status) {
        return;
    }
    let mut object = budget.clone();
    object.status = Some(status);
    plan.actions.push(Action::ReplaceStatus(to_value(&object)));
    // Told with the news, not at every look.
    do_plan_events(budget, &pods, &expected, &evicted, plan);
}

fn do_plan_events(
    budget: &PodDisruptionBudget,
    pods: &[&Arc<Pod>],
    expected: &Result<Expected, String>,
    evicted: &Evicted,
    plan: &mut Plan,
) {
    let about = object_ref(budget);
    if pods.is_empty() {
        plan.record(&about, EventType::Normal, reasons::NO_PODS, "No matching pods found".to_owned());
    }
    match expected {
        Err(why) => {
            let message = format!("Failed to calculate the number of expected pods: {why}");
            plan.record(&about, EventType::Warning, reasons::CALCULATE_EXPECTED_POD_COUNT_FAILED, message);
        }
        Ok(expected) if expected.unmanaged => {
            let message = format!(
                "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a \
                 result, the status of the PDB cannot be calculated correctly, which may result in undefined \
                 behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an \
                 integer value.",
                selected(budget)
            );
            plan.record(&about, EventType::Warning, reasons::UNMANAGED_PODS, message);
        }
        Ok(_) => {}
    }
    let (place, called) = (namespace(&budget.metadata), name(&budget.metadata));
    for pod in pods.iter().filter(|pod| evicted.still_here.contains(&name(&pod.metadata).to_owned())) {
        let message = format!("Pod was expected by PDB {place}/{called} to be deleted but it wasn't");
        plan.record(&object_ref(&***pod), EventType::Warning, reasons::NOT_DELETED, message);
    }
}

/// The pods whose eviction the API has told of (`buildDisruptedPodMap`).
struct Evicted {
    /// Those that are about to be deleted, and since when.
    expected: BTreeMap<String, Time>,
    /// Those that should have been deleted long ago.
    still_here: Vec<String>,
    /// When the first of the former becomes one of the latter.
    recheck_after: Option<SignedDuration>,
}

impl Evicted {
    fn of(budget: &PodDisruptionBudget, pods: &[&Arc<Pod>], now: Timestamp) -> Self {
        let mut evicted = Self { expected: BTreeMap::new(), still_here: Vec::new(), recheck_after: None };
        let told = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
        for (pod, since) in told.into_iter().flatten() {
            if !pods.iter().any(|p| name(&p.metadata) == pod && !is_terminating(&p.metadata)) {
                continue;
            }
            let left = DELETION_TIMEOUT - now.duration_since(since.0);
            if left.is_positive() {
                evicted.expected.insert(pod.clone(), since.clone());
                evicted.recheck_after = Some(evicted.recheck_after.map_or(left, |first| first.min(left)));
            } else {
                evicted.still_here.push(pod.clone());
            }
        }
        evicted
    }
}

fn synced(
    budget: &PodDisruptionBudget,
    expected: &Expected,
    pods: &[&Arc<Pod>],
    evicted: &Evicted,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let is_healthy = |pod: &&&Arc<Pod>| {
        !is_terminating(&pod.metadata) && !evicted.expected.contains_key(name(&pod.metadata)) && is_ready(pod)
    };
    let healthy = count(pods.iter().filter(is_healthy).count());
    // Without any pod nothing is allowed, for the first ones may come before this is looked at again.
    let allowed = if expected.pods <= 0 { 0 } else { healthy.saturating_sub(expected.healthy).max(0) };
    let (status, reason) = match allowed {
        0 => ("False", reasons::INSUFFICIENT_PODS),
        _ => ("True", reasons::SUFFICIENT_PODS),
    };
    let generation = budget.metadata.generation;
    PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(expected.healthy),
        expected_pods: Some(expected.pods),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!evicted.expected.is_empty()).then(|| evicted.expected.clone()),
        observed_generation: generation,
        conditions: Some(conditions(budget, status, reason, "", generation, now)),
    }
}

/// What could not be computed allows nothing.
fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let before = budget.status.clone().unwrap_or_default();
    let observed = before.observed_generation;
    let conditions = conditions(budget, "False", reasons::SYNC_FAILED, why, observed, now);
    PodDisruptionBudgetStatus { disruptions_allowed: Some(0), conditions: Some(conditions), ..before }
}

/// The budget's conditions with its own put right (`apimeta.SetStatusCondition`); those of others stay.
fn conditions(
    budget: &PodDisruptionBudget,
    status: &str,
    reason: &str,
    message: &str,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut all = budget.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let held = all.iter_mut().find(|condition| condition.type_ == DISRUPTION_ALLOWED);
    let since = held.as_ref().filter(|c| c.status == status).map(|c| c.last_transition_time.clone());
    let condition = Condition {
        type_: DISRUPTION_ALLOWED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation,
        last_transition_time: since.unwrap_or_else(|| time(now)),
    };
    match held {
        Some(held) => *held = condition,
        None => all.push(condition),
    }
    all
}
