//! The one form of an object, whichever way a client wrote it.
//!
//! A client that writes protobuf cannot tell an empty list from none, and its structs are always there; one that
//! writes JSON may say `env: []`, `cpu: 1` or nothing. Upstream decodes both into Go's types and encodes again.
//! So must this, or a set's template would seem changed, and its pods restarted, because another client wrote it.

use serde_json::{Map, Value};

use super::check::is_type_meta;
use super::{Field, Form, Item, Schema, Shape, TypeId};
use crate::quantity::Quantity;
use crate::time;

/// Gives a value the form that Go's types have in JSON. Fields go that the type does not have, that are `null`, or
/// that are empty where only a pointer could tell empty from absent; structs that are no pointers come; quantities
/// and times take their canonical form. What has the wrong type stays: [`check`](super::check::check) tells it.
pub fn normalize(value: &mut Value, type_id: TypeId) {
    typed(Schema::builtin(), value, type_id);
}

fn typed(schema: &Schema, value: &mut Value, type_id: TypeId) {
    match schema.form(type_id) {
        Form::Struct => {
            if let Value::Object(fields) = value {
                structure(schema, fields, type_id);
            }
        }
        Form::WrappedList(item) => shape(schema, value, Shape::List(item)),
        Form::SchemaOrList | Form::SchemaOrBool => {
            let inside = schema.schema_inside(type_id);
            match value {
                Value::Array(_) => shape(schema, value, Shape::List(inside)),
                _ => self::item(schema, value, inside),
            }
        }
        Form::SchemaOrStrings if value.is_object() => item(schema, value, schema.schema_inside(type_id)),
        Form::Quantity => {
            if let Ok(quantity) = Quantity::from_value(value) {
                *value = quantity.to_string().into();
            }
        }
        Form::Time => rewrite(value, |text| time::parse(text).map(time::format_seconds)),
        Form::MicroTime => rewrite(value, |text| time::parse(text).map(time::format_micros)),
        Form::SchemaOrStrings | Form::IntOrString | Form::AnyObject | Form::Any => {}
    }
}

fn structure(schema: &Schema, fields: &mut Map<String, Value>, type_id: TypeId) {
    let has_type_meta = schema.has_type_meta(type_id);
    fields.retain(|name, value| match schema.field(type_id, name) {
        Some(_) if value.is_null() => false,
        Some(field) => {
            shape(schema, value, field.shape);
            !(field.omit_empty() && !field.is_pointer() && is_empty(schema, field, value))
        }
        None => has_type_meta && is_type_meta(name),
    });
    for field in schema.fields(type_id) {
        if let Shape::One(Item::Type(inner)) = field.shape
            && schema.form(inner) == Form::Struct
            && !field.is_pointer()
            && !fields.contains_key(field.name)
        {
            let mut empty = Map::new();
            structure(schema, &mut empty, inner);
            fields.insert(field.name.to_owned(), Value::Object(empty));
        }
    }
}

fn shape(schema: &Schema, value: &mut Value, shape: Shape) {
    let inside = shape.item();
    match (shape, value) {
        (Shape::One(_), value) => item(schema, value, inside),
        (Shape::List(_), Value::Array(values)) => values.iter_mut().for_each(|v| item(schema, v, inside)),
        (Shape::Map(_), Value::Object(values)) => values.values_mut().for_each(|v| item(schema, v, inside)),
        _ => {}
    }
}

fn item(schema: &Schema, value: &mut Value, item: Item) {
    match item {
        Item::Type(type_id) => typed(schema, value, type_id),
        // In a map or a list a null stays, as the zero value.
        Item::String | Item::Bytes if value.is_null() => *value = "".into(),
        Item::Bytes => {
            rewrite(value, |text| text.contains(['\r', '\n']).then(|| text.replace(['\r', '\n'], "")));
        }
        _ => {}
    }
}

fn rewrite(value: &mut Value, form: impl Fn(&str) -> Option<String>) {
    if let Some(better) = value.as_str().and_then(form) {
        *value = better.into();
    }
}

/// Whether the field's value is what it would be if it were not there. Structs are there even when empty.
fn is_empty(schema: &Schema, field: &Field, value: &Value) -> bool {
    if let Shape::One(Item::Type(inner)) = field.shape {
        return match schema.form(inner) {
            Form::Quantity => Quantity::from_value(value).is_ok_and(Quantity::is_zero),
            Form::IntOrString => value == 0 || value == "",
            Form::WrappedList(_) => value.as_array().is_some_and(Vec::is_empty),
            _ => false,
        };
    }
    match value {
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Null => true,
    }
}
