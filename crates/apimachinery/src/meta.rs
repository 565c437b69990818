//! What all objects share: `metadata`, read from and written to JSON values.

use serde_json::{Map, Value};

/// Reads and writes the metadata of an object that travels as JSON. Absent fields read as empty.
pub trait ObjectExt {
    /// A string inside `metadata`; empty when absent.
    fn meta_str(&self, field: &str) -> &str;
    /// `metadata` to write to, made when absent.
    fn meta_mut(&mut self) -> &mut Map<String, Value>;
    /// A map of strings inside `metadata` (`labels`, `annotations`) by key.
    fn meta_map(&self, field: &str) -> Option<&Map<String, Value>>;
    /// `metadata.ownerReferences`.
    fn owner_references(&self) -> &[Value];

    /// `metadata.name`.
    fn name(&self) -> &str {
        self.meta_str("name")
    }
    /// `metadata.namespace`; empty for cluster-scoped objects.
    fn namespace(&self) -> &str {
        self.meta_str("namespace")
    }
    /// `metadata.uid`.
    fn uid(&self) -> &str {
        self.meta_str("uid")
    }
    /// `metadata.resourceVersion`, opaque to clients.
    fn resource_version(&self) -> &str {
        self.meta_str("resourceVersion")
    }
    /// The label `key`.
    fn label(&self, key: &str) -> Option<&str> {
        self.meta_map("labels")?.get(key)?.as_str()
    }
    /// The annotation `key`.
    fn annotation(&self, key: &str) -> Option<&str> {
        self.meta_map("annotations")?.get(key)?.as_str()
    }
    /// The uid of the owner that controls the object; empty when none does.
    fn controller_uid(&self) -> &str {
        let controller = self.owner_references().iter().find(|owner| owner["controller"] == true);
        controller.and_then(|owner| owner["uid"].as_str()).unwrap_or_default()
    }
    /// Whether `metadata.deletionTimestamp` is set.
    fn is_terminating(&self) -> bool {
        !self.meta_str("deletionTimestamp").is_empty()
    }
}

impl ObjectExt for Value {
    fn meta_str(&self, field: &str) -> &str {
        self.get("metadata").and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default()
    }

    fn meta_mut(&mut self) -> &mut Map<String, Value> {
        if !self.is_object() {
            *self = Value::Object(Map::new());
        }
        let Value::Object(top) = self else { unreachable!("made an object above") };
        let meta = top.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
        if !meta.is_object() {
            *meta = Value::Object(Map::new());
        }
        let Value::Object(meta) = meta else { unreachable!("made an object above") };
        meta
    }

    fn meta_map(&self, field: &str) -> Option<&Map<String, Value>> {
        self.get("metadata")?.get(field)?.as_object()
    }

    fn owner_references(&self) -> &[Value] {
        let owners = self.get("metadata").and_then(|meta| meta.get("ownerReferences"));
        owners.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_many_owners_one_controls() {
        let owners = json!([{"uid": "a"}, {"uid": "b", "controller": true}]);
        let owned = json!({"metadata": {"ownerReferences": owners}});
        assert_eq!((owned.owner_references().len(), owned.controller_uid()), (2, "b"));
        assert_eq!((Value::Null.owner_references().len(), Value::Null.controller_uid()), (0, ""));
    }
}
