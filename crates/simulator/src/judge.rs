//! Sees every write in the store's order, and says what must never be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use apimachinery::annotations::RESERVE_ORDINALS;
use apimachinery::meta::ObjectExt;
use registry::{KINDS, Kind, storage_prefix};
use serde_json::Value;
use store::Event;
use tokio::time::Instant;

use crate::process::Place;
use crate::sim::Sim;

/// A set as it once was.
#[derive(Clone, Debug)]
struct Version {
    spec: Value,
    annotations: Value,
    /// `status.currentRevision`.
    current: String,
    /// The write that made it so.
    revision: u64,
}

/// The longest that a request is on the wire, and what it was planned on may be older still.
const LATEST: Duration = Duration::from_secs(120);

/// What the judge remembers.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    /// What exists: uid and revision.
    objects: BTreeMap<Place, String>,
    /// All that sets have ever been, by name.
    versions: BTreeMap<String, Vec<Version>>,
    /// When plans were made for a set, and on which revision of it.
    plans: BTreeMap<String, VecDeque<(Instant, u64)>>,
    /// Sets that were ever being deleted, by name.
    deleted_sets: BTreeSet<String>,
    /// Pods that have ever been Ready, by name.
    were_ready: BTreeSet<String>,
    /// Revisions at which a set's spec changed.
    spec_changes: BTreeSet<u64>,
    /// Revisions that the user was answered with.
    user_writes: BTreeSet<u64>,
    /// Claims that the user deleted, by uid.
    pub(crate) claims_of_user: BTreeSet<String>,
    /// Pods that the user has forced off the API, by uid.
    pub(crate) forced: BTreeSet<String>,
    /// Writes of anything but leases.
    pub(crate) writes: u64,
    /// The last such write.
    pub(crate) last_write: String,
}

/// Looks at one write.
pub(crate) fn see(sim: &Sim, event: &Event) {
    sim.log().writes += 1;
    let below = |kind: &&'static Kind| event.key().strip_prefix(&storage_prefix(kind));
    let Some((kind, rest)) = KINDS.iter().find_map(|kind| Some((kind, below(kind)?))) else {
        return sim.fail(format!("{} is written, and there is no such kind", event.key()));
    };
    if kind.kind == "Lease" {
        return;
    }
    let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
    // Most kinds are not compared with what they were.
    let old = || event.previous.as_ref().map(parsed);
    let new = event.current.as_ref().map(parsed);
    let wrong = {
        let mut judge = sim.judge();
        judge.writes += 1;
        judge.last_write = format!("{} {rest}", kind.plural);
        let place = (kind.kind.to_owned(), namespace.to_owned(), name.to_owned());
        match &new {
            Some(new) => judge.objects.insert(place, new.uid().to_owned()),
            None => judge.objects.remove(&place),
        };
        match kind.kind {
            "StatefulSet" => judge.see_set(name, old().as_ref(), new.as_ref(), event.revision),
            "Pod" => judge.see_pod(sim, name, old().as_ref(), new.as_ref()),
            "PersistentVolumeClaim" => judge.see_claim(name, old().as_ref(), new.as_ref()),
            "PersistentVolume" => judge.see_volume(name, old().as_ref(), new.as_ref()),
            _ => Ok(()),
        }
    };
    if let Err(wrong) = wrong {
        sim.fail(wrong);
    }
}

type Verdict = Result<(), String>;

impl Judge {
    /// Whether this very object exists.
    pub(crate) fn exists(&self, place: &Place, uid: &str) -> bool {
        self.objects.get(place).is_some_and(|held| held == uid)
    }

    pub(crate) fn user_wrote(&mut self, revision: u64) {
        self.user_writes.insert(revision);
    }

    /// Nobody but the user changes what a set asks for.
    pub(crate) fn strangers_changes(&self) -> Option<u64> {
        self.spec_changes.difference(&self.user_writes).next().copied()
    }

    fn see_set(&mut self, name: &str, old: Option<&Value>, new: Option<&Value>, revision: u64) -> Verdict {
        let Some(new) = new else {
            let deleted = self.deleted_sets.contains(name) || old.is_some_and(|old| !old.is_terminating());
            self.deleted_sets.insert(name.to_owned());
            return if deleted {
                Ok(())
            } else {
                Err(format!("set {name} went without having been deleted"))
            };
        };
        if new.is_terminating() {
            self.deleted_sets.insert(name.to_owned());
        }
        if old.is_some_and(|old| old["spec"] != new["spec"]) {
            self.spec_changes.insert(revision);
        }
        let annotations = new["metadata"]["annotations"].clone();
        let current = new["status"]["currentRevision"].as_str().unwrap_or_default().to_owned();
        let version = Version { spec: new["spec"].clone(), annotations, current, revision };
        let versions = self.versions.entry(name.to_owned()).or_default();
        let is_same = |last: &Version| {
            last.spec == version.spec
                && last.annotations == version.annotations
                && last.current == version.current
        };
        if !versions.last().is_some_and(is_same) {
            versions.push(version);
        }
        Ok(())
    }

