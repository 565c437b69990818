//! Objects as clients send them in protobuf: written by the same table of facts that the server reads them by.

use apimachinery::schema::{Field, Form, Item, Schema, Shape, TypeId};
use apimachinery::time;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

/// The media type of such a body.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;

/// The body of a request with this object: `k8s`, a zero, and a `runtime.Unknown`.
pub(crate) fn body(object: &Value) -> Vec<u8> {
    let (api_version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
    let (api_version, kind) = (api_version.expect("a version"), kind.expect("a kind"));
    let type_id = Schema::builtin().gvk(api_version, kind).expect("a known kind");
    let (mut unknown, mut type_meta) = (b"k8s\0".to_vec(), Vec::new());
    bytes(&mut type_meta, 1, api_version.as_bytes());
    bytes(&mut type_meta, 2, kind.as_bytes());
    bytes(&mut unknown, 1, &type_meta);
    bytes(&mut unknown, 2, &message(object, type_id));
    unknown
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn key(out: &mut Vec<u8>, tag: u16, wire: u64) {
    varint(out, u64::from(tag) << 3 | wire);
}

fn bytes(out: &mut Vec<u8>, tag: u16, bytes: &[u8]) {
    key(out, tag, LENGTH_DELIMITED);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn message(object: &Value, type_id: TypeId) -> Vec<u8> {
    let mut out = Vec::new();
    for field in Schema::builtin().message_fields(type_id) {
        if field.is_inlined() {
            let Shape::One(Item::Type(inner)) = field.shape else { panic!("an inlined scalar") };
            bytes(&mut out, field.tag, &message(object, inner));
        } else if let Some(value) = object.get(field.name).filter(|value| !value.is_null()) {
            self::field(&mut out, field, value);
        }
    }
    out
}

fn field(out: &mut Vec<u8>, field: &Field, value: &Value) {
    match field.shape {
        Shape::One(item) => one(out, field.tag, item, value),
        Shape::List(item) => {
            value.as_array().expect("a list").iter().for_each(|value| one(out, field.tag, item, value));
        }
        Shape::Map(item) => {
            for (name, value) in value.as_object().expect("a map") {
                let mut entry = Vec::new();
                bytes(&mut entry, 1, name.as_bytes());
                one(&mut entry, 2, item, value);
                bytes(out, field.tag, &entry);
            }
        }
    }
}

fn one(out: &mut Vec<u8>, tag: u16, item: Item, value: &Value) {
    match item {
        Item::String => bytes(out, tag, value.as_str().expect("text").as_bytes()),
        Item::Bytes => bytes(out, tag, &BASE64.decode(value.as_str().expect("text")).expect("base64")),
        Item::Bool => {
            key(out, tag, VARINT);
            varint(out, u64::from(value.as_bool().expect("a truth")));
        }
        Item::Int32 | Item::Int64 => {
            key(out, tag, VARINT);
            varint(out, value.as_i64().expect("a number").cast_unsigned());
        }
        Item::Double => {
            key(out, tag, FIXED64);
            out.extend_from_slice(&value.as_f64().expect("a number").to_le_bytes());
        }
        Item::Type(id) => bytes(out, tag, &special(id, value)),
    }
}

/// A value of a type, some of which have words of their own in JSON.
fn special(id: TypeId, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match Schema::builtin().form(id) {
        Form::Struct => return message(value, id),
        Form::Quantity => bytes(&mut out, 1, value.as_str().expect("a quantity").as_bytes()),
        Form::Time | Form::MicroTime => {
            let moment = time::parse(value.as_str().expect("a time")).expect("a time");
            key(&mut out, 1, VARINT);
            varint(&mut out, moment.as_second().cast_unsigned());
        }
        Form::IntOrString => match value.as_str() {
            Some(text) => {
                key(&mut out, 1, VARINT);
                varint(&mut out, 1);
                bytes(&mut out, 3, text.as_bytes());
            }
            None => {
                key(&mut out, 2, VARINT);
                varint(&mut out, value.as_i64().expect("a number").cast_unsigned());
            }
        },
        Form::AnyObject => bytes(&mut out, 1, value.to_string().as_bytes()),
        other => panic!("no sample has a {other:?}"),
    }
    out
}
