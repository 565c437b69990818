//! What happened to an object and to what belongs to it, in order: pure, from objects and events as they are now.
//!
//! Most of the API's times are whole seconds, and much happens within one. A few are exact: events that say so, and
//! those whose names end in the moment they were made (client-go's recorder names them so, and stead's). **Nothing is
//! guessed**: a step that is known to the second is shown so, and stands behind what must have come before it.

mod events;
mod family;
mod lines;
mod live;
mod objects;
mod seen;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use apimachinery::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub(crate) use family::Family;
pub(crate) use lines::Lines;
pub(crate) use live::Live;

/// Two tellings of one step are no further apart: each may be cut to its second.
const SAME: SignedDuration = SignedDuration::from_secs(1);

/// A moment, as exactly as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment {
    /// The moment; of one known to the second the earliest that it can be.
    pub(crate) at: Timestamp,
    /// Whether it is known to more than the second.
    pub(crate) is_exact: bool,
}

impl Moment {
    /// A moment that is known exactly.
    pub(crate) fn exact(at: Timestamp) -> Self {
        Self { at, is_exact: true }
    }

    /// A time as the API writes it; digits behind the second make it exact.
    fn read(value: &Value) -> Option<Self> {
        let text = value.as_str()?;
        Some(Self { at: time::parse(text)?, is_exact: text.contains('.') })
    }

    fn second(self) -> i64 {
        self.at.as_second()
    }

    /// Whether both may be tellings of the same moment.
    fn may_be(self, other: Self) -> bool {
        self.at.duration_since(other.at).abs() <= SAME
    }
}

/// The order in which things happen to one object within a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Created,
    Scheduled,
    Prepared,
    Started,
    Said,
    Condition,
    ToldToStop,
    Ended,
    After,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// When.
    pub(crate) moment: Moment,
    /// To whom: `pod/web-0`.
    pub(crate) who: String,
    /// What.
    pub(crate) what: String,
    /// How often it has happened by then.
    count: i64,
    rank: Rank,
}

impl Step {
    /// Something that was watched happening.
    pub(crate) fn seen(at: Timestamp, who: String, what: &str) -> Self {
        Self { moment: Moment::exact(at), who, what: what.to_owned(), count: 1, rank: Rank::After }
    }

    /// What happened, and how often where that is more than once.
    pub(crate) fn sentence(&self) -> String {
        match self.count {
            ..=1 => self.what.clone(),
            count => format!("{} ({count} times by now)", self.what),
        }
    }

    /// The step as data.
    pub(crate) fn to_json(&self) -> Value {
        let at = if self.moment.is_exact {
            time::format_micros(self.moment.at)
        } else {
            time::format_seconds(self.moment.at)
        };
        let mut step = json!({"time": at, "object": self.who, "what": self.what});
        if self.count > 1 {
            step["count"] = self.count.into();
        }
        step
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// How people call an object: by its kind's short name where the kind's own is long (`pvc/data-db-0`).
pub(crate) fn spoken(kind: &str, name: &str) -> String {
    const LONG: usize = 12;
    let word = kind.to_lowercase();
    let known = registry::KINDS.iter().find(|known| known.kind == kind);
    let short = known.and_then(|known| known.short_names.first()).filter(|_| word.len() > LONG);
    format!("{}/{name}", short.copied().unwrap_or(&word))
}

/// All that these objects and events tell, the oldest first; what is told twice stands once.
pub(crate) fn steps(objects: &[&Value], events: &[&Value]) -> Vec<Step> {
    let mut of_objects: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    let mut order: Vec<String> = Vec::new();
    for object in objects {
        let told = objects::steps(object);
        if let Some(first) = told.first() {
            order.push(first.who.clone());
            of_objects.entry(first.who.clone()).or_default().extend(told);
        }
    }
    let mut of_events: BTreeMap<String, Vec<Step>> = BTreeMap::new();
    for step in events.iter().flat_map(|event| events::steps(event)) {
        if !order.contains(&step.who) {
            order.push(step.who.clone());
        }
        of_events.entry(step.who.clone()).or_default().push(step);
    }
    let mut all = Vec::new();
    for who in &order {
        let told = of_objects.remove(who).unwrap_or_default();
        all.extend(one_story(told, of_events.remove(who).unwrap_or_default()));
    }
    // Equal moments keep the order in which the objects were given.
    all.sort_by_key(|(placed, _)| *placed);
    all.into_iter().map(|(_, step)| step).collect()
}

/// One object's steps, each with the moment that it is placed at: `told` by the object in the order that they must
/// have happened, and by its events.
fn one_story(mut told: Vec<Step>, events: Vec<Step>) -> Vec<(Timestamp, Step)> {
    told.sort_by_key(|step| step.moment.second());
    let mut others: Vec<Step> = Vec::new();
    for event in events {
        let same = |step: &&mut Step| {
            step.what == event.what && step.count == event.count && step.moment.may_be(event.moment)
        };
        match told.iter_mut().chain(&mut others).find(same) {
            Some(step) if event.moment.is_exact && !step.moment.is_exact => step.moment = event.moment,
            Some(_) => {}
            None => others.push(event),
        }
    }
    others.sort_by_key(|step| (step.moment.second(), step.rank));
    let mut placed: Vec<(Timestamp, Step)> = Vec::new();
    let mut before = Timestamp::MIN;
    for (index, step) in told.iter().enumerate() {
        let at = place(step, &told[index + 1..], &others).max(before);
        before = at;
        placed.push((at, step.clone()));
    }
    let exact: Vec<Step> = told.iter().filter(|step| step.moment.is_exact).cloned().collect();
    for (index, step) in others.iter().enumerate() {
        let earlier: Vec<Step> = exact.iter().chain(&others[..index]).cloned().collect();
        placed.push((place(step, &[], &earlier), step.clone()));
    }
    // Where an exact step stands at the same place: what was put behind it comes after it.
    placed.sort_by_key(|(at, step)| (*at, !step.moment.is_exact && *at > step.moment.at));
    placed
}

/// Where a step stands: one that is known to the second behind all of that second that must come before it, but not
/// behind the next one `after` it.
fn place(step: &Step, after: &[Step], others: &[Step]) -> Timestamp {
    let moment = step.moment;
    if moment.is_exact {
        return moment.at;
    }
    let same_second = |other: &&Step| other.moment.is_exact && other.moment.second() == moment.second();
    let earlier = others.iter().filter(same_second).filter(|other| other.rank <= step.rank);
    let latest = earlier.map(|other| other.moment.at).max().unwrap_or(moment.at);
    let next = after.iter().find(same_second).map(|next| next.moment.at - SignedDuration::from_nanos(1));
    latest.min(next.unwrap_or(latest)).max(moment.at)
}
