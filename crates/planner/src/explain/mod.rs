//! Why something is not as it should be: the chain of causes, down to one that somebody can act on.
//!
//! It reads what planners wait for (their `waiting_on`), what the node has seen (statuses, events) and what is
//! missing in the world. It guesses nothing: where the trail ends, the chain ends. For `stead why`.

mod budget;
mod cause;
mod claim;
mod container;
mod governing;
mod image;
mod node;
mod owner;
mod pod;
mod probe;
mod references;
mod service;
mod set;
mod survey;
mod unschedulable;
mod volume;

use std::cell::OnceCell;
use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use cause::{Cause, Chain};
pub use survey::{Explained, Survey, survey};

use crate::garbage_collector::{CLUSTER_SCOPED, FOREGROUND, GarbageCollector, ORPHAN};
use crate::objects::{is_terminating, spoken, uid};
use crate::plan::{ObjectRef, Plan, Waiting};
use crate::volume_binder::protection::{CLAIM_FINALIZER, VOLUME_FINALIZER};
use crate::world::{Key, Object, World};
use crate::{PLANNERS, Planner};

/// What to do about something that is not there.
const CHECK_NAME: &str = "check the name and the namespace (-n)";
/// What to do when there is nothing to say about a kind: the words of those that wait for something.
pub const ASK_ABOUT: &str = "ask about sts, deploy, rs, pod, pvc, pv, svc, pdb, node or ns";

/// Explains the object `kind` (`StatefulSet`, also as `statefulset`, `sts`, `statefulsets`) of this name.
/// `events` are those of the namespace (of a cluster-scoped object: those in `default`), in any order.
pub fn explain(
    world: &World,
    events: &[Event],
    kind: &str,
    namespace: &str,
    name: &str,
    now: Timestamp,
) -> Chain {
    let mut walk = Walk::new(world, events, now);
    match canonical(kind) {
        Some(kind) => walk.explain(kind, namespace, name),
        None => Chain {
            causes: vec![Cause::new(format!("nothing is known about the kind {kind}")).fix(ASK_ABOUT)],
        },
    }
}

/// The kind that a word means, as kubectl takes it; of those that have nothing to say, only the kind's own name.
fn canonical(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let word = word.split('.').next().unwrap_or_default();
    Some(match word {
        "statefulset" | "statefulsets" | "sts" => "StatefulSet",
        "deployment" | "deployments" | "deploy" => "Deployment",
        "replicaset" | "replicasets" | "rs" => "ReplicaSet",
        "pod" | "pods" | "po" => "Pod",
        "persistentvolumeclaim" | "persistentvolumeclaims" | "pvc" | "claim" => "PersistentVolumeClaim",
        "persistentvolume" | "persistentvolumes" | "pv" | "volume" => "PersistentVolume",
        "service" | "services" | "svc" => "Service",
        "namespace" | "namespaces" | "ns" => "Namespace",
        "poddisruptionbudget" | "poddisruptionbudgets" | "pdb" => "PodDisruptionBudget",
        "node" | "nodes" | "no" => "Node",
        word => {
            return World::KINDS.iter().map(|(_, kind)| *kind).find(|kind| kind.eq_ignore_ascii_case(word));
        }
    })
}

/// The flag that a command needs for objects of this namespace.
pub fn flag(namespace: &str) -> String {
    if matches!(namespace, "" | "default") { String::new() } else { format!(" -n {namespace}") }
}

struct Walk<'w> {
    world: &'w World,
    events: &'w [Event],
    now: Timestamp,
    /// What was explained already: causes can go in a circle.
    seen: BTreeSet<(String, String, String)>,
    /// What the scheduler waits for: one plan of it is about all pods.
    unscheduled: OnceCell<Vec<Waiting>>,
}

impl<'w> Walk<'w> {
    fn new(world: &'w World, events: &'w [Event], now: Timestamp) -> Self {
        Self { world, events, now, seen: BTreeSet::new(), unscheduled: OnceCell::new() }
    }

