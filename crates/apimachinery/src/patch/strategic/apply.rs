//! Applying a strategic merge patch.

use serde_json::{Map, Value};

use super::order::{identities, in_order};
use super::{
    DELETE_FROM_LIST, DIRECTIVE, Error, RETAIN_KEYS, SET_ORDER, identity, is_directive, is_replace_marker,
    without_directives,
};
use crate::patch::place::{Facts, Place};
use crate::schema::TypeId;

/// Changes an object of the type as `patch` says. On an error the object is half changed: work on a copy.
///
/// # Errors
/// When the patch has the wrong shape, an unknown directive, or a list's item without its key.
pub fn apply(object: &mut Value, patch: &Value, type_id: TypeId) -> Result<(), Error> {
    let wrong = || Error::WrongType { field: "patch".to_owned(), expected: "an object" };
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else { return Err(wrong()) };
    merge_map(object, patch, Place::of_type(type_id))
}

pub(super) fn merge_map(
    original: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    place: Place,
) -> Result<(), Error> {
    match patch.get(DIRECTIVE) {
        None => {}
        Some(directive) => match directive.as_str() {
            Some("merge") => {}
            Some("delete") => {
                original.clear();
                return Ok(());
            }
            Some("replace") => {
                if let Some(Value::Object(fields)) = without_directives(&Value::Object(patch.clone()), place)
                {
                    *original = fields;
                }
                return Ok(());
            }
            _ => return Err(Error::UnknownDirective { directive: directive.to_string() }),
        },
    }
    retain_keys(original, patch)?;
    let orders = orders(original, patch)?;
    for (key, values) in patch {
        if let Some(name) = key.strip_prefix(DELETE_FROM_LIST) {
            let values = values.as_array().ok_or_else(|| not_a_list(key))?;
            if let Some(Value::Array(list)) = original.get_mut(name) {
                list.retain(|item| !values.contains(item));
            }
        }
    }
    for (key, value) in patch.iter().filter(|(key, _)| !is_directive(key)) {
        merge_field(original, key, value, &place.field(key))?;
    }
    for order in orders {
        if let Some(Value::Array(list)) = original.get_mut(order.name) {
            let merge_key = place.field(order.name).merge_key;
            let wanted = identities(order.wanted, merge_key);
            *list = in_order(std::mem::take(list), &wanted, &identities(&order.before, merge_key), merge_key);
        }
    }
    Ok(())
}

fn not_a_list(field: &str) -> Error {
    Error::WrongType { field: field.to_owned(), expected: "a list" }
}

fn retain_keys(original: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), Error> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let keys = keys.as_array().ok_or_else(|| not_a_list(RETAIN_KEYS))?;
    let retained = |key: &str| keys.iter().any(|k| k == key);
    let set = patch.iter().find(|(key, value)| !is_directive(key) && !value.is_null() && !retained(key));
    if let Some((field, _)) = set {
        return Err(Error::NotRetained { field: field.clone() });
    }
    original.retain(|key, _| retained(key));
    Ok(())
}

/// An order that the patch asks a list to have, and the list as it was before.
struct Order<'a> {
    name: &'a str,
    wanted: &'a [Value],
    before: Vec<Value>,
}

fn orders<'a>(original: &Map<String, Value>, patch: &'a Map<String, Value>) -> Result<Vec<Order<'a>>, Error> {
    let mut orders = Vec::new();
    for (key, wanted) in patch {
        if let Some(name) = key.strip_prefix(SET_ORDER) {
            let wanted = wanted.as_array().ok_or_else(|| not_a_list(key))?;
            let before = original.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
            orders.push(Order { name, wanted, before });
        }
    }
    Ok(orders)
}

fn merge_field(
    original: &mut Map<String, Value>,
    key: &str,
    change: &Value,
    facts: &Facts,
) -> Result<(), Error> {
    if change.is_null() {
        original.remove(key);
        return Ok(());
    }
    match (original.get_mut(key), change) {
        (_, _) if matches!(facts.place, Place::Opaque) => {}
        (Some(Value::Object(fields)), Value::Object(change)) if !facts.replaces => {
            return merge_map(fields, change, facts.place);
        }
        (Some(Value::Array(items)), Value::Array(change)) if facts.merges => {
            return match facts.merge_key {
                Some(merge_key) => merge_items(items, change, key, merge_key, facts.place),
                None => merge_scalars(items, change, key),
            };
        }
        _ => {}
    }
    match without_directives(change, facts.place) {
        Some(value) => original.insert(key.to_owned(), value),
        None => original.remove(key),
    };
    Ok(())
}

fn merge_scalars(items: &mut Vec<Value>, change: &[Value], field: &str) -> Result<(), Error> {
    if change.iter().any(|v| v.is_object() || v.is_array()) {
        return Err(Error::WrongType { field: field.to_owned(), expected: "a list of scalars" });
    }
    let before = items.clone();
    for value in change {
        if !items.contains(value) {
            items.push(value.clone());
        }
    }
    *items = in_order(std::mem::take(items), &identities(change, None), &identities(&before, None), None);
    Ok(())
}

fn merge_items(
    items: &mut Vec<Value>,
    change: &[Value],
    field: &str,
    merge_key: &'static str,
    place: Place,
) -> Result<(), Error> {
    if change.iter().any(is_replace_marker) {
        let all = without_directives(&Value::Array(change.to_vec()), place);
        if let Some(Value::Array(all)) = all {
            *items = all;
        }
        return Ok(());
    }
    let before = items.clone();
    for item in change {
        let Value::Object(fields) = item else {
            return Err(Error::WrongType { field: field.to_owned(), expected: "a list of objects" });
        };
        let no_key = || Error::NoMergeKey { field: field.to_owned(), merge_key };
        let id = fields.get(merge_key).ok_or_else(no_key)?;
        let found = items.iter_mut().find(|i| identity(i, Some(merge_key)) == Some(id));
        match (fields.get(DIRECTIVE), found) {
            (Some(directive), _) if directive == "delete" => {
                items.retain(|i| identity(i, Some(merge_key)) != Some(id));
            }
            (_, Some(Value::Object(found))) => merge_map(found, fields, place)?,
            _ => items.extend(without_directives(item, place)),
        }
    }
    let (wanted, before) = (identities(change, Some(merge_key)), identities(&before, Some(merge_key)));
    *items = in_order(std::mem::take(items), &wanted, &before, Some(merge_key));
    Ok(())
}
