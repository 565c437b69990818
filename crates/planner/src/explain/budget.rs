//! PodDisruptionBudgets: whether pods may be evicted, and which pods a budget lacks.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::{CHECK_NAME, Cause, Walk, flag};
use crate::disruption::{budgets_of, covers, reasons};
use crate::objects::{is_terminating, name};
use crate::pods::{is_ready, is_terminal, phase};

/// What a budget says of itself.
struct Counts {
    healthy: i32,
    needed: i32,
    expected: i32,
    allowed: i32,
}

impl Counts {
    fn of(budget: &PodDisruptionBudget) -> Self {
        let status = budget.status.clone().unwrap_or_default();
        Self {
            healthy: status.current_healthy.unwrap_or(0),
            needed: status.desired_healthy.unwrap_or(0),
            expected: status.expected_pods.unwrap_or(0),
            allowed: status.disruptions_allowed.unwrap_or(0),
        }
    }
}

impl Walk<'_> {
    pub(super) fn budget(&mut self, ns: &str, budget_name: &str) -> Cause {
        let world = self.world;
        let spoken = format!("poddisruptionbudget/{budget_name}");
        let Some(budget) = world.pod_disruption_budgets.get(ns, budget_name) else {
            return Cause::new(format!("{spoken} does not exist in namespace {ns}")).fix(CHECK_NAME);
        };
        if let Some(said) = unknown(budget) {
            return Cause::new(format!(
                "{spoken} lets no pod be evicted: how many there should be is not known"
            ))
            .words(&said)
            .fix("give spec.minAvailable as a number, which needs no controller to be known");
        }
        let Counts { healthy, needed, expected, allowed } = Counts::of(budget);
        let pods: Vec<&Arc<Pod>> =
            world.pods.in_namespace(ns).filter(|pod| covers(budget, &pod.metadata)).collect();
        let unready: Vec<&str> =
            pods.iter().filter(|pod| !is_ready(pod)).map(|pod| name(&pod.metadata)).collect();
        if pods.is_empty() {
            return Cause::new(format!("{spoken} covers no pod"))
                .fix("compare spec.selector with the labels: stead get pods --show-labels");
        }
        let counts = format!("{healthy} of {expected} are healthy, and {needed} must be");
        if allowed > 0 {
            let pods = if allowed == 1 { "one pod".to_owned() } else { format!("{allowed} pods") };
            return Cause::well(format!("{spoken} lets {pods} be evicted now: {counts}"));
        }
        let text = format!("{spoken} lets no pod be evicted: {counts}");
        let cause = if unready.is_empty() { Cause::well(text) } else { Cause::new(text) };
        let cause = cause.because(unready.iter().map(|pod| self.object("Pod", ns, pod)));
        if needed < expected || !unready.is_empty() {
            return cause;
        }
        cause.fix(format!(
            "it needs all that there are: lower spec.minAvailable or raise spec.maxUnavailable (stead edit pdb \
             {budget_name}{}), or have more replicas",
            flag(ns)
        ))
    }

    /// Why the API would refuse to evict the pod now, if it would.
    pub(super) fn unevictable(&mut self, ns: &str, pod_name: &str) -> Vec<Cause> {
        let world = self.world;
        let Some(pod) = world.pods.get(ns, pod_name) else { return Vec::new() };
        // What has not begun or has ended is evicted unasked.
        if is_terminating(&pod.metadata) || is_terminal(pod) || phase(pod) == "Pending" {
            return Vec::new();
        }
        let budgets: Vec<&PodDisruptionBudget> = budgets_of(world, pod).map(|budget| &**budget).collect();
        let names = || budgets.iter().map(|budget| name(&budget.metadata)).collect::<Vec<_>>().join(" and ");
        match budgets.as_slice() {
            [] => Vec::new(),
            [budget] if !refuses(budget, pod) => Vec::new(),
            [budget] => {
                let behind = self.object("PodDisruptionBudget", ns, name(&budget.metadata));
                vec![Cause::well(format!("pod/{pod_name} cannot be evicted now")).because([behind])]
            }
            _ => vec![
                Cause::new(format!(
                    "pod/{pod_name} cannot be evicted: more than one budget covers it: {}",
                    names()
                ))
                .fix("change their spec.selector so that one is left"),
            ],
        }
    }
}

/// Why the budget could not be computed, where that is so.
fn unknown(budget: &PodDisruptionBudget) -> Option<String> {
    let conditions = budget.status.as_ref()?.conditions.as_ref()?;
    let failed = conditions.iter().find(|condition| condition.reason == reasons::SYNC_FAILED)?;
    Some(failed.message.clone())
}

/// Whether the budget keeps this pod (`canIgnorePDB`, `checkAndDecrement`).
fn refuses(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let Counts { healthy, needed, allowed, .. } = Counts::of(budget);
    if is_ready(pod) {
        return allowed <= 0;
    }
    let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    let is_let_go = policy == Some("AlwaysAllow") || (healthy >= needed && needed > 0);
    !is_let_go && allowed <= 0
}
