//! Steps as lines: `+0.012 s   0.002 s  pod/db-0  created`.

use jiff::{SignedDuration, Timestamp};

use super::{Moment, Step};

/// How wide the columns of times are at least.
const TIME: usize = 9;

/// Lays steps out, at once or in portions: columns never get narrower, and the time goes on.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    origin: Option<Timestamp>,
    before: Option<Moment>,
    widths: [usize; 3],
}

impl Lines {
    /// Lines with the time since the first step, the time since the line before where that is known and more than
    /// nothing, who, and what.
    pub(crate) fn lay(&mut self, steps: &[Step]) -> String {
        let mut out = String::new();
        let origin = match (self.origin, origin(steps)) {
            (Some(origin), _) => origin,
            (None, Some(origin)) => {
                out += &format!("since {}\n", written(origin));
                *self.origin.insert(origin.at)
            }
            (None, None) => return out,
        };
        let mut rows = Vec::new();
        for step in steps {
            let since = step.moment.at.duration_since(origin).max(SignedDuration::ZERO);
            let gap = self.before.map(|before| gap(before, step.moment)).unwrap_or_default();
            rows.push([format!("+{}", span(since, step.moment.is_exact)), gap, step.who.clone()]);
            self.before = Some(step.moment);
        }
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let [first, second, third] = self.widths;
        let (first, second) = (first.max(TIME), second.max(TIME));
        for ([since, gap, who], step) in rows.iter().zip(steps) {
            out += &format!("{since:>first$}  {gap:>second$}  {who:<third$}  {}\n", step.sentence());
        }
        out
    }
}

/// The moment that times are counted from: the first one, or, where that is known to the second only, the first
/// exact one of that second, lest part of a second be counted that nobody knows of.
fn origin(steps: &[Step]) -> Option<Moment> {
    let first = steps.first()?.moment;
    let exact = steps.iter().map(|step| step.moment).find(|moment| moment.is_exact);
    Some(exact.filter(|exact| exact.second() == first.second()).unwrap_or(first))
}

fn written(moment: Moment) -> String {
    let form = if moment.is_exact { "%Y-%m-%dT%H:%M:%S.%3fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    moment.at.strftime(form).to_string()
}

/// The time between two steps; nothing when it is nothing, or less than is known.
fn gap(before: Moment, now: Moment) -> String {
    let between = now.at.duration_since(before.at);
    let is_exact = before.is_exact && now.is_exact;
    let least = if is_exact { SignedDuration::from_millis(1) } else { SignedDuration::from_secs(1) };
    if between < least { String::new() } else { span(between, is_exact) }
}

/// `0.012 s`, `12 s`, `2 min 5 s`, `3 h 2 min`, `2 d 7 h`.
fn span(span: SignedDuration, is_exact: bool) -> String {
    let (seconds, minutes, hours) = (span.as_secs(), span.as_mins(), span.as_hours());
    if seconds < 100 && is_exact {
        format!("{seconds}.{:03} s", span.subsec_millis())
    } else if seconds < 100 {
        format!("{seconds} s")
    } else if hours < 1 {
        format!("{minutes} min {} s", seconds % 60)
    } else if hours < 48 {
        format!("{hours} h {} min", minutes % 60)
    } else {
        format!("{} d {} h", hours / 24, hours % 24)
    }
}
