//! `describe` of config maps, secrets and namespaces.

use apimachinery::meta::ObjectExt;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::parts::{Lines, at, map, shown};

fn head(lines: &mut Lines, object: &Value) {
    lines.field(0, "Name", object.name());
    if !object.namespace().is_empty() {
        lines.field(0, "Namespace", object.namespace());
    }
    lines.labels(0, "Labels", object.meta_map("labels"));
    lines.annotations(0, object);
}

pub(super) fn config_map(lines: &mut Lines, object: &Value) {
    head(lines, object);
    lines.line(0, "\nData\n====");
    for (key, value) in map(object, "/data").into_iter().flatten() {
        lines.line(0, format!("{key}:\n----\n{}\n", shown(value)));
    }
    lines.line(0, "\nBinaryData\n====");
    for (key, value) in map(object, "/binaryData").into_iter().flatten() {
        lines.line(0, format!("{key}: {} bytes", decoded(value)));
    }
    lines.line(0, "");
}

pub(super) fn secret(lines: &mut Lines, object: &Value) {
    head(lines, object);
    lines.line(0, format!("\nType:\t{}", at(object, "/type")));
    lines.line(0, "\nData\n====");
    for (key, value) in map(object, "/data").into_iter().flatten() {
        lines.field(0, key, format!("{} bytes", decoded(value)));
    }
    lines.line(0, "");
}

pub(super) fn namespace(lines: &mut Lines, object: &Value) {
    head(lines, object);
    lines.field(0, "Status", at(object, "/status/phase"));
}

/// How many bytes a text in base64 stands for.
fn decoded(value: &Value) -> usize {
    value.as_str().and_then(|text| BASE64.decode(text).ok()).map_or(0, |bytes| bytes.len())
}
