//! Runs planners: events to keys, keys to plans, plans to writes.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use client::{Executor, Informers, Recorder};
use jiff::Timestamp;
use kube::Client;
use planner::{Key, Planner};

use crate::queue::Queue;

/// Keys of one planner that are worked on at the same time.
const WORKERS: usize = 8;
/// The first pause after a failed plan; it doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// The longest pause after a failed plan.
pub const LONGEST_RETRY: Duration = Duration::from_secs(10);

struct Controller {
    planner: &'static dyn Planner,
    informers: Arc<Informers>,
    executor: Executor,
    queue: Queue<Key>,
    failures: Mutex<HashMap<Key, u32>>,
}

/// Runs `planners` against the API behind `client` until `shutdown` resolves. The informers must be running.
/// `host` is named as the source of events.
pub async fn run(
    planners: &[&'static dyn Planner],
    client: Client,
    informers: Arc<Informers>,
    host: &str,
    shutdown: impl Future<Output = ()>,
) {
    let mut tasks = tokio::task::JoinSet::new();
    for planner in planners.iter().copied() {
        let recorder = Recorder::new(client.clone(), planner.name(), host);
        let controller = Arc::new(Controller {
            planner,
            informers: Arc::clone(&informers),
            executor: Executor::new(client.clone(), Arc::clone(&informers), recorder),
            queue: Queue::new(),
            failures: Mutex::default(),
        });
        let listener = Arc::downgrade(&controller);
        informers.on_change(move |world, change| {
            let Some(controller) = listener.upgrade() else { return };
            for object in change.old.iter().chain(&change.new) {
                for key in controller.planner.keys(world, object) {
                    controller.queue.add(key);
                }
            }
        });
        for _ in 0..WORKERS {
            let controller = Arc::clone(&controller);
            tasks.spawn(async move { controller.work().await });
        }
    }
    shutdown.await;
    tasks.shutdown().await;
}

impl Controller {
    async fn work(&self) {
        // A world that is not complete yet shows owners and pods as missing that are only not heard of.
        self.informers.synced().await;
        loop {
            let key = self.queue.next().await;
            self.step(&key).await;
            self.queue.done(&key);
        }
    }

    async fn step(&self, key: &Key) {
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or_default();
        let plan = self.planner.plan(&self.informers.world(), key, now);
        if let Some(after) = plan.requeue_after {
            self.queue.add_after(key.clone(), after.unsigned_abs());
        }
        if plan.actions.is_empty() {
            self.forget(key);
            return;
        }
        tracing::debug!(controller = self.planner.name(), ?key, actions = plan.actions.len(), "plan");
        match self.executor.execute(&plan).await {
            Ok(()) => self.forget(key),
            Err(error) => {
                if !error.is_stale() {
                    tracing::warn!(controller = self.planner.name(), ?key, "{error}");
                }
                self.queue.add_after(key.clone(), self.pause(key));
            }
        }
    }

    fn forget(&self, key: &Key) {
        self.failures.lock().unwrap_or_else(|e| e.into_inner()).remove(key);
    }

    fn pause(&self, key: &Key) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(|e| e.into_inner());
        let count = failures.entry(key.clone()).or_default();
        *count += 1;
        FIRST_RETRY.saturating_mul(1 << (*count - 1).min(20)).min(LONGEST_RETRY)
    }
}
