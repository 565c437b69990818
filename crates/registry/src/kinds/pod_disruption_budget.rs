//! `policy/v1` PodDisruptionBudget.

use apimachinery::field::{FieldError, Path};
use apimachinery::names;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy, Subresource};
use crate::print::{self, AGE, NAME, column};
use crate::value::{number, set};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "policy",
    version: "v1",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[Subresource::Status],
    ephemeral: false,
    // All of it is counted anew from the pods.
    late_status: true,
    has_generation: true,
    strategy: &Rules,
};

const COLUMNS: &[Column] = &[
    NAME,
    column("Min Available", "string", "How many pods must stay available, or what share of them."),
    column("Max Unavailable", "string", "How many pods may be unavailable, or what share of them."),
    column("Allowed Disruptions", "integer", "How many pods may be evicted now."),
    AGE,
];

/// Upstream: `pkg/registry/policy/poddisruptionbudget/strategy.go`, `pkg/apis/policy/validation`. There are no
/// defaults: a budget that names neither bound asks for nothing.
struct Rules;

impl Strategy for Rules {
    fn prepare_for_create(&self, budget: &mut Value) {
        let counts =
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0});
        set(budget, "status", counts);
    }

    fn validate(&self, budget: &Value) -> Vec<FieldError> {
        let (mut errors, path, spec) = (Errors::new(), Path::new("spec"), &budget["spec"]);
        if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
            let words = "minAvailable and maxUnavailable cannot be both set";
            errors.push(FieldError::invalid(&path, spec.clone(), words));
        }
        for bound in ["minAvailable", "maxUnavailable"] {
            check::int_or_percent(&mut errors, &path.child(bound), &spec[bound]);
        }
        check::label_selector(&mut errors, &path.child("selector"), &spec["selector"]);
        let policy = &spec["unhealthyPodEvictionPolicy"];
        let policies = &["AlwaysAllow", "IfHealthyBudget"];
        check::one_of_if_set(&mut errors, &path.child("unhealthyPodEvictionPolicy"), policy, policies);
        errors
    }

    /// An eviction may have spent some of it meanwhile.
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn validate_status(&self, new: &Value, _old: &Value) -> Vec<FieldError> {
        let (mut errors, path, status) = (Errors::new(), Path::new("status"), &new["status"]);
        check::conditions(&mut errors, &path.child("conditions"), &status["conditions"]);
        for count in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
            check::nonnegative(&mut errors, &path.child(count), &status[count]);
        }
        errors
    }

    /// Upstream asks no more of a budget's name than that it can stand in a path.
    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::path_segment_name(name)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, budget: &Value, now: Timestamp) -> Vec<Value> {
        let bound = |field: &str| match &budget["spec"][field] {
            Value::Null => "N/A".to_owned(),
            Value::String(share) => share.clone(),
            count => count.to_string(),
        };
        vec![
            print::name(budget),
            bound("minAvailable").into(),
            bound("maxUnavailable").into(),
            number(&budget["status"]["disruptionsAllowed"]).into(),
            print::age(budget, now),
        ]
    }
}
