//! Sets and worlds as people would describe them: what the generators make, the reference reads, and a failure
//! prints.

use std::fmt;

/// How updates go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    OnDelete,
    /// RollingUpdate without a `rollingUpdate` section.
    Bare,
    Rolling {
        partition: Option<usize>,
        max_unavailable: Option<Amount>,
    },
}

/// An amount of replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Count(usize),
    Percent(usize),
}

/// A set.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) replicas: usize,
    pub(crate) start: usize,
    pub(crate) reserved: Vec<usize>,
    pub(crate) parallel: bool,
    pub(crate) strategy: Strategy,
    /// Whether Ready is not enough (`minReadySeconds`).
    pub(crate) min_ready: bool,
    pub(crate) paused: bool,
    pub(crate) scaled_delete: bool,
    pub(crate) deleted_delete: bool,
    pub(crate) claim_templates: usize,
    /// Whether the set is being deleted.
    pub(crate) terminating: bool,
    /// Whether the status is about this generation of the spec.
    pub(crate) observed: bool,
}

/// Whose a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The set's.
    Set,
    /// Nobody's, and it looks like the set's: to be adopted.
    Nobody,
    /// The set's, but its labels say otherwise: to be released.
    Stray,
    /// Somebody else's.
    Other,
}

/// The revision of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revision {
    Old,
    Current,
    Update,
}

/// How a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Pending,
    /// Since a second: a node may still turn up.
    BrieflyUnschedulable,
    Unschedulable,
    Running,
    CrashLoop,
    /// Ready since a second.
    Young,
    /// Ready since an hour.
    Ready,
    Failed,
    Succeeded,
}

/// A pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) holder: Holder,
    pub(crate) revision: Revision,
    pub(crate) phase: Phase,
    pub(crate) terminating: bool,
    /// Whether it mounts the claims of its ordinal.
    pub(crate) storage_matches: bool,
    /// Whether its labels name it.
    pub(crate) identity_matches: bool,
}

/// Whose a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Nobody,
    Set,
    /// The pod of its ordinal that there is.
    Pod,
    /// A pod of its ordinal that there was.
    DeadPod,
    /// Another controller.
    Other,
}

/// A claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) owner: Owner,
    pub(crate) terminating: bool,
}

/// A set and all that there is of it. Ordinals are indexes.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) spec: Spec,
    /// By ordinal.
    pub(crate) pods: Vec<Option<Pod>>,
    /// By claim template, then by ordinal.
    pub(crate) claims: Vec<Vec<Option<Claim>>>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n  {:?}", self.spec)?;
        for (ordinal, pod) in self.pods.iter().enumerate() {
            if let Some(pod) = pod {
                write!(f, "  web-{ordinal}: {:?} {:?} of {:?}", pod.holder, pod.phase, pod.revision)?;
                let flags = [
                    (pod.terminating, ", terminating"),
                    (!pod.storage_matches, ", with a wrong volume"),
                    (!pod.identity_matches, ", with wrong labels"),
                ];
                flags.iter().filter(|(is_so, _)| *is_so).try_for_each(|(_, flag)| write!(f, "{flag}"))?;
                writeln!(f)?;
            }
        }
        for (template, claims) in self.claims.iter().enumerate() {
            for (ordinal, claim) in claims.iter().enumerate() {
                if let Some(claim) = claim {
                    let terminating = if claim.terminating { ", terminating" } else { "" };
                    writeln!(f, "  data{template}-web-{ordinal}: {:?}{terminating}", claim.owner)?;
                }
            }
        }
        Ok(())
    }
}
