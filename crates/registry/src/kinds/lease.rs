//! `coordination.k8s.io/v1` Lease.

use apimachinery::field::{FieldError, Path};
use jiff::Timestamp;
use serde_json::Value;

use crate::check::{self, Errors};
use crate::kind::{Column, Kind, Scope, Strategy};
use crate::print::{self, AGE, NAME, column};
use crate::value::text;

/// The table's line.
pub(crate) static KIND: Kind = Kind {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    subresources: &[],
    ephemeral: true,
    late_status: false,
    has_generation: false,
    strategy: &Rules,
};

const COLUMNS: &[Column] = &[NAME, column("Holder", "string", "Who holds the lease."), AGE];

/// Upstream: `pkg/apis/coordination/validation`.
struct Rules;

impl Strategy for Rules {
    fn allows_create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, lease: &Value) -> Vec<FieldError> {
        let (mut errors, path, spec) = (Errors::new(), Path::new("spec"), &lease["spec"]);
        let seconds = &spec["leaseDurationSeconds"];
        if seconds.as_i64().is_some_and(|seconds| seconds <= 0) {
            let at = path.child("leaseDurationSeconds");
            errors.push(FieldError::invalid(&at, seconds.clone(), "must be greater than 0"));
        }
        check::nonnegative(&mut errors, &path.child("leaseTransitions"), &spec["leaseTransitions"]);
        errors
    }

    /// Somebody else may have taken it meanwhile.
    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn row(&self, lease: &Value, now: Timestamp) -> Vec<Value> {
        vec![print::name(lease), text(&lease["spec"]["holderIdentity"]).into(), print::age(lease, now)]
    }
}
