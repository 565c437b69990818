//! What happens to a small world without the planner: its node, people, and the other controllers.

use std::fmt;

use crate::state::{Claim, Config, ORDINALS, Owner, Phase, Pod, Rev, State};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The node says this of the pod.
    Turns(usize, Phase),
    /// The node proves that a terminating pod's processes are gone.
    Ends(usize),
    /// Somebody deletes or evicts the pod.
    Deleted(usize),
    /// Somebody makes a pod of this name.
    NameTaken(usize),
    /// Somebody takes that pod away.
    NameFreed(usize),
    /// The claim gets its volume.
    Provisioned(usize),
    /// Somebody deletes the claim, or the garbage collector does after its owner has gone.
    ClaimDeleted(usize),
    /// The claim is gone: nobody mounts it any more.
    ClaimEnds(usize),
    /// The set is scaled.
    Scaled(u8),
    /// The set begins elsewhere.
    Starts(u8),
    /// The set gets this template.
    Template(Rev),
    /// The set is paused, or goes on.
    Paused(bool),
    /// The node does not answer: no pod is Ready, and nothing ends.
    NodeLost,
    /// The node answers again.
    NodeBack,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Turns(ordinal, phase) => write!(f, "web-{ordinal} turns {phase:?}"),
            Self::Ends(ordinal) => write!(f, "web-{ordinal}'s processes are gone"),
            Self::Deleted(ordinal) => write!(f, "somebody deletes web-{ordinal}"),
            Self::NameTaken(ordinal) => write!(f, "somebody makes another web-{ordinal}"),
            Self::NameFreed(ordinal) => write!(f, "somebody takes the other web-{ordinal} away"),
            Self::Provisioned(ordinal) => write!(f, "data-web-{ordinal} is bound"),
            Self::ClaimDeleted(ordinal) => write!(f, "data-web-{ordinal} is deleted"),
            Self::ClaimEnds(ordinal) => write!(f, "data-web-{ordinal} is gone"),
            Self::Scaled(replicas) => write!(f, "somebody scales to {replicas}"),
            Self::Starts(start) => write!(f, "somebody lets ordinals start at {start}"),
            Self::Template(rev) => {
                write!(f, "somebody changes the template to r{rev}, which is r0 from now on")
            }
            Self::Paused(true) => write!(f, "somebody pauses the set"),
            Self::Paused(false) => write!(f, "somebody lets the set go on"),
            Self::NodeLost => write!(f, "the node is lost"),
            Self::NodeBack => write!(f, "the node is back"),
        }
    }
}

impl Event {
    /// Whether it changes the set itself, so that a status write planned before is refused.
    pub(crate) fn touches_set(self) -> bool {
        matches!(self, Self::Scaled(_) | Self::Starts(_) | Self::Template(_) | Self::Paused(_))
    }

    /// The world after it.
    pub(crate) fn apply(self, mut state: State) -> State {
        match self {
            Self::Turns(ordinal, phase) => {
                if let Pod::Held(_, held) = &mut state.pods[ordinal] {
                    *held = phase;
                }
            }
            Self::Ends(ordinal) => bury(&mut state, ordinal),
            Self::Deleted(ordinal) => delete_pod(&mut state, ordinal),
            Self::NameTaken(ordinal) => state.pods[ordinal] = Pod::Foreign,
            Self::NameFreed(ordinal) => state.pods[ordinal] = Pod::Absent,
            Self::Provisioned(ordinal) => {
                state.claims[ordinal] = Claim::Bound(state.claims[ordinal].owner());
            }
            Self::ClaimDeleted(ordinal) => state.claims[ordinal] = Claim::Terminating,
            Self::ClaimEnds(ordinal) => state.claims[ordinal] = Claim::Absent,
            Self::Scaled(replicas) => state.replicas = replicas,
            Self::Starts(start) => state.start = start,
            Self::Template(rev) => state = state.swapped(0, rev),
            Self::Paused(paused) => state.paused = paused,
            Self::NodeLost => {
                state.node_up = false;
                for pod in &mut state.pods {
                    if let Pod::Held(_, phase @ (Phase::Young | Phase::Ready)) = pod {
                        *phase = Phase::Running;
                    }
                }
            }
            Self::NodeBack => state.node_up = true,
        }
        // An annotation is no new generation.
        state.observed &= !self.touches_set() || matches!(self, Self::Paused(_));
        state
    }
}

/// What a deletion does: who has processes keeps its name until they are gone.
pub(crate) fn delete_pod(state: &mut State, ordinal: usize) {
    match &mut state.pods[ordinal] {
        Pod::Held(_, Phase::Pending | Phase::Unschedulable | Phase::Failed) => bury(state, ordinal),
        Pod::Held(_, phase) => *phase = Phase::Terminating,
        Pod::Absent | Pod::Foreign => {}
    }
}

fn bury(state: &mut State, ordinal: usize) {
    state.pods[ordinal] = Pod::Absent;
    if state.claims[ordinal].owner() == Owner::Pod {
        state.claims[ordinal] = state.claims[ordinal].owned_by(Owner::DeadPod);
    }
}

