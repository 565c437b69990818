//! Runs planners: events to keys, keys to plans, plans to writes.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use apimachinery::inject::Clock;
use client::{Clients, ExecuteError, Executor, Informers, Recorder};
use futures::FutureExt;
use jiff::SignedDuration;
use planner::{Key, Object, Planner, World};

use crate::figures::Figures;
use crate::queue::Queue;

/// Keys of one planner that are worked on at the same time.
const WORKERS: usize = 8;
/// The first pause after a failed plan; it doubles with each failure.
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// The longest pause after a failed plan.
pub const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// A plan may be a little older than the world. One that is refused as stale this often in a row has another
/// trouble, for instance somebody else's object under the name that it wants.
const OFTEN: u32 = 8;

struct Controller {
    planner: &'static dyn Planner,
    informers: Arc<Informers>,
    executor: Executor,
    queue: Queue<Key>,
    failures: Mutex<HashMap<Key, u32>>,
    clock: Clock,
    figures: Arc<Figures>,
}

/// Runs `planners` against the API, each as its own user of `clients`, until `shutdown` resolves. The informers must be running.
/// `host` is named as the source of events; plans are made as of what `clock` says, and counted in `figures`.
pub async fn run(
    planners: &[&'static dyn Planner],
    clients: &Clients,
    informers: Arc<Informers>,
    host: &str,
    clock: Clock,
    figures: &Arc<Figures>,
    shutdown: impl Future<Output = ()>,
) {
    let mut tasks = tokio::task::JoinSet::new();
    for planner in planners.iter().copied() {
        let client = clients.of(planner.user());
        let recorder = Recorder::new(client.clone(), planner.name(), host, clock.clone());
        let controller = Arc::new(Controller {
            planner,
            informers: Arc::clone(&informers),
            executor: Executor::new(client, Arc::clone(&informers), recorder),
            queue: Queue::new(),
            failures: Mutex::default(),
            clock: clock.clone(),
            figures: Arc::clone(figures),
        });
        controller.listen();
        for _ in 0..WORKERS {
            let controller = Arc::clone(&controller);
            tasks.spawn(async move { controller.work().await });
        }
    }
    shutdown.await;
    tasks.shutdown().await;
}

impl Controller {
    /// Queues what changes concern. Listening begins before looking: what comes twice is planned once.
    fn listen(self: &Arc<Self>) {
        let listener = Arc::downgrade(self);
        self.informers.on_change(move |world, change| {
            if let Some(controller) = listener.upgrade() {
                controller.note(world, change.old.iter().chain(&change.new));
            }
        });
        let world = self.informers.world();
        self.note(&world, &world.objects());
    }

    fn note<'a>(&self, world: &World, objects: impl IntoIterator<Item = &'a Object>) {
        for object in objects {
            for key in self.planner.keys(world, object) {
                self.queue.add(key);
                self.figures.added(self.planner.name(), self.queue.len());
            }
        }
    }

    async fn work(&self) {
        // A world that is not complete yet shows owners and pods as missing that are only not heard of.
        self.informers.synced().await;
        loop {
            let key = self.queue.next().await;
            self.figures.deep(self.planner.name(), self.queue.len());
            let begun = Instant::now();
            // A planner that panics over one key must go on with the others, and with this one later.
            if AssertUnwindSafe(self.step(&key)).catch_unwind().await.is_err() {
                tracing::error!(controller = self.planner.name(), ?key, "the planner panicked");
                self.queue.add_after(key.clone(), self.failed(&key).1);
            }
            self.figures.worked(self.planner.name(), begun.elapsed());
            self.queue.done(&key);
        }
    }

    async fn step(&self, key: &Key) {
        let plan = self.planner.plan(&self.informers.world(), key, self.clock.now());
        self.figures.planned(self.planner.name(), key, &plan);
        if let Some(after) = plan.requeue_after {
            self.queue.add_after(key.clone(), after.max(SignedDuration::ZERO).unsigned_abs());
        }
        if plan.actions.is_empty() {
            self.forget(key);
            return;
        }
        tracing::debug!(controller = self.planner.name(), ?key, actions = plan.actions.len(), "plan");
        match self.executor.execute(&plan).await {
            Ok(()) => self.forget(key),
            Err(error) => self.retry(key, &error),
        }
    }

    fn retry(&self, key: &Key, error: &ExecuteError) {
        let (failures, pause) = self.failed(key);
        if !error.is_stale() || failures >= OFTEN {
            tracing::warn!(controller = self.planner.name(), ?key, failures, "{error}");
        }
        self.figures.retried(self.planner.name());
        self.queue.add_after(key.clone(), pause);
    }

    fn forget(&self, key: &Key) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Counts a failure; answers how many there were in a row, and how long to wait now.
    fn failed(&self, key: &Key) -> (u32, Duration) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_default();
        *count = count.saturating_add(1);
        (*count, FIRST_RETRY.saturating_mul(1 << (*count - 1).min(20)).min(LONGEST_RETRY))
    }
}
