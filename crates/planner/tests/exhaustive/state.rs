//! A world in a few bytes: one set `web`, the ordinals 0, 1 and 2, their pods and claims, the set's revisions.

use std::fmt;
use std::hash::{Hash, Hasher};

/// The ordinals that a small world has.
pub(crate) const ORDINALS: usize = 3;
/// The most templates that a set ever has.
pub(crate) const TEMPLATES: usize = 3;

/// A template, and the revision that holds it: 0 is the set's own now, the others were its own before. Only
/// "the same" and "another" matter, so that the set's own can always be 0: a change of template swaps numbers.
pub(crate) type Rev = u8;

/// How far a pod has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Made, on no node yet: a deletion takes it away at once.
    Pending,
    /// On no node yet, and none will have it.
    Unschedulable,
    /// Its processes run; it is not Ready.
    Running,
    /// Ready, but not for `minReadySeconds`.
    Young,
    /// Ready for long enough.
    Ready,
    /// Its image cannot be pulled: it goes nowhere by itself.
    Stuck,
    /// Ended for good.
    Failed,
    /// Deleted; its processes run, and it still says that it is Ready (the worst case for who counts pods).
    Terminating,
}

/// What has a pod's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pod {
    /// Nothing.
    Absent,
    /// Somebody else's pod.
    Foreign,
    /// The set's pod.
    Held(Rev, Phase),
}

/// Who takes a claim along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Nobody: it stays.
    Nobody,
    /// The set.
    Set,
    /// The pod that mounts it.
    Pod,
    /// A pod that is gone.
    DeadPod,
}

/// A claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// There is none.
    Absent,
    /// It waits for its volume.
    Pending(Owner),
    /// It has its volume.
    Bound(Owner),
    /// It is being deleted.
    Terminating,
}

/// The true state of a small world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Pods by ordinal.
    pub(crate) pods: [Pod; ORDINALS],
    /// Claims by ordinal.
    pub(crate) claims: [Claim; ORDINALS],
    /// `spec.replicas`.
    pub(crate) replicas: u8,
    /// `spec.ordinals.start`.
    pub(crate) start: u8,
    /// Whether the set is paused.
    pub(crate) paused: bool,
    /// `status.currentRevision`.
    pub(crate) current: Option<Rev>,
    /// `status.updateRevision`.
    pub(crate) update: Option<Rev>,
    /// Whether the status is about this generation of the spec.
    pub(crate) observed: bool,
    /// The ControllerRevisions that exist, the oldest first.
    pub(crate) history: [Option<Rev>; TEMPLATES],
    /// Whether the node answers.
    pub(crate) node_up: bool,
}

/// How updates go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// Somebody deletes pods.
    OnDelete,
    /// RollingUpdate without a `rollingUpdate` section.
    Bare,
    /// RollingUpdate with this partition and this `maxUnavailable`.
    Rolling(usize, usize),
}

/// What does not change in a search, and what may happen in it.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// What the test is called.
    pub(crate) name: &'static str,
    pub(crate) parallel: bool,
    pub(crate) strategy: Strategy,
    /// What `spec.replicas` may become.
    pub(crate) replicas: &'static [u8],
    /// What `spec.ordinals.start` may become.
    pub(crate) starts: &'static [u8],
    /// `stead.dev/reserve-ordinals`.
    pub(crate) reserved: &'static [u8],
    /// How many templates there are to change between.
    pub(crate) templates: u8,
    pub(crate) history_limit: i64,
    /// Whether there is a claim template.
    pub(crate) claims: bool,
    /// whenScaled: Delete.
    pub(crate) scaled_delete: bool,
    /// whenDeleted: Delete.
    pub(crate) deleted_delete: bool,
    /// Whether Ready is not enough (`minReadySeconds`).
    pub(crate) min_ready: bool,
    /// Whether pods get stuck.
    pub(crate) stuck: bool,
    /// Whether pods fail.
    pub(crate) failures: bool,
    /// Whether somebody takes names away.
    pub(crate) foreign: bool,
    /// Whether somebody deletes claims.
    pub(crate) claim_deletions: bool,
    /// Whether the node may be lost.
    pub(crate) node_loss: bool,
    /// Whether somebody pauses the set and lets it go on.
    pub(crate) pauses: bool,
}

impl Config {
    /// How many replicas an update may make unavailable.
    pub(crate) fn max_unavailable(&self) -> usize {
        match self.strategy {
            Strategy::Rolling(_, unavailable) => unavailable,
            Strategy::OnDelete | Strategy::Bare => 1,
        }
    }
}

impl Pod {
    pub(crate) fn is_available(self) -> bool {
        matches!(self, Self::Held(_, Phase::Ready))
    }

    /// Whether the pod keeps its claim from going (`kubernetes.io/pvc-protection`): from when it has a node until
    /// it has ended.
    pub(crate) fn protects_claim(self) -> bool {
        !matches!(
            self,
            Self::Absent
                | Self::Foreign
                | Self::Held(_, Phase::Pending | Phase::Unschedulable | Phase::Failed)
        )
    }
}

