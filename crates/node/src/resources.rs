//! From a pod's resources to cgroups: quality of service, shares, quotas (`pkg/kubelet/cm/helpers_linux.go`,
//! `pkg/kubelet/qos`). Pure.

use std::collections::BTreeMap;

use apimachinery::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use runtime::Resources;

/// Upstream's `SharesPerCPU`.
const SHARES_PER_CPU: u64 = 1024;
/// Upstream's `MinShares`.
const MIN_SHARES: u64 = 2;
/// Upstream's `MaxShares`.
const MAX_SHARES: u64 = 262_144;
/// Upstream's `QuotaPeriod`, in microseconds.
const PERIOD: u64 = 100_000;
/// The least quota the kernel takes, in microseconds.
const MIN_QUOTA: i64 = 1000;
/// Processes and threads that a pod may have unless it is told otherwise.
const PIDS: i64 = 32_768;

/// How much a pod may count on (`core/v1.PodQOSClass`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos {
    /// Limits equal to requests, for cpu and memory of every container.
    Guaranteed,
    /// Some requests or limits.
    Burstable,
    /// None at all.
    BestEffort,
}

fn amount(list: Option<&BTreeMap<String, Text>>, name: &str) -> Option<Quantity> {
    Quantity::parse(&list?.get(name)?.0).ok().filter(|q| !q.is_zero())
}

fn limits(container: &Container) -> Option<&BTreeMap<String, Text>> {
    container.resources.as_ref().and_then(|r| r.limits.as_ref())
}

fn requests(container: &Container) -> Option<&BTreeMap<String, Text>> {
    container.resources.as_ref().and_then(|r| r.requests.as_ref())
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    let spec = pod.spec.iter();
    spec.flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers))
}

