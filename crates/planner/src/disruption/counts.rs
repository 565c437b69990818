//! How many pods there should be, and how many of them must be healthy (`getExpectedPodCount`).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use crate::numbers::{Rounded, count, share};
use crate::objects::{controller_of, name, namespace, uid};
use crate::world::{Object, World};

/// What a budget asks of its pods.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expected {
    /// How many pods there should be.
    pub(super) pods: i32,
    /// How many must be healthy.
    pub(super) healthy: i32,
    /// Whether there are pods that no controller manages: nobody says how many of them there should be.
    pub(super) unmanaged: bool,
}

/// The budget's counts for the pods that it covers; a sentence when they cannot be known.
pub(super) fn expected(
    world: &World,
    budget: &PodDisruptionBudget,
    pods: &[&Arc<Pod>],
) -> Result<Expected, String> {
    let spec = budget.spec.as_ref();
    let (least, most) =
        spec.map_or((None, None), |spec| (spec.min_available.as_ref(), spec.max_unavailable.as_ref()));
    if let Some(most) = most {
        let (wanted, unmanaged) = expected_scale(world, pods)?;
        return Ok(Expected { pods: wanted, healthy: (wanted - scaled(most, wanted)?).max(0), unmanaged });
    }
    match least {
        // A number needs no scale: who manages the pods does not matter.
        Some(IntOrString::Int(healthy)) => {
            Ok(Expected { pods: count(pods.len()), healthy: *healthy, unmanaged: false })
        }
        Some(share) => {
            let (wanted, unmanaged) = expected_scale(world, pods)?;
            Ok(Expected { pods: wanted, healthy: scaled(share, wanted)?, unmanaged })
        }
        None => Ok(Expected::default()),
    }
}

/// The number, or the share of `total`, rounded up.
fn scaled(value: &IntOrString, total: i32) -> Result<i32, String> {
    let number = share(value, total.into(), Rounded::Up)
        .ok_or_else(|| format!("invalid value for IntOrString: invalid type: {}", json!(value)))?;
    Ok(i32::try_from(number).unwrap_or(i32::MAX))
}

/// The sum of what the pods' controllers want, and whether there are pods without one (`getExpectedScale`).
fn expected_scale(world: &World, pods: &[&Arc<Pod>]) -> Result<(i32, bool), String> {
    let (mut scales, mut unmanaged) = (BTreeMap::new(), false);
    for pod in pods {
        let Some(controller) = controller_of(&pod.metadata) else {
            unmanaged = true;
            continue;
        };
        let scale = scale(world, namespace(&pod.metadata), controller);
        let (controller, replicas) =
            scale.ok_or_else(|| format!("found no controllers for pod {:?}", name(&pod.metadata)))?;
        scales.insert(controller, replicas);
    }
    Ok((scales.values().fold(0, |sum: i32, replicas| sum.saturating_add(*replicas)), unmanaged))
}

/// Who says how many pods a controller shall have, by uid, and how many that are: the set itself, or the
/// Deployment above a ReplicaSet (`getPodStatefulSet`, `getPodReplicaSet`, `getPodDeployment`).
fn scale(world: &World, namespace: &str, controller: &OwnerReference) -> Option<(String, i32)> {
    let found = world.find(&controller.kind, namespace, &controller.name)?;
    if uid(found.metadata()) != controller.uid || !controller.api_version.starts_with("apps/") {
        return None;
    }
    let replicas = match &found {
        Object::StatefulSet(set) => set.spec.as_ref().and_then(|spec| spec.replicas),
        Object::Deployment(deployment) => deployment.spec.as_ref().and_then(|spec| spec.replicas),
        Object::ReplicaSet(set) => match controller_of(&set.metadata) {
            Some(above) if above.kind == "Deployment" => return scale(world, namespace, above),
            Some(_) => return None,
            None => set.spec.as_ref().and_then(|spec| spec.replicas),
        },
        _ => return None,
    };
    Some((controller.uid.clone(), replicas.unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// An object of this kind in `default` that another one manages.
    fn of(kind: &str, name: &str, uid: &str, owner: Option<(&str, &str, &str)>) -> Value {
        let owners: Vec<Value> = owner
            .map(|(kind, name, uid)| {
                json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true})
            })
            .into_iter()
            .collect();
        json!({"apiVersion": "apps/v1", "kind": kind,
            "metadata": {"name": name, "namespace": "default", "uid": uid, "ownerReferences": owners}})
    }

    #[test]
    fn pods_of_a_deployment_count_as_many_as_that_wants_whatever_its_replica_sets_say() {
        let mut world = World::default();
        let spec = |replicas: u32| json!({"replicas": replicas, "selector": {}, "template": {}});
        for (kind, name, uid, owner, replicas) in [
            ("Deployment", "web", "d", None, 4),
            ("ReplicaSet", "web-old", "o", Some(("Deployment", "web", "d")), 3),
            ("ReplicaSet", "web-new", "n", Some(("Deployment", "web", "d")), 2),
            ("ReplicaSet", "alone", "a", None, 2),
        ] {
            let mut object = of(kind, name, uid, owner);
            object["spec"] = spec(replicas);
            let version = World::KINDS.iter().find(|known| known.1 == kind).expect("a kind of worlds");
            world.apply(*version, object).expect("an object of its kind");
        }
        let pod = |name: &str, owner: (&str, &str, &str)| -> Arc<Pod> {
            let object = of("Pod", name, name, Some(owner));
            Arc::new(serde_json::from_value(json!({"metadata": object["metadata"]})).expect("a pod"))
        };
        let old = pod("p1", ("ReplicaSet", "web-old", "o"));
        let new = pod("p2", ("ReplicaSet", "web-new", "n"));
        let alone = pod("p3", ("ReplicaSet", "alone", "a"));
        let stranger = pod("p4", ("ReplicaSet", "alone", "of-one-before"));
        assert_eq!(expected_scale(&world, &[&old, &new]), Ok((4, false)));
        assert_eq!(expected_scale(&world, &[&old, &new, &alone]), Ok((6, false)));
        let refusal = "found no controllers for pod \"p4\"".to_owned();
        assert_eq!(expected_scale(&world, &[&old, &stranger]), Err(refusal));
    }

    #[test]
    fn shares_are_rounded_up_and_what_is_none_is_told() {
        let check = |value: IntOrString, total: i32, expect: Result<i32, String>| {
            assert_eq!(scaled(&value, total), expect, "{value:?} of {total}");
        };
        check(IntOrString::Int(2), 7, Ok(2));
        check(IntOrString::String("34%".into()), 3, Ok(2));
        let refusal = "invalid value for IntOrString: invalid type: \"many\"".to_owned();
        check(IntOrString::String("many".into()), 3, Err(refusal));
    }
}
