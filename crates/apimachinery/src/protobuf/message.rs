//! One message into the fields of a JSON object, as Go would print the struct.
//!
//! Clients write every scalar that is no pointer, zero included, so that presence says nothing about it: with
//! `omitempty` a zero is left out, else printed. Of pointers presence counts. A struct that is no pointer is
//! always there, even when the message lacks it. Empty lists and maps do not survive: left out with `omitempty`,
//! `null` without.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Map, Number, Value};

use super::wire::{Reader, Wire};
use super::{Error, MAX_VALUES};
use crate::schema::strict_json::MAX_DEPTH;
use crate::schema::{Field, Form, Item, Schema, Shape, TypeId};

pub(super) struct Decoder {
    pub(super) schema: &'static Schema,
    values_left: usize,
}

/// What the message says about one field.
enum Found<'a> {
    Nothing,
    Scalar(Value),
    /// A message that has not been read yet; of several the runs of fields follow each other.
    Message(Cow<'a, [u8]>),
    List(Vec<Value>),
    Map(Map<String, Value>),
}

impl Decoder {
    pub(super) fn new() -> Self {
        Self { schema: Schema::builtin(), values_left: MAX_VALUES }
    }

    /// Puts a message's fields into `object`, which stands `depth` levels deep in the outcome.
    pub(super) fn fields(
        &mut self,
        object: &mut Map<String, Value>,
        type_id: TypeId,
        bytes: &[u8],
        depth: usize,
    ) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        for (field, found) in
            self.schema.message_fields(type_id).iter().zip(self.scan(type_id, bytes, depth)?)
        {
            if let Some(value) = self.finish(object, field, found, depth)? {
                self.spend()?;
                object.insert(field.name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// A list's item, a map's value or a field that is there.
    pub(super) fn typed(&mut self, type_id: TypeId, bytes: &[u8], depth: usize) -> Result<Value, Error> {
        self.spend()?;
        match self.schema.form(type_id) {
            Form::Struct => {
                let mut object = Map::new();
                self.fields(&mut object, type_id, bytes, depth + 1)?;
                Ok(Value::Object(object))
            }
            form => self.special(form, type_id, bytes, depth),
        }
    }

    /// What the message says about each of the type's fields, in the table's order.
    fn scan<'a>(&mut self, type_id: TypeId, bytes: &'a [u8], depth: usize) -> Result<Vec<Found<'a>>, Error> {
        let fields = self.schema.message_fields(type_id);
        let mut all: Vec<Found<'a>> = std::iter::repeat_with(|| Found::Nothing).take(fields.len()).collect();
        let mut reader = Reader::new(bytes, self.schema.type_name(type_id));
        while let Some((tag, wire)) = reader.next_field()? {
            // Numbers that are not known belong to newer clients.
            let Some(at) = fields.iter().position(|f| u32::from(f.tag) == tag) else { continue };
            self.take(&mut all[at], &fields[at], type_id, wire, depth)?;
        }
        Ok(all)
    }

    fn take<'a>(
        &mut self,
        found: &mut Found<'a>,
        field: &Field,
        type_id: TypeId,
        wire: Wire<'a>,
        depth: usize,
    ) -> Result<(), Error> {
        let wrong = || Error::WrongWireType { message: self.schema.type_name(type_id), field: field.name };
        match (field.shape, wire) {
            (Shape::One(Item::Type(_)), Wire::Bytes(bytes)) => match found {
                Found::Message(before) => before.to_mut().extend_from_slice(bytes),
                _ => *found = Found::Message(Cow::Borrowed(bytes)),
            },
            (Shape::One(item), wire) => *found = Found::Scalar(scalar(item, wire).ok_or_else(wrong)?),
            (Shape::List(item @ (Item::Bool | Item::Int32 | Item::Int64)), Wire::Bytes(packed)) => {
                let mut reader = Reader::new(packed, field.name);
                while let Some(number) = reader.next_packed()? {
                    self.spend()?;
                    found.push(scalar(item, Wire::Varint(number)).ok_or_else(wrong)?);
                }
            }
            (Shape::List(Item::Type(inner)), Wire::Bytes(bytes)) => {
                found.push(self.typed(inner, bytes, depth + 1)?);
            }
            (Shape::List(item), wire) => {
                let value = scalar(item, wire).ok_or_else(wrong)?;
                self.spend()?;
                found.push(value);
            }
            (Shape::Map(item), Wire::Bytes(entry)) => {
                let (key, value) = self.map_entry(item, field, type_id, entry, depth)?;
                self.spend()?;
                found.insert(key, value);
            }
            (Shape::Map(_), _) => return Err(wrong()),
        }
        Ok(())
    }

