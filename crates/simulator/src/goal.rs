//! Whether everything is as it was asked for, by what the store holds.

use apimachinery::annotations::{PAUSED, RESERVE_ORDINALS};
use apimachinery::meta::ObjectExt;
use serde_json::Value;
use store::Store;

use crate::judge::{has_ready_condition, wanted_ordinals};
use crate::sim::Sim;

/// What is not yet as it was asked for; `None` when all is.
pub(crate) async fn missing(sim: &Sim) -> Option<String> {
    let sets = all(sim, "apps/v1", "StatefulSet").await;
    let pods = all(sim, "v1", "Pod").await;
    let claims = all(sim, "v1", "PersistentVolumeClaim").await;
    for pod in &pods {
        if pod.is_terminating() {
            return Some(format!("pod {} is still terminating", pod.name()));
        }
        let owner = pod.controller_uid();
        if !owner.is_empty() && !sets.iter().any(|set| set.uid() == owner) {
            return Some(format!("pod {} has outlived its set", pod.name()));
        }
    }
    sets.iter().find_map(|set| current_state_mismatch(set, &pods, &claims).err())
}

/// The set's goal: the wanted pods and no others, each Ready for long enough, at the right revision, with its
/// claims bound; and a status that says so.
fn current_state_mismatch(set: &Value, pods: &[Value], claims: &[Value]) -> Result<(), String> {
    let (spec, status) = (&set["spec"], &set["status"]);
    let set_name = set.name();
    if set.is_terminating() {
        return Err(format!("set {set_name} is still terminating"));
    }
    let wanted = wanted_ordinals(spec, set.annotation(RESERVE_ORDINALS).unwrap_or_default());
    let owned: Vec<&Value> = pods.iter().filter(|pod| set.uid() == pod.controller_uid()).collect();
    if let Some(extra) =
        owned.iter().find(|pod| !wanted.iter().any(|o| pod.name() == format!("{set_name}-{o}")))
    {
        return Err(format!("set {set_name} still has {}", extra.name()));
    }
    let rolling = spec["updateStrategy"]["type"] != "OnDelete" && set.annotation(PAUSED) != Some("true");
    let kept = spec["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap_or(0);
    for (index, ordinal) in (0_u64..).zip(&wanted) {
        let pod_name = format!("{set_name}-{ordinal}");
        let pod = owned.iter().find(|pod| pod.name() == pod_name);
        let pod = pod.ok_or_else(|| format!("pod {pod_name} is missing"))?;
        if !is_ready(pod) {
            return Err(format!("pod {pod_name} is not Ready"));
        }
        let revision = &pod["metadata"]["labels"]["controller-revision-hash"];
        if rolling && index >= kept && *revision != status["updateRevision"] {
            return Err(format!("pod {pod_name} is at revision {revision} still"));
        }
        for template in spec["volumeClaimTemplates"].as_array().into_iter().flatten() {
            let claim_name = format!("{}-{pod_name}", template.name());
            let claim = claims.iter().find(|claim| claim.name() == claim_name);
            if claim.is_none_or(|claim| claim["status"]["phase"] != "Bound") {
                return Err(format!("claim {claim_name} is not bound"));
            }
        }
    }
    for count in ["replicas", "readyReplicas", "availableReplicas"] {
        let told = status[count].as_u64().unwrap_or(0);
        if told != wanted.len() as u64 {
            return Err(format!("set {set_name} says {count}: {told}, and has {}", wanted.len()));
        }
    }
    if status["observedGeneration"] != set["metadata"]["generation"] {
        return Err(format!("set {set_name} has not been looked at"));
    }
    Ok(())
}

/// All objects of a kind.
async fn all(sim: &Sim, api_version: &str, kind: &str) -> Vec<Value> {
    let kind = registry::by_gvk(api_version, kind).expect("a kind that there is");
    let page = sim.store.list(&registry::storage_prefix(kind), None, 0, None).await;
    let items = page.expect("the store answers").items;
    items.iter().map(|item| serde_json::from_slice(&item.value).expect("the store holds JSON")).collect()
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running" && has_ready_condition(pod)
}
