//! How apply treats a value: as one, field by field, or item by item.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::path;
use crate::schema::{Field, Form, Item, Schema, Shape, Topology, TypeId};

/// Structs that have one owner each (`+structType=atomic`; in OpenAPI `x-kubernetes-map-type: atomic` on the type,
/// which the table of fields has no place for).
const ATOMIC_STRUCTS: [&str; 36] = [
    "admissionregistration.v1.MatchResources",
    "admissionregistration.v1.NamedRuleWithOperations",
    "admissionregistration.v1.ParamKind",
    "admissionregistration.v1.ParamRef",
    "admissionregistration.v1.Variable",
    "admissionregistration.v1alpha1.MatchResources",
    "admissionregistration.v1alpha1.NamedRuleWithOperations",
    "admissionregistration.v1alpha1.ParamKind",
    "admissionregistration.v1alpha1.ParamRef",
    "admissionregistration.v1beta1.MatchResources",
    "admissionregistration.v1beta1.NamedRuleWithOperations",
    "admissionregistration.v1beta1.ParamKind",
    "admissionregistration.v1beta1.ParamRef",
    "admissionregistration.v1beta1.Variable",
    "autoscaling.v1.CrossVersionObjectReference",
    "core.v1.ConfigMapKeySelector",
    "core.v1.EndpointAddress",
    "core.v1.EndpointPort",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ObjectReference",
    "core.v1.ResourceFieldSelector",
    "core.v1.ScopeSelector",
    "core.v1.SecretKeySelector",
    "core.v1.SecretReference",
    "core.v1.TopologySelectorTerm",
    "core.v1.TypedLocalObjectReference",
    "discovery.v1.EndpointPort",
    "meta.v1.LabelSelector",
    "meta.v1.OwnerReference",
    "networking.v1.ServiceBackendPort",
    "rbac.v1.RoleRef",
    "rbac.v1.Subject",
];

/// What an item that does not say a key of its list is taken to say (the defaults in OpenAPI).
const DEFAULT_KEYS: [(&str, &str, &str); 3] = [
    ("core.v1.ContainerPort", "protocol", "TCP"),
    ("core.v1.ServicePort", "protocol", "TCP"),
    ("core.v1.LocalObjectReference", "name", ""),
];

/// How apply treats a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// As one: it has one owner, and is replaced.
    Leaf,
    /// Field by field.
    Struct(TypeId),
    /// Entry by entry.
    Map(Item),
    /// Item by item; an item is its value.
    Set,
    /// Item by item; an item is known by its keys.
    Keyed(&'static Field),
}

impl Place {
    pub(super) fn of_type(type_id: TypeId) -> Self {
        let granular = Schema::builtin().form(type_id) == Form::Struct && !is_atomic(type_id);
        if granular { Self::Struct(type_id) } else { Self::Leaf }
    }

    fn of_item(item: Item) -> Self {
        match item {
            Item::Type(type_id) => Self::of_type(type_id),
            _ => Self::Leaf,
        }
    }

    fn of_field(field: &'static Field) -> Self {
        match (field.shape, field.list_type(), field.map_type()) {
            (Shape::List(_), Some(Topology::Set), _) => Self::Set,
            (Shape::List(_), Some(Topology::Map), _) => Self::Keyed(field),
            (Shape::List(_), ..) | (_, _, Some(Topology::Atomic)) => Self::Leaf,
            (Shape::Map(item), ..) => Self::Map(item),
            (Shape::One(item), ..) => Self::of_item(item),
        }
    }

    /// The place of the field or entry `name`; `None` when a struct has no such field.
    pub(super) fn inside(self, name: &str) -> Option<Self> {
        match self {
            Self::Struct(type_id) => {
                let schema = Schema::builtin();
                let is_type_meta = || schema.has_type_meta(type_id) && matches!(name, "apiVersion" | "kind");
                match schema.field(type_id, name) {
                    Some(field) => Some(Self::of_field(field)),
                    None => is_type_meta().then_some(Self::Leaf),
                }
            }
            Self::Map(item) => Some(Self::of_item(item)),
            Self::Leaf | Self::Set | Self::Keyed(_) => None,
        }
    }

