//! `apps/v1` ControllerRevision.

use apimachinery::field::{FieldError, Path};
use jiff::Timestamp;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::print::{self, AGE, NAME, NONE, column};
use crate::value::{items, number, text, truth};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Controller", "string", "The object whose history this is."),
    column("Revision", "string", "The place in the history."),
    AGE,
];

/// Upstream: `ValidateControllerRevision`.
struct Rules;

impl Strategy for Rules {
    fn validate(&self, revision: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        if revision["data"].is_null() {
            errors.push(FieldError::required(&Path::new("data"), "data is mandatory"));
        } else if !revision["data"].is_object() {
            let data = revision["data"].clone();
            errors.push(FieldError::invalid(&Path::new("data"), data, "must be a valid JSON object"));
        }
        check::nonnegative(&mut errors, &Path::new("revision"), &revision["revision"]);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        check::immutable(&mut errors, &Path::new("data"), &new["data"], &old["data"]);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, revision: &Value, now: Timestamp) -> Vec<Value> {
        let owners = items(&revision["metadata"]["ownerReferences"]);
        let controller = owners.iter().find(|owner| truth(&owner["controller"]));
        let controller = controller.map_or_else(
            || NONE.to_owned(),
            |owner| {
                let kind = text(&owner["kind"]).to_lowercase();
                match text(&owner["apiVersion"]).split_once('/') {
                    Some((group, _)) => format!("{kind}.{group}/{}", text(&owner["name"])),
                    None => format!("{kind}/{}", text(&owner["name"])),
                }
            },
        );
        vec![
            print::name(revision),
            controller.into(),
            number(&revision["revision"]).into(),
            print::age(revision, now),
        ]
    }
}
