//! What pods and nodes refer to: RuntimeClass, PriorityClass, CertificateSigningRequest.

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Stored, kind};
use crate::check;
use crate::kind::Kind;
use crate::kind::Scope::Cluster;
use crate::print::{self, AGE, NAME, column};
use crate::value::{copy_to, default_to, items, number, object, set, text, truth};

pub(crate) static RUNTIME_CLASS: Kind = kind(
    "node.k8s.io",
    "v1",
    ["RuntimeClass", "runtimeclasses", "runtimeclass"],
    Cluster,
    &Stored {
        required: &["handler"],
        immutable: &["handler"],
        columns: &[NAME, column("Handler", "string", "What the runtime calls it."), AGE],
        row: |class, now| vec![print::name(class), text(&class["handler"]).into(), print::age(class, now)],
        ..Stored::PLAIN
    },
);

/// The highest value that a user's class may have (upstream: `HighestUserDefinablePriority`).
const HIGHEST_PRIORITY: i64 = 1_000_000_000;

pub(crate) static PRIORITY_CLASS: Kind = kind(
    "scheduling.k8s.io",
    "v1",
    ["PriorityClass", "priorityclasses", "priorityclass"],
    Cluster,
    &Stored {
        defaults: |class| {
            if let Some(class) = class.as_object_mut() {
                default_to(class, "preemptionPolicy", "PreemptLowerPriority");
            }
        },
        checks: |errors, class| {
            if class.name().starts_with("system-") {
                let words =
                    "priority class names with 'system-' prefix are reserved for system use only. error: ";
                let words = format!("{words}{} is not a known system priority class", class.name());
                errors.push(FieldError::forbidden(&Path::new("metadata").child("name"), words));
            } else if number(&class["value"]) > HIGHEST_PRIORITY {
                let words = format!("maximum allowed value of a user defined priority is {HIGHEST_PRIORITY}");
                errors.push(FieldError::forbidden(&Path::new("value"), words));
            }
            let policies = &["Never", "PreemptLowerPriority"];
            check::one_of_if_set(
                errors,
                &Path::new("preemptionPolicy"),
                &class["preemptionPolicy"],
                policies,
            );
        },
        immutable: &["preemptionPolicy", "value"],
        columns: &[
            NAME,
            column("Value", "integer", "How important the pods are."),
            column("Global-Default", "boolean", "Whether pods that name no class are of this one."),
            AGE,
            column("PreemptionPolicy", "string", "Whether pods make others go for their room."),
        ],
        row: |class, now| {
            vec![
                print::name(class),
                number(&class["value"]).into(),
                truth(&class["globalDefault"]).into(),
                print::age(class, now),
                text(&class["preemptionPolicy"]).into(),
            ]
        },
        ..Stored::PLAIN
    },
)
.short(&["pc"])
.with_generation();

/// Who asks for a certificate is who sends the request, whatever it says (upstream: `csrStrategy.PrepareForCreate`).
fn sign_request(request: &mut Value, user: &Value) {
    if let Some(spec) = object(request, "spec") {
        for field in ["username", "uid", "groups", "extra"] {
            copy_to(spec, field, &user[field]);
        }
    }
}

pub(crate) static CERTIFICATE_SIGNING_REQUEST: Kind = kind(
    "certificates.k8s.io",
    "v1",
    ["CertificateSigningRequest", "certificatesigningrequests", "certificatesigningrequest"],
    Cluster,
    &Stored {
        // Upstream asks nothing of the names.
        name: apimachinery::names::path_segment_name,
        prepare: |request| set(request, "status", json!({})),
        author: sign_request,
        selectable: &["spec.signerName"],
        kept: &["spec"],
        required: &["spec.request", "spec.usages", "spec.signerName"],
        columns: &[
            NAME,
            AGE,
            column("SignerName", "string", "Who is asked to sign."),
            column("Requestor", "string", "Who asks."),
            column("RequestedDuration", "string", "How long the certificate should be good for."),
            column("Condition", "string", "What became of it."),
        ],
        row: certificate_row,
        ..Stored::PLAIN
    },
)
.short(&["csr"])
.with_status();

fn certificate_row(request: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&request["spec"], &request["status"]);
    let has = |condition: &str| items(&status["conditions"]).iter().any(|c| c["type"] == condition);
    let mut state = if has("Denied") {
        "Denied".to_owned()
    } else if has("Approved") {
        "Approved".to_owned()
    } else {
        "Pending".to_owned()
    };
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(&status["certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    let duration = spec["expirationSeconds"].as_i64().and_then(|seconds| {
        let start = Timestamp::UNIX_EPOCH;
        let end = Timestamp::from_second(seconds).ok()?;
        Some(apimachinery::time::human_age(start, end))
    });
    vec![
        print::name(request),
        print::age(request, now),
        text(&spec["signerName"]).into(),
        text(&spec["username"]).into(),
        duration.map_or_else(|| print::NONE.into(), Value::from),
        state.into(),
    ]
}
