//! What many descriptions share: names, labels, events, times.

use apimachinery::meta::ObjectExt;
use apimachinery::time::{self, human_age};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::apply::LAST_APPLIED;

/// The longest annotation that stands on one line with its key.
const LONGEST_ANNOTATION: usize = 140;

/// Lines of a description; tabs become columns in the end.
pub(crate) struct Lines {
    text: String,
    pub(super) now: Timestamp,
}

impl Lines {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { text: String::new(), now }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// A line, two spaces deeper for each level.
    pub(crate) fn line(&mut self, level: usize, line: impl AsRef<str>) {
        self.text.extend(std::iter::repeat_n("  ", level));
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    /// `Title:  value`.
    pub(crate) fn field(&mut self, level: usize, title: &str, value: impl AsRef<str>) {
        self.line(level, format!("{title}:\t{}", value.as_ref()));
    }

    /// A field that is left out when it says nothing.
    pub(crate) fn optional(&mut self, level: usize, title: &str, value: impl AsRef<str>) {
        if !value.as_ref().is_empty() {
            self.field(level, title, value);
        }
    }

    /// A field with several values, each on a line of its own.
    pub(crate) fn multi(&mut self, level: usize, title: &str, values: &[String]) {
        match values.split_first() {
            None => self.field(level, title, "<none>"),
            Some((first, rest)) => {
                self.field(level, title, first);
                rest.iter().for_each(|value| self.line(level, format!("\t{value}")));
            }
        }
    }

    /// `Labels`, `Node-Selectors`: `key=value` each.
    pub(crate) fn labels(&mut self, level: usize, title: &str, labels: Option<&Map<String, Value>>) {
        let pairs = labels.into_iter().flatten();
        let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={}", shown(value))).collect();
        self.multi(level, title, &pairs);
    }

    /// `Annotations`: what apply keeps for itself is left out, long ones are folded out.
    pub(crate) fn annotations(&mut self, level: usize, object: &Value) {
        let mut values = Vec::new();
        for (key, value) in object.meta_map("annotations").into_iter().flatten() {
            let value = shown(value);
            if key == LAST_APPLIED {
                continue;
            }
            if value.contains('\n') || key.len() + value.len() + 2 > LONGEST_ANNOTATION {
                values.push(format!("{key}:"));
                values.extend(value.trim_end().lines().map(|line| format!("  {line}")));
            } else {
                values.push(format!("{key}: {value}"));
            }
        }
        self.multi(level, "Annotations", &values);
    }

    /// How long ago, in words.
    pub(crate) fn age(&self, moment: &Value) -> String {
        age(moment, self.now)
    }
}

/// How long ago a moment was; `<unknown>` for none.
pub(crate) fn age(moment: &Value, now: Timestamp) -> String {
    moment.as_str().and_then(time::parse).map_or_else(|| "<unknown>".to_owned(), |then| human_age(then, now))
}

/// The value at a JSON pointer as text; empty when there is none.
pub(crate) fn at(object: &Value, pointer: &str) -> String {
    object.pointer(pointer).map(shown).unwrap_or_default()
}

/// A value as text; nothing for null.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The items at a JSON pointer; none when there is no list.
pub(crate) fn items<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The map at a JSON pointer.
pub(crate) fn map<'a>(object: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    object.pointer(pointer).and_then(Value::as_object)
}

/// The texts of a list, parted by `separator`.
pub(crate) fn joined(list: &[Value], separator: &str) -> String {
    list.iter().map(shown).collect::<Vec<_>>().join(separator)
}

/// A text, or `instead` when it is empty.
pub(crate) fn or(text: String, instead: &str) -> String {
    if text.is_empty() { instead.to_owned() } else { text }
}

/// A moment as `Mon, 02 Jan 2006 15:04:05 +0000`.
pub(crate) fn moment(object: &Value, pointer: &str) -> String {
    let text = at(object, pointer);
    match time::parse(&text) {
        Some(moment) => moment.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string(),
        None => text,
    }
}

/// `RWO,ROX` (`k8s.io/kubectl/pkg/util/storage.GetAccessModesAsString`).
pub(crate) fn access_modes(modes: &[Value]) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO".to_owned(),
        Some("ReadOnlyMany") => "ROX".to_owned(),
        Some("ReadWriteMany") => "RWX".to_owned(),
        Some("ReadWriteOncePod") => "RWOP".to_owned(),
        _ => shown(mode),
    };
    modes.iter().map(short).collect::<Vec<_>>().join(",")
}

/// `StatefulSet/web`: who controls the object.
pub(crate) fn controller(object: &Value) -> String {
    let owner = items(object, "/metadata/ownerReferences").iter().find(|owner| owner["controller"] == true);
    owner.map(|owner| format!("{}/{}", at(owner, "/kind"), at(owner, "/name"))).unwrap_or_default()
}

/// When an event happened: `5s`, or `5s (x3 over 2m)`.
pub(crate) fn interval(event: &Value, now: Timestamp) -> String {
    let first = match &event["eventTime"] {
        Value::Null => age(&event["firstTimestamp"], now),
        moment => age(moment, now),
    };
    let last =
        [&event["series"]["lastObservedTime"], &event["lastTimestamp"]].into_iter().find(|t| !t.is_null());
    match (count(event), last) {
        (times @ 2.., Some(last)) => format!("{} (x{times} over {first})", age(last, now)),
        _ => first,
    }
}

/// How often an event happened.
pub(crate) fn count(event: &Value) -> i64 {
    event["series"]["count"].as_i64().or_else(|| event["count"].as_i64()).unwrap_or(1)
}

/// Who told an event.
fn source(event: &Value) -> String {
    or(at(event, "/source/component"), &at(event, "/reportingComponent"))
}

pub(super) fn events(lines: &mut Lines, events: &[Value]) {
    if events.is_empty() {
        return lines.field(0, "Events", "<none>");
    }
    lines.line(0, "Events:");
    lines.line(1, "Type\tReason\tAge\tFrom\tMessage");
    lines.line(1, "----\t------\t----\t----\t-------");
    for event in events {
        let cells = [
            at(event, "/type"),
            at(event, "/reason"),
            interval(event, lines.now),
            source(event),
            at(event, "/message").trim().to_owned(),
        ];
        lines.line(1, cells.join("\t"));
    }
}
