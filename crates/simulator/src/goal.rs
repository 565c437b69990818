//! Whether everything is as it was asked for, by what the store holds.

use registry::KINDS;
use serde_json::Value;
use store::Store;

use crate::judge::wanted_ordinals;
use crate::sim::Sim;

/// What is not yet as it was asked for; `None` when all is.
pub(crate) async fn missing(sim: &Sim) -> Option<String> {
    let sets = all(sim, "statefulsets").await;
    let pods = all(sim, "pods").await;
    let claims = all(sim, "persistentvolumeclaims").await;
    for pod in &pods {
        if is_terminating(pod) {
            return Some(format!("pod {} is still terminating", name(pod)));
        }
        let owner = owner_uid(pod);
        if !owner.is_empty() && !sets.iter().any(|set| set["metadata"]["uid"] == owner) {
            return Some(format!("pod {} has outlived its set", name(pod)));
        }
    }
    sets.iter().find_map(|set| current_state_mismatch(set, &pods, &claims).err())
}

/// The set's goal: the wanted pods and no others, each Ready for long enough, at the right revision, with its
/// claims bound; and a status that says so.
fn current_state_mismatch(set: &Value, pods: &[Value], claims: &[Value]) -> Result<(), String> {
    let (spec, status) = (&set["spec"], &set["status"]);
    let set_name = name(set);
    if is_terminating(set) {
        return Err(format!("set {set_name} is still terminating"));
    }
    let annotation = |key: &str| set["metadata"]["annotations"][key].as_str().unwrap_or_default();
    let wanted = wanted_ordinals(spec, annotation("stead.dev/reserve-ordinals"));
    let owned: Vec<&Value> = pods.iter().filter(|pod| set["metadata"]["uid"] == owner_uid(pod)).collect();
    if let Some(extra) =
        owned.iter().find(|pod| !wanted.iter().any(|o| name(pod) == format!("{set_name}-{o}")))
    {
        return Err(format!("set {set_name} still has {}", name(extra)));
    }
    let rolling = spec["updateStrategy"]["type"] != "OnDelete" && annotation("stead.dev/paused") != "true";
    let kept = spec["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap_or(0);
    for (index, ordinal) in (0_u64..).zip(&wanted) {
        let pod_name = format!("{set_name}-{ordinal}");
        let pod = owned.iter().find(|pod| name(pod) == pod_name);
        let pod = pod.ok_or_else(|| format!("pod {pod_name} is missing"))?;
        if !is_ready(pod) {
            return Err(format!("pod {pod_name} is not Ready"));
        }
        let revision = &pod["metadata"]["labels"]["controller-revision-hash"];
        if rolling && index >= kept && *revision != status["updateRevision"] {
            return Err(format!("pod {pod_name} is at revision {revision} still"));
        }
        for template in spec["volumeClaimTemplates"].as_array().into_iter().flatten() {
            let claim_name = format!("{}-{pod_name}", name(template));
            let claim = claims.iter().find(|claim| name(claim) == claim_name);
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

async fn all(sim: &Sim, plural: &str) -> Vec<Value> {
    let Some(kind) = KINDS.iter().find(|kind| kind.plural == plural) else { return Vec::new() };
    let page = sim.store.list(&registry::storage_prefix(kind), None, 0, None).await;
    let items = page.map(|page| page.items).unwrap_or_default();
    items.iter().filter_map(|item| serde_json::from_slice(&item.value).ok()).collect()
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn is_terminating(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn owner_uid(object: &Value) -> &str {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let controller = owners.into_iter().flatten().find(|owner| owner["controller"] == true);
    controller.and_then(|owner| owner["uid"].as_str()).unwrap_or_default()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    pod["status"]["phase"] == "Running"
        && conditions.into_iter().any(|c| c["type"] == "Ready" && c["status"] == "True")
}
