//! How many pods there should be, and how many of them must be healthy (`getExpectedPodCount`).

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::objects::{controller_of, name, namespace, uid};
use crate::world::World;

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
        let (count, unmanaged) = expected_scale(world, pods)?;
        return Ok(Expected { pods: count, healthy: (count - scaled(most, count)?).max(0), unmanaged });
    }
    match least {
        // A number needs no scale: who manages the pods does not matter.
        Some(IntOrString::Int(healthy)) => {
            let pods = i32::try_from(pods.len()).unwrap_or(i32::MAX);
            Ok(Expected { pods, healthy: *healthy, unmanaged: false })
        }
        Some(share) => {
            let (count, unmanaged) = expected_scale(world, pods)?;
            Ok(Expected { pods: count, healthy: scaled(share, count)?, unmanaged })
        }
        None => Ok(Expected::default()),
    }
}

/// The number, or the share of `total`, rounded up (`intstr.GetScaledValueFromIntOrPercent`).
fn scaled(value: &IntOrString, total: i32) -> Result<i32, String> {
    match value {
        IntOrString::Int(number) => Ok(*number),
        IntOrString::String(share) => {
            let percent: Option<i64> = share.strip_suffix('%').and_then(|n| n.parse().ok());
            let percent =
                percent.ok_or_else(|| format!("invalid value for IntOrString: invalid type: {share:?}"))?;
            let share = (percent * i64::from(total) + 99).div_euclid(100);
            Ok(i32::try_from(share).unwrap_or(i32::MAX))
        }
    }
}

/// The sum of what the pods' controllers want, and whether there are pods without one (`getExpectedScale`).
fn expected_scale(world: &World, pods: &[&Arc<Pod>]) -> Result<(i32, bool), String> {
    let (mut scales, mut unmanaged) = (BTreeMap::new(), false);
    for pod in pods {
        let Some(controller) = controller_of(&pod.metadata) else {
            unmanaged = true;
            continue;
        };
        if scales.contains_key(controller.uid.as_str()) {
            continue;
        }
        let is_set = controller.kind == "StatefulSet" && controller.api_version.starts_with("apps/");
        let set = world.stateful_sets.get(namespace(&pod.metadata), &controller.name);
        let set = set.filter(|set| is_set && uid(&set.metadata) == controller.uid);
        let set = set.ok_or_else(|| format!("found no controllers for pod {:?}", name(&pod.metadata)))?;
        let replicas = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        scales.insert(controller.uid.as_str(), replicas);
    }
    Ok((scales.values().fold(0, |sum: i32, replicas| sum.saturating_add(*replicas)), unmanaged))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up() {
        let check = |value: IntOrString, total: i32, expect: Result<i32, String>| {
            assert_eq!(scaled(&value, total), expect, "{value:?} of {total}");
        };
        check(IntOrString::Int(2), 7, Ok(2));
        check(IntOrString::String("50%".into()), 7, Ok(4));
        check(IntOrString::String("34%".into()), 3, Ok(2));
        check(IntOrString::String("100%".into()), 3, Ok(3));
        check(IntOrString::String("1%".into()), 0, Ok(0));
        check(IntOrString::String("0%".into()), 9, Ok(0));
        let refusal = "invalid value for IntOrString: invalid type: \"many\"".to_owned();
        check(IntOrString::String("many".into()), 3, Err(refusal));
    }
}
