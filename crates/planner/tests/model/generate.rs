//! Random sets and worlds. What ordinary worlds are made of comes often, what they hardly ever have comes rarely.

use proptest::prelude::*;

use crate::case::{Amount, Case, Claim, Holder, Owner, Phase, Pod, Revision, Spec, Strategy as Update};

/// The ordinals that may have a pod or a claim at first.
const ORDINALS: usize = 7;

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.06)
}

fn update() -> impl Strategy<Value = Update> {
    let amount = prop_oneof![(1..4_usize).prop_map(Amount::Count), (1..=100_usize).prop_map(Amount::Percent)];
    let rolling = (prop::option::of(0..4_usize), prop::option::of(amount))
        .prop_map(|(partition, max_unavailable)| Update::Rolling { partition, max_unavailable });
    prop_oneof![6 => rolling, 1 => Just(Update::Bare), 1 => Just(Update::OnDelete)]
}

fn spec() -> impl Strategy<Value = Spec> {
    let numbers = (0..6_usize, 0..3_usize, prop::collection::vec(0..6_usize, 0..3), 0..3_usize);
    let flags = (
        any::<bool>(),
        any::<bool>(),
        prop::bool::weighted(0.2),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    (numbers, update(), flags, rarely()).prop_map(
        |((replicas, start, reserved, claim_templates), strategy, flags, terminating)| {
            let (parallel, min_ready, paused, scaled_delete, deleted_delete, observed) = flags;
            Spec {
                replicas,
                start,
                reserved,
                parallel,
                strategy,
                min_ready,
                paused,
                scaled_delete,
                deleted_delete,
                claim_templates,
                terminating,
                observed,
            }
        },
    )
}

fn pod() -> impl Strategy<Value = Pod> {
    let holder = prop_oneof![
        40 => Just(Holder::Set), 1 => Just(Holder::Nobody), 1 => Just(Holder::Stray), 1 => Just(Holder::Other)
    ];
    let revision = prop_oneof![
        4 => Just(Revision::Update), 4 => Just(Revision::Current), 1 => Just(Revision::Old)
    ];
    let phase = prop_oneof![
        1 => Just(Phase::Pending), 1 => Just(Phase::BrieflyUnschedulable), 1 => Just(Phase::Unschedulable),
        1 => Just(Phase::Running), 1 => Just(Phase::CrashLoop), 1 => Just(Phase::Failed),
        1 => Just(Phase::Succeeded), 2 => Just(Phase::Young), 20 => Just(Phase::Ready),
    ];
    (holder, revision, phase, prop::bool::weighted(0.1), rarely(), rarely()).prop_map(
        |(holder, revision, phase, terminating, wrong_volume, wrong_labels)| Pod {
            holder,
            revision,
            phase,
            terminating,
            storage_matches: !wrong_volume,
            identity_matches: !wrong_labels,
        },
    )
}

fn claim() -> impl Strategy<Value = Claim> {
    let owner = prop_oneof![
        10 => Just(Owner::Nobody), 10 => Just(Owner::Set), 3 => Just(Owner::Pod), 1 => Just(Owner::DeadPod),
        1 => Just(Owner::Other)
    ];
    (owner, rarely()).prop_map(|(owner, terminating)| Claim { owner, terminating })
}

/// A set and all that there is of it.
pub(crate) fn case() -> impl Strategy<Value = Case> {
    let pods = prop::collection::vec(prop::option::weighted(0.75, pod()), ORDINALS);
    let claims = prop::collection::vec(prop::option::weighted(0.85, claim()), ORDINALS);
    (spec(), pods, prop::collection::vec(claims, 2)).prop_map(|(spec, pods, mut claims)| {
        claims.truncate(spec.claim_templates);
        Case { spec, pods, claims }
    })
}
