//! What a client asks of a write besides the object: `CreateOptions`, `UpdateOptions`, `PatchOptions`,
//! `DeleteOptions` of meta/v1.

use apimachinery::field::{FieldError, Path};
use apimachinery::status::Status;
use serde_json::Value;

use crate::api::Request;
use crate::content;

/// What becomes of fields that the schema does not know or that stand twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// They are dropped in silence.
    Ignore,
    /// They are dropped with a `Warning:` header.
    Warn,
    /// They are refused.
    Strict,
}

/// The parameters of create, update and patch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteOptions {
    /// Do everything but store.
    pub(crate) dry_run: bool,
    pub(crate) field_validation: FieldValidation,
}

impl WriteOptions {
    pub(crate) fn from_request(request: &Request) -> Result<Self, Status> {
        let field_validation = match request.query.get("fieldValidation") {
            None | Some("Warn") => FieldValidation::Warn,
            Some("Ignore") => FieldValidation::Ignore,
            Some("Strict") => FieldValidation::Strict,
            Some(other) => {
                return Err(Status::bad_request(format!(
                    "fieldValidation: Unsupported value: {other:?}: supported values: \"Ignore\", \"Warn\", \"Strict\""
                )));
            }
        };
        Ok(Self { dry_run: dry_run(request.query.all("dryRun"))?, field_validation })
    }
}

fn dry_run<'a>(values: impl Iterator<Item = &'a str>) -> Result<bool, Status> {
    let mut dry = false;
    for value in values.filter(|v| !v.is_empty()) {
        if value != "All" {
            return Err(Status::bad_request(format!(
                "dryRun: Unsupported value: {value:?}: supported values: \"All\""
            )));
        }
        dry = true;
    }
    Ok(dry)
}

/// What becomes of the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    /// They stay.
    Orphan,
    /// They go afterwards.
    Background,
    /// They go first.
    Foreground,
}

/// `meta/v1.DeleteOptions`, from the body or the query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeleteOptions {
    pub(crate) grace_period_seconds: Option<i64>,
    /// Delete only the object with this uid.
    pub(crate) uid: Option<String>,
    /// Delete only this version of the object.
    pub(crate) resource_version: Option<String>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) dry_run: bool,
}

impl DeleteOptions {
    pub(crate) fn from_request(request: &Request) -> Result<Self, Status> {
        let mut sent = content::decode_options(request)?;
        let query = &request.query;
        // What the body does not say, the query may.
        for (field, value) in [
            ("propagationPolicy", query.get("propagationPolicy").map(Value::from)),
            (
                "orphanDependents",
                query.get("orphanDependents").map(|_| query.flag("orphanDependents").into()),
            ),
            ("gracePeriodSeconds", query.number::<i64>("gracePeriodSeconds")?.map(Value::from)),
        ] {
            if let Some(value) = value.filter(|_| sent[field].is_null()) {
                sent[field] = value;
            }
        }
        let mut options = Self::from_json(&sent)?;
        options.dry_run |= dry_run(query.all("dryRun"))?;
        Ok(options)
    }

    /// Reads the object form, as bodies and evictions carry it; `null` asks for nothing.
    pub(crate) fn from_json(options: &Value) -> Result<Self, Status> {
        let text = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
        let preconditions = &options["preconditions"];
        let dry = options["dryRun"].as_array().map(Vec::as_slice).unwrap_or_default();
        let propagation = propagation(&options["propagationPolicy"], &options["orphanDependents"])?;
        Ok(Self {
            grace_period_seconds: options["gracePeriodSeconds"].as_i64(),
            uid: text(&preconditions["uid"]),
            resource_version: text(&preconditions["resourceVersion"]),
            propagation,
            dry_run: dry_run(dry.iter().filter_map(Value::as_str))?,
        })
    }
}

/// Upstream: `ValidateDeleteOptions`. Without a word the kind's own default holds, which is background for all.
fn propagation(policy: &Value, orphan: &Value) -> Result<Option<Propagation>, Status> {
    let path = Path::new("propagationPolicy");
    let refuse = |error| Err(Status::invalid("DeleteOptions.meta.k8s.io", "", &[error]));
    match (policy.as_str(), orphan.as_bool()) {
        (Some(word), Some(_)) => {
            let words = "orphanDependents and deletionPropagation cannot be both set";
            refuse(FieldError::invalid(&path, word, words))
        }
        (None, Some(true)) | (Some("Orphan"), None) => Ok(Some(Propagation::Orphan)),
        (None, Some(false)) | (Some("Background"), None) => Ok(Some(Propagation::Background)),
        (Some("Foreground"), None) => Ok(Some(Propagation::Foreground)),
        (Some(word), None) => {
            let supported = &["Foreground", "Background", "Orphan", "nil"];
            refuse(FieldError::not_supported(&path, word, supported))
        }
        (None, None) => Ok(None),
    }
}
