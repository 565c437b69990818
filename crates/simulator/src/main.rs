//! `simulate`: many seeds, on all cores, for the night; or one seed, told in words.
//!
//! `cargo xtask simulate` builds and runs it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use simulator::{Extent, Outcome, simulate, simulate_aloud};

/// How often progress is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Run whole clusters from seeds, with faults.
#[derive(Parser)]
#[command(name = "simulate", max_term_width = 110)]
struct Args {
    /// How many seeds to run
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this one alone, and tell all that happens
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Let less happen in each, as the tests do
    #[arg(long)]
    brief: bool,
}

/// What all runs together came to.
#[derive(Default)]
struct Sum {
    runs: u64,
    simulated: Duration,
    requests: u64,
    writes: u64,
    faults: BTreeMap<String, u64>,
    failures: Vec<Outcome>,
}

impl Sum {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.simulated += outcome.simulated;
        self.requests += outcome.requests;
        self.writes += outcome.writes;
        for (fault, count) in &outcome.faults {
            *self.faults.entry(fault.clone()).or_default() += count;
        }
        if let Some(failure) = &outcome.failure {
            println!("seed {}: {}", outcome.seed, failure.what);
            self.failures.push(outcome);
        }
    }

    fn tell(&self, begun: Instant) {
        println!(
            "{} seeds, {:.1} simulated hours, {} requests, {} writes, {:.0} s",
            self.runs,
            self.simulated.as_secs_f64() / 3600.0,
            self.requests,
            self.writes,
            begun.elapsed().as_secs_f64(),
        );
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let extent = if args.brief { Extent::Brief } else { Extent::Whole };
    if let Some(seed) = args.seed {
        let outcome = simulate_aloud(seed, extent, |line| println!("{line}"));
        println!(
            "trace {:016x}, {} requests, {} writes",
            outcome.trace_hash, outcome.requests, outcome.writes
        );
        match &outcome.failure {
            Some(failure) => println!("seed {seed}: {}", failure.what),
            None => println!("{outcome}"),
        }
        return if outcome.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let begun = Instant::now();
    let sum = run_all(args.from..args.from + args.seeds, extent, begun);
    sum.tell(begun);
    for (fault, count) in &sum.faults {
        println!("{count:>10} {fault}");
    }
    for outcome in &sum.failures {
        println!("\n{outcome}");
    }
    let failed: Vec<String> = sum.failures.iter().map(|outcome| outcome.seed.to_string()).collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nseeds that failed: {}", failed.join(" "));
    ExitCode::FAILURE
}

/// One simulation per thread, and a thread for each core. After a few failures no more are begun.
fn run_all(seeds: std::ops::Range<u64>, extent: Extent, begun: Instant) -> Sum {
    const ENOUGH: usize = 5;
    let next = AtomicU64::new(seeds.start);
    let sum = Mutex::new((Sum::default(), begun));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let outcome = simulate(seed, extent);
                    let mut held = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let (sum, told) = &mut *held;
                    sum.add(outcome);
                    if told.elapsed() >= TELL_EVERY {
                        *told = Instant::now();
                        sum.tell(begun);
                    }
                    if sum.failures.len() >= ENOUGH {
                        next.store(seeds.end, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).0
}
