//! `v1` Event.

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::{names, time};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::print::{self, NAME, UNKNOWN, column, wide};
use crate::value::{is_empty, number, same, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: true,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// Upstream's default of `--event-ttl`.
const TIME_TO_LIVE: SignedDuration = SignedDuration::from_hours(1);

const COLUMNS: &[Column] = &[
    column("Last Seen", "string", "Time since the event happened last."),
    column("Type", "string", "Normal or Warning."),
    column("Reason", "string", "What happened, in one word."),
    column("Object", "string", "What the event is about."),
    wide("Subobject", "string", "The part of the object that the event is about."),
    wide("Source", "string", "Who told of the event."),
    column("Message", "string", "What happened, in a sentence."),
    wide("First Seen", "string", "Time since the event happened first."),
    wide("Count", "string", "How often the event happened."),
    Column { priority: 1, ..NAME },
];

/// Upstream: `pkg/registry/core/event`, `legacyValidateEvent`.
struct Rules;

impl Strategy for Rules {
    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, event: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let about = text(&event["involvedObject"]["namespace"]);
        let own = event.namespace();
        // Events about things without a namespace live in default, and new ones in kube-system as well.
        let is_new = !is_empty(&event["eventTime"]);
        let fits = match about {
            "" => own == "default" || (is_new && own == "kube-system"),
            about => is_new || about == own,
        };
        if !fits {
            let path = Path::new("involvedObject").child("namespace");
            errors.push(FieldError::invalid(&path, about, "does not match event.namespace"));
        }
        if is_new {
            check_reporter(&mut errors, event);
        }
        errors
    }

    fn expires_at(&self, event: &Value) -> Option<Timestamp> {
        let seen = [&event["lastTimestamp"], &event["eventTime"], &event["metadata"]["creationTimestamp"]];
        let last = seen.into_iter().filter_map(|time| time::parse(text(time))).max()?;
        last.checked_add(TIME_TO_LIVE).ok()
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, event: &Value, now: Timestamp) -> Vec<Value> {
        let since = |time: &Value| print::since(text(time), now);
        let event_time = since(&event["eventTime"]);
        let or_else = |time: &Value, other: &str| match since(time) {
            unknown if unknown == UNKNOWN => other.to_owned(),
            known => known,
        };
        let first_seen = or_else(&event["firstTimestamp"], &event_time);
        let series = &event["series"];
        let (last_seen, count) = if series.is_null() {
            (or_else(&event["lastTimestamp"], &first_seen), number(&event["count"]).max(1))
        } else {
            (since(&series["lastObservedTime"]), number(&series["count"]))
        };
        let about = &event["involvedObject"];
        let kind = text(&about["kind"]).to_lowercase();
        let target = match text(&about["name"]) {
            "" => kind,
            name => format!("{kind}/{name}"),
        };
        vec![
            last_seen.into(),
            text(&event["type"]).into(),
            text(&event["reason"]).into(),
            target.into(),
            text(&about["fieldPath"]).into(),
            source(event).into(),
            text(&event["message"]).trim().into(),
            first_seen.into(),
            count.into(),
            print::name(event),
        ]
    }

    fn selectable_fields(&self, event: &Value) -> Vec<(&'static str, String)> {
        let about = |field: &str| text(&event["involvedObject"][field]).to_owned();
        vec![
            ("involvedObject.kind", about("kind")),
            ("involvedObject.namespace", about("namespace")),
            ("involvedObject.name", about("name")),
            ("involvedObject.uid", about("uid")),
            ("involvedObject.apiVersion", about("apiVersion")),
            ("involvedObject.resourceVersion", about("resourceVersion")),
            ("involvedObject.fieldPath", about("fieldPath")),
            ("reason", text(&event["reason"]).to_owned()),
            ("reportingComponent", text(&event["reportingComponent"]).to_owned()),
            ("source", component(event).to_owned()),
            ("type", text(&event["type"]).to_owned()),
        ]
    }
}

