//! What every planner answers with.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{Metadata, Resource};
use serde_json::Value;

use crate::world::object_ref;

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

/// A write to make through the API. Actions of a plan are carried out in order; only objects of one kind that are made
/// one after the other, and bindings of an independent plan, may be under way at the same time.
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
    /// Apply a JSON merge patch to the object's status. The patch carries `metadata.uid`.
    PatchStatus {
        /// The object.
        target: ObjectRef,
        /// The patch.
        patch: Value,
    },
    /// Write a namespace through its `/finalize`; its `metadata.resourceVersion` must still hold.
    Finalize(Value),
    /// Ask the API itself whether this object, by uid, is really gone, and give the plan up as stale when it
    /// is not. Stands before what cannot be undone, where the world may merely not have heard yet.
    ExpectGone(ObjectRef),
    /// Tell people what happened. Equal events of one object are counted, not repeated. An event speaks of
    /// the write before it: when that was refused, [`failure_event`] is told in its place, or nothing.
    Record {
        /// What it is about.
        about: ObjectRef,
        /// Normal or Warning.
        event_type: EventType,
        /// One word: `SuccessfulCreate`.
        reason: String,
        /// One sentence.
        message: String,
        /// What to tell instead when the write before it was refused; why follows it.
        failed: Option<String>,
    },
}

/// What the reasons of events about writes begin with.
const SUCCESSFUL: &str = "Successful";

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
    /// Notes that `who` waits for `on`: since its deletion was asked for, when it is being deleted.
    pub(crate) fn wait<W, O>(&mut self, who: &W, on: &O, reason: &'static str, message: String)
    where
        W: Resource + Metadata<Ty = ObjectMeta>,
        O: Resource + Metadata<Ty = ObjectMeta>,
    {
        self.wait_since(deleted_since(on.metadata()), who, on, reason, message);
    }

    /// Notes that `who` waits for `on`, and since when.
    pub(crate) fn wait_since<W, O>(
        &mut self,
        since: Option<Timestamp>,
        who: &W,
        on: &O,
        reason: &'static str,
        message: String,
    ) where
        W: Resource + Metadata<Ty = ObjectMeta>,
        O: Resource + Metadata<Ty = ObjectMeta>,
    {
        self.waiting_on.push(Waiting { who: object_ref(who), on: object_ref(on), reason, message, since });
    }

    /// Adds an event. When the write before it is refused, nothing is told.
    pub fn record(&mut self, about: &ObjectRef, event_type: EventType, reason: &str, message: String) {
        let (about, reason) = (about.clone(), reason.to_owned());
        self.actions.push(Action::Record { about, event_type, reason, message, failed: None });
    }

    /// Adds an event about the write before it: `SuccessfulCreate` with `done` for the verb `Create`, or, when it
    /// is refused, `FailedCreate` with `failed` and why.
    pub fn record_write(&mut self, about: &ObjectRef, verb: &str, done: String, failed: String) {
        self.actions.push(Action::Record {
            about: about.clone(),
            event_type: EventType::Normal,
            reason: format!("{SUCCESSFUL}{verb}"),
            message: done,
            failed: Some(failed),
        });
    }

    /// Asks to be planned again after `delay`, or sooner where that was asked for already.
    pub fn requeue(&mut self, delay: SignedDuration) {
        self.requeue_after = Some(self.requeue_after.map_or(delay, |earlier| earlier.min(delay)));
    }
}

/// When the deletion of an object was asked for: its timestamp is when the grace period ends.
pub(crate) fn deleted_since(meta: &ObjectMeta) -> Option<Timestamp> {
    let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or(0));
    meta.deletion_timestamp.as_ref().and_then(|end| end.0.checked_sub(grace).ok())
}

/// What stands in an event's message for the name of the object that the write before it made: the API chooses it
/// where the object says only how it begins (`generateName`).
pub const CREATED_NAME: &str = "{created}";

/// What to tell in place of an event whose write failed with `error`: `SuccessfulCreate` becomes
/// `FailedCreate` and so on (`pkg/controller/statefulset/stateful_pod_control.go`,
/// `pkg/controller/controller_utils.go`). `None` when the event does not speak of a write.
pub fn failure_event(event: &Action, error: &str) -> Option<Action> {
    let Action::Record { about, reason, failed: Some(failed), .. } = event else { return None };
    let verb = reason.strip_prefix(SUCCESSFUL).unwrap_or(reason);
    Some(Action::Record {
        about: about.clone(),
        event_type: EventType::Warning,
        reason: format!("Failed{verb}"),
        message: format!("{failed}: {error}"),
        failed: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_write_is_told_as_a_failure() {
        let about = ObjectRef {
            api_version: "apps/v1".into(),
            kind: "StatefulSet".into(),
            namespace: "default".into(),
            name: "web".into(),
            uid: "1".into(),
        };
        let mut plan = Plan::default();
        plan.record_write(&about, "Create", "Created pod: web-x4z2b".into(), "Error creating".into());
        plan.record(&about, EventType::Normal, "Scheduled", "assigned".into());
        let Some(Action::Record { event_type, reason, message, .. }) =
            failure_event(&plan.actions[0], "exceeded quota")
        else {
            panic!("a failure to tell");
        };
        assert_eq!((event_type, reason.as_str()), (EventType::Warning, "FailedCreate"));
        assert_eq!(message, "Error creating: exceeded quota");
        assert_eq!(failure_event(&plan.actions[1], "no"), None);
    }
}
