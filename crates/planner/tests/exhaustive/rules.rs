//! What no plan may do, in this search's own words: nothing here is shared with the planner or its checker.

use crate::stage::Planned;
use crate::state::{Claim, Config, Owner, Phase, Pod, Rev, State, Strategy, current_state_matches};
use crate::write::Write;

/// What the plan breaks, given what it saw.
pub(crate) fn judge(config: &Config, seen: &State, planned: &Planned) -> Result<(), String> {
    let judge = Judge { config, seen, wanted: seen.wanted(config).collect(), planned };
    judge.order_of_writes()?;
    for (index, write) in planned.writes.iter().enumerate() {
        match *write {
            Write::CreatePod(ordinal, rev) => judge.creation(index, ordinal, rev)?,
            Write::DeletePod(ordinal) => judge.deletion(ordinal)?,
            Write::CreateClaim(ordinal, owner) | Write::OwnClaim(ordinal, owner) => {
                judge.ownership(ordinal, owner)?;
            }
            Write::DeleteRevision(rev) => judge.forgetting(rev)?,
            Write::CreateRevision(rev) | Write::RaiseRevision(rev) => {
                need(rev == 0, || format!("r{rev} is history"))?;
            }
            Write::Status { update, .. } => {
                need(update == 0, || format!("the update revision is not r{update}"))?;
            }
        }
    }
    judge.budget()?;
    judge.rest()
}

fn need(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

struct Judge<'s> {
    config: &'s Config,
    seen: &'s State,
    wanted: Vec<usize>,
    planned: &'s Planned,
}

