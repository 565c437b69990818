//! What an object tells of its own past: its metadata, its conditions, its containers' states.

use apimachinery::meta::ObjectExt;
use jiff::SignedDuration;
use planner::stateful_set::conditions;
use serde_json::Value;

use super::{Moment, Rank, Step, list, spoken, text};

/// Conditions that others say better, or that every pod passes at once.
const UNTOLD: &[&str] = &["PodReadyToStartContainers"];
/// The conditions that the StatefulSet controller keeps.
const OF_SETS: &[&str] = &[conditions::AVAILABLE, conditions::PROGRESSING, conditions::STALLED];

/// The steps of one object, in the order in which they happen within one second.
pub(super) fn steps(object: &Value) -> Vec<Step> {
    let who = spoken(text(&object["kind"]), object.name());
    let mut told = Told { who, steps: Vec::new() };
    let created = Moment::read(&object["metadata"]["creationTimestamp"]);
    let as_what = match object["revision"].as_i64() {
        Some(revision) => format!("created as revision {revision}"),
        None => "created".to_owned(),
    };
    told.push(created, Rank::Created, as_what);
    for condition in held_conditions(object, |kind| kind == "PodScheduled") {
        told.condition(object, condition, created);
    }
    for (lists, rest) in [(["initContainerStatuses"].as_slice(), "Initialized"), (CONTAINERS, "")] {
        for status in lists.iter().flat_map(|field| list(&object["status"][*field])) {
            told.container(text(&status["name"]), &status["lastState"]);
            told.container(text(&status["name"]), &status["state"]);
        }
        for condition in held_conditions(object, |kind| kind == rest) {
            told.condition(object, condition, created);
        }
    }
    for condition in held_conditions(object, |kind| kind != "PodScheduled" && kind != "Initialized") {
        told.condition(object, condition, created);
    }
    told.deletion(object);
    told.steps
}

/// The statuses of containers that run beside each other.
const CONTAINERS: &[&str] = &["containerStatuses", "ephemeralContainerStatuses"];

fn held_conditions(object: &Value, wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = &Value> {
    let all = list(&object["status"]["conditions"]).iter();
    all.filter(move |condition| wanted(text(&condition["type"])))
}

/// `: why`, the first line of it, or nothing.
pub(super) fn because(why: &str) -> String {
    match why.trim().lines().next() {
        None | Some("") => String::new(),
        Some(first) => format!(": {}", first.trim_end()),
    }
}

/// That a set is stalled: what keeps its pod is the pod's own story, and may be told in ever new words.
pub(super) fn stalled(message: &str) -> String {
    let message = message.find(NOT_READY).map_or(message, |at| &message[..at + NOT_READY.len() - 1]);
    format!("{}{}", conditions::STALLED, because(message))
}

/// What stands between a pod's name and its trouble in the message of a stalled set.
const NOT_READY: &str = " is not Ready:";

struct Told {
    who: String,
    steps: Vec<Step>,
}

impl Told {
    fn push(&mut self, moment: Option<Moment>, rank: Rank, what: String) {
        if let Some(moment) = moment {
            self.steps.push(Step { moment, who: self.who.clone(), what, count: 1, rank });
        }
    }

    fn condition(&mut self, object: &Value, condition: &Value, created: Option<Moment>) {
        let (kind, status) = (text(&condition["type"]), text(&condition["status"]));
        let moment = Moment::read(&condition["lastTransitionTime"]);
        let is_untold = UNTOLD.contains(&kind)
            // Nobody waits for init containers where there are none.
            || (kind == "Initialized" && list(&object["status"]["initContainerStatuses"]).is_empty())
            // It goes with Ready, unless a readiness gate is closed.
            || (kind == "ContainersReady"
                && held_conditions(object, |kind| kind == "Ready").any(|ready| ready["status"] == condition["status"]))
            // It has never been otherwise.
            || (status == "False" && moment == created && kind != "PodScheduled");
        if is_untold {
            return;
        }
        if object["kind"] == "StatefulSet" && OF_SETS.contains(&kind) {
            return self.condition_of_set(condition, created);
        }
        let why = match because(text(&condition["message"])) {
            none if none.is_empty() => because(text(&condition["reason"])),
            why => why,
        };
        let (rank, what) = match (kind, status) {
            ("PodScheduled", "True") => match text(&object["spec"]["nodeName"]) {
                "" => (Rank::Scheduled, "scheduled".to_owned()),
                node => (Rank::Scheduled, format!("scheduled to {node}")),
            },
            ("PodScheduled", _) => (Rank::Scheduled, format!("not scheduled{why}")),
            (kind, "True") => (Rank::Condition, kind.to_owned()),
            (kind, "False") => (Rank::Condition, format!("not {kind}{why}")),
            (kind, _) => (Rank::Condition, format!("{kind} is not known{why}")),
        };
        self.push(moment, rank, what);
    }

    /// What conditions say besides their status changes without a transition: only of a stall it tells what happened.
    fn condition_of_set(&mut self, condition: &Value, created: Option<Moment>) {
        let (kind, status) = (text(&condition["type"]), text(&condition["status"]));
        let moment = Moment::read(&condition["lastTransitionTime"]);
        let is_first = moment.zip(created).is_some_and(|(moment, created)| moment.may_be(created));
        let what = match (kind, status) {
            (conditions::STALLED, "True") => stalled(text(&condition["message"])),
            (kind, "True") => kind.to_owned(),
            // It has never been otherwise.
            _ if is_first => return,
            (conditions::STALLED, _) => format!("not {kind} any more"),
            (kind, _) => format!("not {kind}"),
        };
        self.push(moment, Rank::Condition, what);
    }

    fn container(&mut self, name: &str, state: &Value) {
        let started = format!("container {name} started");
        self.push(Moment::read(&state["running"]["startedAt"]), Rank::Started, started.clone());
        let ended = &state["terminated"];
        self.push(Moment::read(&ended["startedAt"]), Rank::Started, started);
        let code = ended["exitCode"].as_i64().unwrap_or_default();
        let reason = match text(&ended["reason"]) {
            "" => String::new(),
            reason => format!(" ({reason})"),
        };
        let said = because(text(&ended["message"]));
        let what = format!("container {name} ended with exit code {code}{reason}{said}");
        self.push(Moment::read(&ended["finishedAt"]), Rank::Ended, what);
    }

    /// The moment in the metadata is when the grace period ends.
    fn deletion(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        let asked = Moment::read(&metadata["deletionTimestamp"]).and_then(|end| {
            let at = end.at.checked_sub(SignedDuration::from_secs(grace)).ok()?;
            Some(Moment { at, ..end })
        });
        let what = match grace {
            0 => "told to go".to_owned(),
            grace => format!("told to stop within {grace} s"),
        };
        self.push(asked, Rank::ToldToStop, what);
    }
}
