//! `apps/v1` Deployment.

use apimachinery::field::{FieldError, Path};
use jiff::Timestamp;
use serde_json::Value;

use super::replica_set::{self, CONTAINERS, IMAGES, SELECTOR};
use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scale, Scope, Strategy, Subresource};
use crate::print::{self, AGE, NAME, column};
use crate::value::{default_to, number, object, object_in, text};

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    scope: Scope::Namespaced,
    subresources: &[Subresource::Status, Subresource::Scale],
    ephemeral: false,
    late_status: false,
    has_generation: true,
    strategy: &Rules,
};

const RECREATE: &str = "Recreate";
const ROLLING_UPDATE: &str = "RollingUpdate";

/// What the status counts; none of those after the first is more than it.
const COUNTS: [&str; 4] = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"];

const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string", "Number of the pod with ready state, of those wanted."),
    column("Up-to-date", "string", "How many pods are of the present template."),
    column("Available", "string", "How many pods have been ready for long enough."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// Upstream: `pkg/registry/apps/deployment/strategy.go`, `pkg/apis/apps/v1/defaults.go`,
/// `pkg/apis/apps/validation/validation.go`.
struct Rules;

impl Strategy for Rules {
    fn set_defaults(&self, deployment: &mut Value) {
        let Some(spec) = object(deployment, "spec") else { return };
        default_to(spec, "replicas", 1);
        default_to(spec, "revisionHistoryLimit", 10);
        default_to(spec, "progressDeadlineSeconds", 600);
        if let Some(strategy) = object_in(spec, "strategy") {
            default_to(strategy, "type", ROLLING_UPDATE);
            if strategy.get("type").is_some_and(|t| t == ROLLING_UPDATE)
                && let Some(rolling) = object_in(strategy, "rollingUpdate")
            {
                default_to(rolling, "maxUnavailable", "25%");
                default_to(rolling, "maxSurge", "25%");
            }
        }
        replica_set::default_template(spec);
    }

    fn validate(&self, deployment: &Value) -> Vec<FieldError> {
        let (mut errors, path, spec) = (Errors::new(), Path::new("spec"), &deployment["spec"]);
        check::nonnegative(&mut errors, &path.child("replicas"), &spec["replicas"]);
        replica_set::validate_selector(&mut errors, &path, spec);
        replica_set::validate_template(&mut errors, &path.child("template"), spec);
        validate_strategy(&mut errors, &path.child("strategy"), &spec["strategy"]);
        for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
            check::nonnegative(&mut errors, &path.child(field), &spec[field]);
        }
        let deadline = &spec["progressDeadlineSeconds"];
        if !deadline.is_null() && number(deadline) <= number(&spec["minReadySeconds"]) {
            let at = path.child("progressDeadlineSeconds");
            errors.push(FieldError::invalid(&at, deadline.clone(), "must be greater than minReadySeconds"));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (mut errors, path) = (Errors::new(), Path::new("spec").child("selector"));
        check::immutable(&mut errors, &path, &new["spec"]["selector"], &old["spec"]["selector"]);
        errors
    }

    /// Upstream: `ValidateDeploymentStatusUpdate`.
    fn validate_status(&self, new: &Value, old: &Value) -> Vec<FieldError> {
        let (mut errors, path, status) = (Errors::new(), Path::new("status"), &new["status"]);
        replica_set::validate_counts(&mut errors, status, &COUNTS);
        for field in ["unavailableReplicas", "collisionCount"] {
            check::nonnegative(&mut errors, &path.child(field), &status[field]);
        }
        let collisions = number(&status["collisionCount"]);
        if collisions < number(&old["status"]["collisionCount"]) {
            let at = path.child("collisionCount");
            errors.push(FieldError::invalid(&at, collisions, "cannot be decremented"));
        }
        errors
    }

    fn warnings(&self, deployment: &Value) -> Vec<String> {
        replica_set::template_warnings(deployment)
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, deployment: &Value, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&deployment["spec"], &deployment["status"]);
        let mut row = vec![
            print::name(deployment),
            format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"])).into(),
            number(&status["updatedReplicas"]).into(),
            number(&status["availableReplicas"]).into(),
            print::age(deployment, now),
        ];
        row.extend(replica_set::wide_cells(spec));
        row
    }

    fn scale(&self, deployment: &Value) -> Option<Scale> {
        Some(replica_set::scale(deployment))
    }

    fn set_replicas(&self, deployment: &mut Value, replicas: i64) {
        replica_set::set_replicas(deployment, replicas);
    }
}

fn validate_strategy(errors: &mut Errors, path: &Path, strategy: &Value) {
    let (at, rolling) = (path.child("rollingUpdate"), &strategy["rollingUpdate"]);
    match text(&strategy["type"]) {
        RECREATE => {
            if !rolling.is_null() {
                let words = format!("may not be specified when strategy `type` is '{RECREATE}'");
                errors.push(FieldError::forbidden(&at, words));
            }
        }
        ROLLING_UPDATE => validate_rolling_update(errors, &at, rolling),
        other => {
            // Upstream names the whole strategy here; its type is what is wrong.
            let supported = &[RECREATE, ROLLING_UPDATE];
            errors.push(FieldError::not_supported(&path.child("type"), other, supported));
        }
    }
}

fn validate_rolling_update(errors: &mut Errors, path: &Path, rolling: &Value) {
    let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
    check::int_or_percent(errors, &path.child("maxUnavailable"), unavailable);
    // More than all at once is fine: as many again may be made.
    let is_large_share = |share: &str| {
        let digits = share.strip_suffix('%').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    };
    if !surge.as_str().is_some_and(is_large_share) {
        check::int_or_percent(errors, &path.child("maxSurge"), surge);
    }
    if is_zero(unavailable) && is_zero(surge) {
        let words = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid(&path.child("maxUnavailable"), unavailable.clone(), words));
    }
}

/// Whether nothing, or nothing of a hundred, is meant.
fn is_zero(value: &Value) -> bool {
    match value.as_str() {
        Some(share) => share.strip_suffix('%').and_then(|n| n.parse::<u32>().ok()) == Some(0),
        None => number(value) == 0,
    }
}
