//! Whether a pod may be evicted: what its PodDisruptionBudget says, and what an eviction costs it
//! (`pkg/registry/core/pod/storage/eviction.go`, KEP-85, KEP-3017).
//!
//! The API's handler reads and writes; the decisions are here. Order: [`consider`] says which budget must pay,
//! [`spend`] takes the payment under the budget's own version, [`mark`] notes on the pod why it goes.

use apimachinery::labels::Selector;
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use apimachinery::time;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::kinds::BUDGETS;
use crate::value::{items, list_in, number, object, object_in, text};

/// The most evictions that may stand in a budget's status without the controller having noticed
/// (`MaxDisruptedPodSize`).
const MAX_DISRUPTED_PODS: usize = 2000;
/// When to ask again while a budget's status is behind its spec, in seconds.
const PROCESSING_RETRY_SECONDS: i64 = 10;
/// The condition that says what a budget allows.
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// The kind whose objects [`consider`] asks for.
pub fn budgets() -> &'static Kind {
    BUDGETS
}

/// What an eviction needs before the pod goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: no budget covers the pod.
    Free,
    /// Nothing, for the pod has not begun, is ending, or has ended: no budget is asked. One that has not
    /// begun goes only as it is now, for it may become Ready meanwhile.
    Unasked {
        /// Whether the pod must not have changed since.
        unless_changed: bool,
    },
    /// Nothing, for the pod is not Ready and this budget lets such a pod go, as long as it stays so.
    Unhealthy(String),
    /// The budget of this name must pay for it.
    Pays(String),
}

/// Whether the pod may be evicted without asking any budget, by what itself says (`canIgnorePDB`).
pub fn goes_unasked(pod: &Value) -> Option<Verdict> {
    let phase = text(&pod["status"]["phase"]);
    let ends = pod.is_terminating() || matches!(phase, "Succeeded" | "Failed");
    (ends || phase == "Pending").then_some(Verdict::Unasked { unless_changed: !ends })
}

/// What the eviction of `pod` needs, by `budgets`: those of its namespace.
///
/// # Errors
/// 500 when more than one budget covers the pod: which one should pay cannot be known.
pub fn consider(pod: &Value, budgets: &[Value]) -> Result<Verdict, Status> {
    if let Some(verdict) = goes_unasked(pod) {
        return Ok(verdict);
    }
    let none = Map::new();
    let labels = pod.meta_map("labels").unwrap_or(&none);
    let mut covering = budgets.iter().filter(|budget| covers(budget, labels));
    let Some(budget) = covering.next() else { return Ok(Verdict::Free) };
    if covering.next().is_some() {
        return Err(Status::new(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    let name = budget.name().to_owned();
    if !is_ready(pod) && spares_unhealthy(budget) {
        return Ok(Verdict::Unhealthy(name));
    }
    Ok(Verdict::Pays(name))
}

/// A budget without a selector covers nothing, one with an empty selector everything.
fn covers(budget: &Value, labels: &Map<String, Value>) -> bool {
    let selector = &budget["spec"]["selector"];
    selector.is_object() && Selector::from_label_selector(selector).is_ok_and(|s| s.matches(labels))
}

fn is_ready(pod: &Value) -> bool {
    items(&pod["status"]["conditions"]).iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// Whether a pod that is not Ready goes without payment: it does not count as healthy anyway.
fn spares_unhealthy(budget: &Value) -> bool {
    let count = |field: &str| number(&budget["status"][field]);
    budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        || (count("desiredHealthy") > 0 && count("currentHealthy") >= count("desiredHealthy"))
}

/// The budget after it has paid for the eviction of the pod `pod` (`checkAndDecrement`).
///
/// # Errors
/// 429 when the budget allows no disruption now, or its status is behind its spec; 403 when its status makes no
/// sense.
pub fn spend(budget: &Value, pod: &str, now: Timestamp) -> Result<Value, Status> {
    let (name, status) = (budget.name(), &budget["status"]);
    if number(&status["observedGeneration"]) < number(&budget["metadata"]["generation"]) {
        return Err(still_processed(name));
    }
    let allowed = number(&status["disruptionsAllowed"]);
    let forbidden = |why: &str| Err(Status::forbidden("poddisruptionbudget.policy", name, why));
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if status["disruptedPods"].as_object().is_some_and(|pods| pods.len() > MAX_DISRUPTED_PODS) {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(used_up(name, status));
    }
    let mut spent = budget.clone();
    if let Some(status) = object(&mut spent, "status") {
        status.insert("disruptionsAllowed".into(), (allowed - 1).into());
        if allowed == 1 {
            forbid_more(status, now);
        }
        if let Some(pods) = object_in(status, "disruptedPods") {
            pods.insert(pod.to_owned(), time::format_seconds(now).into());
        }
    }
    Ok(spent)
}

fn used_up(name: &str, status: &Value) -> Status {
    let condition = items(&status["conditions"]).iter().find(|c| c["type"] == DISRUPTION_ALLOWED);
    let failed = condition.filter(|c| c["status"] == "False" && c["reason"] == "SyncFailed");
    let cause = match failed {
        Some(condition) => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            text(&condition["message"])
        ),
        None => format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number(&status["desiredHealthy"]),
            number(&status["currentHealthy"])
        ),
    };
    too_many_requests(&cause, None)
}

/// 429: the budget's status, or the pod's readiness, is just changing; ask again soon
/// (`createTooManyRequestsError`).
pub fn still_processed(budget: &str) -> Status {
    let cause = format!("The disruption budget {budget} is still being processed by the server.");
    too_many_requests(&cause, Some(PROCESSING_RETRY_SECONDS))
}

fn too_many_requests(cause: &str, retry_after: Option<i64>) -> Status {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    let mut status = Status::new(429, "TooManyRequests", message);
    status.details = json!({"causes": [{"reason": "DisruptionBudget", "message": cause}]});
    if let Some(seconds) = retry_after {
        status.details["retryAfterSeconds"] = seconds.into();
    }
    status
}

/// The condition of a budget that has just paid for the last time
/// (`k8s.io/component-helpers/apps/poddisruptionbudget`).
fn forbid_more(status: &mut Map<String, Value>, now: Timestamp) {
    let observed = status.get("observedGeneration").cloned();
    let Some(conditions) = list_in(status, "conditions") else { return };
    let held = conditions.iter().position(|c| c["type"] == DISRUPTION_ALLOWED);
    let since = held.map(|at| conditions.remove(at)).filter(|c| c["status"] == "False");
    let since = since.map_or_else(|| time::format_seconds(now).into(), |c| c["lastTransitionTime"].clone());
    let mut condition = json!({"type": DISRUPTION_ALLOWED, "status": "False", "reason": "InsufficientPods",
        "message": "", "lastTransitionTime": since});
    if let Some(observed) = observed {
        condition["observedGeneration"] = observed;
    }
    let at = held.unwrap_or(conditions.len());
    conditions.insert(at, condition);
}

/// Notes on a pod that it is being evicted (`addConditionAndDeletePod`, KEP-3329).
pub fn mark(pod: &mut Value, now: Timestamp) {
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastProbeTime": null, "lastTransitionTime": time::format_seconds(now)});
    let Some(list) = object(pod, "status").and_then(|status| list_in(status, "conditions")) else { return };
    match list.iter_mut().find(|c| c["type"] == "DisruptionTarget") {
        Some(held) if held["status"] == "True" && held["reason"] == condition["reason"] => {}
        Some(held) => *held = condition,
        None => list.push(condition),
    }
}
