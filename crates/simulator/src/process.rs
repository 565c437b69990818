//! A program that can die at any moment and be started again.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use planner::World;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::faults::Fault;
use crate::sim::lock;

/// Kind, namespace and name.
pub(crate) type Place = (String, String, String);

/// One life of a program. What it has sent when it dies still arrives; what is answered it never hears.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    /// What kills it at its writes, if anything does.
    pub(crate) dies_of: Option<Fault>,
    /// Whether the wire is bad for it.
    pub(crate) faulty: bool,
    dead: AtomicBool,
    died: Notify,
    /// The newest version of each object that it was answered with, and when, until its world holds it.
    answered: Mutex<BTreeMap<Place, Answered>>,
}

#[derive(Clone, Debug)]
struct Answered {
    uid: String,
    revision: u64,
    at: Instant,
}

impl Process {
    /// A process on a bad wire.
    pub(crate) fn new(name: &str, dies_of: Option<Fault>) -> Self {
        Self {
            name: name.to_owned(),
            dies_of,
            faulty: true,
            dead: AtomicBool::new(false),
            died: Notify::new(),
            answered: Mutex::default(),
        }
    }

    /// A person, who has a good wire and lives.
    pub(crate) fn person(name: &str) -> Self {
        Self { faulty: false, ..Self::new(name, None) }
    }

    pub(crate) fn die(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.died.notify_one();
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Resolves when it has died.
    pub(crate) async fn death(&self) {
        self.died.notified().await;
    }

    /// It hears now that one of its writes made this of an object.
    pub(crate) fn answer(&self, object: &Value) {
        let said = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let kind = object["kind"].as_str().unwrap_or_default();
        if !World::KINDS.iter().any(|(_, known)| *known == kind) {
            return;
        }
        let place = (kind.to_owned(), said("namespace"), said("name"));
        let Ok(revision) = said("resourceVersion").parse() else { return };
        let newest = Answered { uid: said("uid"), revision, at: Instant::now() };
        lock(&self.answered).insert(place, newest);
    }

    /// What its world is older in than an answer that it has had: nothing may be planned on that.
    /// `exists` says whether there still is such an object (kind, namespace, name, uid).
    pub(crate) fn forgotten(&self, world: &World, exists: impl Fn(&Place, &str) -> bool) -> Vec<String> {
        let mut wrong = Vec::new();
        lock(&self.answered).retain(|place, answered| {
            // What is answered at this very moment may be on its way to the world still.
            if answered.at >= Instant::now() {
                return true;
            }
            let (kind, namespace, name) = place;
            let held = world.find(kind, namespace, name);
            let version = held.and_then(|held| held.metadata().resource_version.clone());
            let version: u64 = version.and_then(|version| version.parse().ok()).unwrap_or(0);
            if version < answered.revision && exists(place, &answered.uid) {
                let revision = answered.revision;
                wrong.push(format!(
                    "it was answered with {kind} {namespace}/{name} of revision {revision}, and plans on {version}"
                ));
            }
            false
        });
        wrong
    }
}
