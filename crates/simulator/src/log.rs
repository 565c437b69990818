//! What a run has done: its trace, its counts, and the first thing that was wrong.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use crate::faults::Fault;
use crate::run::Extent;

/// How many lines of the trace a failure shows.
const SHOWN: usize = 120;

/// What was wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// One sentence.
    pub what: String,
    /// The last lines of the trace, in plain words.
    pub lines: Vec<String>,
}

/// How a run went.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it followed from.
    pub seed: u64,
    /// And how much was to happen.
    pub extent: Extent,
    /// Of every request, answer and event, in order: equal for equal runs.
    pub trace_hash: u64,
    /// How long it took on the fake clock.
    pub simulated: Duration,
    /// Requests of all clients.
    pub requests: u64,
    /// Writes that the store took.
    pub writes: u64,
    /// How often each kind of fault struck.
    pub faults: BTreeMap<String, u64>,
    /// The first thing that was wrong, if any.
    pub failure: Option<Failure>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(failure) = &self.failure else {
            return write!(f, "seed {}: all as it should be", self.seed);
        };
        for line in &failure.lines {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}: {}", self.seed, failure.what)?;
        let brief = if self.extent == Extent::Brief { " --brief" } else { "" };
        write!(f, "once more: cargo xtask simulate --seed {}{brief}", self.seed)
    }
}

/// The log of a run under way.
#[derive(Debug)]
pub(crate) struct Log {
    hash: u64,
    lines: VecDeque<String>,
    pub(crate) requests: u64,
    pub(crate) writes: u64,
    faults: BTreeMap<Fault, u64>,
    failure: Option<Failure>,
}

impl Log {
    pub(crate) fn new() -> Self {
        Self {
            hash: 0xcbf2_9ce4_8422_2325,
            lines: VecDeque::new(),
            requests: 0,
            writes: 0,
            faults: BTreeMap::new(),
            failure: None,
        }
    }

    /// Takes bytes into the hash (FNV-1a).
    pub(crate) fn digest(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&mut self, line: String) {
        self.digest(line.as_bytes());
        if self.lines.len() == SHOWN {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    /// Only the first counts: what comes after it may come of it.
    pub(crate) fn fail(&mut self, what: String) {
        if self.failure.is_none() {
            self.failure = Some(Failure { what, lines: self.lines.iter().cloned().collect() });
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    pub(crate) fn outcome(&self, seed: u64, extent: Extent, simulated: Duration) -> Outcome {
        Outcome {
            seed,
            extent,
            trace_hash: self.hash,
            simulated,
            requests: self.requests,
            writes: self.writes,
            faults: self.faults.iter().map(|(fault, count)| (format!("{fault:?}"), *count)).collect(),
            failure: self.failure.clone(),
        }
    }
}
