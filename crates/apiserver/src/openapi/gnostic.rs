//! Swagger 2.0 as protobuf: the messages of `openapi.v2` that our documents consist of
//! (github.com/google/gnostic, openapiv2/OpenAPIv2.proto).

use serde_json::Value;

/// A message that grows.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        const LENGTH_DELIMITED: u64 = 2;
        self.varint(u64::from(field) << 3 | LENGTH_DELIMITED);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// The text, when there is one.
    fn text(&mut self, field: u32, value: &Value) {
        if let Some(text) = value.as_str().filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u32, list: &Value) {
        list.as_array().into_iter().flatten().for_each(|text| self.text(field, text));
    }

    fn truth(&mut self, field: u32, value: &Value) {
        if value == true {
            self.varint(u64::from(field) << 3);
            self.varint(1);
        }
    }

    /// The message that `make` makes of the value, when there is one.
    fn message(&mut self, field: u32, value: &Value, make: fn(&Value) -> Message) {
        if !value.is_null() {
            self.bytes(field, &make(value).0);
        }
    }

    fn messages(&mut self, field: u32, list: &Value, make: fn(&Value) -> Message) {
        list.as_array().into_iter().flatten().for_each(|value| self.message(field, value, make));
    }

    /// A map as pairs of names and values.
    fn pairs(&mut self, field: u32, map: &Value, make: fn(&Value) -> Message) {
        for (name, value) in map.as_object().into_iter().flatten() {
            self.bytes(field, &named(name, &make(value)).0);
        }
    }

    /// What is not OpenAPI's own: `x-kubernetes-…`, as YAML, of which JSON is a part.
    fn extensions(&mut self, field: u32, of: &Value) {
        for (name, value) in of.as_object().into_iter().flatten().filter(|(name, _)| name.starts_with("x-")) {
            self.bytes(field, &named(name, &any(value)).0);
        }
    }
}

/// `NamedSchema`, `NamedPathItem`, …: a pair.
fn named(name: &str, value: &Message) -> Message {
    let mut pair = Message::default();
    pair.bytes(1, name.as_bytes());
    pair.bytes(2, &value.0);
    pair
}

/// `Any`, by its YAML.
fn any(value: &Value) -> Message {
    let mut any = Message::default();
    any.bytes(2, value.to_string().as_bytes());
    any
}

/// A message around another one.
fn around(field: u32, inner: &Message) -> Message {
    let mut outer = Message::default();
    outer.bytes(field, &inner.0);
    outer
}

/// Adds a path to the message `Paths`.
pub(super) fn add_path(paths: &mut Vec<u8>, name: &str, item: &Value) {
    let mut message = Message(std::mem::take(paths));
    message.bytes(2, &named(name, &path_item(item)).0);
    *paths = message.0;
}

/// Adds a schema to the message `Definitions`.
pub(super) fn add_definition(definitions: &mut Vec<u8>, name: &str, value: &Value) {
    let mut message = Message(std::mem::take(definitions));
    message.bytes(1, &named(name, &schema(value)).0);
    *definitions = message.0;
}

/// `Document`.
pub(super) fn document(info: &Value, paths: &[u8], definitions: &[u8]) -> Vec<u8> {
    let mut document = Message::default();
    document.bytes(1, b"2.0");
    document.message(2, info, |info| {
        let mut message = Message::default();
        message.text(1, &info["title"]);
        message.text(2, &info["version"]);
        message
    });
    document.bytes(8, paths);
    document.bytes(9, definitions);
    document.0
}

fn path_item(item: &Value) -> Message {
    let mut message = Message::default();
    for (field, method) in [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (8, "patch")] {
        message.message(field, &item[method], operation);
    }
    message.messages(9, &item["parameters"], parameter);
    message
}

fn operation(operation: &Value) -> Message {
    let mut message = Message::default();
    message.texts(1, &operation["tags"]);
    message.text(3, &operation["description"]);
    message.text(5, &operation["operationId"]);
    message.texts(6, &operation["produces"]);
    message.texts(7, &operation["consumes"]);
    message.messages(8, &operation["parameters"], parameter);
    message.message(9, &operation["responses"], |responses| {
        let mut message = Message::default();
        message.pairs(1, responses, response);
        message
    });
    message.texts(10, &operation["schemes"]);
    message.extensions(13, operation);
    message
}

/// `ResponseValue`.
fn response(response: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &response["description"]);
    message.message(2, &response["schema"], |value| around(1, &schema(value)));
    around(1, &message)
}

/// `ParametersItem`: which message it is depends on where the parameter stands.
fn parameter(parameter: &Value) -> Message {
    let mut message = Message::default();
    let inner = match parameter["in"].as_str() {
        Some("body") => {
            message.text(1, &parameter["description"]);
            message.text(2, &parameter["name"]);
            message.text(3, &parameter["in"]);
            message.truth(4, &parameter["required"]);
            message.message(5, &parameter["schema"], schema);
            around(1, &message)
        }
        place => {
            // A parameter of the query may be empty: that shifts the numbers after it.
            let (kind, type_field, unique_field) =
                if place == Some("path") { (4, 5, 18) } else { (3, 6, 20) };
            message.truth(1, &parameter["required"]);
            message.text(2, &parameter["in"]);
            message.text(3, &parameter["description"]);
            message.text(4, &parameter["name"]);
            message.text(type_field, &parameter["type"]);
            message.truth(unique_field, &parameter["uniqueItems"]);
            around(2, &around(kind, &message))
        }
    };
    around(1, &inner)
}

fn schema(value: &Value) -> Message {
    let mut message = Message::default();
    message.text(1, &value["$ref"]);
    message.text(2, &value["format"]);
    message.text(4, &value["description"]);
    message.texts(19, &value["required"]);
    message.message(21, &value["additionalProperties"], |value| around(1, &schema(value)));
    message.message(22, &value["type"], |value| {
        let mut types = Message::default();
        types.text(1, value);
        types
    });
    message.message(23, &value["items"], |value| around(1, &schema(value)));
    message.message(25, &value["properties"], |properties| {
        let mut message = Message::default();
        message.pairs(1, properties, schema);
        message
    });
    message.extensions(31, value);
    message
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_is_written_field_by_field() {
        let value = json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}},
            "x-kubernetes-map-type": "atomic"});
        let expected: &[&[u8]] = &[
            b"\x9a\x01\x01a",
            b"\xb2\x01\x08\x0a\x06object",
            b"\xca\x01\x12\x0a\x10\x0a\x01a\x12\x0b\xb2\x01\x08\x0a\x06string",
            b"\xfa\x01\x23\x0a\x15x-kubernetes-map-type\x12\x0a\x12\x08\"atomic\"",
        ];
        assert_eq!(schema(&value).0, expected.concat());
    }

    #[test]
    fn long_texts_have_long_lengths() {
        let mut message = Message::default();
        message.bytes(1, &[b'a'; 300]);
        assert_eq!(message.0[..3], [0x0a, 0xac, 0x02]);
        assert_eq!(message.0.len(), 303);
    }
}
