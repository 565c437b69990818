//! Strict decoding: does a value have the shape of its type? (upstream: `sigs.k8s.io/json`'s strict mode and
//! the decoding of each type, `k8s.io/apimachinery/pkg/runtime/serializer/json`.)

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

pub use super::normalize::normalize as prune_unknown;
use super::suggest::Suggestion;
use super::trail::Trail;
use super::{Form, Item, Schema, Shape, TypeId};
use crate::field::FieldError;
use crate::quantity::Quantity;
use crate::time;

/// How many faults of a kind are told, as upstream bounds them.
const MAX_FAULTS: usize = 100;

/// What is wrong with an object's shape.
#[derive(Debug, Default)]
pub struct Checked {
    /// Values of the wrong JSON type: the object cannot be used.
    pub errors: Vec<FieldError>,
    /// Fields that the type does not have: refused, warned of or dropped, as the client asks (`fieldValidation`).
    pub unknown: Vec<UnknownField>,
}

/// A field that the type does not have. Its text is upstream's, `unknown field "spec.replica"`, and what was
/// probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownField {
    /// The field's path.
    pub path: String,
    suggestion: Option<Suggestion>,
}

impl fmt::Display for UnknownField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown field {:?}", self.path)?;
        self.suggestion.as_ref().map_or(Ok(()), |s| write!(f, " ({s})"))
    }
}

/// Compares a value with its type. `null` stands for an absent value everywhere, as in Go.
pub fn check(value: &Value, type_id: TypeId) -> Checked {
    let mut checker = Checker { schema: Schema::builtin(), found: Checked::default() };
    checker.typed(value, type_id, &Trail::top());
    checker.found
}

struct Checker {
    schema: &'static Schema,
    found: Checked,
}

impl Checker {
    fn fault(&mut self, trail: &Trail<'_>, value: &Value, wanted: impl Into<String>) {
        if self.found.errors.len() < MAX_FAULTS {
            // What was found is named by its type when it is large: nobody wants a pod in a message.
            let shown = match value {
                Value::Object(_) => "object".into(),
                Value::Array(_) => "array".into(),
                scalar => scalar.clone(),
            };
            self.found.errors.push(FieldError::type_invalid(&trail.path(), shown, wanted));
        }
    }

    fn shape(&mut self, value: &Value, shape: Shape, trail: &Trail<'_>) {
        match (shape, value) {
            (_, Value::Null) => {}
            (Shape::One(item), _) => self.item(value, item, trail),
            (Shape::List(item), Value::Array(values)) => {
                for (at, value) in values.iter().enumerate() {
                    self.item(value, item, &trail.index(at));
                }
            }
            (Shape::Map(item), Value::Object(values)) => {
                for (key, value) in values {
                    self.item(value, item, &trail.key(key));
                }
            }
            (Shape::List(_), _) => self.fault(trail, value, "must be a list"),
            (Shape::Map(_), _) => self.fault(trail, value, "must be a map"),
        }
    }

    fn item(&mut self, value: &Value, item: Item, trail: &Trail<'_>) {
        let (right, wanted) = match item {
            _ if value.is_null() => return,
            Item::Type(type_id) => return self.typed(value, type_id, trail),
            Item::Bytes => return self.bytes(value, trail),
            Item::String => (value.is_string(), "must be a string"),
            Item::Bool => (value.is_boolean(), "must be true or false"),
            Item::Int32 if value.is_i64() || value.is_u64() => {
                let fits = value.as_i64().is_some_and(|n| i32::try_from(n).is_ok());
                (fits, "must be between -2147483648 and 2147483647")
            }
            Item::Int64 if value.is_u64() => (value.is_i64(), "must not be greater than 9223372036854775807"),
            Item::Int32 | Item::Int64 => (value.is_i64(), "must be an integer"),
            Item::Double => (value.is_number(), "must be a number"),
        };
        if !right {
            let advice = if item == Item::String && !value.is_object() && !value.is_array() {
                format!("{wanted}; put it in quotes")
            } else {
                wanted.to_owned()
            };
            self.fault(trail, value, advice);
        }
    }

    fn bytes(&mut self, value: &Value, trail: &Trail<'_>) {
        // A Secret's value is not repeated in messages, which end in logs.
        let hidden = Value::from("(hidden)");
        match value.as_str() {
            Some(text) if BASE64.decode(text.replace(['\r', '\n'], "")).is_ok() => {}
            _ => self.fault(trail, &hidden, "must be bytes in base64"),
        }
    }

    fn typed(&mut self, value: &Value, type_id: TypeId, trail: &Trail<'_>) {
        if value.is_null() {
            return;
        }
        let form = self.schema.form(type_id);
        let parses = |parse: fn(&str) -> bool| value.as_str().is_some_and(parse);
        let (right, wanted) = match form {
            Form::Struct => return self.structure(value, type_id, trail),
            Form::WrappedList(item) => return self.shape(value, Shape::List(item), trail),
            Form::SchemaOrList | Form::SchemaOrBool | Form::SchemaOrStrings => {
                return self.schema_or(value, type_id, trail);
            }
            Form::Any => return,
            Form::AnyObject => (value.is_object(), "must be an object".to_owned()),
            Form::Quantity => match Quantity::from_value(value) {
                Ok(_) => return,
                Err(error) => (false, error.to_string()),
            },
            Form::Time | Form::MicroTime => (
                parses(|text| time::parse(text).is_some()),
                "must be a time as RFC 3339 writes it, like 2026-01-02T03:04:05Z".to_owned(),
            ),
            Form::IntOrString => (
                value.is_string() || value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
                "must be an integer or a string".to_owned(),
            ),
        };
        if !right {
            self.fault(trail, value, wanted);
        }
    }

    fn structure(&mut self, value: &Value, type_id: TypeId, trail: &Trail<'_>) {
        let Value::Object(fields) = value else {
            return self.fault(trail, value, "must be an object");
        };
        let has_type_meta = self.schema.has_type_meta(type_id);
        for (name, value) in fields {
            let here = trail.field(name);
            if let Some(field) = self.schema.field(type_id, name) {
                self.shape(value, field.shape, &here);
            } else if has_type_meta && is_type_meta(name) {
                self.item(value, Item::String, &here);
            } else if self.found.unknown.len() < MAX_FAULTS {
                let suggestion = Suggestion::find(self.schema, type_id, name);
                self.found.unknown.push(UnknownField { path: here.path().to_string(), suggestion });
            }
        }
    }

    fn schema_or(&mut self, value: &Value, type_id: TypeId, trail: &Trail<'_>) {
        let schema = self.schema.schema_inside(type_id);
        match (self.schema.form(type_id), value) {
            (_, Value::Object(_)) => self.item(value, schema, trail),
            (Form::SchemaOrList, Value::Array(_)) => self.shape(value, Shape::List(schema), trail),
            (Form::SchemaOrStrings, Value::Array(_)) => self.shape(value, Shape::List(Item::String), trail),
            (Form::SchemaOrBool, Value::Bool(_)) => {}
            (Form::SchemaOrBool, _) => self.fault(trail, value, "must be a schema, true or false"),
            _ => self.fault(trail, value, "must be a schema or a list"),
        }
    }
}

pub(super) fn is_type_meta(name: &str) -> bool {
    matches!(name, "kind" | "apiVersion")
}
