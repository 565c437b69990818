//! What a plan writes, and what the API makes of it, also when the world has moved on since.

use std::fmt;

use crate::events::{Event, delete_pod};
use crate::state::{Claim, Owner, Phase, Pod, Rev, State, swap};

/// One write of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    CreatePod(usize, Rev),
    DeletePod(usize),
    CreateClaim(usize, Owner),
    OwnClaim(usize, Owner),
    CreateRevision(Rev),
    RaiseRevision(Rev),
    DeleteRevision(Rev),
    Status { current: Rev, update: Rev },
}

/// The API refuses the write: the plan took the world for another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused;

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreatePod(ordinal, rev) => write!(f, "create web-{ordinal} of r{rev}"),
            Self::DeletePod(ordinal) => write!(f, "delete web-{ordinal}"),
            Self::CreateClaim(ordinal, owner) => write!(f, "create data-web-{ordinal} owned by {owner:?}"),
            Self::OwnClaim(ordinal, owner) => write!(f, "give data-web-{ordinal} to {owner:?}"),
            Self::CreateRevision(rev) => write!(f, "create revision r{rev}"),
            Self::RaiseRevision(rev) => write!(f, "make r{rev} the newest revision"),
            Self::DeleteRevision(rev) => write!(f, "delete revision r{rev}"),
            Self::Status { current, update } => write!(f, "status: current r{current}, update r{update}"),
        }
    }
}

impl Write {
    /// The same write once `event` has happened: a change of template gives revisions other numbers.
    pub(crate) fn renamed(mut self, event: Event) -> Self {
        let Event::Template(other) = event else { return self };
        match &mut self {
            Self::CreatePod(_, rev)
            | Self::CreateRevision(rev)
            | Self::RaiseRevision(rev)
            | Self::DeleteRevision(rev) => *rev = swap(*rev, 0, other),
            Self::Status { current, update } => {
                (*current, *update) = (swap(*current, 0, other), swap(*update, 0, other));
            }
            Self::DeletePod(_) | Self::CreateClaim(..) | Self::OwnClaim(..) => {}
        }
        self
    }

    /// What the API does with it. `seen` is what the plan saw; `is_late`: the set has been changed since.
    pub(crate) fn execute(self, seen: &State, mut state: State, is_late: bool) -> Result<State, Refused> {
        let need = |holds: bool| if holds { Ok(()) } else { Err(Refused) };
        match self {
            Self::CreatePod(ordinal, rev) => {
                need(state.pods[ordinal] == Pod::Absent)?;
                state.pods[ordinal] = Pod::Held(rev, Phase::Pending);
            }
            Self::DeletePod(ordinal) => {
                need(matches!(state.pods[ordinal], Pod::Held(..)))?;
                delete_pod(&mut state, ordinal);
            }
            Self::CreateClaim(ordinal, owner) => {
                need(state.claims[ordinal] == Claim::Absent)?;
                state.claims[ordinal] = Claim::Pending(owner);
            }
            Self::OwnClaim(ordinal, owner) => {
                need(version(state.claims[ordinal]) == version(seen.claims[ordinal]))?;
                let lives = matches!(state.pods[ordinal], Pod::Held(..));
                let owner = if owner == Owner::Pod && !lives { Owner::DeadPod } else { owner };
                state.claims[ordinal] = state.claims[ordinal].owned_by(owner);
            }
            Self::CreateRevision(rev) => {
                need(!state.history.contains(&Some(rev)))?;
                append(&mut state, rev);
            }
            Self::RaiseRevision(rev) => {
                need(state.history.contains(&Some(rev)))?;
                remove(&mut state, rev);
                append(&mut state, rev);
            }
            Self::DeleteRevision(rev) => {
                need(state.history.contains(&Some(rev)))?;
                remove(&mut state, rev);
            }
            Self::Status { current, update } => {
                need(!is_late)?;
                (state.current, state.update, state.observed) = (Some(current), Some(update), true);
            }
        }
        Ok(state)
    }
}

/// What a claim's resourceVersion goes by: that its owner has gone changes nothing in the claim.
fn version(claim: Claim) -> Claim {
    if claim.owner() == Owner::DeadPod { claim.owned_by(Owner::Pod) } else { claim }
}

fn append(state: &mut State, rev: Rev) {
    let free = state.history.iter_mut().find(|slot| slot.is_none());
    *free.expect("fewer revisions than templates") = Some(rev);
}

fn remove(state: &mut State, rev: Rev) {
    let kept: Vec<Rev> = state.history.into_iter().flatten().filter(|held| *held != rev).collect();
    state.history = std::array::from_fn(|index| kept.get(index).copied());
}
