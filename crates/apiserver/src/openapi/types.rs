//! The schemas of a document: each type that its kinds are made of.

use std::collections::BTreeSet;

use apimachinery::schema::descriptions::Descriptions;
use apimachinery::schema::{Field, Form, Item, Schema, Shape, TypeId};
use serde_json::{Map, Value, json};

use super::gvk;

/// The schemas of a document, each type once.
pub(super) struct Schemas<'a> {
    schema: &'static Schema,
    descriptions: &'a Descriptions,
    made: Map<String, Value>,
    seen: BTreeSet<TypeId>,
}

/// A reference to the schema of a type.
pub(super) fn reference(schema: &Schema, id: TypeId) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", schema.openapi_name(id))})
}

impl<'a> Schemas<'a> {
    pub(super) fn new(schema: &'static Schema, descriptions: &'a Descriptions) -> Self {
        Self { schema, descriptions, made: Map::new(), seen: BTreeSet::new() }
    }

    pub(super) fn into_json(self) -> Map<String, Value> {
        self.made
    }

    /// Adds a kind and all that it is made of.
    pub(super) fn add(&mut self, api_version: &str, kind: &str) {
        let Some(id) = self.schema.gvk(api_version, kind) else { return };
        self.add_type(id);
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let name = self.schema.openapi_name(id);
        let entry = self.made.entry(name).or_insert_with(|| json!({}));
        let known = &mut entry["x-kubernetes-group-version-kind"];
        let this = gvk(group, version, kind);
        match known.as_array_mut() {
            Some(list) if list.contains(&this) => {}
            Some(list) => list.push(this),
            None => *known = json!([this]),
        }
    }

    fn add_type(&mut self, first: TypeId) {
        let mut waiting = vec![first];
        while let Some(id) = waiting.pop() {
            if !self.seen.insert(id) {
                continue;
            }
            let mut described = self.describe(id, &mut waiting);
            said(&mut described, self.descriptions.of_type(self.schema.type_name(id)));
            self.made.insert(self.schema.openapi_name(id), described);
        }
    }

    fn describe(&self, id: TypeId, waiting: &mut Vec<TypeId>) -> Value {
        match self.schema.form(id) {
            Form::Struct => {}
            Form::WrappedList(item) => return json!({"type": "array", "items": self.item(item, waiting)}),
            Form::Quantity => return json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            Form::Time | Form::MicroTime => return json!({"type": "string", "format": "date-time"}),
            Form::IntOrString => {
                return json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"});
            }
            Form::AnyObject => return json!({"type": "object"}),
            Form::Any | Form::SchemaOrList | Form::SchemaOrBool | Form::SchemaOrStrings => return json!({}),
        }
        let type_name = self.schema.type_name(id);
        let mut properties = Map::new();
        let mut add = |name: &str, mut property: Value| {
            said(&mut property, self.descriptions.of_field(type_name, name));
            properties.insert(name.to_owned(), property);
        };
        if self.schema.has_type_meta(id) {
            add("apiVersion", json!({"type": "string"}));
            add("kind", json!({"type": "string"}));
        }
        let mut required = Vec::new();
        for field in self.schema.fields(id) {
            add(field.name, self.property(field, waiting));
            if field.is_required() {
                required.push(field.name);
            }
        }
        let mut described = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            described["required"] = json!(required);
        }
        described
    }

    fn property(&self, field: &Field, waiting: &mut Vec<TypeId>) -> Value {
        let mut property = match field.shape {
            Shape::One(item) => self.item(item, waiting),
            Shape::List(item) => json!({"type": "array", "items": self.defaulted(item, waiting)}),
            Shape::Map(item) => {
                json!({"type": "object", "additionalProperties": self.defaulted(item, waiting)})
            }
        };
        if let Shape::One(item) = field.shape
            && !field.is_pointer()
            && (!field.omit_empty() || matches!(item, Item::Type(_)))
        {
            self.zero(&mut property, item);
        }
        if let Some(list_type) = field.list_type() {
            property["x-kubernetes-list-type"] = list_type.name().into();
        }
        if let Some(map_type) = field.map_type() {
            property["x-kubernetes-map-type"] = map_type.name().into();
        }
        let keys: Vec<&str> = field.list_map_keys().collect();
        if !keys.is_empty() {
            property["x-kubernetes-list-map-keys"] = json!(keys);
        }
        if !field.patch_strategy().is_empty() {
            property["x-kubernetes-patch-strategy"] = field.patch_strategy().into();
        }
        if let Some(key) = field.patch_merge_key() {
            property["x-kubernetes-patch-merge-key"] = key.into();
        }
        property
    }

    /// The schema of an item of a list or a map, with what an item is when nothing is said.
    fn defaulted(&self, item: Item, waiting: &mut Vec<TypeId>) -> Value {
        let mut schema = self.item(item, waiting);
        self.zero(&mut schema, item);
        schema
    }

    /// Says what Go makes of a value that is not there, for types that have no words of their own for it.
    fn zero(&self, schema: &mut Value, item: Item) {
        schema["default"] = match item {
            Item::String => json!(""),
            Item::Bool => json!(false),
            Item::Int32 | Item::Int64 | Item::Double => json!(0),
            Item::Type(id) if self.schema.form(id) == Form::Struct => json!({}),
            Item::Bytes | Item::Type(_) => return,
        };
    }

    fn item(&self, item: Item, waiting: &mut Vec<TypeId>) -> Value {
        match item {
            Item::String => json!({"type": "string"}),
            Item::Bool => json!({"type": "boolean"}),
            Item::Int32 => json!({"type": "integer", "format": "int32"}),
            Item::Int64 => json!({"type": "integer", "format": "int64"}),
            Item::Double => json!({"type": "number", "format": "double"}),
            Item::Bytes => json!({"type": "string", "format": "byte"}),
            Item::Type(id) => {
                waiting.push(id);
                // Beside a reference nothing else may stand (OpenAPI 3.0): hence the list of one.
                json!({"allOf": [reference(self.schema, id)]})
            }
        }
    }
}

/// Puts a description in, when there is one.
fn said(schema: &mut Value, description: String) {
    if !description.is_empty() {
        schema["description"] = description.into();
    }
}
