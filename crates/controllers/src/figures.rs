//! What the driver counts: queues and plans by planner, what they wait for, and what the world holds. Names are
//! upstream's where it has them (`k8s.io/component-base/metrics/prometheus/workqueue`).

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use planner::{Key, Plan, World, figures};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The upper bounds of durations, in seconds.
const BUCKETS: [f64; 10] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waits {
    planner: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    kind: &'static str,
    phase: String,
}

/// What the planners of one process do. There are as many labels as planners and reasons.
pub struct Figures {
    registry: Registry,
    depth: Family<Named, Gauge>,
    adds: Family<Named, Counter>,
    retries: Family<Named, Counter>,
    work: Family<Named, Histogram>,
    /// For what each key waits, as of its last plan; keys that wait for nothing are not in it.
    waits: Mutex<HashMap<(&'static str, Key), Vec<&'static str>>>,
}

impl Default for Figures {
    fn default() -> Self {
        let mut registry = Registry::default();
        let depth = Family::<Named, Gauge>::default();
        let adds = Family::<Named, Counter>::default();
        let retries = Family::<Named, Counter>::default();
        let work = Family::<Named, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        registry.register("workqueue_depth", "Keys that wait for a worker", depth.clone());
        registry.register("workqueue_adds", "Keys that were put into the queue", adds.clone());
        registry.register("workqueue_retries", "Plans that could not be carried out", retries.clone());
        registry.register_with_unit(
            "workqueue_work_duration",
            "How long planning for a key took, and carrying that out",
            Unit::Seconds,
            work.clone(),
        );
        Self { registry, depth, adds, retries, work, waits: Mutex::default() }
    }
}

impl Figures {
    pub(crate) fn added(&self, name: &'static str, depth: usize) {
        self.adds.get_or_create(&Named { name }).inc();
        self.deep(name, depth);
    }

    pub(crate) fn deep(&self, name: &'static str, depth: usize) {
        self.depth.get_or_create(&Named { name }).set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    pub(crate) fn planned(&self, name: &'static str, key: &Key, plan: &Plan) {
        let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (name, key.clone());
        if plan.waiting_on.is_empty() {
            waits.remove(&place);
        } else {
            waits.insert(place, plan.waiting_on.iter().map(|waiting| waiting.reason).collect());
        }
    }

    pub(crate) fn worked(&self, name: &'static str, took: Duration) {
        self.work.get_or_create(&Named { name }).observe(took.as_secs_f64());
    }

    pub(crate) fn retried(&self, name: &'static str) {
        self.retries.get_or_create(&Named { name }).inc();
    }

    /// Everything, in OpenMetrics text without the end mark; `world` is what the planners see.
    pub fn text(&self, world: &World) -> String {
        let mut now = Registry::default();
        let waits = Family::<Waits, Gauge>::default();
        let objects = Family::<Phase, Gauge>::default();
        now.register(
            "stead_planner_waits",
            "Things that keys of a planner wait for, by reason",
            waits.clone(),
        );
        now.register("stead_objects", "Pods, claims and volumes, by their phase", objects.clone());
        for ((planner, _), reasons) in self.waits.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for reason in reasons {
                waits.get_or_create(&Waits { planner, reason }).inc();
            }
        }
        let set = |kind, phase, count: usize| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            objects.get_or_create(&Phase { kind, phase }).set(count);
        };
        for (phase, count) in figures::pods_by_phase(world) {
            set("Pod", phase, count);
        }
        for ((kind, phase), count) in figures::volumes_by_phase(world) {
            set(kind, phase, count);
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &now);
        text
    }
}
