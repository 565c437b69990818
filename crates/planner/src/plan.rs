//! What every planner answers with.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// An object, named the way people name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// `v1`, `apps/v1`.
    pub api_version: String,
    /// `Pod`.
    pub kind: String,
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The uid; empty when the object does not exist (yet), or any will do.
    pub uid: String,
}

/// Normal or Warning, as events carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// Things go as they should.
    Normal,
    /// Somebody should look.
    Warning,
}

/// A write to make through the API. Actions of a plan are carried out in order.
///
/// Whatever acts on an existing object carries its uid or resourceVersion, so that a plan made from a stale
/// snapshot is refused by the API and not obeyed.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make this object (`apiVersion`, `kind` and `metadata` say what and where).
    Create(Value),
    /// Replace this object; its `metadata.resourceVersion` must still hold.
    Replace(Value),
    /// Replace this object's status; its `metadata.resourceVersion` must still hold.
    ReplaceStatus(Value),
    /// Apply a JSON merge patch (RFC 7396). The patch carries `metadata.uid`, and `metadata.resourceVersion`
    /// where it must not race.
    Patch {
        /// The object.
        target: ObjectRef,
        /// The patch.
        patch: Value,
    },
    /// Delete the object; `target.uid` is a precondition.
    Delete {
        /// The object.
        target: ObjectRef,
        /// A precondition as well, when set.
        resource_version: Option<String>,
        /// Seconds; the kind's default when `None`.
        grace_period: Option<i64>,
    },
    /// Bind a pod to a node (`pods/binding`).
    Bind {
        /// The pod.
        pod: ObjectRef,
        /// The node's name.
        node: String,
    },
    /// Tell people what happened. Equal events of one object are counted, not repeated.
    Record {
        /// What it is about.
        about: ObjectRef,
        /// Normal or Warning.
        event_type: EventType,
        /// One word: `SuccessfulCreate`.
        reason: String,
        /// One sentence.
        message: String,
    },
}

/// Who waits for what: data, from which conditions, events and `stead why` are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Who waits.
    pub who: ObjectRef,
    /// What it waits for; the same as `who` when it waits for something inside itself.
    pub on: ObjectRef,
    /// One word, for instance `PredecessorNotReady`. The list of reasons is documented where the planner
    /// defines them.
    pub reason: &'static str,
    /// One sentence in plain words, which names the thing waited for.
    pub message: String,
    /// Since when, where it is known.
    pub since: Option<Timestamp>,
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The writes to make, in order. A failed one stops those after it unless `independent` is set.
    pub actions: Vec<Action>,
    /// Whether the actions do not depend on each other: a failure of one does not stop the rest.
    pub independent: bool,
    /// Plan again after this long at the latest, even if nothing changes.
    pub requeue_after: Option<SignedDuration>,
    /// What keeps the goal from being reached now.
    pub waiting_on: Vec<Waiting>,
}

impl Plan {
    /// Asks to be planned again after `delay`, or sooner where that was asked for already.
    pub fn requeue(&mut self, delay: SignedDuration) {
        self.requeue_after = Some(self.requeue_after.map_or(delay, |earlier| earlier.min(delay)));
    }
}