/// In one go: all searches together ask some ten million times, and the derived way takes a step for every byte.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let pods = self.pods.iter().map(|pod| match pod {
            Pod::Absent => 0,
            Pod::Foreign => 1,
            Pod::Held(rev, phase) => 2 + u64::from(*rev) * 8 + *phase as u64,
        });
        let claims = self.claims.iter().map(|claim| match claim {
            Claim::Absent => 0,
            Claim::Terminating => 1,
            Claim::Pending(owner) => 2 + *owner as u64,
            Claim::Bound(owner) => 6 + *owner as u64,
        });
        let flags = u64::from(self.paused) + 2 * u64::from(self.observed) + 4 * u64::from(self.node_up);
        let revs = [self.current, self.update].into_iter().chain(self.history);
        let revs = revs.map(|rev| rev.map_or(0, |rev| u64::from(rev) + 1));
        let spec = [u64::from(self.replicas) * 4 + u64::from(self.start), flags];
        let packed = pods.chain(claims).chain(spec).fold(0, |packed, part| (packed << 5) | part);
        hasher.write_u64(revs.fold(packed, |packed, rev| (packed << 2) | rev));
    }
}

impl Claim {
    pub(crate) fn owner(self) -> Owner {
        match self {
            Self::Absent | Self::Terminating => Owner::Nobody,
            Self::Pending(owner) | Self::Bound(owner) => owner,
        }
    }

    pub(crate) fn owned_by(self, owner: Owner) -> Self {
        match self {
            Self::Absent | Self::Terminating => self,
            Self::Pending(_) => Self::Pending(owner),
            Self::Bound(_) => Self::Bound(owner),
        }
    }
}

impl State {
    /// Nothing but the set.
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            pods: [Pod::Absent; ORDINALS],
            claims: [Claim::Absent; ORDINALS],
            replicas: config.replicas.iter().copied().max().unwrap_or(0),
            start: config.starts[0],
            paused: false,
            current: None,
            update: None,
            observed: false,
            history: [None; TEMPLATES],
            node_up: true,
        }
    }

    /// The wanted ordinals, upward.
    pub(crate) fn wanted<'c>(&self, config: &'c Config) -> impl Iterator<Item = usize> + use<'c> {
        let free = (self.start..ORDINALS as u8).filter(|ordinal| !config.reserved.contains(ordinal));
        free.take(self.replicas.into()).map(usize::from)
    }

    /// The wanted ordinals that an update may replace.
    pub(crate) fn in_reach<'c>(&self, config: &'c Config) -> impl Iterator<Item = usize> + use<'c> {
        let kept = match config.strategy {
            Strategy::OnDelete => ORDINALS,
            Strategy::Bare => 0,
            Strategy::Rolling(partition, _) => partition,
        };
        self.wanted(config).skip(kept)
    }

    /// How many wanted replicas are not available.
    pub(crate) fn unavailable(&self, config: &Config) -> usize {
        self.wanted(config).filter(|ordinal| !self.pods[*ordinal].is_available()).count()
    }

    /// The same world after the numbers of two revisions were swapped.
    pub(crate) fn swapped(mut self, a: Rev, b: Rev) -> Self {
        for pod in &mut self.pods {
            if let Pod::Held(rev, _) = pod {
                *rev = swap(*rev, a, b);
            }
        }
        let named = self.history.iter_mut().chain([&mut self.current, &mut self.update]);
        named.flatten().for_each(|rev| *rev = swap(*rev, a, b));
        self
    }
}

/// What `rev` is called once `a` and `b` have swapped names.
pub(crate) fn swap(rev: Rev, a: Rev, b: Rev) -> Rev {
    match rev {
        _ if rev == a => b,
        _ if rev == b => a,
        _ => rev,
    }
}

/// The goal: every wanted replica is available, of its revision, with its claim; there is nothing else, and the
/// status says so. (A claim that somebody deletes under a running pod stays until that pod goes.)
pub(crate) fn current_state_matches(config: &Config, state: &State) -> bool {
    let wanted: Vec<usize> = state.wanted(config).collect();
    let in_reach: Vec<usize> = if state.paused { Vec::new() } else { state.in_reach(config).collect() };
    let owner = if config.deleted_delete { Owner::Set } else { Owner::Nobody };
    let claim_matches = |claim| !config.claims || claim == Claim::Bound(owner) || claim == Claim::Terminating;
    let pod_matches = |ordinal: usize| match state.pods[ordinal] {
        Pod::Absent | Pod::Foreign => !wanted.contains(&ordinal),
        Pod::Held(rev, Phase::Ready) => {
            wanted.contains(&ordinal)
                && (rev == 0 || !in_reach.contains(&ordinal))
                && claim_matches(state.claims[ordinal])
        }
        _ => false,
    };
    (0..ORDINALS).all(pod_matches) && state.observed && state.update == Some(0)
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replicas {} from {}:", self.replicas, self.start)?;
        for (ordinal, (pod, claim)) in self.pods.iter().zip(&self.claims).enumerate() {
            match pod {
                Pod::Absent => write!(f, " web-{ordinal} -")?,
                Pod::Foreign => write!(f, " web-{ordinal} Foreign")?,
                Pod::Held(rev, phase) => write!(f, " web-{ordinal} r{rev} {phase:?}")?,
            }
            match claim {
                Claim::Absent => write!(f, ",")?,
                _ => write!(f, " ({claim:?}),")?,
            }
        }
        let history: Vec<Rev> = self.history.into_iter().flatten().collect();
        write!(f, " history {history:?}, current {:?}, update {:?}", self.current, self.update)?;
        let words = [(self.observed, "observed"), (self.paused, "paused"), (!self.node_up, "node lost")];
        words.iter().filter(|(is_so, _)| *is_so).try_for_each(|(_, word)| write!(f, ", {word}"))
    }
}
