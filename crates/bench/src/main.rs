//! bench: measures stead from outside, as a client sees it.
//!
//! It starts steads of its own, drives them over HTTPS with kube-rs, and prints medians beside the goals and
//! beside what real Kubernetes needed on the same machine. The method is the same for both: one client, the
//! clock runs from the request to the moment a watch tells the client that it is done. It is not a test: it
//! judges nothing and fails only when stead does.
//!
//! Its one rule: **nothing is measured that a user could not see**, and what a number includes stands in its
//! name.

mod api;
mod ask;
mod crowd;
mod daemon;
mod fake_nodes;
mod idle;
mod report;
mod scale;
mod seen;
mod sets;
mod shapes;
mod trace;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;

use daemon::Daemon;
use report::{Goal, Report, Unit};
use sets::SetRun;
use shapes::Shape;

/// How long stead is left alone before its rest is measured: what was begun has ended by then.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures a stead binary; needs root, as stead does.
#[derive(Parser)]
#[command(name = "bench")]
struct Args {
    /// The binary to measure
    #[arg(long, value_name = "PATH", default_value = "target/release/stead")]
    stead: PathBuf,
    /// The folder with busybox.tar
    #[arg(long, value_name = "DIR", default_value = "target/images")]
    images: PathBuf,
    /// Where steads keep their data while they are measured; removed afterwards
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    work: PathBuf,
    /// How often each thing is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only what the goals are about: not the manifest whose pods let 5 s of grace pass, nor ten thousand pods
    #[arg(long)]
    quick: bool,
    /// Only these parts; all, when none is named
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Show instead where the time of one pod goes
    #[arg(long)]
    trace: bool,
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Part {
    /// From nothing running to three Ready pods, and what these take while idle
    Start,
    /// One client's requests, one after the other
    Api,
    /// Sets of real containers
    Sets,
    /// Sets of many replicas on nodes that answer at once
    Scale,
    /// Ten thousand pods, and a thousand watchers
    Crowd,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        match self.only.as_slice() {
            [] => !(self.quick && part == Part::Crowd),
            only => only.contains(&part),
        }
    }
}

