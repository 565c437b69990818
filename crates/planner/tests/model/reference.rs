//! What a StatefulSet controller does next, as upstream describes it (KEP-2804 and KEP-961, the concept page
//! "StatefulSets") and as this project goes beyond: the shortest program that says it, made for reading only.

use std::collections::{BTreeMap, BTreeSet};

use crate::case::{Amount, Case, Claim, Holder, Owner, Phase, Pod, Revision, Strategy};

/// What is to be done next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Next {
    /// Pods that get another owner: while there are any, nothing else is done.
    pub(crate) adopted_or_released: BTreeSet<usize>,
    /// Pods to be made, with their revision.
    pub(crate) made: BTreeMap<usize, Revision>,
    /// Pods to be deleted.
    pub(crate) deleted: BTreeSet<usize>,
    /// Claims to be made, by template and ordinal.
    pub(crate) claims: BTreeSet<(usize, usize)>,
}

impl Case {
    /// The wanted ordinals, upward.
    pub(crate) fn wanted(&self) -> Vec<usize> {
        let free = (self.spec.start..).filter(|ordinal| !self.spec.reserved.contains(ordinal));
        free.take(self.spec.replicas).collect()
    }

    /// The set's own pod of this ordinal.
    pub(crate) fn pod(&self, ordinal: usize) -> Option<Pod> {
        self.pods.get(ordinal).copied().flatten().filter(|pod| pod.holder == Holder::Set)
    }

    pub(crate) fn is_available(&self, ordinal: usize) -> bool {
        self.pod(ordinal).is_some_and(|pod| {
            let long_enough =
                pod.phase == Phase::Ready || (pod.phase == Phase::Young && !self.spec.min_ready);
            long_enough && !pod.terminating
        })
    }

    /// The set's pods that nobody wants, upward.
    pub(crate) fn condemned(&self) -> Vec<usize> {
        let wanted = self.wanted();
        (0..self.pods.len()).filter(|o| self.pod(*o).is_some() && !wanted.contains(o)).collect()
    }

    fn claims_of(&self, ordinal: usize) -> impl Iterator<Item = Option<Claim>> {
        self.claims.iter().map(move |claims| claims.get(ordinal).copied().flatten())
    }

    /// Whether a claim must go before its pod can be made.
    fn is_blocked(&self, ordinal: usize) -> bool {
        self.claims_of(ordinal)
            .flatten()
            .any(|claim| claim.terminating || matches!(claim.owner, Owner::Pod | Owner::DeadPod))
    }

    fn missing_claims(&self, ordinal: usize) -> impl Iterator<Item = (usize, usize)> {
        let missing = self.claims_of(ordinal).enumerate().filter(|(_, claim)| claim.is_none());
        missing.map(move |(template, _)| (template, ordinal))
    }

    fn kept_by_partition(&self) -> usize {
        match self.spec.strategy {
            Strategy::Rolling { partition, .. } => partition.unwrap_or(0),
            Strategy::Bare => 0,
            Strategy::OnDelete => usize::MAX,
        }
    }

    fn max_unavailable(&self) -> usize {
        let amount = match self.spec.strategy {
            Strategy::Rolling { max_unavailable: Some(amount), .. } => amount,
            _ => Amount::Count(1),
        };
        match amount {
            Amount::Count(count) => count,
            Amount::Percent(percent) => (self.spec.replicas * percent / 100).max(1),
        }
    }

    fn revision_of_new(&self, rank: usize, ordinal: usize) -> Revision {
        let staying =
            || (0..self.pods.len()).filter_map(|o| Some((o, self.pod(o)?))).filter(|(_, p)| !p.terminating);
        let passed = staying().any(|(o, pod)| pod.revision == Revision::Update && o < ordinal);
        let of_current = staying().filter(|(_, pod)| pod.revision == Revision::Current).count();
        let kept = match self.spec.strategy {
            Strategy::OnDelete => 0,
            Strategy::Bare if self.spec.parallel => 0,
            Strategy::Bare => of_current,
            Strategy::Rolling { partition, .. } => partition.unwrap_or(0),
        };
        if (self.spec.paused && !passed) || rank < kept { Revision::Current } else { Revision::Update }
    }

    /// What comes next.
    pub(crate) fn next(&self) -> Next {
        let mut next = Next::default();
        for (ordinal, pod) in self.pods.iter().enumerate() {
            let Some(pod) = pod else { continue };
            // A set that is being deleted lets nothing go either (upstream: `ClaimObject`).
            let changes_hands =
                matches!(pod.holder, Holder::Nobody | Holder::Stray) && !self.spec.terminating;
            if changes_hands && !pod.terminating {
                next.adopted_or_released.insert(ordinal);
            }
        }
        if self.spec.terminating || !next.adopted_or_released.is_empty() {
            return next;
        }
        let all_in_place = self.replicas(&mut next);
        if all_in_place || self.spec.parallel {
            self.scale_down(&mut next);
        }
        self.update(&mut next);
        next
    }

