//! `describe` of kinds that have no description of their own: all fields, names in words.

use apimachinery::meta::ObjectExt;
use serde_json::{Map, Value};

use super::parts::{Lines, shown};

/// What is told in the head, or is of no use to people.
const TOLD: [&str; 5] = ["labels", "annotations", "managedFields", "name", "namespace"];

pub(super) fn write(lines: &mut Lines, object: &Value) {
    lines.field(0, "Name", object.name());
    lines.field(0, "Namespace", object.namespace());
    lines.labels(0, "Labels", object.meta_map("labels"));
    lines.annotations(0, object);
    let Some(fields) = object.as_object() else { return };
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("apiVersion", value) => lines.field(0, "API Version", shown(value)),
            ("metadata", Value::Object(metadata)) => {
                lines.line(0, "Metadata:");
                let rest = metadata.iter().filter(|(key, _)| !TOLD.contains(&key.as_str()));
                rest.for_each(|(key, value)| field(lines, 1, key, value));
            }
            (key, value) => field(lines, 0, key, value),
        }
    }
}

fn field(lines: &mut Lines, level: usize, key: &str, value: &Value) {
    let title = words(key);
    match value {
        Value::Object(fields) => {
            lines.line(level, format!("{title}:"));
            object(lines, level + 1, fields);
        }
        Value::Array(items) => {
            lines.line(level, format!("{title}:"));
            for item in items {
                match item {
                    Value::Object(fields) => object(lines, level + 1, fields),
                    other => lines.line(level + 1, shown(other)),
                }
            }
        }
        other => lines.field(level, &title, shown(other)),
    }
}

fn object(lines: &mut Lines, level: usize, fields: &Map<String, Value>) {
    fields.iter().for_each(|(key, value)| field(lines, level, key, value));
}

/// `creationTimestamp` as `Creation Timestamp`; a name with dots or slashes stays.
fn words(key: &str) -> String {
    if key.contains(['.', '/', '-', '_']) {
        return key.to_owned();
    }
    let mut title = String::new();
    let mut before_was_lower = false;
    for (index, c) in key.chars().enumerate() {
        if index == 0 {
            title.extend(c.to_uppercase());
        } else {
            if c.is_uppercase() && before_was_lower {
                title.push(' ');
            }
            title.push(c);
        }
        before_was_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    title
}