    /// The place of the list's items.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Keyed(field) => Self::of_item(field.shape.item()),
            _ => Self::Leaf,
        }
    }

    /// Where a step leads to.
    pub(super) fn step(self, step: &str) -> Self {
        path::field_name(step).map_or(self.item(), |name| self.inside(name).unwrap_or(Self::Leaf))
    }

    /// What a struct holds in Go when nobody set the field: what is no pointer is always there, and is written
    /// unless it is empty and may be left out.
    pub(super) fn unset(self, name: &str) -> Option<&'static Value> {
        static EMPTY: OnceLock<[Value; 5]> = OnceLock::new();
        let Self::Struct(type_id) = self else { return None };
        let field = Schema::builtin().field(type_id, name).filter(|field| !field.is_pointer())?;
        let [structure, null, text, no, zero] =
            EMPTY.get_or_init(|| [json!({}), Value::Null, json!(""), json!(false), json!(0)]);
        match field.shape {
            Shape::One(Item::Type(inner)) if Schema::builtin().form(inner) == Form::Struct => Some(structure),
            _ if field.omit_empty() => None,
            Shape::List(_) | Shape::Map(_) | Shape::One(Item::Type(_) | Item::Bytes) => Some(null),
            Shape::One(Item::String) => Some(text),
            Shape::One(Item::Bool) => Some(no),
            Shape::One(Item::Int32 | Item::Int64 | Item::Double) => Some(zero),
        }
    }

    /// The step to an item of this list (upstream: `typed/helpers.go`, `listItemToPathElement`).
    pub(super) fn step_to(self, item: &Value) -> Result<String, String> {
        match (self, item) {
            (Self::Keyed(field), Value::Object(fields)) => keyed_step(field, fields),
            (Self::Keyed(_), Value::Null) => {
                Err("associative list with keys may not have a null element".to_owned())
            }
            (Self::Keyed(_), _) => Err("associative list with keys may not have non-map elements".to_owned()),
            (_, Value::Null) => {
                Err("associative list without keys has an element that's an explicit null".to_owned())
            }
            (_, Value::Object(_)) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            (_, Value::Array(_)) => Err("not supported: associative list with lists as elements".to_owned()),
            _ => Ok(path::value(item)),
        }
    }
}

fn keyed_step(field: &Field, fields: &Map<String, Value>) -> Result<String, String> {
    let mut keys = Map::new();
    for key in field.list_map_keys() {
        let value = fields.get(key).cloned().or_else(|| default_key(field, key)).ok_or_else(|| {
            format!(
                "associative list with keys has an element that omits key field {key:?} \
                 (and doesn't have default value)"
            )
        })?;
        keys.insert(key.to_owned(), value);
    }
    Ok(path::keys(keys))
}

fn default_key(field: &Field, key: &str) -> Option<Value> {
    let Item::Type(type_id) = field.shape.item() else { return None };
    let name = Schema::builtin().type_name(type_id);
    let default = DEFAULT_KEYS.iter().find(|(ty, of, _)| *ty == name && *of == key);
    default.map(|(_, _, value)| (*value).into())
}

fn is_atomic(type_id: TypeId) -> bool {
    static ATOMIC: OnceLock<BTreeSet<TypeId>> = OnceLock::new();
    let known = |name: &&str| Schema::builtin().type_named(name);
    ATOMIC.get_or_init(|| ATOMIC_STRUCTS.iter().filter_map(known).collect()).contains(&type_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_struct_with_one_owner_is_a_type_of_the_table() {
        for name in ATOMIC_STRUCTS.iter().chain(DEFAULT_KEYS.iter().map(|(name, ..)| name)) {
            assert!(Schema::builtin().type_named(name).is_some(), "{name}");
        }
    }
}