    /// Everything about one object.
    fn explain(&mut self, kind: &str, namespace: &str, name: &str) -> Chain {
        let causes = match kind {
            "StatefulSet" => self.stateful_set(namespace, name),
            "Pod" => {
                let mut causes = vec![self.object(kind, namespace, name)];
                causes.extend(self.unevictable(namespace, name));
                causes
            }
            "Node" => {
                let mut causes = vec![self.object(kind, namespace, name)];
                causes.extend(self.stranded_pods(name));
                causes
            }
            kind => vec![self.object(kind, namespace, name)],
        };
        Chain { causes }
    }

    /// Explains one object in one line and what lies behind it.
    fn object(&mut self, kind: &str, namespace: &str, name: &str) -> Cause {
        let namespace = if CLUSTER_SCOPED.contains(&kind) { "" } else { namespace };
        if !self.seen.insert((kind.to_owned(), namespace.to_owned(), name.to_owned())) {
            return Cause::told(format!("{}/{name}: see above", kind.to_lowercase()));
        }
        match kind {
            "Pod" => self.pod(namespace, name),
            "PersistentVolumeClaim" => self.claim(namespace, name),
            "Service" => self.service(namespace, name),
            "PodDisruptionBudget" => self.budget(namespace, name),
            "Node" => self.node(name),
            "StatefulSet" => {
                let mut causes = self.stateful_set(namespace, name);
                match causes.len() {
                    1 => causes.remove(0),
                    _ => Cause::new(format!("statefulset/{name}")).because(causes),
                }
            }
            kind => self.other(kind, namespace, name),
        }
    }

    /// What a plan waits for, one cause each; what it waits on is explained in turn.
    fn waits(&mut self, waits: impl IntoIterator<Item = Waiting>) -> Vec<Cause> {
        let mut told: BTreeSet<ObjectRef> = BTreeSet::new();
        let mut causes = Vec::new();
        for waiting in waits {
            let cause = Cause::new(self.sentence(&waiting));
            let on = &waiting.on;
            let itself = on.kind == waiting.who.kind && on.name == waiting.who.name;
            // Several waits for one thing are explained once.
            let is_news = !itself && told.insert(on.clone());
            let behind = is_news.then(|| self.object(&on.kind, &on.namespace, &on.name));
            causes.push(cause.because(behind));
        }
        causes
    }

    /// What waits and for what; a message that does not say who gets it said.
    fn sentence(&self, waiting: &Waiting) -> String {
        let (who, said) = (spoken(&waiting.who), &waiting.message);
        let long = waiting.since.filter(|since| self.now.duration_since(*since).as_secs() > 0);
        let since = long.map_or(String::new(), |since| format!(" (waiting for {})", self.age(since)));
        match said.strip_prefix("it ") {
            Some(rest) => format!("{who} {rest}{since}"),
            None if said.starts_with(&who) => format!("{said}{since}"),
            None => format!("{who}: {said}{since}"),
        }
    }

    /// Any other kind: whatever any planner says that the object waits for.
    fn other(&mut self, kind: &str, namespace: &str, name: &str) -> Cause {
        let spoken = format!("{}/{name}", kind.to_lowercase());
        let Some(object) = self.world.find(kind, namespace, name) else {
            return Cause::new(format!("{spoken} does not exist")).fix(CHECK_NAME);
        };
        let mut causes = self.waits(self.waits_of(&object));
        let held = held_by_others(object.metadata());
        causes.extend(held.map(|held| Cause::new(format!("{spoken} is being deleted")).because([held])));
        match causes.len() {
            0 => Cause::well(format!("{spoken} {}", self.standing(kind, name))),
            1 => causes.remove(0),
            _ => Cause::new(format!("{spoken} waits")).because(causes),
        }
    }

    /// What planners say that this object waits for.
    fn waits_of(&self, object: &Object) -> Vec<Waiting> {
        let about = object.reference();
        let mut waits: Vec<Waiting> = Vec::new();
        for planner in PLANNERS {
            let plans = planner
                .keys(self.world, object)
                .into_iter()
                .map(|key| planner.plan(self.world, &key, self.now));
            for waiting in plans.flat_map(|plan| plan.waiting_on) {
                if waiting.who == about && !waits.contains(&waiting) {
                    waits.push(waiting);
                }
            }
        }
        waits
    }

