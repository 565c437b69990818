//! `/openapi/v2`: the documents of [`super::build`] put together and said in the older words (Swagger 2.0). It is
//! written piece by piece, so that no more than one group's version is held as values.

use std::collections::BTreeSet;

use apimachinery::schema::Schema;
use apimachinery::schema::descriptions::Descriptions;
use serde_json::{Map, Value, json};

use super::gnostic;
use crate::discovery;

const V3_REFERENCE: &str = "#/components/schemas/";
const REFERENCE: &str = "#/definitions/";

/// The document as JSON.
pub(super) fn json() -> Vec<u8> {
    let (mut paths, mut definitions) = (Vec::new(), Vec::new());
    let put = |out: &mut Vec<u8>, name: &str, value: &Value| {
        out.extend_from_slice(if out.is_empty() { b"" } else { b"," });
        serde_json::to_writer(&mut *out, name).expect("writing to memory");
        out.push(b':');
        serde_json::to_writer(out, value).expect("writing to memory");
    };
    each(|name, item| put(&mut paths, name, item), |name, schema| put(&mut definitions, name, schema));
    let head = format!(r#"{{"swagger":"2.0","info":{},"paths":{{"#, info());
    [head.as_bytes(), &paths, br#"},"definitions":{"#, &definitions, b"}}"].concat()
}

/// The document as gnostic's protobuf.
pub(super) fn protobuf() -> Vec<u8> {
    let (mut paths, mut definitions) = (Vec::new(), Vec::new());
    each(
        |name, item| gnostic::add_path(&mut paths, name, item),
        |name, schema| gnostic::add_definition(&mut definitions, name, schema),
    );
    gnostic::document(&info(), &paths, &definitions)
}

fn info() -> Value {
    json!({"title": "Kubernetes", "version": format!("v{}.0", Schema::builtin().release())})
}

/// Every path and every definition, each definition once.
fn each(mut path: impl FnMut(&str, &Value), mut definition: impl FnMut(&str, &Value)) {
    let descriptions = Descriptions::unpack();
    let mut known = BTreeSet::new();
    for (_, group, version) in discovery::group_version_paths() {
        let mut document = super::build(group, version, &descriptions);
        for (name, item) in take(&mut document, "/paths") {
            path(&name, &path_item(item));
        }
        for (name, schema) in take(&mut document, "/components/schemas") {
            if known.insert(name.clone()) {
                definition(&name, &self::schema(schema));
            }
        }
    }
}

fn take(document: &mut Value, pointer: &str) -> Map<String, Value> {
    match document.pointer_mut(pointer).map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

fn path_item(mut item: Value) -> Value {
    for (method, operation) in item.as_object_mut().into_iter().flatten() {
        if method == "parameters" {
            flatten(operation);
        } else {
            self::operation(operation);
        }
    }
    item
}

/// What was inside the schema of a parameter stands beside its name.
fn flatten(parameters: &mut Value) {
    for parameter in parameters.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        if let Some(Value::Object(schema)) = parameter.remove("schema") {
            parameter.extend(schema);
        }
    }
}

/// Bodies are parameters, and media types stand for the whole operation.
fn operation(operation: &mut Value) {
    flatten(&mut operation["parameters"]);
    let Some(operation) = operation.as_object_mut() else { return };
    let mut consumes = json!(["*/*"]);
    if let Some(mut body) = operation.remove("requestBody") {
        let content = take(&mut body, "/content");
        consumes = content.keys().cloned().collect();
        let schema = content.into_iter().next().map(|(_, mut media)| self::schema(media["schema"].take()));
        let mut parameter = json!({"name": "body", "in": "body", "schema": schema});
        if !body["required"].is_null() {
            parameter["required"] = body["required"].take();
        }
        if let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) {
            parameters.insert(0, parameter);
        }
    }
    let mut produces = BTreeSet::new();
    for (_, response) in operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
        let content = take(response, "/content");
        produces.extend(content.keys().cloned());
        if let Some((_, mut media)) = content.into_iter().next() {
            response["schema"] = self::schema(media["schema"].take());
        }
        if let Some(response) = response.as_object_mut() {
            response.remove("content");
        }
    }
    operation.insert("consumes".to_owned(), consumes);
    operation.insert("produces".to_owned(), produces.into_iter().collect());
    operation.insert("schemes".to_owned(), json!(["https"]));
}

/// A schema in the older words: references stand alone, and there is no `oneOf`.
fn schema(mut schema: Value) -> Value {
    let Some(fields) = schema.as_object_mut() else { return schema };
    if let Some(Value::Array(all)) = fields.remove("allOf") {
        for one in all {
            if let Value::Object(one) = one {
                fields.extend(one);
            }
        }
    }
    if fields.remove("oneOf").is_some() {
        fields.insert("type".to_owned(), "string".into());
    }
    if let Some(Value::String(reference)) = fields.get_mut("$ref") {
        *reference = reference.replacen(V3_REFERENCE, REFERENCE, 1);
    }
    fields.remove("default");
    for inner in ["items", "additionalProperties"] {
        if let Some(value) = fields.get_mut(inner) {
            *value = self::schema(value.take());
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.values_mut().for_each(|property| *property = self::schema(property.take()));
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_stand_alone_and_quantities_are_strings() {
        let old = schema(json!({"properties": {
            "a": {"allOf": [{"$ref": "#/components/schemas/x.Y"}], "default": {}, "description": "said"},
            "b": {"type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/x.Z"}], "default": {}}},
            "c": {"oneOf": [{"type": "string"}, {"type": "number"}]},
        }}));
        let expected = json!({"properties": {
            "a": {"$ref": "#/definitions/x.Y", "description": "said"},
            "b": {"type": "array", "items": {"$ref": "#/definitions/x.Z"}},
            "c": {"type": "string"},
        }});
        assert_eq!(old, expected);
    }

    #[test]
    fn a_body_is_a_parameter() {
        let mut old = json!({"parameters": [{"name": "pretty", "in": "query", "schema": {"type": "string"}}],
            "requestBody": {"required": true, "content": {"*/*": {"schema": {"$ref": "#/components/schemas/x"}}}},
            "responses": {"200": {"description": "OK", "content": {"application/json":
                {"schema": {"$ref": "#/components/schemas/x"}}}}}});
        operation(&mut old);
        let expected = json!({"parameters": [
                {"name": "body", "in": "body", "required": true, "schema": {"$ref": "#/definitions/x"}},
                {"name": "pretty", "in": "query", "type": "string"}],
            "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/x"}}},
            "consumes": ["*/*"], "produces": ["application/json"], "schemes": ["https"]});
        assert_eq!(old, expected);
    }
}
