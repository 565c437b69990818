//! The way back: JSON objects into the bytes that a typed client sends, driven by the same table of facts. Only tests
//! write protobuf.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value};

use crate::schema::{Field, Form, Item, Schema, Shape, TypeId};
use crate::time;

const BOOL_OR_INT: u32 = 0;
const FIXED64: u32 = 1;
const BYTES: u32 = 2;

/// The message of an object of this type. What the object lacks is written as Go writes it: zeros of what is no
/// pointer.
pub(super) fn message(object: &Map<String, Value>, type_id: TypeId) -> Vec<u8> {
    let schema = Schema::builtin();
    let mut out = Vec::new();
    for field in schema.message_fields(type_id) {
        if field.is_inlined() {
            if let Shape::One(Item::Type(inner)) = field.shape {
                bytes(&mut out, field, &message(object, inner));
            }
            continue;
        }
        match (object.get(field.name), field.shape) {
            (Some(value), Shape::One(item)) => one(&mut out, field, value, item),
            (Some(Value::Array(values)), Shape::List(item)) => {
                values.iter().for_each(|value| one(&mut out, field, value, item));
            }
            (Some(Value::Object(entries)), Shape::Map(item)) => {
                for (key, value) in entries {
                    let mut entry = Vec::new();
                    tagged(&mut entry, 1, BYTES);
                    counted(&mut entry, key.as_bytes());
                    put(&mut entry, 2, value, item);
                    bytes(&mut out, field, &entry);
                }
            }
            (Some(value), shape) => panic!("{} is {shape:?}, and not {value}", field.name),
            (None, Shape::One(item)) if !field.is_pointer() => zero(&mut out, field, item),
            (None, _) => {}
        }
    }
    out
}

fn one(out: &mut Vec<u8>, field: &Field, value: &Value, item: Item) {
    put(out, u32::from(field.tag), value, item);
}

fn put(out: &mut Vec<u8>, tag: u32, value: &Value, item: Item) {
    let text = || value.as_str().expect("a text");
    let whole = || varint_of(value.as_i64().expect("a whole number"));
    match item {
        Item::String => length_delimited(out, tag, text().as_bytes()),
        Item::Bytes => length_delimited(out, tag, &BASE64.decode(text()).expect("base64")),
        Item::Bool => number(out, tag, value.as_bool().expect("true or false").into()),
        Item::Int32 | Item::Int64 => number(out, tag, whole()),
        Item::Double => {
            tagged(out, tag, FIXED64);
            out.extend(value.as_f64().expect("a number").to_le_bytes());
        }
        Item::Type(type_id) => length_delimited(out, tag, &typed(value, type_id)),
    }
}

/// What a client writes of a field that is not there and cannot say so.
fn zero(out: &mut Vec<u8>, field: &Field, item: Item) {
    let tag = u32::from(field.tag);
    match item {
        Item::String => length_delimited(out, tag, b""),
        Item::Bool | Item::Int32 | Item::Int64 => number(out, tag, 0),
        Item::Double => {
            tagged(out, tag, FIXED64);
            out.extend([0; 8]);
        }
        Item::Type(type_id) if Schema::builtin().form(type_id) == Form::Struct => {
            length_delimited(out, tag, &message(&Map::new(), type_id));
        }
        Item::Bytes | Item::Type(_) => {}
    }
}

fn typed(value: &Value, type_id: TypeId) -> Vec<u8> {
    let schema = Schema::builtin();
    let mut out = Vec::new();
    match (schema.form(type_id), value) {
        (Form::Struct, Value::Object(fields)) => return message(fields, type_id),
        (Form::WrappedList(item), Value::Array(values)) => {
            values.iter().for_each(|value| put(&mut out, 1, value, item));
        }
        (Form::Quantity, _) => put(&mut out, 1, value, Item::String),
        (Form::Time | Form::MicroTime, Value::String(text)) => {
            let moment = time::parse(text).expect("a time");
            number(&mut out, 1, varint_of(moment.as_second()));
            number(&mut out, 2, varint_of(moment.subsec_nanosecond().into()));
        }
        (Form::IntOrString, Value::String(_)) => {
            number(&mut out, 1, 1);
            number(&mut out, 2, 0);
            put(&mut out, 3, value, Item::String);
        }
        (Form::IntOrString, _) => {
            number(&mut out, 1, 0);
            put(&mut out, 2, value, Item::Int32);
            length_delimited(&mut out, 3, b"");
        }
        (Form::AnyObject | Form::Any, _) => length_delimited(&mut out, 1, value.to_string().as_bytes()),
        (Form::SchemaOrList | Form::SchemaOrBool | Form::SchemaOrStrings, _) => {
            schema_or(&mut out, value, type_id);
        }
        (form, value) => panic!("{} is {form:?}, and not {value}", schema.type_name(type_id)),
    }
    out
}

fn schema_or(out: &mut Vec<u8>, value: &Value, type_id: TypeId) {
    let schema = Schema::builtin().field(type_id, "Schema").expect("a schema");
    let inner = schema.shape.item();
    match value {
        Value::Object(_) => one(out, schema, value, inner),
        Value::Bool(allows) => number(out, 1, (*allows).into()),
        Value::Array(values) => {
            for value in values {
                let item = if value.is_string() { Item::String } else { inner };
                put(out, 2, value, item);
            }
        }
        other => panic!("a schema or what may stand for one, and not {other}"),
    }
}

fn bytes(out: &mut Vec<u8>, field: &Field, value: &[u8]) {
    length_delimited(out, field.tag.into(), value);
}

fn length_delimited(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    tagged(out, tag, BYTES);
    counted(out, value);
}

pub(super) fn counted(out: &mut Vec<u8>, value: &[u8]) {
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn number(out: &mut Vec<u8>, tag: u32, value: u64) {
    tagged(out, tag, BOOL_OR_INT);
    varint(out, value);
}

fn tagged(out: &mut Vec<u8>, tag: u32, wire: u32) {
    varint(out, u64::from(tag << 3 | wire));
}

fn varint_of(number: i64) -> u64 {
    u64::from_le_bytes(number.to_le_bytes())
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).expect("seven bits"));
}
