//! Where in a type a strategic merge is: what is known there about the fields below.

use crate::schema::{Form, Item, Schema, Shape, TypeId};

/// The type of a value, as far as patches care.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// An object with the type's fields.
    Struct(TypeId),
    /// A map whose values are all of one type.
    Map(Item),
    /// Not described: maps merge, lists are replaced.
    Unknown,
    /// Any JSON, taken as one value: what looks like a directive inside is data
    /// (the `data` of a ControllerRevision is a patch).
    Opaque,
}

/// What a strategic merge must know of one field.
pub(super) struct Facts {
    /// The field's own place; for a list that of its items.
    pub(super) place: Place,
    /// The list is merged, not replaced.
    pub(super) merges: bool,
    /// The field that tells a merged list's items apart; none for scalars.
    pub(super) merge_key: Option<&'static str>,
    /// The struct is replaced, not merged.
    pub(super) replaces: bool,
    /// The struct (or a list's item) loses the keys that the patch does not keep.
    pub(super) retains_keys: bool,
}

impl Facts {
    fn plain(place: Place) -> Self {
        Self { place, merges: false, merge_key: None, replaces: false, retains_keys: false }
    }
}

impl Place {
    pub(super) fn of_type(type_id: TypeId) -> Self {
        match Schema::builtin().form(type_id) {
            Form::Struct => Self::Struct(type_id),
            Form::AnyObject | Form::Any => Self::Opaque,
            _ => Self::Unknown,
        }
    }

    fn of_item(item: Item) -> Self {
        match item {
            Item::Type(type_id) => Self::of_type(type_id),
            _ => Self::Unknown,
        }
    }

    pub(super) fn field(self, name: &str) -> Facts {
        let type_id = match self {
            Self::Struct(type_id) => type_id,
            Self::Map(item) => return Facts::plain(Self::of_item(item)),
            Self::Unknown | Self::Opaque => return Facts::plain(self),
        };
        let Some(field) = Schema::builtin().field(type_id, name) else {
            return Facts::plain(Self::Unknown);
        };
        Facts {
            place: match field.shape {
                Shape::One(item) | Shape::List(item) => Self::of_item(item),
                Shape::Map(item) => Self::Map(item),
            },
            merges: field.merges(),
            merge_key: field.patch_merge_key(),
            replaces: field.replaces(),
            retains_keys: field.retains_keys(),
        }
    }
}
