//! When a container that ended is started again: upstream's back-off of 10 s, doubled up to 5 minutes, and
//! forgotten after a run of 10 minutes (`pkg/kubelet` `MaxCrashLoopBackOff`, `backOffPeriod`).

use jiff::{SignedDuration, Timestamp};

use super::snapshot::{Record, RecordState};

const FIRST: SignedDuration = SignedDuration::from_secs(10);
const LONGEST: SignedDuration = SignedDuration::from_mins(5);
const FORGIVEN_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// How long to wait before the restart number `step` in a row: none for the first, then 10 s, 20 s, 40 s, …,
/// 5 min.
pub fn backoff_delay(step: u32) -> SignedDuration {
    match step {
        0 => SignedDuration::ZERO,
        n => FIRST.saturating_mul(1 << (n - 1).min(10)).min(LONGEST),
    }
}

/// A restart to come.
pub(super) struct Restart {
    /// When.
    pub(super) at: Timestamp,
    /// How long the back-off is in all.
    pub(super) delay: SignedDuration,
    /// The step to keep with the new run.
    pub(super) step: u32,
}

/// The restart that follows an ended run; `None` while it has not ended.
pub(super) fn next_restart(record: &Record) -> Option<Restart> {
    let RecordState::Exited { started_at, finished_at, .. } = &record.state else { return None };
    let ran = finished_at.duration_since(*started_at);
    let step = if ran >= FORGIVEN_AFTER { 0 } else { record.backoff_step };
    let delay = backoff_delay(step);
    Some(Restart { at: finished_at.saturating_add(delay).ok()?, delay, step: step + 1 })
}
