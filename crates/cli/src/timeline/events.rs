//! What an event tells, in the words that objects use for the same where they do.

use apimachinery::meta::ObjectExt;
use jiff::Timestamp;
use planner::stateful_set::conditions;
use serde_json::Value;

use super::objects::{because, stalled};
use super::{Moment, Rank, Step, spoken, text};
use crate::describe;

/// The first occurrence, and the last one when there were several.
pub(super) fn steps(event: &Value) -> Vec<Step> {
    let Some(first) = first(event) else { return Vec::new() };
    let (who, what, rank) = sentence(event);
    let mut steps = vec![Step { moment: first, who: who.clone(), what: what.clone(), count: 1, rank }];
    let count = describe::count(event);
    let last = Moment::read(&event["series"]["lastObservedTime"]).or(Moment::read(&event["lastTimestamp"]));
    if let Some(moment) = last.filter(|last| count > 1 && last.second() > first.second()) {
        // What objects tell too is told by its time alone.
        let count = if rank == Rank::Said || rank == Rank::After { count } else { 1 };
        steps.push(Step { moment, who, what, count, rank });
    }
    steps
}

/// When the event was first seen.
fn first(event: &Value) -> Option<Moment> {
    let told = Moment::read(&event["eventTime"])
        .or(Moment::read(&event["firstTimestamp"]))
        .or(Moment::read(&event["metadata"]["creationTimestamp"]))?;
    let by_name = moment_of_name(event.name()).filter(|named| named.second() == told.second());
    Some(if told.is_exact { told } else { by_name.unwrap_or(told) })
}

/// The moment that a recorder wrote into the event's name: `web-0.18a5f0c3b2d1e4f0`, nanoseconds since 1970
/// (`k8s.io/client-go/tools/record`).
fn moment_of_name(name: &str) -> Option<Moment> {
    let (_, digits) = name.rsplit_once('.')?;
    let nanos = i128::from(i64::from_str_radix(digits, 16).ok()?);
    Some(Moment::exact(Timestamp::from_nanosecond(nanos).ok()?))
}

/// To whom what happened.
fn sentence(event: &Value) -> (String, String, Rank) {
    let about = &event["involvedObject"];
    let (reason, message) = (text(&event["reason"]), text(&event["message"]));
    let who = spoken(text(&about["kind"]), text(&about["name"]));
    let words: Vec<&str> = message.split(' ').collect();
    match (reason, words.as_slice()) {
        // The StatefulSet controller tells what it did to others: it is their story.
        ("SuccessfulCreate", ["create", "Pod", pod, "in", ..]) => {
            return (spoken("Pod", pod), "created".to_owned(), Rank::Created);
        }
        ("SuccessfulCreate", ["create", "Claim", claim, "Pod", ..]) => {
            return (spoken("PersistentVolumeClaim", claim), "created".to_owned(), Rank::Created);
        }
        ("SuccessfulDelete", ["delete", "Pod", pod, "in", ..]) => {
            return (spoken("Pod", pod), format!("deleted by {who}"), Rank::ToldToStop);
        }
        ("Scheduled", [.., "to", node]) => return (who, format!("scheduled to {node}"), Rank::Scheduled),
        ("Started", _) => {
            if let Some(container) = container_of(event, &words) {
                return (who, format!("container {container} started"), Rank::Started);
            }
        }
        // Its condition tells it, too.
        (conditions::STALLED, _) if about["kind"] == "StatefulSet" => {
            return (who, stalled(message), Rank::Condition);
        }
        _ => {}
    }
    let rank = match reason {
        "Pulling" | "Pulled" | "Created" => Rank::Prepared,
        "Killing" => Rank::ToldToStop,
        "BackOff" => Rank::After,
        _ => Rank::Said,
    };
    let said = because(message);
    let what = match said.strip_prefix(": ").filter(|said| said.starts_with(reason)) {
        Some(said) => said.to_owned(),
        None => format!("{reason}{said}"),
    };
    let warning = if event["type"] == "Warning" { "Warning " } else { "" };
    (who, format!("{warning}{what}"), rank)
}

/// The container that an event is about: by its field (`spec.containers{db}`), or by the message's last word.
fn container_of<'a>(event: &'a Value, words: &[&'a str]) -> Option<&'a str> {
    let field = text(&event["involvedObject"]["fieldPath"]);
    let by_field = field.split_once('{').and_then(|(_, rest)| rest.strip_suffix('}'));
    by_field.or(match words {
        ["Started", "container", container] => Some(*container),
        _ => None,
    })
}
