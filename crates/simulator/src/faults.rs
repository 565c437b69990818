//! What goes wrong in a run, and how often.

use crate::dice::Dice;

/// The kinds of faults. Their names are what summaries count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The API says 429, 500 or 503 and does nothing.
    Refused,
    /// The API says 409 and does nothing.
    Conflicted,
    /// The connection breaks before the request arrives.
    RequestLost,
    /// The request takes effect, and the client hears of an error.
    AnswerLost,
    /// The request arrives late, or its answer does.
    Late,
    /// The API ends, and is there again a moment later. What it has acknowledged stays.
    ApiRestarted,
    /// A watch ends: in good order, in the middle of a line, or with an error.
    WatchCut,
    /// A watch says that its place is too old.
    WatchExpired,
    /// A watch tells late, and all that follows too.
    WatchDelayed,
    /// A watch tells an event twice.
    EventRepeated,
    /// The controllers die, right before or after a write of theirs took effect.
    ControllersKilled,
    /// A kubelet dies, right before or after a write of its took effect. Pods run on.
    KubeletKilled,
    /// A kubelet is gone for a while. Pods run on.
    NodeAway,
    /// A machine loses its power: all of its processes end.
    NodeCrashed,
    /// A container ends by itself.
    ContainerCrashed,
    /// A container is not ready for a while.
    ReadinessLost,
    /// A node throws a pod out: it has Failed.
    PodFailed,
}

/// All kinds, with the highest share (in a thousand) at which each strikes when it can.
const ALL: &[(Fault, u64)] = &[
    (Fault::Refused, 100),
    (Fault::Conflicted, 60),
    (Fault::RequestLost, 60),
    (Fault::AnswerLost, 100),
    (Fault::Late, 60),
    (Fault::ApiRestarted, 60),
    (Fault::WatchCut, 60),
    (Fault::WatchExpired, 20),
    (Fault::WatchDelayed, 60),
    (Fault::EventRepeated, 100),
    (Fault::ControllersKilled, 40),
    (Fault::KubeletKilled, 20),
    (Fault::NodeAway, 150),
    (Fault::NodeCrashed, 100),
    (Fault::ContainerCrashed, 400),
    (Fault::ReadinessLost, 300),
    (Fault::PodFailed, 150),
];

/// How often each fault strikes in one run. Some never do: faults that are always there would hide what only
/// happens in their absence ("swarm testing", Groce and others, 2012).
#[derive(Clone, Debug)]
pub(crate) struct Profile(Vec<u64>);

impl Profile {
    pub(crate) fn draw(dice: &Dice) -> Self {
        let calm = dice.hits(100);
        let rate = |&(_, most): &(Fault, u64)| match !calm && dice.hits(500) {
            true => dice.between(most / 10, most),
            false => 0,
        };
        Self(ALL.iter().map(rate).collect())
    }

    /// In a thousand.
    pub(crate) fn rate(&self, fault: Fault) -> u64 {
        ALL.iter().position(|(known, _)| *known == fault).map_or(0, |index| self.0[index])
    }
}
