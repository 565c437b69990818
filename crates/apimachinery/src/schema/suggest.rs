//! What somebody probably meant who wrote a field that a type does not have.

use std::fmt;

use crate::spelling;

use super::{Item, Schema, Shape, TypeId};

/// How many structs below the wrong place are looked into for the field.
const MAX_DEPTH: usize = 3;

/// What was probably meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Suggestion {
    /// A field with nearly the same name.
    Near(&'static str),
    /// A field of just this name, further inside.
    Inside(String),
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Near(name) => write!(f, "did you mean {name:?}?"),
            Self::Inside(path) => write!(f, "did you mean {path:?}, further inside?"),
        }
    }
}

impl Suggestion {
    pub(super) fn find(schema: &Schema, type_id: TypeId, wrong: &str) -> Option<Self> {
        let near = spelling::nearest(wrong, schema.fields(type_id).iter().map(|field| field.name));
        if let Some(name) = near {
            return Some(Self::Near(name));
        }
        (1..=MAX_DEPTH).find_map(|depth| inside(schema, type_id, wrong, depth)).map(Self::Inside)
    }
}

/// The path, `depth` structs down, of a field called `name`.
fn inside(schema: &Schema, type_id: TypeId, name: &str, depth: usize) -> Option<String> {
    schema.fields(type_id).iter().find_map(|field| {
        let Shape::One(Item::Type(inner)) = field.shape else { return None };
        let rest = match depth {
            1 => schema.field(inner, name)?.name.to_owned(),
            _ => inside(schema, inner, name, depth - 1)?,
        };
        Some(format!("{}.{rest}", field.name))
    })
}
