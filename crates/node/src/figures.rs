//! What the node and its pods use, from cgroups and /proc: for metrics.k8s.io, and as `/metrics/resource` of upstream's
//! kubelet has it.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use planner::Key;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use runtime::{PodUsage, Usage};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::container_config::kept;
use crate::host::{Host, now};
use crate::manager::Manager;

/// How long processor time is counted at the least.
const LEAST_WINDOW: Duration = Duration::from_secs(1);
/// A count this long ago says little of now.
const LONGEST_WINDOW: Duration = Duration::from_secs(60);
/// Who asks again this soon gets the same answer.
const FRESH: Duration = Duration::from_secs(5);
/// How many parts of a second /proc/stat counts in (`USER_HZ`, the same on all of Linux).
const TICKS_PER_SECOND: u64 = 100;

/// What the node, or the containers of a pod, used in a window of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// When the window ended.
    pub at: Timestamp,
    /// How long it was.
    pub window: Duration,
    /// Processor time per second in nanoseconds, and bytes of memory: by container; of the node there is one, without
    /// a name.
    pub usage: BTreeMap<String, (u64, u64)>,
}

/// What was counted at one moment.
#[derive(Clone)]
struct Sample {
    taken: Instant,
    at: Timestamp,
    node: Usage,
    pods: BTreeMap<String, (Key, PodUsage)>,
}

/// The last two samples.
#[derive(Default)]
pub(crate) struct Samples(Mutex<Option<(Sample, Sample)>>);

impl Samples {
    /// What was used between two samples, the second of which is of now or nearly so. Askers wait for each other.
    async fn take(&self, host: &Arc<Host>, manager: &Manager) -> (Sample, Sample) {
        let mut held = self.0.lock().await;
        let before = match held.as_ref() {
            Some(fresh) if fresh.1.taken.elapsed() < FRESH => return fresh.clone(),
            Some((_, last)) if last.taken.elapsed() < LONGEST_WINDOW => last.clone(),
            _ => {
                let first = sample(host, manager).await;
                tokio::time::sleep(LEAST_WINDOW).await;
                first
            }
        };
        let after = sample(host, manager).await;
        *held = Some((before.clone(), after.clone()));
        (before, after)
    }
}

async fn sample(host: &Arc<Host>, manager: &Manager) -> Sample {
    let mut pods = BTreeMap::new();
    for handle in manager.all() {
        // One that has no sandbox uses nothing.
        if let Ok(usage) = host.runtime.pod_sandbox_stats(&handle.uid).await {
            pods.insert(handle.uid.clone(), (handle.key.clone(), by_name(host, &handle.uid, usage).await));
        }
    }
    Sample { taken: Instant::now(), at: now(), node: machine_usage(), pods }
}

/// Containers by their names in the pod's spec, in place of the runtime's.
async fn by_name(host: &Arc<Host>, uid: &str, usage: PodUsage) -> PodUsage {
    let all = host.runtime.containers(uid).await.unwrap_or_default();
    let name = |id: &str| {
        let found = all.iter().find(|container| container.config.id == id);
        found.and_then(|container| container.config.annotations.get(kept::NAME).cloned())
    };
    let containers = usage.containers.iter().filter_map(|(id, used)| Some((name(id)?, *used)));
    PodUsage { pod: usage.pod, containers: containers.collect() }
}

/// What all processes of the machine use.
fn machine_usage() -> Usage {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Usage { cpu_nanoseconds: busy(&stat), ..memory_used(&memory) }
}

/// The first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
fn busy(stat: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let waiting = [3, 4];
    let busy = ticks.iter().take(8).enumerate().filter(|(column, _)| !waiting.contains(column));
    busy.map(|(_, ticks)| ticks).sum::<u64>() * (1_000_000_000 / TICKS_PER_SECOND)
}

