//! What stead and its shims take while nothing is asked of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::SETTLE;
use crate::daemon::Daemon;
use crate::report::{Goal, Report, Unit};

/// How long CPU time is counted.
const WINDOW: Duration = Duration::from_secs(20);

/// Memory and CPU of stead and its shims together, after a pause in which they settle. `compared` says whether
/// real Kubernetes and the goals were measured like this.
pub(crate) async fn measure(
    daemon: &Daemon,
    [pods, when]: [&str; 2],
    compared: bool,
    report: &mut Report,
) -> Result<()> {
    eprintln!("idle with {pods}, {when}");
    let goal = |kubernetes, goal| match compared {
        true => Goal { kubernetes: Some(kubernetes), goal: Some(goal) },
        false => Goal::NONE,
    };
    // Time is what is measured here: there is no event to wait for.
    tokio::time::sleep(SETTLE).await;
    let stead = daemon.pid()?;
    let shims = shims(daemon.dir())?;
    let all: Vec<u32> = std::iter::once(stead).chain(shims.iter().copied()).collect();
    let before = Usage::of(&all)?;
    let start = Instant::now();
    tokio::time::sleep(WINDOW).await;
    let used = Usage::of(&all)?;
    let seconds = start.elapsed().as_secs_f64();

    let mut note = |what: String, unit, known, value| {
        let row = report.row(what, unit, known);
        report.add(row, value);
    };
    let total = all.iter().map(|pid| proportional(*pid)).sum::<Result<f64>>()?;
    note(format!("memory (PSS) of all, {pods}, {when}"), Unit::Megabytes, goal(876.0, 30.0), total);
    let own = proportional(stead)?;
    note(format!("  stead itself, {when}"), Unit::Megabytes, Goal::NONE, own);
    note(
        format!("  each of {} shims, {when}", shims.len()),
        Unit::Megabytes,
        Goal::NONE,
        (total - own) / shims.len().max(1) as f64,
    );
    note(
        format!("  stead's resident set (RSS), {when}"),
        Unit::Megabytes,
        Goal::NONE,
        rollup(stead, "Rss:")?,
    );
    let cpu = (used.cpu - before.cpu).as_secs_f64() / seconds * 100.0;
    note(format!("CPU over {} s, {pods}", WINDOW.as_secs()), Unit::PercentOfCore, goal(4.8, 0.1), cpu);
    let wakes = used.sleeps_since(&before) as f64 / seconds;
    note(format!("  wake-ups, {pods}"), Unit::PerSecond, Goal::NONE, wakes);
    Ok(())
}

/// What processes have used so far.
struct Usage {
    cpu: Duration,
    /// How often each thread has gone to sleep. By thread: the count of one that ends is lost.
    sleeps: BTreeMap<String, u64>,
}

impl Usage {
    fn of(pids: &[u32]) -> Result<Self> {
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

    fn sleeps_since(&self, before: &Self) -> u64 {
        let then = |thread| before.sleeps.get(thread).copied().unwrap_or(0);
        self.sleeps.iter().map(|(thread, count)| count.saturating_sub(then(thread))).sum()
    }
}

/// Memory in MB (10^6 bytes), shared pages divided among those who share them.
fn proportional(pid: u32) -> Result<f64> {
    rollup(pid, "Pss:")
}

/// One line of /proc/PID/smaps_rollup, in MB.
fn rollup(pid: u32, line: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let kib = text.lines().find_map(|l| l.strip_prefix(line)).and_then(|rest| rest.split_whitespace().next());
    let kib: f64 = kib.and_then(|n| n.parse().ok()).with_context(|| format!("{path} has no {line}"))?;
    Ok(kib * 1024.0 / 1e6)
}

/// The shims of the stead whose data is in `dir`: it stands in their command line.
fn shims(dir: &Path) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0).skip(1);
        let is_shim = words.next() == Some(b"shim".as_slice());
        let below = words.next().is_some_and(|path| path.starts_with(dir.as_os_str().as_encoded_bytes()));
        if is_shim && below {
            found.push(pid);
        }
    }
    Ok(found)
}