/// Everything that may happen next.
pub(crate) fn events(config: &Config, state: &State) -> Vec<Event> {
    let mut events = Vec::with_capacity(24);
    for ordinal in 0..ORDINALS {
        progress_of_pod(config, state, ordinal, &mut events);
        trouble_of_pod(config, state, ordinal, &mut events);
        progress_of_claim(state, ordinal, &mut events);
        if config.claim_deletions && matches!(state.claims[ordinal], Claim::Pending(_) | Claim::Bound(_)) {
            events.push(Event::ClaimDeleted(ordinal));
        }
    }
    events.extend(config.replicas.iter().filter(|r| **r != state.replicas).map(|r| Event::Scaled(*r)));
    events.extend(config.starts.iter().filter(|s| **s != state.start).map(|s| Event::Starts(*s)));
    events.extend((1..config.templates).map(Event::Template));
    events.extend(config.pauses.then_some(Event::Paused(!state.paused)));
    match state.node_up {
        true => events.extend(config.node_loss.then_some(Event::NodeLost)),
        false => events.push(Event::NodeBack),
    }
    events
}

/// What the node and the other controllers get done when nothing disturbs them. A pod that is stuck at a revision
/// which an update may replace stays so: that is the planner's to solve.
pub(crate) fn progress(config: &Config, state: &State) -> Option<Event> {
    let mut events = Vec::new();
    if !state.node_up {
        return Some(Event::NodeBack);
    }
    if state.paused {
        return Some(Event::Paused(false));
    }
    for ordinal in 0..ORDINALS {
        progress_of_pod(config, state, ordinal, &mut events);
        if state.pods[ordinal] == Pod::Foreign {
            events.push(Event::NameFreed(ordinal));
        }
        let is_bad_rollout = matches!(state.pods[ordinal], Pod::Held(rev, Phase::Stuck) if rev != 0)
            && state.in_reach(config).any(|reached| reached == ordinal);
        if matches!(state.pods[ordinal], Pod::Held(_, Phase::Stuck)) && !is_bad_rollout {
            events.push(Event::Turns(ordinal, Phase::Running));
        }
        progress_of_claim(state, ordinal, &mut events);
    }
    events.first().copied()
}

fn progress_of_pod(config: &Config, state: &State, ordinal: usize, events: &mut Vec<Event>) {
    let Pod::Held(_, phase) = state.pods[ordinal] else { return };
    if !state.node_up {
        return;
    }
    match phase {
        Phase::Pending | Phase::Unschedulable
            if !config.claims || matches!(state.claims[ordinal], Claim::Bound(_)) =>
        {
            events.push(Event::Turns(ordinal, Phase::Running));
        }
        // Nobody knows where its volume will be.
        Phase::Pending if state.claims[ordinal] == Claim::Absent => {
            events.push(Event::Turns(ordinal, Phase::Unschedulable));
        }
        Phase::Running if config.min_ready => events.push(Event::Turns(ordinal, Phase::Young)),
        Phase::Running | Phase::Young => events.push(Event::Turns(ordinal, Phase::Ready)),
        Phase::Terminating => events.push(Event::Ends(ordinal)),
        Phase::Pending | Phase::Unschedulable | Phase::Ready | Phase::Stuck | Phase::Failed => {}
    }
}

fn trouble_of_pod(config: &Config, state: &State, ordinal: usize, events: &mut Vec<Event>) {
    let turns = |phase| Event::Turns(ordinal, phase);
    match state.pods[ordinal] {
        Pod::Absent => events.extend(config.foreign.then_some(Event::NameTaken(ordinal))),
        Pod::Foreign => events.push(Event::NameFreed(ordinal)),
        Pod::Held(_, phase) => {
            let runs = matches!(phase, Phase::Running | Phase::Young | Phase::Ready);
            if state.node_up {
                events.extend((runs && phase != Phase::Running).then(|| turns(Phase::Running)));
                events.extend((phase == Phase::Stuck).then(|| turns(Phase::Running)));
                events.extend((runs && config.stuck).then(|| turns(Phase::Stuck)));
                events.extend((runs && config.failures).then(|| turns(Phase::Failed)));
            }
            events.extend((phase != Phase::Terminating).then_some(Event::Deleted(ordinal)));
        }
    }
}

fn progress_of_claim(state: &State, ordinal: usize, events: &mut Vec<Event>) {
    match state.claims[ordinal] {
        Claim::Pending(Owner::DeadPod) | Claim::Bound(Owner::DeadPod) => {
            events.push(Event::ClaimDeleted(ordinal));
        }
        Claim::Pending(_) => events.push(Event::Provisioned(ordinal)),
        Claim::Terminating if !state.pods[ordinal].protects_claim() => events.push(Event::ClaimEnds(ordinal)),
        Claim::Absent | Claim::Bound(_) | Claim::Terminating => {}
    }
}
