//! The steps of a field's path as FieldsV1 writes them: `f:NAME` a field, `k:{KEYS}` an item of a list with keys,
//! `v:VALUE` an item of a set, `i:INDEX` an item by its place (upstream: `fieldpath/serialize-pe.go`).

use serde_json::{Map, Value};

/// Stands for the field itself among the fields inside it.
pub(super) const ITSELF: &str = ".";

/// The step to a field.
pub(super) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// The step to an item of a set.
pub(super) fn value(item: &Value) -> String {
    format!("v:{item}")
}

/// The step to an item of a list with keys.
pub(super) fn keys(keys: Map<String, Value>) -> String {
    format!("k:{}", Value::Object(keys))
}

/// The name of the field that a step leads to.
pub(super) fn field_name(step: &str) -> Option<&str> {
    step.strip_prefix("f:")
}

/// A step in its one form, whichever way a client spelled its JSON. `None` for what is no step.
pub(super) fn canonical(step: &str) -> Option<String> {
    let (form, rest) = step.split_once(':')?;
    match form {
        "f" => Some(step.to_owned()),
        "k" => serde_json::from_str(rest).ok().map(keys),
        "v" => serde_json::from_str(rest).ok().map(|item| value(&item)),
        "i" => rest.parse::<i64>().ok().map(|index| format!("i:{index}")),
        _ => None,
    }
}

/// A step as conflicts show it: `.image`, `[name="db"]`, `[="a/b"]`, `[3]` (upstream: `PathElement.String`).
pub(super) fn show(step: &str) -> String {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    match step.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", keys)) => {
            let keys = parsed(keys);
            let keys = keys.as_object().into_iter().flatten();
            let shown: Vec<String> = keys.map(|(name, value)| format!("{name}={value}")).collect();
            format!("[{}]", shown.join(","))
        }
        Some(("v", value)) => format!("[={value}]"),
        Some((_, index)) => format!("[{index}]"),
        None => step.to_owned(),
    }
}
