//! What happened to an object and to what belongs to it, in order: pure, from statuses and events as they are now.

use apimachinery::meta::ObjectExt;
use apimachinery::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::describe;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Step {
    /// When.
    pub(crate) at: Timestamp,
    /// To whom: `pod/web-0`.
    pub(crate) who: String,
    /// What.
    pub(crate) what: String,
}

/// All that objects and events tell, the oldest first; what is told twice stands once.
pub(crate) fn steps(objects: &[Value], events: &[Value]) -> Vec<Step> {
    let mut steps = Vec::new();
    for object in objects {
        of_object(&mut steps, object);
    }
    events.iter().for_each(|event| of_event(&mut steps, event));
    // Equal moments keep the order in which things are told: an object is created before it changes.
    steps.sort_by_key(|step| step.at);
    let mut told: Vec<Step> = Vec::new();
    for step in steps {
        if !told.contains(&step) {
            told.push(step);
        }
    }
    told
}

/// Lines with the time, the time since the line before, who and what; tabs for columns.
pub(crate) fn render(steps: &[Step]) -> String {
    let mut out = String::new();
    let mut before: Option<Timestamp> = None;
    for step in steps {
        let gap = match before {
            None => String::new(),
            Some(before) => gap(step.at.duration_since(before)),
        };
        let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
        if before.is_none_or(|before| day(before) != day(step.at)) {
            out += &format!("{}\n", day(step.at));
        }
        let moment = step.at.strftime("%H:%M:%S");
        out += &format!("{moment}\t{gap}\t{}\t{}\n", step.who, step.what);
        before = Some(step.at);
    }
    out
}

/// `+40ms`, `+2s`, `+1h5m`; nothing for nothing.
fn gap(span: SignedDuration) -> String {
    if span.is_zero() {
        String::new()
    } else if span < SignedDuration::from_secs(1) {
        format!("+{}ms", span.as_millis())
    } else {
        format!("+{}", time::human_duration(span.unsigned_abs()))
    }
}

