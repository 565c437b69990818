//! The control plane alone: sets of many replicas, on nodes that answer at once.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use kube::Client;
use kube::core::WatchEvent;

use crate::daemon::{Daemon, Place};
use crate::fake_nodes::{self, FakeNodes};
use crate::report::{Goal, Report, Unit};
use crate::seen::{Seen, watch_pods};
use crate::sets::SetRun;
use crate::shapes::Shape;
use crate::usage::Usage;

/// How many nodes register themselves, as when real Kubernetes was measured.
const NODES: usize = 5;
/// Replicas of the set whose pods come all at once.
const MANY: i32 = 1000;
/// Replicas of the set whose pods come one after the other.
const ORDERED: i32 = 200;
/// A run takes some seconds and says more than its time: a few are enough.
const RUNS: u32 = 3;

/// Brings up and rolls sets, and says what that took of stead itself.
pub(crate) async fn measure(place: &Place, runs: u32, report: &mut Report) -> Result<()> {
    let mut daemon = Daemon::prepare(place, "scale")?;
    daemon.start_with(&["--no-node"], &[]).await?;
    let nodes = FakeNodes::register(&daemon, NODES).await?;
    for run in 1..=runs.min(RUNS) {
        eprintln!("control plane, {run} of {}", runs.min(RUNS));
        many(&daemon, run, report).await?;
        in_order(&daemon, run, report).await?;
    }
    drop(nodes);
    daemon.end()
}

async fn many(daemon: &Daemon, run: u32, report: &mut Report) -> Result<()> {
    let rows = [
        ("1000 replicas, Parallel, nodes that answer at once: created → all Ready", 3.9, 1.0),
        ("rolling update of 1000, one pod after the other, same", 41.5, 3.0),
    ];
    let mut row = |index: usize| {
        let (what, kubernetes, goal) = rows[index];
        let goal = Goal { kubernetes: Some(kubernetes), goal: Some(goal) };
        let time = report.row(what, Unit::Seconds, goal);
        let cpu = ["  CPU of stead, a pod of these 1000", "  CPU of stead, a pod of this update"][index];
        (time, report.row(cpu, Unit::Milliseconds, Goal::NONE))
    };
    let ((time_up, cpu_up), (time_rolled, cpu_rolled)) = (row(0), row(1));
    let client = daemon.client().await?;
    let shape = Shape::bare(MANY, true).on_nodes(fake_nodes::LABEL);
    let start = cpu(daemon)?;
    let set = SetRun::create(&client, &format!("many-{run}"), &shape).await?;
    report.add(time_up, set.ready_after.as_secs_f64());
    let ready = cpu(daemon)?;
    report.add(cpu_up, (ready - start) * 1e3 / f64::from(MANY));
    report.add(time_rolled, set.roll().await?.as_secs_f64());
    report.add(cpu_rolled, (cpu(daemon)? - ready) * 1e3 / f64::from(MANY));
    set.remove().await
}

async fn in_order(daemon: &Daemon, run: u32, report: &mut Report) -> Result<()> {
    let goal = Goal { kubernetes: Some(2.7), goal: Some(0.4) };
    let what = "200 replicas, OrderedReady, same: created → all Ready";
    let row = report.row(what, Unit::Seconds, goal);
    let client = daemon.client().await?;
    let steps = Steps::watch(&daemon.client().await?).await?;
    let shape = Shape::bare(ORDERED, false).on_nodes(fake_nodes::LABEL);
    let set = SetRun::create(&client, &format!("ordered-{run}"), &shape).await?;
    report.add(row, set.ready_after.as_secs_f64());
    for (step, median) in steps.finish().await?.into_iter().enumerate() {
        let what = [
            "  of one pod of these: it is made → it is bound to a node",
            "  of one pod of these: it is bound → its node has said that it is Ready",
            "  of one pod of these: it is Ready → the next one is made",
        ][step];
        let row = report.row(what, Unit::Milliseconds, Goal::NONE);
        report.add(row, median * 1e3);
    }
    set.remove().await
}

/// Seconds of CPU that stead has used so far.
fn cpu(daemon: &Daemon) -> Result<f64> {
    Ok(Usage::of(&[daemon.pid()?])?.cpu.as_secs_f64())
}

/// When a watch told of the steps of each pod.
struct Steps {
    watching: tokio::task::JoinHandle<Result<Vec<[Option<Instant>; 3]>>>,
}

impl Steps {
    /// Begins to watch pods, of which there are none yet.
    async fn watch(client: &Client) -> Result<Self> {
        let mut events = watch_pods(client, "labelSelector=app%3Db").await?;
        let watching = async move {
            let mut pods: BTreeMap<usize, [Option<Instant>; 3]> = BTreeMap::new();
            let wanted = usize::try_from(ORDERED)?;
            while let Some(event) = events.try_next().await? {
                let (WatchEvent::Added(pod) | WatchEvent::Modified(pod)) = event else { continue };
                let Some(ordinal) = ordinal(&pod) else { continue };
                let reached = [true, pod.spec.node_name.is_some(), pod.is_running()];
                for (at, _) in pods.entry(ordinal).or_default().iter_mut().zip(reached).filter(|(_, is)| *is)
                {
                    at.get_or_insert_with(Instant::now);
                }
                if pods.len() == wanted && pods.values().all(|steps| steps[2].is_some()) {
                    break;
                }
            }
            Ok(pods.into_values().collect())
        };
        Ok(Self { watching: tokio::spawn(watching) })
    }

    /// The median of each step, in seconds.
    async fn finish(self) -> Result<[f64; 3]> {
        let pods = self.watching.await??;
        let between = |from: Option<Instant>, to: Option<Instant>| {
            from.zip(to).map(|(from, to)| to.saturating_duration_since(from).as_secs_f64())
        };
        let median = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied().context("no pod was seen")
        };
        Ok([
            median(pods.iter().filter_map(|at| between(at[0], at[1])).collect())?,
            median(pods.iter().filter_map(|at| between(at[1], at[2])).collect())?,
            median(pods.windows(2).filter_map(|two| between(two[0][2], two[1][0])).collect())?,
        ])
    }
}

fn ordinal(pod: &Seen) -> Option<usize> {
    pod.metadata.name.rsplit_once('-')?.1.parse().ok()
}
