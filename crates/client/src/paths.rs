//! Where objects live on the API, derived from the table of kinds.

use planner::ObjectRef;
use registry::{KINDS, Kind, Scope};

/// A part of an object's path after its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object itself.
    Whole,
    /// `/status`.
    Status,
    /// `/binding`.
    Binding,
    /// `/finalize`.
    Finalize,
}

fn find(api_version: &str, kind: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|k| k.kind == kind && k.api_version() == api_version)
}

/// The path of all objects of a kind: in one namespace, or everywhere when `namespace` is empty. `None` when
/// no such kind is in the table.
pub fn collection_path(api_version: &str, kind: &str, namespace: &str) -> Option<String> {
    let kind = find(api_version, kind)?;
    let root = if kind.group.is_empty() { "api" } else { "apis" };
    Some(if kind.scope == Scope::Namespaced && !namespace.is_empty() {
        format!("/{root}/{api_version}/namespaces/{namespace}/{}", kind.plural)
    } else {
        format!("/{root}/{api_version}/{}", kind.plural)
    })
}

/// The path of one object, or of a part of it. `None` when no such kind is in the table.
pub fn object_path(object: &ObjectRef, part: Part) -> Option<String> {
    let collection = collection_path(&object.api_version, &object.kind, &object.namespace)?;
    let suffix = match part {
        Part::Whole => "",
        Part::Status => "/status",
        Part::Binding => "/binding",
        Part::Finalize => "/finalize",
    };
    Some(format!("{collection}/{}{suffix}", object.name))
}
