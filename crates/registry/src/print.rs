//! What the kinds' table rows have in common: columns, names, ages, lists that are cut short.

use apimachinery::meta::ObjectExt;
use apimachinery::time;
use jiff::Timestamp;
use serde_json::Value;

use crate::kind::Column;
use crate::value::{entries, items, text};

/// What upstream prints for nothing.
pub(crate) const NONE: &str = "<none>";
/// What upstream prints for a time that was never set.
pub(crate) const UNKNOWN: &str = "<unknown>";
/// What upstream prints for a reference to nothing.
pub(crate) const UNSET: &str = "<unset>";

/// The columns of kinds that upstream has no printer for.
pub(crate) const NAME_AND_AGE: &[Column] = &[NAME, AGE];

/// The name column.
pub(crate) const NAME: Column = Column {
    name: "Name",
    column_type: "string",
    format: "name",
    priority: 0,
    description: "Name must be unique among the objects of a kind (in a namespace, where the kind has those).",
};

/// The age column.
pub(crate) const AGE: Column = column("Age", "string", "Time since the object was created.");

/// A column that is always shown.
pub(crate) const fn column(
    name: &'static str,
    column_type: &'static str,
    description: &'static str,
) -> Column {
    Column { name, column_type, format: "", priority: 0, description }
}

/// A column of `-o wide`.
pub(crate) const fn wide(name: &'static str, column_type: &'static str, description: &'static str) -> Column {
    Column { name, column_type, format: "", priority: 1, description }
}

/// The cell of the name column.
pub(crate) fn name(object: &Value) -> Value {
    object.name().into()
}

/// The cell of the age column.
pub(crate) fn age(object: &Value, now: Timestamp) -> Value {
    since(object.meta_str("creationTimestamp"), now).into()
}

/// The time since a timestamp as people read it: `5d3h`; `<unknown>` when there is none.
pub(crate) fn since(timestamp: &str, now: Timestamp) -> String {
    time::parse(timestamp).map_or_else(|| UNKNOWN.to_owned(), |then| time::human_age(then, now))
}

/// The text, or `<none>`.
pub(crate) fn or_none(text: &str) -> Value {
    if text.is_empty() { NONE.into() } else { text.into() }
}

/// Labels as `a=b,c=d`, or `<none>`: upstream's `labels.FormatLabels`.
pub(crate) fn labels(map: &Value) -> String {
    let mut pairs: Vec<String> = entries(map).map(|(k, v)| format!("{k}={}", text(v))).collect();
    pairs.sort();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

/// The names and the images of a template's containers, each joined by commas.
pub(crate) fn containers(pod_spec: &Value) -> (String, String) {
    let join = |field: &str| {
        let words: Vec<&str> = items(&pod_spec["containers"]).iter().map(|c| text(&c[field])).collect();
        words.join(",")
    };
    (join("name"), join("image"))
}

/// Access modes in short: `RWO,ROX`, each once, in upstream's order
/// (`storageutil.GetAccessModesAsString`).
pub(crate) fn access_modes(modes: &Value) -> String {
    const SHORT: [(&str, &str); 4] = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |mode: &str| items(modes).iter().any(|m| m == mode);
    let words: Vec<&str> = SHORT.iter().filter(|(long, _)| has(long)).map(|(_, short)| *short).collect();
    words.join(",")
}