fn push(steps: &mut Vec<Step>, moment: &Value, who: &str, what: impl Into<String>) {
    if let Some(at) = moment.as_str().and_then(time::parse) {
        steps.push(Step { at, who: who.to_owned(), what: what.into() });
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// `: why`, or nothing.
fn because(why: &str) -> String {
    match why.lines().next() {
        None | Some("") => String::new(),
        Some(first) => format!(": {first}"),
    }
}

fn of_object(steps: &mut Vec<Step>, object: &Value) {
    let who = format!("{}/{}", text(&object["kind"]).to_lowercase(), object.name());
    let (metadata, status) = (&object["metadata"], &object["status"]);
    push(steps, &metadata["creationTimestamp"], &who, "created");
    push(steps, &status["startTime"], &who, "taken on by its node");
    for condition in list(&status["conditions"]) {
        let reason = text(&condition["reason"]);
        let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        let (name, value) = (text(&condition["type"]), text(&condition["status"]));
        let why = if value == "True" { String::new() } else { because(text(&condition["message"])) };
        push(steps, &condition["lastTransitionTime"], &who, format!("{name} is {value}{reason}{why}"));
    }
    for statuses in ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"] {
        for container in list(&status[statuses]) {
            for state in ["lastState", "state"] {
                of_container(steps, &who, text(&container["name"]), &container[state]);
            }
        }
    }
    if let Some(at) = metadata["deletionTimestamp"].as_str().and_then(time::parse) {
        // The moment in the metadata is when the grace period ends.
        let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        let asked = at - SignedDuration::from_secs(grace);
        steps.push(Step { at: asked, who, what: format!("told to go, with {grace} s to end") });
    }
}

fn of_container(steps: &mut Vec<Step>, who: &str, name: &str, state: &Value) {
    push(steps, &state["running"]["startedAt"], who, format!("container {name} started"));
    let ended = &state["terminated"];
    push(steps, &ended["startedAt"], who, format!("container {name} started"));
    let code = ended["exitCode"].as_i64().unwrap_or_default();
    let (reason, why) = (text(&ended["reason"]), because(text(&ended["message"])));
    push(
        steps,
        &ended["finishedAt"],
        who,
        format!("container {name} ended with exit code {code} ({reason}){why}"),
    );
}

fn of_event(steps: &mut Vec<Step>, event: &Value) {
    let object = &event["involvedObject"];
    let who = format!("{}/{}", text(&object["kind"]).to_lowercase(), text(&object["name"]));
    let kind = if event["type"] == "Warning" { "Warning " } else { "" };
    let what = format!("{kind}{}{}", text(&event["reason"]), because(text(&event["message"]).trim()));
    let or = |a: &Value, b: &Value| if a.is_null() { b.clone() } else { a.clone() };
    let first = or(&event["firstTimestamp"], &event["eventTime"]);
    let last = or(&event["series"]["lastObservedTime"], &event["lastTimestamp"]);
    let count = describe::count(event);
    if first.is_null() && last.is_null() {
        return push(steps, &event["metadata"]["creationTimestamp"], &who, what);
    }
    push(steps, &first, &who, what.clone());
    if count > 1 && last != first {
        push(steps, &last, &who, format!("{what} (for the {count}th time)"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::output::tabwriter;

    #[test]
    fn a_pods_life_is_told_in_order() {
        let set = json!({"kind": "StatefulSet", "metadata": {"name": "db", "creationTimestamp": "2026-01-02T03:04:00Z"}});
        let pod = json!({"kind": "Pod",
            "metadata": {"name": "db-0", "creationTimestamp": "2026-01-02T03:04:00Z",
                "deletionTimestamp": "2026-01-03T00:00:40Z", "deletionGracePeriodSeconds": 30},
            "status": {"startTime": "2026-01-02T03:04:01Z",
                "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "not yet", "lastTransitionTime": "2026-01-02T03:04:01Z"}],
                "containerStatuses": [{"name": "c",
                    "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "no password\nmore", "startedAt": "2026-01-02T03:04:02Z", "finishedAt": "2026-01-02T03:04:05Z"}},
                    "state": {"running": {"startedAt": "2026-01-02T03:06:15Z"}}}]}});
        let events = [
            json!({"type": "Warning", "reason": "BackOff", "message": "restarting", "count": 4,
                "involvedObject": {"kind": "Pod", "name": "db-0"}, "firstTimestamp": "2026-01-02T03:04:06Z", "lastTimestamp": "2026-01-02T03:05:00Z"}),
            json!({"type": "Normal", "reason": "Scheduled", "message": "to n1",
                "involvedObject": {"kind": "Pod", "name": "db-0"}, "eventTime": "2026-01-02T03:04:00.040000Z"}),
        ];
        let told = tabwriter::align(&render(&steps(&[set, pod], &events)), 2);
        insta::assert_snapshot!(told, @r"
2026-01-02
03:04:00          statefulset/db  created
03:04:00          pod/db-0        created
03:04:00  +40ms   pod/db-0        Scheduled: to n1
03:04:01  +960ms  pod/db-0        taken on by its node
03:04:01          pod/db-0        Ready is False (ContainersNotReady): not yet
03:04:02  +1s     pod/db-0        container c started
03:04:05  +3s     pod/db-0        container c ended with exit code 1 (Error): no password
03:04:06  +1s     pod/db-0        Warning BackOff: restarting
03:05:00  +54s    pod/db-0        Warning BackOff: restarting (for the 4th time)
03:06:15  +75s    pod/db-0        container c started
2026-01-03
00:00:10  +20h  pod/db-0  told to go, with 30 s to end
");
    }

    #[test]
    fn nothing_known_is_nothing_told() {
        assert_eq!(render(&steps(&[json!({"kind": "Pod"})], &[])), "");
    }
}