/// The pod's class (`ComputePodQOS`).
pub(crate) fn qos(pod: &Pod) -> Qos {
    let names = ["cpu", "memory"];
    let mut any = false;
    let mut guaranteed = true;
    for container in containers(pod) {
        for name in names {
            let (limit, request) = (amount(limits(container), name), amount(requests(container), name));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// The pod's cgroup, below the runtime's own.
pub(crate) fn cgroup_parent(pod: &Pod) -> String {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    match qos(pod) {
        Qos::Guaranteed => format!("pod{uid}"),
        Qos::Burstable => format!("burstable/pod{uid}"),
        Qos::BestEffort => format!("besteffort/pod{uid}"),
    }
}

fn shares(cpu: Option<Quantity>) -> u64 {
    let millis = u64::try_from(cpu.map_or(0, Quantity::milli_value)).unwrap_or(0);
    (millis * SHARES_PER_CPU / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

fn quota(cpu: Option<Quantity>) -> Option<i64> {
    let millis = cpu?.milli_value();
    Some((millis * PERIOD.cast_signed() / 1000).max(MIN_QUOTA))
}

/// A container's limits.
pub(crate) fn container_resources(pod: &Pod, container: &Container, node_memory: i64) -> Resources {
    let limit = amount(limits(container), "cpu");
    let request = amount(requests(container), "cpu");
    let memory = amount(limits(container), "memory").map(Quantity::value);
    let asked = amount(requests(container), "memory").map_or(0, Quantity::value);
    Resources {
        cpu_shares: Some(shares(request.or(limit))),
        cpu_quota: quota(limit),
        cpu_period: limit.map(|_| PERIOD),
        memory_limit: memory,
        pids_limit: None,
        oom_score_adj: Some(oom_score(qos(pod), asked, node_memory)),
    }
}

/// Whom the kernel kills first when the machine is out of memory (`pkg/kubelet/qos/policy.go`).
fn oom_score(qos: Qos, asked: i64, node_memory: i64) -> i32 {
    match qos {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let score = 1000 - 1000 * i128::from(asked) / i128::from(node_memory.max(1));
            i32::try_from(score).unwrap_or(999).clamp(3, 999)
        }
    }
}

/// What the pod needs at most: its containers run side by side, its init containers one after another and
/// beside the sidecars before them (`AggregateContainerRequests` of `k8s.io/component-helpers/resource`).
/// `None` when one of them has no such number.
fn most(pod: &Pod, pick: impl Fn(&Container) -> Option<i64>) -> Option<i64> {
    let spec = pod.spec.as_ref()?;
    let (mut sidecars, mut highest) = (0, 0);
    for container in spec.init_containers.iter().flatten() {
        let own = pick(container)?;
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars += own;
            highest = highest.max(sidecars);
        } else {
            highest = highest.max(sidecars + own);
        }
    }
    let together = spec.containers.iter().map(pick).sum::<Option<i64>>()?;
    Some(highest.max(sidecars + together))
}

/// The pod's limits: those of all its containers, where each of them has one.
pub(crate) fn pod_resources(pod: &Pod) -> Resources {
    let cpu = most(pod, |c| amount(limits(c), "cpu").map(Quantity::milli_value));
    let requested = most(pod, |c| {
        let asked = amount(requests(c), "cpu").or(amount(limits(c), "cpu"));
        Some(asked.map_or(0, Quantity::milli_value))
    });
    let requested = requested.unwrap_or(0);
    let memory = most(pod, |c| amount(limits(c), "memory").map(Quantity::value));
    Resources {
        cpu_shares: Some(shares(Some(Quantity::from_millis(requested)))),
        cpu_quota: cpu.and_then(|millis| quota(Some(Quantity::from_millis(millis)))),
        cpu_period: cpu.map(|_| PERIOD),
        memory_limit: memory,
        pids_limit: Some(PIDS),
        oom_score_adj: None,
    }
}

/// Limits that are kept by whoever keeps one of the two. What one of them does not limit stays as it is.
pub(crate) fn larger(a: &Resources, b: &Resources) -> Resources {
    fn most<T: Ord + Copy>(a: Option<T>, b: Option<T>) -> Option<T> {
        a.zip(b).map(|(a, b)| a.max(b))
    }
    Resources {
        cpu_shares: most(a.cpu_shares, b.cpu_shares),
        cpu_quota: most(a.cpu_quota, b.cpu_quota),
        cpu_period: most(a.cpu_period, b.cpu_period),
        memory_limit: most(a.memory_limit, b.memory_limit),
        pids_limit: most(a.pids_limit, b.pids_limit),
        oom_score_adj: None,
    }
}

/// The bytes of an optional quantity such as an emptyDir's sizeLimit.
pub(crate) fn bytes(quantity: Option<&Text>) -> Option<u64> {
    let value = Quantity::parse(&quantity?.0).ok()?.value();
    u64::try_from(value).ok().filter(|bytes| *bytes > 0)
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(resources: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"uid": "u"},
            "spec": {"containers": [{"name": "c", "resources": resources}]}}))
        .unwrap()
    }

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let list = json!({"cpu": "1", "memory": "1Gi"});
        let cases = [
            (json!({}), Qos::BestEffort),
            (json!({"limits": list, "requests": list}), Qos::Guaranteed),
            (json!({"limits": {"memory": "1Gi"}}), Qos::Burstable),
            (json!({"requests": list}), Qos::Burstable),
        ];
        for (resources, expected) in cases {
            assert_eq!(qos(&pod(resources.clone())), expected, "{resources}");
        }
    }

    #[test]
    fn a_pod_s_limit_leaves_room_for_its_greatest_init_container() {
        let limited = |memory: &str| json!({"name": "c", "resources": {"limits": {"memory": memory}}});
        let memory = |init: Value, containers: Value| {
            let spec = json!({"initContainers": init, "containers": containers});
            pod_resources(&serde_json::from_value(json!({"spec": spec})).unwrap()).memory_limit
        };
        let two = json!([limited("1Mi"), limited("2Mi")]);
        assert_eq!(memory(json!([]), two.clone()), Some(3 << 20));
        assert_eq!(memory(json!([limited("4Mi")]), two.clone()), Some(4 << 20));
        assert_eq!(memory(json!([{"name": "free"}]), two), None);
    }

    #[test]
    fn limits_become_quotas_and_requests_become_shares() {
        let pod = pod(json!({"limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}));
        let made = container_resources(&pod, &pod.spec.as_ref().unwrap().containers[0], 1 << 34);
        assert_eq!(made.cpu_shares, Some(256));
        assert_eq!((made.cpu_quota, made.cpu_period), (Some(150_000), Some(100_000)));
        assert_eq!(made.memory_limit, Some(64 << 20));
        assert_eq!(pod_resources(&pod).memory_limit, Some(64 << 20));
    }
}