impl Judge<'_> {
    fn available(&self, ordinal: usize) -> bool {
        self.seen.pods[ordinal].is_available()
    }

    fn is_healthy(&self, ordinal: usize) -> bool {
        matches!(self.seen.pods[ordinal], Pod::Held(_, Phase::Young | Phase::Ready))
    }

    fn deleted(&self) -> impl Iterator<Item = usize> {
        self.planned.writes.iter().filter_map(|write| match write {
            Write::DeletePod(ordinal) => Some(*ordinal),
            _ => None,
        })
    }

    /// In order, one replica is made and one scaled away at a time.
    fn order_of_writes(&self) -> Result<(), String> {
        if self.config.parallel {
            return Ok(());
        }
        let made = self.planned.writes.iter().filter(|w| matches!(w, Write::CreatePod(..))).count();
        let condemned = self.deleted().filter(|o| !self.wanted.contains(o)).count();
        need(made <= 1 && condemned <= 1, || format!("{made} made and {condemned} scaled away at once"))
    }

    /// The revision that a new pod is of; unknown where upstream goes by counting.
    fn revision_of_new(&self, ordinal: usize) -> Option<Rev> {
        let is_kept = |rev: &Rev| self.seen.history.contains(&Some(*rev));
        let current = self.seen.current.filter(is_kept).unwrap_or(0);
        let is_new = |pod: &Pod| matches!(pod, Pod::Held(0, phase) if *phase != Phase::Terminating);
        if self.seen.paused && !self.seen.pods[..ordinal].iter().any(is_new) {
            return Some(current);
        }
        match self.config.strategy {
            Strategy::OnDelete => Some(0),
            Strategy::Bare => None,
            Strategy::Rolling(..) => {
                let reached = self.seen.in_reach(self.config).any(|reached| reached == ordinal);
                Some(if reached { 0 } else { current })
            }
        }
    }

    fn creation(&self, index: usize, ordinal: usize, rev: Rev) -> Result<(), String> {
        need(self.seen.pods[ordinal] == Pod::Absent, || format!("a second web-{ordinal}"))?;
        need(self.wanted.contains(&ordinal), || format!("nobody wants web-{ordinal}"))?;
        let right = self.revision_of_new(ordinal).unwrap_or(rev);
        need(rev == right, || format!("web-{ordinal} is made of r{rev}, not r{right}"))?;
        if !self.config.parallel {
            let before = self.wanted.iter().take_while(|o| **o < ordinal).find(|o| !self.available(**o));
            need(before.is_none(), || format!("web-{ordinal} is made before {before:?} is available"))?;
        }
        if !self.config.claims {
            return Ok(());
        }
        let is_new = |write: &Write| matches!(write, Write::CreateClaim(o, _) if *o == ordinal);
        let usable = match self.seen.claims[ordinal] {
            Claim::Absent => self.planned.writes[..index].iter().any(is_new),
            Claim::Terminating => false,
            Claim::Pending(owner) | Claim::Bound(owner) => owner != Owner::DeadPod,
        };
        need(usable, || format!("web-{ordinal} is made on a claim that is not there to stay"))
    }

    fn deletion(&self, ordinal: usize) -> Result<(), String> {
        let Pod::Held(rev, phase) = self.seen.pods[ordinal] else {
            return Err(format!("web-{ordinal} is not the set's to delete"));
        };
        need(phase != Phase::Terminating, || format!("web-{ordinal} is deleted twice"))?;
        if !self.wanted.contains(&ordinal) {
            return self.scale_down(ordinal);
        }
        let goes_along = matches!(self.claim_when_deleted(ordinal), Owner::Pod | Owner::DeadPod);
        need(!goes_along, || format!("web-{ordinal} comes back, but its claim would go with it"))?;
        if phase == Phase::Failed {
            return Ok(());
        }
        let in_reach: Vec<usize> = self.seen.in_reach(self.config).collect();
        need(!self.seen.paused, || format!("web-{ordinal} is replaced though the set is paused"))?;
        need(in_reach.contains(&ordinal), || format!("web-{ordinal} is out of the update's reach"))?;
        need(rev != 0, || format!("web-{ordinal} is up to date"))?;
        if !self.available(ordinal) {
            let is_stuck = matches!(phase, Phase::Stuck | Phase::Unschedulable);
            let dispensable = self.config.parallel || is_stuck;
            return need(dispensable, || format!("web-{ordinal} only starts, and others may need it"));
        }
        let spared = in_reach.iter().copied().find(|higher| {
            let outdated = matches!(self.seen.pods[*higher], Pod::Held(rev, Phase::Ready) if rev != 0);
            *higher > ordinal && outdated && !self.deleted().any(|deleted| deleted == *higher)
        });
        need(spared.is_none(), || format!("web-{ordinal} is updated before {spared:?}"))?;
        let scaled = self.config.parallel || self.condemned().next().is_none();
        need(scaled, || format!("web-{ordinal} is updated before the set has scaled"))
    }

    fn condemned(&self) -> impl Iterator<Item = usize> {
        let held = self.seen.pods.iter().enumerate().filter(|(_, pod)| matches!(pod, Pod::Held(..)));
        held.map(|(ordinal, _)| ordinal).filter(|ordinal| !self.wanted.contains(ordinal))
    }

    fn scale_down(&self, ordinal: usize) -> Result<(), String> {
        if self.config.scaled_delete && self.config.claims {
            let claim = self.seen.claims[ordinal];
            let settled = self.claim_when_deleted(ordinal) == Owner::Pod
                || matches!(claim, Claim::Absent | Claim::Terminating);
            need(settled, || format!("web-{ordinal} goes before its claim knows that it goes, too"))?;
        }
        if self.config.parallel {
            return Ok(());
        }
        let last = self.condemned().last();
        need(last == Some(ordinal), || format!("web-{ordinal} is scaled away before {last:?}"))?;
        if matches!(self.seen.pods[ordinal], Pod::Held(_, Phase::Pending | Phase::Running | Phase::Young)) {
            let unwell = self.condemned().find(|lower| *lower < ordinal && !self.is_healthy(*lower));
            need(unwell.is_none(), || {
                format!("web-{ordinal} is scaled away while {unwell:?} is unhealthy, too")
            })?;
        }
        let unwell = self.wanted.iter().find(|o| !self.available(**o));
        need(unwell.is_none(), || format!("web-{ordinal} is scaled away while {unwell:?} is not available"))
    }

    /// Whose the claim is when the pod's deletion is carried out.
    fn claim_when_deleted(&self, ordinal: usize) -> Owner {
        let before = self.planned.writes.iter().take_while(|write| **write != Write::DeletePod(ordinal));
        let given = before.filter_map(|write| match write {
            Write::OwnClaim(o, owner) if *o == ordinal => Some(*owner),
            _ => None,
        });
        given.last().unwrap_or(self.seen.claims[ordinal].owner())
    }

    /// No claim goes with anything but by its policy.
    fn ownership(&self, ordinal: usize, owner: Owner) -> Result<(), String> {
        let allowed = match owner {
            Owner::Nobody => true,
            Owner::Set => self.config.deleted_delete,
            Owner::Pod => self.config.scaled_delete && !self.wanted.contains(&ordinal),
            Owner::DeadPod => false,
        };
        need(allowed, || format!("data-web-{ordinal} is given to {owner:?} against its policy"))
    }

    fn forgetting(&self, rev: Rev) -> Result<(), String> {
        let carried = self.seen.pods.iter().any(|pod| matches!(pod, Pod::Held(held, _) if *held == rev));
        let named = rev == 0 || self.seen.current == Some(rev);
        need(!carried && !named, || format!("r{rev} is still needed"))
    }

    /// Updates never make more replicas unavailable than may be.
    fn budget(&self) -> Result<(), String> {
        let spent = self.deleted().filter(|o| self.wanted.contains(o) && self.available(*o)).count();
        let allowed = self.config.max_unavailable();
        let lost = self.seen.unavailable(self.config);
        need(spent == 0 || lost + spent <= allowed, || {
            format!("{spent} available replicas go while {lost} are not available; {allowed} may be")
        })
    }

    /// Where nothing is left to do, nothing is done; and where something is left and nothing done, it says why.
    fn rest(&self) -> Result<(), String> {
        let is_status = |write: &Write| matches!(write, Write::Status { .. });
        let acts =
            self.planned.writes.iter().any(|w| !is_status(w) && !matches!(w, Write::DeleteRevision(_)));
        let reached = current_state_matches(self.config, self.seen);
        need(!(acts && reached), || "something is done though nothing is left to do".into())?;
        let silent = !acts && !reached && self.seen.observed && self.planned.waits.is_empty();
        need(!silent, || "it waits, and does not say why".into())?;
        let ticks = self.seen.pods.iter().any(|pod| matches!(pod, Pod::Held(_, Phase::Young)));
        need(!ticks || self.planned.requeues, || "nobody looks again when minReadySeconds are over".into())
    }
}
