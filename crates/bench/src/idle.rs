//! What stead and its shims take while nothing is asked of them.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::SETTLE;
use crate::daemon::Daemon;
use crate::report::{Goal, Report, Unit};
use crate::usage::{Usage, proportional, rollup};

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
