//! Objects as bytes in the store: JSON that begins with the kind and `metadata`, without
//! `metadata.resourceVersion`, so that a read puts the revision in without parsing.

use std::io::Write as _;

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use bytes::Bytes;
use registry::Kind;
use serde_json::Value;
use store::{Revision, Versioned};

/// An object as the store holds it, and its revision.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) bytes: Bytes,
    pub(crate) revision: Revision,
}

impl From<Versioned> for Stored {
    fn from(versioned: Versioned) -> Self {
        Self { bytes: versioned.value, revision: versioned.revision }
    }
}

/// What every stored object of the kind begins with.
pub(crate) fn prefix(kind: &Kind) -> String {
    format!(r#"{{"apiVersion":"{}","kind":"{}","metadata":{{"#, kind.api_version(), kind.kind)
}

/// The object as the store keeps it.
pub(crate) fn encode(kind: &Kind, object: &Value) -> Bytes {
    let mut out = prefix(kind).into_bytes();
    let mut first = true;
    for (key, value) in object.get("metadata").and_then(Value::as_object).into_iter().flatten() {
        if key != "resourceVersion" {
            field(&mut out, &mut first, key, value);
        }
    }
    out.push(b'}');
    first = false;
    for (key, value) in object.as_object().into_iter().flatten() {
        if !matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
            field(&mut out, &mut first, key, value);
        }
    }
    out.push(b'}');
    Bytes::from(out)
}

fn field(out: &mut Vec<u8>, first: &mut bool, key: &str, value: &Value) {
    if !std::mem::take(first) {
        out.push(b',');
    }
    serde_json::to_writer(&mut *out, key).expect("writing to memory");
    out.push(b':');
    serde_json::to_writer(&mut *out, value).expect("writing to memory");
}

/// Appends the object with its `resourceVersion`, as clients read it.
pub(crate) fn write_object(out: &mut Vec<u8>, prefix: &str, bytes: &[u8], revision: Revision) {
    out.reserve(bytes.len() + 40);
    match bytes.strip_prefix(prefix.as_bytes()) {
        // A dry run has no revision to show.
        Some(_) if revision == 0 => out.extend_from_slice(bytes),
        Some(rest) => {
            out.extend_from_slice(prefix.as_bytes());
            let comma = if rest.starts_with(b"}") { "" } else { "," };
            write!(out, r#""resourceVersion":"{revision}"{comma}"#).expect("writing to memory");
            out.extend_from_slice(rest);
        }
        // Only bytes that another program wrote look otherwise; they are shown as they are.
        None => out.extend_from_slice(bytes),
    }
}

/// The object with its `resourceVersion`, to work on.
pub(crate) fn decode(stored: &Stored) -> Result<Value, Status> {
    let mut object: Value = serde_json::from_slice(&stored.bytes)
        .map_err(|error| Status::internal(format!("the store holds an object that is no JSON: {error}")))?;
    object.meta_mut().insert("resourceVersion".to_owned(), stored.revision.to_string().into());
    Ok(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn revision_is_put_in_when_reading_and_left_out_when_writing() {
        let kind = registry::by_word("configmap").expect("a kind");
        let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "b"},
            "metadata": {"name": "x", "resourceVersion": "4"}});
        let stored = Stored { bytes: encode(kind, &object), revision: 7 };
        assert_eq!(
            stored.bytes,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":"b"}}"#
        );
        let mut shown = Vec::new();
        write_object(&mut shown, &prefix(kind), &stored.bytes, stored.revision);
        assert_eq!(
            String::from_utf8(shown).expect("text"),
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"resourceVersion":"7","name":"x"},"data":{"a":"b"}}"#
        );
        assert_eq!(decode(&stored).expect("JSON").resource_version(), "7");
    }
}
