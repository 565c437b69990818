//! What the tests of this crate share: data in YAML files, and the way an object goes through a strategy.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::path::PathBuf;

use apimachinery::field::FieldError;
use registry::{KINDS, Kind};
use serde::Deserialize;
use serde_json::Value;

/// The documents of one of this crate's YAML files.
pub(crate) fn documents<T: for<'de> Deserialize<'de>>(path: &str) -> Vec<T> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(path);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_yaml_ng::Deserializer::from_str(&text)
        .map(|document| T::deserialize(document).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
        .collect()
}

/// The names of the YAML files in a folder, without their ending.
pub(crate) fn files(folder: &str) -> Vec<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let mut names: Vec<String> = fs::read_dir(&path)
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .map(|entry| entry.expect("a readable folder").file_name().to_string_lossy().into_owned())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The kind with this plural.
pub(crate) fn kind(plural: &str) -> &'static Kind {
    KINDS.iter().find(|kind| kind.plural == plural).unwrap_or_else(|| panic!("no kind {plural}"))
}

/// An object of the kind as somebody would write it.
pub(crate) fn sample(plural: &str) -> Value {
    documents(&format!("samples/{plural}.yaml")).remove(0)
}

/// An object as it would be stored: with defaults, and prepared.
pub(crate) fn created(kind: &Kind, mut object: Value) -> Value {
    kind.strategy.set_defaults(&mut object);
    kind.strategy.prepare_for_create(&mut object);
    object
}

/// What the object is refused for, with what is checked of every kind.
pub(crate) fn refusals(kind: &Kind, object: &Value) -> Vec<String> {
    let mut errors = registry::validate_object_meta(kind, object);
    errors.extend(kind.strategy.validate(object));
    errors.iter().map(FieldError::to_string).collect()
}