    fn map_entry(
        &mut self,
        item: Item,
        field: &Field,
        type_id: TypeId,
        entry: &[u8],
        depth: usize,
    ) -> Result<(String, Value), Error> {
        let wrong = Error::WrongWireType { message: self.schema.type_name(type_id), field: field.name };
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader::new(entry, field.name);
        while let Some((tag, wire)) = reader.next_field()? {
            match (tag, wire, item) {
                (1, Wire::Bytes(bytes), _) => key = String::from_utf8_lossy(bytes).into_owned(),
                (2, Wire::Bytes(bytes), Item::Type(inner)) => {
                    value = Some(self.typed(inner, bytes, depth + 1)?);
                }
                (1, ..) | (2, _, Item::Type(_)) => return Err(wrong),
                (2, wire, item) => value = Some(scalar(item, wire).ok_or_else(|| wrong.clone())?),
                _ => {}
            }
        }
        let value = match (value, item) {
            (Some(value), _) => value,
            (None, Item::Type(inner)) => self.typed(inner, &[], depth + 1)?,
            (None, item) => zero(item),
        };
        Ok((key, value))
    }

    /// The field's value in JSON; `None` when it is left out. An inlined struct's fields go into `object`.
    fn finish(
        &mut self,
        object: &mut Map<String, Value>,
        field: &Field,
        found: Found<'_>,
        depth: usize,
    ) -> Result<Option<Value>, Error> {
        let absent = || Ok((!field.omit_empty()).then_some(Value::Null));
        match (field.shape, found) {
            (Shape::One(Item::Type(inner)), found) => {
                let bytes = match found {
                    Found::Message(bytes) => bytes,
                    _ if field.is_pointer() => return absent(),
                    _ if matches!(self.schema.form(inner), Form::WrappedList(_)) => return absent(),
                    _ => Cow::Borrowed(&[][..]),
                };
                if field.is_inlined() {
                    self.fields(object, inner, &bytes, depth)?;
                    return Ok(None);
                }
                let value = self.typed(inner, &bytes, depth)?;
                Ok(Some(value).filter(|value| !(value.is_null() && field.omit_zero())))
            }
            (Shape::One(_), Found::Scalar(value)) if field.is_pointer() => Ok(Some(value)),
            (Shape::One(_), _) if field.is_pointer() => absent(),
            (Shape::One(Item::Bytes), Found::Nothing) => absent(),
            (Shape::One(item), found) => {
                let value = if let Found::Scalar(value) = found { value } else { zero(item) };
                Ok(Some(value).filter(|value| !(field.omit_empty() && is_zero(value))))
            }
            (_, Found::List(items)) if !items.is_empty() => Ok(Some(Value::Array(items))),
            (_, Found::Map(entries)) if !entries.is_empty() => Ok(Some(Value::Object(entries))),
            (Shape::List(_) | Shape::Map(_), _) => absent(),
        }
    }

    pub(super) fn spend(&mut self) -> Result<(), Error> {
        self.values_left = self.values_left.checked_sub(1).ok_or(Error::TooManyValues)?;
        Ok(())
    }
}

impl Found<'_> {
    fn push(&mut self, value: Value) {
        match self {
            Self::List(items) => items.push(value),
            _ => *self = Self::List(vec![value]),
        }
    }

    fn insert(&mut self, key: String, value: Value) {
        match self {
            Self::Map(entries) => {
                entries.insert(key, value);
            }
            _ => *self = Self::Map(Map::from_iter([(key, value)])),
        }
    }
}

/// A scalar from the wire; `None` when it is of another type. Integers of 32 bits are cut, as in Go.
pub(super) fn scalar(item: Item, wire: Wire<'_>) -> Option<Value> {
    Some(match (item, wire) {
        (Item::String, Wire::Bytes(bytes)) => String::from_utf8_lossy(bytes).into_owned().into(),
        (Item::Bytes, Wire::Bytes(bytes)) => BASE64.encode(bytes).into(),
        (Item::Bool, Wire::Varint(number)) => (number != 0).into(),
        (Item::Int32, Wire::Varint(number)) => int32(number).into(),
        (Item::Int64, Wire::Varint(number)) => int64(number).into(),
        (Item::Double, Wire::Fixed64(bits)) => double(f64::from_bits(bits)),
        _ => return None,
    })
}

pub(super) fn int64(number: u64) -> i64 {
    i64::from_le_bytes(number.to_le_bytes())
}

pub(super) fn int32(number: u64) -> i32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

/// Whole numbers print as integers; what JSON cannot say is `null`.
fn double(number: f64) -> Value {
    const WHOLE_BELOW: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < WHOLE_BELOW {
        #[allow(clippy::cast_possible_truncation)] // whole, and below 2^53
        return (number as i64).into();
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn zero(item: Item) -> Value {
    match item {
        Item::String | Item::Bytes => "".into(),
        Item::Bool => false.into(),
        Item::Int32 | Item::Int64 | Item::Double => 0.into(),
        Item::Type(_) => Value::Null,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}