fn memory_used(meminfo: &str) -> Usage {
    let of = |name: &str| -> u64 {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    let memory = of("MemTotal").saturating_sub(of("MemFree"));
    let memory_working_set = memory.saturating_sub(of("Inactive(file)"));
    Usage { memory, memory_working_set, ..Usage::default() }
}

fn rate(before: Usage, after: Usage, window: Duration) -> (u64, u64) {
    let spent = after.cpu_nanoseconds.saturating_sub(before.cpu_nanoseconds);
    let cores = u128::from(spent) * 1_000_000_000 / window.as_nanos().max(1);
    (u64::try_from(cores).unwrap_or(u64::MAX), after.memory_working_set)
}

/// What the node uses.
pub(crate) async fn node(samples: &Samples, host: &Arc<Host>, manager: &Manager) -> Measured {
    let (before, after) = samples.take(host, manager).await;
    let window = after.taken.duration_since(before.taken);
    Measured { at: after.at, window, usage: [(String::new(), rate(before.node, after.node, window))].into() }
}

/// What its pods use, by namespace and name. A container that is younger than the window is not among them yet.
pub(crate) async fn pods(
    samples: &Samples,
    host: &Arc<Host>,
    manager: &Manager,
) -> BTreeMap<(String, String), Measured> {
    let (before, after) = samples.take(host, manager).await;
    let window = after.taken.duration_since(before.taken);
    let measured = after.pods.iter().filter_map(|(uid, (key, now))| {
        let (_, then) = before.pods.get(uid)?;
        let usage = now.containers.iter().filter_map(|(name, now)| {
            let then = then.containers.get(name)?;
            // One that was started again counts from nothing.
            let then = if then.cpu_nanoseconds > now.cpu_nanoseconds { Usage::default() } else { *then };
            Some((name.clone(), rate(then, *now, window)))
        });
        let usage: BTreeMap<_, _> = usage.collect();
        let key = (key.namespace.clone(), key.name.clone());
        (!usage.is_empty()).then_some((key, Measured { at: after.at, window, usage }))
    });
    measured.collect()
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPod {
    namespace: String,
    pod: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfContainer {
    container: String,
    namespace: String,
    pod: String,
}

/// All that is counted, as of now, in OpenMetrics text without the end mark.
pub(crate) async fn text(host: &Arc<Host>, manager: &Manager) -> String {
    let sample = sample(host, manager).await;
    let mut registry = Registry::default();
    let seconds = |nanoseconds: u64| Duration::from_nanos(nanoseconds).as_secs_f64();
    let gauge = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    registry.register_with_unit(
        "node_cpu_usage",
        "Processor time that the machine's processes have used",
        Unit::Seconds,
        ConstCounter::new(seconds(sample.node.cpu_nanoseconds)),
    );
    let node_memory: Gauge = Gauge::default();
    node_memory.set(gauge(sample.node.memory_working_set));
    registry.register_with_unit(
        "node_memory_working_set",
        "Memory of the machine that could not be taken back at once",
        Unit::Bytes,
        node_memory,
    );
    let pod_cpu = Family::<OfPod, Counter<f64, std::sync::atomic::AtomicU64>>::default();
    let pod_memory = Family::<OfPod, Gauge>::default();
    let cpu = Family::<OfContainer, Counter<f64, std::sync::atomic::AtomicU64>>::default();
    let memory = Family::<OfContainer, Gauge>::default();
    let help = "Processor time that its processes have used";
    registry.register_with_unit("pod_cpu_usage", help, Unit::Seconds, pod_cpu.clone());
    registry.register_with_unit("container_cpu_usage", help, Unit::Seconds, cpu.clone());
    let help = "Memory of its processes that could not be taken back at once";
    registry.register_with_unit("pod_memory_working_set", help, Unit::Bytes, pod_memory.clone());
    registry.register_with_unit("container_memory_working_set", help, Unit::Bytes, memory.clone());
    for (key, usage) in sample.pods.into_values() {
        let of = OfPod { namespace: key.namespace.clone(), pod: key.name.clone() };
        pod_cpu.get_or_create(&of).inc_by(seconds(usage.pod.cpu_nanoseconds));
        pod_memory.get_or_create(&of).set(gauge(usage.pod.memory_working_set));
        for (container, usage) in usage.containers {
            let of = OfContainer { container, namespace: key.namespace.clone(), pod: key.name.clone() };
            cpu.get_or_create(&of).inc_by(seconds(usage.cpu_nanoseconds));
            memory.get_or_create(&of).set(gauge(usage.memory_working_set));
        }
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode_registry(&mut text, &registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_is_busy_with_all_but_waiting() {
        let stat = "cpu  100 20 30 4000 500 6 7 8 900 0\ncpu0 1 2 3\n";
        assert_eq!(busy(stat), 171 * 10_000_000);
    }

    #[test]
    fn what_was_read_from_files_and_lies_idle_is_not_counted() {
        let used = memory_used("MemTotal: 1000 kB\nMemFree: 400 kB\nInactive(file):  250 kB\n");
        assert_eq!((used.memory, used.memory_working_set), (600 * 1024, 350 * 1024));
    }

    #[test]
    fn time_per_second_is_what_was_spent_in_the_window() {
        let at = |cpu_nanoseconds| Usage { cpu_nanoseconds, memory_working_set: 7, ..Usage::default() };
        let window = Duration::from_secs(2);
        assert_eq!(rate(at(1_000_000_000), at(2_000_000_000), window), (500_000_000, 7));
    }
}
