//! Objects of any kind, made from the table of facts and a seed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Value, json};

use crate::inject::Random;
use crate::schema::{Field, Form, Item, Schema, Shape, TypeId};

/// Deeper than this only what must be there is.
const FULL_DEPTH: usize = 6;

/// An object of this type. What cannot be left out without a difference is there.
pub(super) fn any_object(random: &Random, type_id: TypeId, depth: usize) -> Map<String, Value> {
    let schema = Schema::builtin();
    let mut object = Map::new();
    for field in schema.fields(type_id) {
        let wanted = depth < FULL_DEPTH && random.below(3) > 0;
        if wanted || must_be_said(schema, field) {
            object.insert(field.name.to_owned(), any_field(random, field, depth));
        }
    }
    object
}

/// Absent, it reads as a zero in protobuf and as nothing in JSON.
fn must_be_said(schema: &Schema, field: &Field) -> bool {
    if field.is_pointer() {
        return false;
    }
    match field.shape {
        Shape::One(Item::Type(inner)) => match schema.form(inner) {
            Form::Struct => true,
            Form::Quantity | Form::IntOrString | Form::SchemaOrBool => !field.omit_empty(),
            _ => false,
        },
        Shape::One(Item::Bytes) | Shape::List(_) | Shape::Map(_) => false,
        Shape::One(_) => !field.omit_empty(),
    }
}

fn any_field(random: &Random, field: &Field, depth: usize) -> Value {
    // An empty list or map is the same as none: protobuf cannot tell them apart.
    let count = 1 + random.below(2);
    match field.shape {
        Shape::One(item) => any_item(random, item, depth),
        Shape::List(item) => (0..count).map(|_| any_item(random, item, depth)).collect(),
        Shape::Map(item) => {
            let entries = (0..count).map(|at| (format!("k{at}"), any_item(random, item, depth)));
            Value::Object(entries.collect())
        }
    }
}

fn any_item(random: &Random, item: Item, depth: usize) -> Value {
    match item {
        Item::String => pick(random, &["", "a", "ä\"\\\n", "web-0"]).into(),
        Item::Bool => (random.below(2) == 1).into(),
        Item::Int32 => pick(random, &[0, 1, -1, i32::MAX, i32::MIN]).into(),
        Item::Int64 => pick(random, &[0, 1, -1, i64::MAX, i64::MIN]).into(),
        Item::Double => pick(random, &[json!(0), json!(2), json!(-0.5), json!(1e300)]),
        Item::Bytes => BASE64.encode(random.bytes()).into(),
        Item::Type(type_id) => any_typed(random, type_id, depth + 1),
    }
}

fn any_typed(random: &Random, type_id: TypeId, depth: usize) -> Value {
    let schema = Schema::builtin();
    let inside = |random: &Random| {
        let item = schema.field(type_id, "Schema").expect("a schema").shape.item();
        any_item(random, item, depth)
    };
    let other = random.below(2) == 1;
    match schema.form(type_id) {
        Form::Struct => Value::Object(any_object(random, type_id, depth)),
        Form::WrappedList(item) => json!([any_item(random, item, depth), any_item(random, item, depth)]),
        Form::Quantity => pick(random, &["0", "100m", "1Gi", "3", "12e6"]).into(),
        Form::Time => pick(random, &["2020-02-29T23:59:59Z", "1969-12-31T00:00:01Z"]).into(),
        Form::MicroTime => {
            pick(random, &["2020-02-29T23:59:59.000001Z", "1970-01-01T00:00:00.500000Z"]).into()
        }
        Form::IntOrString if other => pick(random, &["25%", "http"]).into(),
        Form::IntOrString => pick(random, &[0, 8080, -1]).into(),
        Form::AnyObject => json!({"f:a": {"f:b": [1, "x", null, 0.5]}}),
        Form::Any => pick(random, &[json!(1), json!("x"), json!([true]), json!({"a": {}})]),
        Form::SchemaOrBool if other => (random.below(2) == 1).into(),
        Form::SchemaOrList if other => json!([inside(random), inside(random)]),
        Form::SchemaOrStrings if other => json!(["a", "b"]),
        Form::SchemaOrBool | Form::SchemaOrList | Form::SchemaOrStrings => inside(random),
    }
}

fn pick<T: Clone>(random: &Random, all: &[T]) -> T {
    all[usize::try_from(random.below(all.len() as u64)).expect("an index")].clone()
}