    fn see_pod(&mut self, sim: &Sim, name: &str, old: Option<&Value>, new: Option<&Value>) -> Verdict {
        match (old, new) {
            (None, Some(new)) => self.see_new_pod(name, new),
            (Some(old), None) => {
                let lives = sim.machines().lives(old.uid(), sim.now());
                let has_grace = old["spec"]["terminationGracePeriodSeconds"] != 0;
                if lives && has_grace && !self.forced.contains(old.uid()) {
                    return Err(format!("pod {name} is gone from the API while its processes live"));
                }
                Ok(())
            }
            (_, Some(new)) => {
                if has_ready_condition(new) {
                    self.were_ready.insert(name.to_owned());
                }
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    /// A plan for the set is made from its version of this revision.
    pub(crate) fn planned(&mut self, set: &str, revision: u64) {
        let plans = self.plans.entry(set.to_owned()).or_default();
        plans.push_back((Instant::now(), revision));
        while plans.front().is_some_and(|(at, _)| plans.len() > 1 && at.elapsed() > LATEST) {
            plans.pop_front();
        }
    }

    /// What a set is, and what it was when the controllers last planned for it: they can know no better.
    fn known_versions(&self, set: &str) -> &[Version] {
        let versions = self.versions.get(set).map(Vec::as_slice).unwrap_or_default();
        let plans = self.plans.get(set).into_iter().flatten();
        let oldest = plans.map(|(_, revision)| *revision).min().unwrap_or(0);
        let first = versions.partition_point(|version| version.revision <= oldest).saturating_sub(1);
        &versions[first..]
    }

    /// A pod is made when it is wanted, in order when those before it have been Ready, and below the partition at
    /// the current revision.
    fn see_new_pod(&self, name: &str, new: &Value) -> Verdict {
        let Some((set, ordinal)) = planner::stateful_set::parent_and_ordinal(name) else { return Ok(()) };
        let revision = &new["metadata"]["labels"]["controller-revision-hash"];
        let mut why = String::new();
        for version in self.known_versions(set) {
            let wanted = wanted(version);
            let ordered = version.spec["podManagementPolicy"] != "Parallel";
            let was_ready = |before: &&i64| self.were_ready.contains(&format!("{set}-{before}"));
            let Some(index) = wanted.iter().position(|wanted| *wanted == ordinal) else {
                why = format!("pod {name} was made, and nobody wants it");
                continue;
            };
            let kept = version.spec["updateStrategy"]["rollingUpdate"]["partition"].as_u64().unwrap_or(0);
            let is_kept = u64::try_from(index).is_ok_and(|index| index < kept);
            if ordered && !wanted[..index].iter().all(|before| was_ready(&before)) {
                why = format!("pod {name} was made before those in front of it were ever Ready");
            } else if is_kept && !version.current.is_empty() && *revision != version.current {
                why = format!("pod {name}, which the partition keeps, was made at revision {revision}");
            } else {
                return Ok(());
            }
        }
        if why.is_empty() { Ok(()) } else { Err(why) }
    }

    /// A claim goes when the user says so, or a policy.
    fn see_claim(&mut self, name: &str, old: Option<&Value>, new: Option<&Value>) -> Verdict {
        let Some(old) = old.filter(|old| !old.is_terminating()) else { return Ok(()) };
        let is_going = new.is_none_or(ObjectExt::is_terminating);
        if !is_going || self.claims_of_user.contains(old.uid()) {
            return Ok(());
        }
        let set_and_ordinal = name.split_once('-').and_then(|(_, pod)| {
            let (set, ordinal) = planner::stateful_set::parent_and_ordinal(pod)?;
            Some((set, ordinal))
        });
        let Some((set, ordinal)) = set_and_ordinal else { return Err(format!("claim {name} is deleted")) };
        let says_delete = |version: &Version, when: &str| {
            version.spec["persistentVolumeClaimRetentionPolicy"][when] == "Delete"
        };
        let versions = self.versions.get(set).map(Vec::as_slice).unwrap_or_default();
        let by_scaling = versions.iter().any(|version| says_delete(version, "whenScaled"))
            && versions.iter().any(|version| !wanted(version).contains(&ordinal));
        let by_deletion = self.deleted_sets.contains(set)
            && versions.iter().any(|version| says_delete(version, "whenDeleted"));
        if by_scaling || by_deletion {
            return Ok(());
        }
        Err(format!("claim {name} is deleted, and neither the user nor a policy asked for it"))
    }

    /// A volume goes when its claim is gone.
    fn see_volume(&self, name: &str, old: Option<&Value>, new: Option<&Value>) -> Verdict {
        let (Some(old), None) = (old, new) else { return Ok(()) };
        let claim = &old["spec"]["claimRef"];
        let said = |field: &str| claim[field].as_str().unwrap_or_default().to_owned();
        let place = ("PersistentVolumeClaim".to_owned(), said("namespace"), said("name"));
        if self.exists(&place, &said("uid")) {
            return Err(format!("volume {name} is gone while its claim {} is there", said("name")));
        }
        Ok(())
    }
}

/// The object, as the store holds it.
fn parsed(versioned: &store::Versioned) -> Value {
    serde_json::from_slice(&versioned.value).expect("the store holds JSON")
}

/// Whether the pod's status says that it is Ready.
pub(crate) fn has_ready_condition(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// The ordinals that a set wants.
fn wanted(version: &Version) -> Vec<i64> {
    let reserved = version.annotations[RESERVE_ORDINALS].as_str().unwrap_or_default();
    wanted_ordinals(&version.spec, reserved)
}

/// The ordinals that a set with this spec wants, without those that are reserved: `1,4-6`.
pub(crate) fn wanted_ordinals(spec: &Value, reserved: &str) -> Vec<i64> {
    let start = spec["ordinals"]["start"].as_i64().unwrap_or(0);
    let replicas = usize::try_from(spec["replicas"].as_i64().unwrap_or(1)).unwrap_or(0);
    let ranges: Vec<(i64, i64)> = reserved
        .split(',')
        .filter_map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            Some((first.trim().parse().ok()?, last.trim().parse().ok()?))
        })
        .collect();
    let is_free = |ordinal: &i64| !ranges.iter().any(|(first, last)| (first..=last).contains(&ordinal));
    (start..).filter(is_free).take(replicas).collect()
}