    /// How something is that waits for nothing.
    fn standing(&self, kind: &str, name: &str) -> String {
        let volume = self.world.volumes.get("", name).filter(|_| kind == "PersistentVolume");
        let phase = match kind {
            "Namespace" => {
                let held = self.world.namespaces.get("", name);
                held.and_then(|held| held.status.as_ref()?.phase.clone())
            }
            _ => volume.and_then(|volume| volume.status.as_ref()?.phase.clone()),
        };
        let claim = volume.and_then(|volume| volume::claimant(volume));
        match (phase.as_deref(), claim) {
            (Some("Bound"), Some(claim)) => format!("is bound to {claim}"),
            (Some("Released"), Some(claim)) => {
                format!("is Released: {claim} is gone, and the volume keeps its data until you delete it")
            }
            (Some(phase), _) => format!("is {phase} and waits for nothing"),
            (None, _) => "is there and waits for nothing".to_owned(),
        }
    }

    /// What the garbage collector makes of an object.
    fn garbage(&self, kind: &str, namespace: &str, name: &str) -> Plan {
        GarbageCollector.plan(self.world, &Key::new(namespace, &format!("{kind} {name}")), self.now)
    }

    /// The latest event about the object with one of these reasons; of all Warnings when none are named.
    fn event(&self, kind: &str, namespace: &str, name: &str, reasons: &[&str]) -> Option<&'w Event> {
        self.event_that_says(kind, namespace, name, reasons, |_| true)
    }

    /// The latest such event whose message is as wanted.
    fn event_that_says(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        reasons: &[&str],
        is_wanted: impl Fn(&str) -> bool,
    ) -> Option<&'w Event> {
        let held = self.world.find(kind, namespace, name);
        let about = |event: &&Event| {
            let object = &event.involved_object;
            // What was said of an earlier object of that name is not said of this one.
            let is_this = match (object.uid.as_deref(), &held) {
                (Some(told), Some(held)) if !told.is_empty() => told == uid(held.metadata()),
                _ => true,
            };
            object.kind.as_deref() == Some(kind)
                && object.name.as_deref() == Some(name)
                && object.namespace.as_deref().unwrap_or_default() == namespace
                && is_this
        };
        let wanted = |event: &&Event| match reasons {
            [] => event.type_.as_deref() == Some("Warning"),
            reasons => event.reason.as_deref().is_some_and(|reason| reasons.contains(&reason)),
        };
        let says = |event: &&Event| is_wanted(event.message.as_deref().unwrap_or_default());
        self.events.iter().filter(about).filter(wanted).filter(says).max_by_key(|event| moment(event))
    }

    /// How long ago a moment was, in a few words.
    fn age(&self, then: Timestamp) -> String {
        match apimachinery::time::human_age(then, self.now) {
            age if age == "0s" => "less than a second".to_owned(),
            age => age,
        }
    }
}

/// When an event was told last.
fn moment(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let last = series.map(|time| time.0).or(event.last_timestamp.as_ref().map(|time| time.0));
    let told = last.or(event.event_time.as_ref().map(|time| time.0));
    told.or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// Finalizers that this program takes off by itself, when it is time.
const OUR_FINALIZERS: &[&str] = &[FOREGROUND, ORPHAN, CLAIM_FINALIZER, VOLUME_FINALIZER];

/// What keeps an object that is being deleted, where somebody else must let it go.
fn held_by_others(meta: &ObjectMeta) -> Option<Cause> {
    let others = meta.finalizers.iter().flatten().filter(|held| !OUR_FINALIZERS.contains(&held.as_str()));
    let others: Vec<&str> = others.map(String::as_str).filter(|_| is_terminating(meta)).collect();
    (!others.is_empty()).then(|| {
        Cause::new(format!("finalizers hold it: {}", others.join(", ")))
            .fix("whoever set them must take them off; if nobody does any more, remove them (stead edit, metadata.finalizers)")
    })
}
