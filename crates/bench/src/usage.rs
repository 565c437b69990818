//! What the kernel says about processes: CPU time, sleeps, memory.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// What processes have used so far.
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    /// How often each thread has gone to sleep. By thread: the count of one that ends is lost.
    sleeps: BTreeMap<String, u64>,
}

impl Usage {
    /// What these have used.
    pub(crate) fn of(pids: &[u32]) -> Result<Self> {
        let mut usage = Self { cpu: Duration::ZERO, sleeps: BTreeMap::new() };
        for pid in pids {
            // Exact, unlike the ticks of /proc/PID/stat.
            let clock: ClockId = clock_getcpuclockid(Pid::from_raw(pid.cast_signed()))?;
            usage.cpu += Duration::from(clock_gettime(clock)?);
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let task = task?;
                // A thread may end meanwhile.
                let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
                let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
                let count = line.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
                usage.sleeps.insert(task.file_name().to_string_lossy().into_owned(), count);
            }
        }
        Ok(usage)
    }

    /// How often they have gone to sleep since.
    pub(crate) fn sleeps_since(&self, before: &Self) -> u64 {
        let then = |thread| before.sleeps.get(thread).copied().unwrap_or(0);
        self.sleeps.iter().map(|(thread, count)| count.saturating_sub(then(thread))).sum()
    }
}

/// Memory in MB (10^6 bytes), shared pages divided among those who share them.
pub(crate) fn proportional(pid: u32) -> Result<f64> {
    rollup(pid, "Pss:")
}

/// One line of /proc/PID/smaps_rollup, in MB.
pub(crate) fn rollup(pid: u32, line: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = text.lines().find_map(|l| l.strip_prefix(line)).and_then(|rest| rest.split_whitespace().next());
    let kib: f64 = kib.and_then(|n| n.parse().ok()).with_context(|| format!("{path} has no {line}"))?;
    Ok(kib * 1024.0 / 1e6)
}