    /// Upward: make what is missing, make again what has ended. `true`: all are available.
    fn replicas(&self, next: &mut Next) -> bool {
        for (rank, ordinal) in self.wanted().into_iter().enumerate() {
            let name_is_free = self.pods.get(ordinal).copied().flatten().is_none();
            match self.pod(ordinal) {
                None if name_is_free && !self.is_blocked(ordinal) => {
                    next.claims.extend(self.missing_claims(ordinal));
                    next.made.insert(ordinal, self.revision_of_new(rank, ordinal));
                }
                None => {}
                Some(pod) if pod.terminating => {}
                Some(Pod { phase: Phase::Failed | Phase::Succeeded, .. }) => {
                    next.deleted.insert(ordinal);
                }
                Some(pod) => {
                    let claims_settled = self.claims_of(ordinal).flatten().all(|claim| !claim.terminating);
                    let waits = matches!(
                        pod.phase,
                        Phase::Pending | Phase::BrieflyUnschedulable | Phase::Unschedulable
                    );
                    let owned_by_pod = |claim: Claim| matches!(claim.owner, Owner::Pod | Owner::DeadPod);
                    let free = claims_settled && !self.claims_of(ordinal).flatten().any(owned_by_pod);
                    if waits && free {
                        next.claims.extend(self.missing_claims(ordinal));
                    }
                }
            }
            if !self.is_available(ordinal) && !self.spec.parallel {
                return false;
            }
        }
        true
    }

    /// Downward: in order one at a time, and halting while another one is unhealthy that may recover.
    fn scale_down(&self, next: &mut Next) {
        let condemned = self.condemned();
        let is_healthy = |pod: Pod| matches!(pod.phase, Phase::Young | Phase::Ready) && !pod.terminating;
        let lowest_unhealthy = condemned.iter().find(|o| self.pod(**o).is_some_and(|pod| !is_healthy(pod)));
        for ordinal in condemned.iter().rev() {
            let Some(pod) = self.pod(*ordinal) else { continue };
            let may_recover = matches!(
                pod.phase,
                Phase::Pending | Phase::BrieflyUnschedulable | Phase::Running | Phase::Young
            );
            let halts = may_recover && !self.is_available(*ordinal) && lowest_unhealthy != Some(ordinal);
            if !pod.terminating && (self.spec.parallel || !halts) && self.claims_go_along(*ordinal) {
                next.deleted.insert(*ordinal);
            }
            if !self.spec.parallel {
                return;
            }
        }
    }

    /// With whenScaled Delete a pod goes only once its claims know that they go with it.
    fn claims_go_along(&self, ordinal: usize) -> bool {
        let settled = |claim: Claim| claim.terminating || matches!(claim.owner, Owner::Pod | Owner::Other);
        !self.spec.scaled_delete || self.claims_of(ordinal).flatten().all(settled)
    }

    /// From the top down to the partition, with what the budget leaves.
    fn update(&self, next: &mut Next) {
        let wanted = self.wanted();
        let lost = wanted.iter().filter(|ordinal| !self.is_available(**ordinal)).count();
        let mut budget = self.max_unavailable().saturating_sub(lost);
        let all_exist = wanted.iter().all(|ordinal| self.pod(*ordinal).is_some());
        let scaled = self.spec.parallel || (all_exist && self.condemned().is_empty());
        for (rank, ordinal) in wanted.into_iter().enumerate().rev() {
            let Some(pod) = self.pod(ordinal) else { continue };
            let outdated =
                pod.revision != Revision::Update && rank >= self.kept_by_partition() && !self.spec.paused;
            let is_over = pod.terminating || matches!(pod.phase, Phase::Failed | Phase::Succeeded);
            let wrong_volume = !pod.storage_matches && !self.claims.is_empty();
            if is_over || !(outdated || wrong_volume) {
                continue;
            }
            let stuck = matches!(pod.phase, Phase::Unschedulable | Phase::CrashLoop);
            if self.is_available(ordinal) {
                if budget > 0 && scaled {
                    budget -= 1;
                    next.deleted.insert(ordinal);
                }
            } else if stuck || self.spec.parallel {
                next.deleted.insert(ordinal);
            }
        }
    }

    /// Whether nothing is left to do or to wait for.
    pub(crate) fn is_complete(&self) -> bool {
        let wanted = self.wanted();
        let kept = if self.spec.paused { usize::MAX } else { self.kept_by_partition() };
        !self.spec.terminating
            && self.condemned().is_empty()
            && self.next() == Next::default()
            && wanted.iter().enumerate().all(|(rank, ordinal)| {
                let is_new = self.pod(*ordinal).is_some_and(|pod| pod.revision == Revision::Update);
                self.is_available(*ordinal) && (is_new || rank < kept)
            })
    }
}