fn main() -> ExitCode {
    // Fails only when a provider is installed already: then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")
        .and_then(|runtime| {
            runtime.block_on(async {
                // Dropping what runs takes its stead down, on a failure and on Ctrl-C alike.
                tokio::select! {
                    done = run(&args) => done,
                    _ = tokio::signal::ctrl_c() => bail!("interrupted"),
                }
            })
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    let place = daemon::Place::new(&args.stead, &args.images, &args.work)?;
    if args.trace {
        return trace::run(&place).await;
    }
    let mut report = Report::default();
    if args.wants(Part::Start) {
        cold_starts(&place, args.runs, &mut report).await?;
    }
    if args.wants(Part::Api) || args.wants(Part::Sets) {
        on_one_stead(&place, args, &mut report).await?;
    }
    if args.wants(Part::Scale) {
        scale::measure(&place, args.runs, &mut report).await?;
    }
    if args.wants(Part::Crowd) {
        crowd::measure(&place, &mut report).await?;
    }
    let text = if args.json {
        report.json()?
            + "
"
    } else {
        report.table()
    };
    print!("{text}");
    Ok(())
}

/// What one stead is asked for in the course of its life.
async fn on_one_stead(place: &daemon::Place, args: &Args, report: &mut Report) -> Result<()> {
    let mut daemon = Daemon::prepare(place, "warm")?;
    daemon.start(&[]).await?;
    if args.wants(Part::Api) {
        api::measure(&daemon.client().await?, args.runs, report).await?;
    }
    if args.wants(Part::Sets) {
        sets_of_three(&daemon, args.runs, report).await?;
        if !args.quick {
            the_manifest_as_it_stands(&daemon, args.runs.min(3), report).await?;
        }
        twenty(&daemon, args.runs, report).await?;
        after_all_that(&daemon, report).await?;
    }
    daemon.end()
}

/// From nothing to three Ready pods; the last of these steads, which has done nothing else, is then left idle.
async fn cold_starts(place: &daemon::Place, runs: u32, report: &mut Report) -> Result<()> {
    let ready = report.row("stead up → it says ready, new data directory", Unit::Seconds, Goal::NONE);
    let three = report.row(
        "nothing running → 3 replicas Ready, images present",
        Unit::Seconds,
        Goal { kubernetes: Some(6.6), goal: Some(0.4) },
    );
    for run in 1..=runs {
        eprintln!("start {run} of {runs}");
        let mut daemon = Daemon::prepare(place, "cold")?;
        let start = Instant::now();
        report.add(ready, daemon.start(&[]).await?.as_secs_f64());
        let set = SetRun::create(&daemon.client().await?, "default", &Shape::bare(3, false)).await?;
        report.add(three, start.elapsed().as_secs_f64());
        if run == runs {
            let names = ["3 pods without probes", "fresh"];
            idle::measure(&daemon, names, true, report).await?;
        }
        set.remove().await?;
        daemon.end()?;
    }
    Ok(())
}

/// The shape that real Kubernetes was measured with: no volumes, no probes, no grace.
async fn sets_of_three(daemon: &Daemon, runs: u32, report: &mut Report) -> Result<()> {
    let goal = |kubernetes, goal| Goal { kubernetes: Some(kubernetes), goal: Some(goal) };
    let rows = [
        report.row("3 replicas, OrderedReady: created → all Ready", Unit::Seconds, goal(1.5, 0.10)),
        report.row("rolling update of 3", Unit::Seconds, goal(1.5, 0.13)),
        report.row("pod deleted → its successor Ready", Unit::Seconds, goal(0.53, 0.04)),
    ];
    measure_sets(daemon, runs, &Shape::bare(3, false), rows, "bare", report).await?;
    let what = "3 replicas with a volume each";
    let rows = [
        report.row(format!("{what}: created → all Ready"), Unit::Seconds, Goal::NONE),
        report.row(format!("{what}: rolling update"), Unit::Seconds, Goal::NONE),
        report.row(format!("{what}: pod deleted → its successor Ready"), Unit::Seconds, Goal::NONE),
    ];
    measure_sets(daemon, runs, &Shape::bare(3, false).with_volumes(), rows, "volumes", report).await
}

/// examples/web.yaml: volumes, a readiness probe, and 5 s of grace that its server lets pass.
async fn the_manifest_as_it_stands(daemon: &Daemon, runs: u32, report: &mut Report) -> Result<()> {
    let goal = Goal { kubernetes: None, goal: Some(0.3) };
    let rows = [
        report.row("web.yaml, 3 replicas: created → all Ready", Unit::Seconds, goal),
        report.row("web.yaml: rolling update (3 × 5 s are grace)", Unit::Seconds, Goal::NONE),
        report.row("web.yaml: pod deleted → successor (5 s are grace)", Unit::Seconds, Goal::NONE),
    ];
    measure_sets(daemon, runs, &Shape::web()?, rows, "web", report).await
}

async fn measure_sets(
    daemon: &Daemon,
    runs: u32,
    shape: &Shape,
    rows: [report::RowId; 3],
    name: &str,
    report: &mut Report,
) -> Result<()> {
    let client = daemon.client().await?;
    for run in 1..=runs {
        eprintln!("{name} set, {run} of {runs}");
        let set = SetRun::create(&client, &format!("{name}-{run}"), shape).await?;
        report.add(rows[0], set.ready_after.as_secs_f64());
        report.add(rows[1], set.roll().await?.as_secs_f64());
        report.add(rows[2], set.replace().await?.as_secs_f64());
        set.remove().await?;
    }
    Ok(())
}

async fn twenty(daemon: &Daemon, runs: u32, report: &mut Report) -> Result<()> {
    let goal = Goal { kubernetes: Some(18.8), goal: Some(0.3) };
    let row = report.row("20 replicas, Parallel: created → all Ready", Unit::Seconds, goal);
    let client = daemon.client().await?;
    for run in 1..=runs {
        eprintln!("20 replicas, {run} of {runs}");
        let set = SetRun::create(&client, &format!("twenty-{run}"), &Shape::bare(20, true)).await?;
        report.add(row, set.ready_after.as_secs_f64());
        set.remove().await?;
    }
    Ok(())
}

/// What a stead that has worked hard keeps, with the pods of web.yaml: each is probed every second.
async fn after_all_that(daemon: &Daemon, report: &mut Report) -> Result<()> {
    let set = SetRun::create(&daemon.client().await?, "idle", &Shape::web()?).await?;
    idle::measure(
        daemon,
        ["3 pods of web.yaml, a probe a second each", "after all of the above"],
        false,
        report,
    )
    .await?;
    set.remove().await
}
