//! A run from its seed to its outcome.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use client::{Clients, Informers};
use futures::StreamExt;
use futures::future::OptionFuture;
use store::Store;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::faults::Fault;
use crate::judged::{Bench, JUDGED};
use crate::log::Outcome;
use crate::process::Process;
use crate::sabotage::Sabotage;
use crate::sim::{Options, Sim};
use crate::user::User;
use crate::{chaos, goal, judge, kubelet};

/// How often the goal is looked for.
const ROUND: Duration = Duration::from_secs(30);
/// How many rounds it may take: two hours, more than all back-offs together.
const ROUNDS: u32 = 240;
/// A cluster that has reached its goal may take this long to come to rest.
const REST: Duration = Duration::from_secs(900);

/// How much happens in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A user who does a dozen things at the most, and ten minutes without a write at the end: for every day.
    Brief,
    /// Up to thirty things, and an hour without a write: for the night.
    Whole,
}

impl Extent {
    /// How many things the user does: at the least, and at the most.
    pub(crate) fn steps(self) -> (u64, u64) {
        match self {
            Self::Brief => (4, 12),
            Self::Whole => (8, 30),
        }
    }

    /// Nobody writes for so long when all is done.
    fn quiet(self) -> Duration {
        match self {
            Self::Brief => Duration::from_secs(600),
            Self::Whole => Duration::from_secs(3600),
        }
    }
}

/// Runs a whole cluster from `seed`.
///
/// # Panics
/// When tokio cannot make a runtime.
pub fn simulate(seed: u64, extent: Extent) -> Outcome {
    start(seed, extent, Options::default())
}

/// As [`simulate`], and tells every line of the trace as it happens.
///
/// # Panics
/// When tokio cannot make a runtime.
pub fn simulate_aloud(seed: u64, extent: Extent, tell: impl Fn(&str) + Send + Sync + 'static) -> Outcome {
    start(seed, extent, Options { aloud: Some(Box::new(tell)), ..Options::default() })
}

/// As [`simulate`], with a planner that is broken on purpose. With `checked`, every plan is looked at before it is
/// carried out; without, only what comes of it counts.
///
/// # Panics
/// When tokio cannot make a runtime.
pub fn simulate_broken(seed: u64, extent: Extent, sabotage: Sabotage, checked: bool) -> Outcome {
    start(seed, extent, Options { sabotage: Some(sabotage), unchecked: !checked, ..Options::default() })
}

fn start(seed: u64, extent: Extent, options: Options) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime of one thread").block_on(run(seed, extent, options))
}

async fn run(seed: u64, extent: Extent, options: Options) -> Outcome {
    let sim = Sim::new(seed, options);
    let _bench = Bench::of(&sim);
    let mut tasks = JoinSet::new();
    tasks.spawn(watch_all(Arc::clone(&sim)));
    if let Some(Err(status)) =
        OptionFuture::from(sim.api().map(|api| async move { api.bootstrap().await })).await
    {
        sim.fail(format!("the first objects: {}", status.message));
    }
    let nodes = if sim.dice.hits(300) { 2 } else { 1 };
    for number in 1..=nodes {
        tasks.spawn(kubelet::run(Arc::clone(&sim), format!("node-{number}")));
    }
    tasks.spawn(controllers(Arc::clone(&sim)));
    tasks.spawn(chaos::run(Arc::clone(&sim)));
    let mut user = User::new(&sim, extent, nodes);
    user.work().await;
    sim.note("from here on nothing goes wrong any more");
    sim.calm();
    user.repair().await;
    reach_goal(&sim).await;
    if let Some(revision) = sim.judge().strangers_changes() {
        sim.fail(format!("somebody other than the user changed a set's spec at revision {revision}"));
    }
    if !sim.has_failed() {
        rest(&sim, extent.quiet()).await;
    }
    // What runs beside the user runs for ever.
    if let Some(ended) = tasks.try_join_next() {
        sim.fail(format!("a part of the run is over before the run: {ended:?}"));
    }
    sim.log().outcome(seed, extent, sim.elapsed())
}

/// The judge hears of every write.
async fn watch_all(sim: Arc<Sim>) {
    if let Ok(mut watch) = sim.store.watch("/", sim.store.revision()) {
        while let Some(Ok(event)) = watch.next().await {
            judge::see(&sim, &event);
        }
    }
    sim.fail("the judge has lost the store's history");
}

/// Runs the controllers, through deaths, for ever.
async fn controllers(sim: Arc<Sim>) {
    loop {
        let process = Arc::new(Process::new("controllers", Some(Fault::ControllersKilled)));
        sim.set_controllers(&process);
        sim.note("the controllers start");
        let informers = Informers::new(sim.client(&process, kubelet::LOOKING), sim.clock());
        let (wires, of) = (Arc::clone(&sim), Arc::clone(&process));
        let clients = Clients::new(move |user| wires.client(&of, user));
        let listening = Arc::clone(&informers).run(pending());
        let figures = Arc::default();
        let planning =
            controllers::run(&JUDGED, &clients, informers, "simulator", sim.clock(), &figures, pending());
        tokio::select! {
            biased;
            () = process.death() => {}
            ((), ()) = async { tokio::join!(biased; listening, planning) } => {}
        }
        sleep(sim.dice.millis(10, 10_000)).await;
    }
}

async fn reach_goal(sim: &Sim) {
    let mut missing = None;
    for _ in 0..ROUNDS {
        if sim.has_failed() {
            return;
        }
        sleep(ROUND).await;
        missing = goal::missing(sim).await;
        if missing.is_none() {
            return;
        }
    }
    sim.fail(format!("the goal is not reached: {}", missing.unwrap_or_default()));
}

/// When there is nothing left to do, nothing is done.
async fn rest(sim: &Sim, quiet: Duration) {
    sleep(REST).await;
    let before = sim.judge().writes;
    sleep(quiet).await;
    let (after, last) = {
        let judge = sim.judge();
        (judge.writes, judge.last_write.clone())
    };
    if after != before {
        let (writes, minutes) = (after - before, quiet.as_secs() / 60);
        sim.fail(format!(
            "{writes} writes in {minutes} minutes in which nothing happened, the last one to {last}"
        ));
    } else if let Some(missing) = goal::missing(sim).await {
        sim.fail(format!("the goal was left again: {missing}"));
    }
}
