//! `v1` Namespace.

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::names;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kind::{Column, Kind, Scope, Strategy, Subresource};
use crate::print::{self, AGE, NAME, column};
use crate::value::{copy_to, default_to, is_empty, list_in, object, object_in, set, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    categories: &[],
    scope: Scope::Cluster,
    subresources: &[Subresource::Status, Subresource::Finalize],
    ephemeral: false,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

/// Carries the namespace's name, so that selectors can name it.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// The entry of `spec.finalizers` that stands for the namespace's own contents.
const CONTENTS_FINALIZER: &str = "kubernetes";

/// The namespaces that never go, with all that is in them (upstream: the plugin `NamespaceLifecycle`, as
/// kube-apiserver sets it up).
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

const COLUMNS: &[Column] = &[NAME, column("Status", "string", "Active, or Terminating once deleted."), AGE];

/// Upstream: `pkg/registry/core/namespace`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, namespace: &mut Value) {
        let name = namespace.name().to_owned();
        if !name.is_empty()
            && let Some(labels) = object_in(namespace.meta_mut(), "labels")
        {
            labels.insert(NAME_LABEL.into(), name.into());
        }
        if let Some(status) = object(namespace, "status") {
            default_to(status, "phase", "Active");
        }
    }

    fn prepare_for_create(&self, namespace: &mut Value) {
        // Once more: a generated name was not known when the defaults were set.
        self.set_defaults(namespace);
        set(namespace, "status", json!({"phase": "Active"}));
        if let Some(list) = object(namespace, "spec").and_then(|spec| list_in(spec, "finalizers"))
            && !list.iter().any(|f| f == CONTENTS_FINALIZER)
        {
            list.push(CONTENTS_FINALIZER.into());
        }
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        if let Some(spec) = object(new, "spec") {
            copy_to(spec, "finalizers", &old["spec"]["finalizers"]);
        }
    }

    fn forbids_delete(&self, name: &str) -> Option<&'static str> {
        IMMORTAL.contains(&name).then_some("this namespace may not be deleted")
    }

    /// Upstream: `ValidateNamespaceStatusUpdate`.
    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let phase = &new["status"]["phase"];
        let (only, when) = match new.is_terminating() {
            false => ("Active", "is empty"),
            true => ("Terminating", "is not empty"),
        };
        if *phase == only {
            return Vec::new();
        }
        let words = format!("may only be '{only}' if `deletionTimestamp` {when}");
        vec![FieldError::invalid(&Path::new("status").child("Phase"), phase.clone(), words)]
    }

    /// A label: namespaces are part of DNS names.
    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::dns1123_label(name)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, namespace: &Value, now: Timestamp) -> Vec<Value> {
        vec![print::name(namespace), text(&namespace["status"]["phase"]).into(), print::age(namespace, now)]
    }

    fn selectable_fields(&self, namespace: &Value) -> Vec<(&'static str, String)> {
        vec![
            ("name", namespace.name().to_owned()),
            ("status.phase", text(&namespace["status"]["phase"]).to_owned()),
        ]
    }

    fn mark_terminating(&self, namespace: &mut Value) {
        if let Some(status) = object(namespace, "status") {
            status.insert("phase".into(), "Terminating".into());
        }
    }

    fn is_held(&self, namespace: &Value) -> bool {
        !is_empty(&namespace["spec"]["finalizers"])
    }

    fn finalize(&self, stored: &mut Value, sent: &Value) {
        if let Some(spec) = object(stored, "spec") {
            copy_to(spec, "finalizers", &sent["spec"]["finalizers"]);
        }
    }
}
