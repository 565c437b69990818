//! The types whose JSON is not an object of their fields.

use jiff::Timestamp;
use serde_json::Value;

use super::Error;
use super::message::{Decoder, int32, int64};
use super::wire::{Reader, Wire};
use crate::quantity::Quantity;
use crate::schema::{Form, Item, Shape, TypeId, strict_json};
use crate::time;

/// The first second of the year 1, Go's zero time.
const ZERO_TIME_SECONDS: i64 = -62_135_596_800;

impl Decoder {
    pub(super) fn special(
        &mut self,
        form: Form,
        type_id: TypeId,
        bytes: &[u8],
        depth: usize,
    ) -> Result<Value, Error> {
        let name = self.schema.type_name(type_id);
        match form {
            Form::Struct => self.typed(type_id, bytes, depth),
            Form::WrappedList(item) => self.wrapped_list(item, name, bytes),
            Form::Quantity => quantity(bytes, name),
            Form::Time => timestamp(bytes, name, |time| time::format_seconds(time.0)),
            Form::MicroTime => timestamp(bytes, name, |time| time::format_micros(time.1)),
            Form::IntOrString => int_or_string(bytes, name),
            Form::AnyObject | Form::Any => embedded_json(bytes, name, depth),
            Form::SchemaOrList | Form::SchemaOrBool | Form::SchemaOrStrings => {
                self.schema_or(form, type_id, bytes, depth)
            }
        }
    }

    fn wrapped_list(&mut self, item: Item, name: &'static str, bytes: &[u8]) -> Result<Value, Error> {
        let mut items = Vec::new();
        let mut reader = Reader::new(bytes, name);
        while let Some((tag, wire)) = reader.next_field()? {
            if tag == 1 {
                let wrong = Error::WrongWireType { message: name, field: "items" };
                self.spend()?;
                items.push(super::message::scalar(item, wire).ok_or(wrong)?);
            }
        }
        Ok(Value::Array(items))
    }

    /// `JSONSchemaPropsOr…`: of a schema and something else, the one that is there.
    fn schema_or(&mut self, form: Form, type_id: TypeId, bytes: &[u8], depth: usize) -> Result<Value, Error> {
        let name = self.schema.type_name(type_id);
        let schema_field = self.schema.field(type_id, "Schema");
        let Some(Shape::One(Item::Type(schema_type))) = schema_field.map(|f| f.shape) else {
            return Ok(Value::Null);
        };
        let schema_tag = schema_field.map_or(0, |f| u32::from(f.tag));
        let (mut schema, mut allows, mut items) = (None, false, Vec::new());
        let mut reader = Reader::new(bytes, name);
        while let Some((tag, wire)) = reader.next_field()? {
            match (wire, form) {
                (Wire::Bytes(bytes), _) if tag == schema_tag => {
                    schema = Some(self.typed(schema_type, bytes, depth)?);
                }
                (Wire::Bytes(bytes), Form::SchemaOrList) if tag == 2 => {
                    items.push(self.typed(schema_type, bytes, depth + 1)?);
                }
                (Wire::Bytes(bytes), Form::SchemaOrStrings) if tag == 2 => {
                    self.spend()?;
                    items.push(String::from_utf8_lossy(bytes).into_owned().into());
                }
                (Wire::Varint(number), Form::SchemaOrBool) if tag == 1 => allows = number != 0,
                (_, _) if tag > 2 => {}
                _ => return Err(Error::WrongWireType { message: name, field: "Schema" }),
            }
        }
        Ok(match (schema, form) {
            _ if !items.is_empty() => Value::Array(items),
            (Some(schema), _) => schema,
            (None, Form::SchemaOrBool) => allows.into(),
            (None, _) => Value::Null,
        })
    }
}

fn quantity(bytes: &[u8], name: &'static str) -> Result<Value, Error> {
    let mut text = None;
    let mut reader = Reader::new(bytes, name);
    while let Some((tag, wire)) = reader.next_field()? {
        match (tag, wire) {
            (1, Wire::Bytes(bytes)) => text = Some(String::from_utf8_lossy(bytes).into_owned()),
            (1, _) => return Err(Error::WrongWireType { message: name, field: "string" }),
            _ => {}
        }
    }
    let Some(text) = text else { return Ok("0".into()) };
    match Quantity::parse(&text) {
        Ok(_) => Ok(text.into()),
        Err(source) => Err(Error::Quantity { text, source }),
    }
}

/// Seconds and nanoseconds since 1970; `print` gets the moment to the second and to the nanosecond.
fn timestamp(
    bytes: &[u8],
    name: &'static str,
    print: fn((Timestamp, Timestamp)) -> String,
) -> Result<Value, Error> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes, name);
    while let Some((tag, wire)) = reader.next_field()? {
        match (tag, wire) {
            (1, Wire::Varint(number)) => seconds = int64(number),
            (2, Wire::Varint(number)) => nanos = int32(number),
            (1 | 2, _) => return Err(Error::WrongWireType { message: name, field: "seconds" }),
            _ => {}
        }
    }
    if bytes.is_empty() || seconds == ZERO_TIME_SECONDS {
        return Ok(Value::Null);
    }
    let out_of_range = |_| Error::Malformed { context: name, what: "a time out of range" };
    let whole = Timestamp::new(seconds, 0).map_err(out_of_range)?;
    let fine = Timestamp::new(seconds, nanos).map_err(out_of_range)?;
    Ok(print((whole, fine)).into())
}

fn int_or_string(bytes: &[u8], name: &'static str) -> Result<Value, Error> {
    let (mut is_string, mut number, mut text) = (false, 0, String::new());
    let mut reader = Reader::new(bytes, name);
    while let Some((tag, wire)) = reader.next_field()? {
        match (tag, wire) {
            (1, Wire::Varint(kind)) => is_string = kind == 1,
            (2, Wire::Varint(value)) => number = int32(value),
            (3, Wire::Bytes(bytes)) => text = String::from_utf8_lossy(bytes).into_owned(),
            (1..=3, _) => return Err(Error::WrongWireType { message: name, field: "type" }),
            _ => {}
        }
    }
    Ok(if is_string { text.into() } else { number.into() })
}

/// A message with JSON in its first field.
fn embedded_json(bytes: &[u8], name: &'static str, depth: usize) -> Result<Value, Error> {
    let mut raw: &[u8] = &[];
    let mut reader = Reader::new(bytes, name);
    while let Some((tag, wire)) = reader.next_field()? {
        match (tag, wire) {
            (1, Wire::Bytes(bytes)) => raw = bytes,
            (1, _) => return Err(Error::WrongWireType { message: name, field: "raw" }),
            _ => {}
        }
    }
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    let parsed = strict_json::parse_at(raw, depth).map_err(|e| Error::EmbeddedJson(e.to_string()))?;
    Ok(parsed.value)
}