/// The longest texts of an event that says when it happened (upstream: `pkg/apis/core/validation/events.go`).
const LIMITS: [(&str, usize); 4] =
    [("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024)];

/// An event that says when it happened says who tells of it, too.
fn check_reporter(errors: &mut Errors, event: &Value) {
    let controller = text(&event["reportingComponent"]);
    let path = Path::new("reportingController");
    if controller.is_empty() {
        errors.push(FieldError::required(&path, ""));
    }
    check::name(errors, &path, controller, names::qualified_name);
    for (field, limit) in LIMITS {
        let (path, said) = (Path::new(field), text(&event[field]));
        if said.is_empty() && field != "message" {
            errors.push(FieldError::required(&path, ""));
        }
        if said.len() > limit {
            errors.push(FieldError::invalid(&path, "", format!("can have at most {limit} characters")));
        }
    }
}

/// What is wrong with a new event of `events.k8s.io/v1`, besides.
pub(crate) fn check_new(event: &Value) -> Vec<FieldError> {
    let mut errors = check_series(event);
    if is_empty(&event["eventTime"]) {
        errors.push(FieldError::required(&Path::new("eventTime"), ""));
    }
    let kind = text(&event["type"]);
    if !matches!(kind, "Normal" | "Warning") {
        errors.push(FieldError::invalid(&Path::new("type"), "", format!("has invalid value: {kind}")));
    }
    for field in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        let value = &event[field];
        let is_set = match field {
            "count" => number(value) != 0,
            "source" => ["component", "host"].iter().any(|part| !is_empty(&value[*part])),
            _ => !is_empty(value),
        };
        if is_set {
            errors.push(FieldError::invalid(&Path::new(field), "", "needs to be unset"));
        }
    }
    errors
}

/// What is wrong with changing an event of `events.k8s.io/v1`: all but its series and its metadata stays.
pub(crate) fn check_change(new: &Value, old: &Value) -> Vec<FieldError> {
    const KEPT: [(&str, &str); 13] = [
        ("involvedObject", "involvedObject"),
        ("reason", "reason"),
        ("message", "message"),
        ("source", "source"),
        ("firstTimestamp", "firstTimestamp"),
        ("lastTimestamp", "lastTimestamp"),
        ("count", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ];
    let mut errors = if same(&new["series"], &old["series"]) { Vec::new() } else { check_series(new) };
    for (field, named) in KEPT {
        check::immutable(&mut errors, &Path::new(named), &new[field], &old[field]);
    }
    errors
}

fn check_series(event: &Value) -> Vec<FieldError> {
    let (mut errors, series) = (Vec::new(), &event["series"]);
    if series.is_null() {
        return errors;
    }
    let path = Path::new("series");
    if number(&series["count"]) < 2 {
        errors.push(FieldError::invalid(&path.child("count"), "", "should be at least 2"));
    }
    if is_empty(&series["lastObservedTime"]) {
        errors.push(FieldError::required(&path.child("lastObservedTime"), ""));
    }
    errors
}

/// Who told of the event, in the old field or the new.
fn component(event: &Value) -> &str {
    match text(&event["source"]["component"]) {
        "" => text(&event["reportingComponent"]),
        component => component,
    }
}

/// The component, and the host it runs on (`formatEventSource`).
fn source(event: &Value) -> String {
    let host = if is_empty(&event["source"]["host"]) {
        text(&event["reportingInstance"])
    } else {
        text(&event["source"]["host"])
    };
    if host.is_empty() { component(event).to_owned() } else { format!("{}, {host}", component(event)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_forgotten_an_hour_after_it_was_last_seen() {
        let event = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
            "lastTimestamp": "2026-01-01T05:00:00Z", "eventTime": null});
        let expected = "2026-01-01T06:00:00Z".parse().ok();
        assert_eq!(Rules.expires_at(&event), expected);
    }
}
