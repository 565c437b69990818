//! `apps/v1` ReplicaSet, and what a Deployment has in common with it.

use apimachinery::field::{FieldError, Path};
use apimachinery::labels::Selector;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scale, Scope, Strategy, Subresource};
use crate::pod_spec;
use crate::print::{self, AGE, NAME, column, wide};
use crate::value::{default_object, default_to, is_empty, number, object, object_in, set, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "ReplicaSet",
    plural: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    scope: Scope::Namespaced,
    subresources: &[Subresource::Status, Subresource::Scale],
    ephemeral: false,
    late_status: false,
    has_generation: true,
    strategy: &Rules,
};

/// What the status counts; none of those after the first is more than it.
const COUNTS: [&str; 4] = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"];

const COLUMNS: &[Column] = &[
    NAME,
    column("Desired", "integer", "How many pods are wanted."),
    column("Current", "integer", "How many pods there are."),
    column("Ready", "integer", "How many pods are Ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// The names of a template's containers.
pub(super) const CONTAINERS: Column =
    wide("Containers", "string", "Names of each container in the template.");
/// The images of a template's containers.
pub(super) const IMAGES: Column =
    wide("Images", "string", "Images referenced by each container in the template.");
/// What selects the pods.
pub(super) const SELECTOR: Column = wide("Selector", "string", "What labels the pods have.");

/// Upstream: `pkg/registry/apps/replicaset/strategy.go`, `pkg/apis/apps/v1/defaults.go`,
/// `pkg/apis/apps/validation/validation.go`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, replica_set: &mut Value) {
        let Some(spec) = object(replica_set, "spec") else { return };
        default_to(spec, "replicas", 1);
        default_template(spec);
    }

    fn prepare_for_create(&self, replica_set: &mut Value) {
        set(replica_set, "status", json!({"replicas": 0}));
    }

    fn validate(&self, replica_set: &Value) -> Vec<FieldError> {
        let (mut errors, path, spec) = (Errors::new(), Path::new("spec"), &replica_set["spec"]);
        for field in ["replicas", "minReadySeconds"] {
            check::nonnegative(&mut errors, &path.child(field), &spec[field]);
        }
        validate_selector(&mut errors, &path, spec);
        validate_template(&mut errors, &path.child("template"), spec);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (mut errors, path) = (Errors::new(), Path::new("spec").child("selector"));
        check::immutable(&mut errors, &path, &new["spec"]["selector"], &old["spec"]["selector"]);
        errors
    }

    /// Upstream: `ValidateReplicaSetStatus`.
    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let mut errors = Errors::new();
        validate_counts(&mut errors, &new["status"], &COUNTS);
        errors
    }

    fn warnings(&self, replica_set: &Value) -> Vec<String> {
        template_warnings(replica_set)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, replica_set: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&replica_set["spec"], &replica_set["status"]);
        let mut row = vec![
            print::name(replica_set),
            number(&spec["replicas"]).into(),
            number(&status["replicas"]).into(),
            number(&status["readyReplicas"]).into(),
            print::age(replica_set, now),
        ];
        row.extend(wide_cells(spec));
        row
    }

    fn scale(&self, replica_set: &Value) -> Option<Scale> {
        Some(scale(replica_set))
    }

    fn set_replicas(&self, replica_set: &mut Value, replicas: i64) {
        set_replicas(replica_set, replicas);
    }
}

/// Fills in the pod template.
pub(super) fn default_template(spec: &mut Map<String, Value>) {
    if let Some(template) = object_in(spec, "template") {
        default_object(template, "metadata");
        if let Some(pod) = object_in(template, "spec") {
            pod_spec::default_pod_spec(pod);
        }
    }
}

/// The selector must be there, select something, and not everything.
pub(super) fn validate_selector(errors: &mut Errors, path: &Path, spec: &Value) {
    let (at, selector) = (path.child("selector"), &spec["selector"]);
    if selector.is_null() {
        errors.push(FieldError::required(&at, ""));
        return;
    }
    check::label_selector(errors, &at, selector);
    if is_empty(&selector["matchLabels"]) && is_empty(&selector["matchExpressions"]) {
        // Upstream says so of ReplicaSets as well.
        errors.push(FieldError::invalid(&at, selector.clone(), "empty selector is invalid for deployment"));
    }
}

/// Upstream: `ValidatePodTemplateSpecForReplicaSet`.
pub(super) fn validate_template(errors: &mut Errors, path: &Path, spec: &Value) {
    let (template, selector) = (&spec["template"], &spec["selector"]);
    let labels = &template["metadata"]["labels"];
    let is_selective = !is_empty(&selector["matchLabels"]) || !is_empty(&selector["matchExpressions"]);
    let selects = |labels: &Map<String, Value>| {
        Selector::from_label_selector(selector).is_ok_and(|selector| selector.matches(labels))
    };
    if is_selective && !selects(labels.as_object().unwrap_or(&Map::new())) {
        let at = path.child("metadata").child("labels");
        let words = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&at, labels.clone(), words));
    }
    pod_spec::validate_pod_template(errors, path, template, &[]);
    let path = path.child("spec");
    let restart_policy = text(&template["spec"]["restartPolicy"]);
    if matches!(restart_policy, "OnFailure" | "Never") {
        errors.push(FieldError::not_supported(&path.child("restartPolicy"), restart_policy, &["Always"]));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let words = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.push(FieldError::forbidden(&path.child("activeDeadlineSeconds"), words));
    }
}

/// None of the counts is negative, nor more than the first of them, which says how many pods there are.
pub(super) fn validate_counts(errors: &mut Errors, status: &Value, counts: &[&str]) {
    let path = Path::new("status");
    for field in counts.iter().chain(&["terminatingReplicas", "observedGeneration"]) {
        check::nonnegative(errors, &path.child(field), &status[*field]);
    }
    let mut at_most = |field: &str, bound: &str, words: &str| {
        if number(&status[field]) > number(&status[bound]) {
            errors.push(FieldError::invalid(&path.child(field), status[field].clone(), words));
        }
    };
    for field in counts.iter().skip(1) {
        at_most(field, "replicas", "cannot be greater than status.replicas");
    }
    at_most("availableReplicas", "readyReplicas", "cannot be greater than readyReplicas");
}

/// What is probably not meant in the pod template.
pub(super) fn template_warnings(object: &Value) -> Vec<String> {
    let path = Path::new("spec").child("template").child("spec");
    pod_spec::pod_spec_warnings(&path, &object["spec"]["template"]["spec"])
}

/// The cells of [`CONTAINERS`], [`IMAGES`] and [`SELECTOR`].
pub(super) fn wide_cells(spec: &Value) -> [Value; 3] {
    let (names, images) = print::containers(&spec["template"]["spec"]);
    let selector = Selector::from_label_selector(&spec["selector"]).map(|selector| selector.to_string());
    [names.into(), images.into(), print::or_none(&selector.unwrap_or_default())]
}

/// What `/scale` shows.
pub(super) fn scale(object: &Value) -> Scale {
    let selector = Selector::from_label_selector(&object["spec"]["selector"]);
    Scale {
        spec_replicas: number(&object["spec"]["replicas"]),
        status_replicas: number(&object["status"]["replicas"]),
        selector: selector.map(|selector| selector.to_string()).unwrap_or_default(),
    }
}

/// Takes over what was put to `/scale`.
pub(super) fn set_replicas(object: &mut Value, replicas: i64) {
    if let Some(spec) = crate::value::object(object, "spec") {
        spec.insert("replicas".into(), replicas.into());
    }
}
