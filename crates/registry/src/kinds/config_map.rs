//! `v1` ConfigMap.

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use jiff::Timestamp;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::print::{self, AGE, NAME, column};
use crate::value::{entries, same, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// The most that a ConfigMap or a Secret may hold, in bytes.
pub(crate) const MAX_DATA_SIZE: usize = 1 << 20;

const COLUMNS: &[Column] = &[NAME, column("Data", "string", "How many keys there are."), AGE];

/// Upstream: `ValidateConfigMap`.
struct Rules;

impl Strategy for Rules {
    fn validate(&self, map: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        let mut size = 0;
        for field in ["data", "binaryData"] {
            for (key, value) in entries(&map[field]) {
                let path = Path::new(field).key(key);
                check::name(&mut errors, &path, key, names::config_map_key);
                size += if field == "data" { text(value).len() } else { decoded_length(text(value)) };
                if field == "data" && !map["binaryData"][key.as_str()].is_null() {
                    let words = "duplicate of key present in binaryData";
                    errors.push(FieldError::invalid(&path, key.as_str(), words));
                }
            }
        }
        if size > MAX_DATA_SIZE {
            errors.push(FieldError::too_long(&Path::new("data"), MAX_DATA_SIZE));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        validate_immutable(new, old, &["data", "binaryData"])
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, map: &Value, now: Timestamp) -> Vec<Value> {
        let keys = entries(&map["data"]).count() + entries(&map["binaryData"]).count();
        vec![print::name(map), keys.into(), print::age(map, now)]
    }
}

/// How many bytes a base64 text stands for.
pub(crate) fn decoded_length(base64: &str) -> usize {
    let padding = base64.bytes().rev().take_while(|b| *b == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

/// What `immutable: true` forbids: changing the data, and taking the word back.
pub(crate) fn validate_immutable(new: &Value, old: &Value, fields: &[&str]) -> Errors {
    const WORDS: &str = "field is immutable when `immutable` is set";
    if old["immutable"] != true {
        return Errors::new();
    }
    let changed = fields.iter().copied().filter(|field| !same(&new[*field], &old[*field]));
    let taken_back = (new["immutable"] != true).then_some("immutable");
    taken_back.into_iter().chain(changed).map(|f| FieldError::forbidden(&Path::new(f), WORDS)).collect()
}
