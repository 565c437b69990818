//! Strategic merge patch: as a merge patch, but lists whose items have a key are merged item by item, and
//! directives say the rest (`k8s.io/apimachinery/pkg/util/strategicpatch`).
//!
//! | directive | meaning |
//! |---|---|
//! | `$patch: replace`, `delete`, `merge` | what becomes of this object, or of the list that it is an item of |
//! | `$retainKeys: [a, b]` | all other keys of this object go |
//! | `$deleteFromPrimitiveList/x: [1]` | these values leave the set `x` |
//! | `$setElementOrder/x: [...]` | the order of the list `x` |

mod apply;
mod diff;
mod order;
#[cfg(test)]
pub(super) mod tests;

pub use apply::apply;
pub(super) use diff::{Changes, diff};

use serde_json::{Map, Value};

use super::place::Place;
use crate::schema::TypeId;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// Why a patch cannot be applied; the API answers with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something in the patch has the wrong JSON type.
    #[error("strategic merge patch: {field:?} must be {expected}")]
    WrongType {
        /// The field, or `patch` for the whole.
        field: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A list's item does not say which item it is.
    #[error(
        "strategic merge patch: an item of {field:?} does not contain the declared merge key {merge_key:?}"
    )]
    NoMergeKey {
        /// The list's name.
        field: String,
        /// The key that each item needs.
        merge_key: &'static str,
    },
    /// A `$patch` that is none.
    #[error("strategic merge patch: unknown $patch {directive}; it must be replace, delete or merge")]
    UnknownDirective {
        /// What stands there, as JSON.
        directive: String,
    },
    /// A patch that sets what it does not retain.
    #[error("strategic merge patch: {field:?} is set, but not in $retainKeys")]
    NotRetained {
        /// The field that is set.
        field: String,
    },
}

/// The patch that makes `modified` of `original`; an empty object when they are equal
/// (`CreateTwoWayMergePatch`).
///
/// What a strategic merge patch cannot say: fields that are `null`, and in sets of scalars values that stand
/// twice.
pub fn two_way(original: &Value, modified: &Value, type_id: TypeId) -> Value {
    match (original, modified) {
        (Value::Object(original), Value::Object(modified)) => {
            Value::Object(diff(original, modified, Place::of_type(type_id), Changes::All))
        }
        _ => modified.clone(),
    }
}

/// What tells a list's item from the others: the value of the merge key, or for scalars the item.
fn identity<'a>(item: &'a Value, merge_key: Option<&str>) -> Option<&'a Value> {
    match merge_key {
        Some(key) => item.get(key),
        None => Some(item).filter(|item| !item.is_object()),
    }
}

fn is_directive(key: &str) -> bool {
    key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(DELETE_FROM_LIST) || key.starts_with(SET_ORDER)
}

/// What a patch's value is when there is nothing to merge it with: without directives and without nulls.
/// `None` for what is to be deleted.
fn without_directives(patch: &Value, place: Place) -> Option<Value> {
    match (patch, place) {
        (_, Place::Opaque) => Some(patch.clone()),
        (Value::Object(fields), _) => {
            if fields.get(DIRECTIVE).is_some_and(|d| d == "delete") {
                return None;
            }
            let plain = fields.iter().filter(|(key, value)| !is_directive(key) && !value.is_null());
            let kept = plain.filter_map(|(key, value)| {
                Some((key.clone(), without_directives(value, place.field(key).place)?))
            });
            Some(Value::Object(kept.collect::<Map<_, _>>()))
        }
        (Value::Array(items), _) => {
            let replaced = |item: &&Value| !is_replace_marker(item);
            Some(items.iter().filter(replaced).filter_map(|item| without_directives(item, place)).collect())
        }
        _ => Some(patch.clone()),
    }
}

/// `{"$patch": "replace"}` in a list: the other items are all that the list shall hold.
fn is_replace_marker(item: &Value) -> bool {
    item.get(DIRECTIVE).is_some_and(|d| d == "replace")
}
