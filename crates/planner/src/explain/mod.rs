//! Why something is not as it should be: the chain of causes, down to one that somebody can act on.
//!
//! It reads what planners wait for (their `waiting_on`), what the node has seen (statuses, events) and what is
//! missing in the world. It guesses nothing: where the trail ends, the chain ends. For `stead why`.

mod claim;
mod container;
mod node;
mod pod;
mod references;
mod service;
mod set;

use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde::Serialize;

use crate::Planner;
use crate::garbage_collector::{CLUSTER_SCOPED, GarbageCollector};
use crate::namespace::NamespacePlanner;
use crate::objects::spoken;
use crate::plan::{ObjectRef, Plan, Waiting};
use crate::volume_binder::VolumeBinder;
use crate::world::{Key, World};

/// What to do about something that is not there.
const CHECK_NAME: &str = "check the name and the namespace (-n)";

/// One line of an explanation and what lies behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// One plain sentence.
    pub text: String,
    /// What a program said, word for word.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<String>,
    /// What to do about it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The causes of this.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<Cause>,
}

impl Cause {
    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    fn because(mut self, causes: impl IntoIterator<Item = Cause>) -> Self {
        self.because.extend(causes);
        self
    }

    /// What a program said; empty lines are left out.
    fn words(mut self, words: &str) -> Self {
        self.words
            .extend(words.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned));
        self
    }
}

/// Everything there is to say about one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Chain {
    /// What keeps the object from its goal; one line that says so when nothing does.
    pub causes: Vec<Cause>,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.causes.iter().try_for_each(|cause| render(cause, 0, f))
    }
}

/// A line, what was said, what lies behind it, and last what to do: where the eye ends up.
fn render(cause: &Cause, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let indent = " ".repeat(depth.saturating_sub(1) * 2);
    let bullet = if depth == 0 { "" } else { "└ " };
    writeln!(f, "{indent}{bullet}{}", cause.text)?;
    let below = " ".repeat(depth * 2);
    for line in &cause.words {
        writeln!(f, "{below}  {line}")?;
    }
    cause.because.iter().try_for_each(|cause| render(cause, depth + 1, f))?;
    cause.fix.iter().try_for_each(|fix| writeln!(f, "{below}→ {fix}"))
}

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
    let mut walk = Walk { world, events, now, seen: BTreeSet::new() };
    let causes = match canonical(kind) {
        Some("StatefulSet") => walk.stateful_set(namespace, name),
        Some(kind) => vec![walk.object(kind, namespace, name)],
        None => vec![Cause::new(format!("nothing is known about the kind {kind}")).fix(
            "ask about a statefulset, pod, persistentvolumeclaim, persistentvolume, service, node or namespace",
        )],
    };
    Chain { causes }
}

/// The kind that a word means, as kubectl takes it; of those that have nothing to say, only the kind's own name.
fn canonical(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    let word = word.split('.').next().unwrap_or_default();
    Some(match word {
        "statefulset" | "statefulsets" | "sts" => "StatefulSet",
        "pod" | "pods" | "po" => "Pod",
        "persistentvolumeclaim" | "persistentvolumeclaims" | "pvc" | "claim" => "PersistentVolumeClaim",
        "persistentvolume" | "persistentvolumes" | "pv" | "volume" => "PersistentVolume",
        "service" | "services" | "svc" => "Service",
        "namespace" | "namespaces" | "ns" => "Namespace",
        "node" | "nodes" | "no" => "Node",
        word => {
            return World::KINDS.iter().map(|(_, kind)| *kind).find(|kind| kind.eq_ignore_ascii_case(word));
        }
    })
}

/// The flag that a command needs for objects of this namespace.
fn flag(namespace: &str) -> String {
    if matches!(namespace, "" | "default") { String::new() } else { format!(" -n {namespace}") }
}

struct Walk<'w> {
    world: &'w World,
    events: &'w [Event],
    now: Timestamp,
    /// What was explained already: causes can go in a circle.
    seen: BTreeSet<(String, String, String)>,
}

impl<'w> Walk<'w> {
    /// Explains one object in one line and what lies behind it.
    fn object(&mut self, kind: &str, namespace: &str, name: &str) -> Cause {
        let namespace = if CLUSTER_SCOPED.contains(&kind) { "" } else { namespace };
        if !self.seen.insert((kind.to_owned(), namespace.to_owned(), name.to_owned())) {
            return Cause::new(format!("{}/{name}: see above", kind.to_lowercase()));
        }
        match kind {
            "Pod" => self.pod(namespace, name),
            "PersistentVolumeClaim" => self.claim(namespace, name),
            "Service" => self.service(namespace, name),
            "Node" => self.node(name),
            "StatefulSet" => {
                let causes = self.stateful_set(namespace, name);
                Cause::new(format!("statefulset/{name}")).because(causes)
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

    /// Any other kind: what the planners that look at all kinds wait for.
    fn other(&mut self, kind: &str, namespace: &str, name: &str) -> Cause {
        let spoken = format!("{}/{name}", kind.to_lowercase());
        if self.world.find(kind, namespace, name).is_none() {
            return Cause::new(format!("{spoken} does not exist")).fix(CHECK_NAME);
        }
        let key = Key::new(namespace, name);
        let mut waits = match kind {
            "Namespace" => NamespacePlanner.plan(self.world, &key, self.now).waiting_on,
            "PersistentVolume" => VolumeBinder.plan(self.world, &key, self.now).waiting_on,
            _ => Vec::new(),
        };
        waits.extend(self.garbage(kind, namespace, name).waiting_on);
        match self.waits(waits).into_iter().next() {
            Some(cause) => cause,
            None => Cause::new(format!("{spoken} {}", self.standing(kind, name))),
        }
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
        let claim = volume.and_then(|volume| volume.spec.as_ref()?.claim_ref.as_ref());
        let claim = claim.map(|claim| {
            let text = |part: &Option<String>| part.clone().unwrap_or_default();
            format!("claim {}/{}", text(&claim.namespace), text(&claim.name))
        });
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
        let about = |event: &&Event| {
            let object = &event.involved_object;
            object.kind.as_deref() == Some(kind)
                && object.name.as_deref() == Some(name)
                && object.namespace.as_deref().unwrap_or_default() == namespace
        };
        let wanted = |event: &&Event| match reasons {
            [] => event.type_.as_deref() == Some("Warning"),
            reasons => event.reason.as_deref().is_some_and(|reason| reasons.contains(&reason)),
        };
        let says = |event: &&Event| is_wanted(event.message.as_deref().unwrap_or_default());
        self.events.iter().filter(about).filter(wanted).filter(says).max_by_key(|event| {
            let last = event.last_timestamp.as_ref().map(|time| time.0);
            last.or(event.event_time.as_ref().map(|time| time.0)).or(event
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0))
        })
    }

    /// How long ago a moment was, in a few words.
    fn age(&self, then: Timestamp) -> String {
        match apimachinery::time::human_age(then, self.now) {
            age if age == "0s" => "less than a second".to_owned(),
            age => age,
        }
    }
}
