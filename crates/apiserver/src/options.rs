//! What a client asks of a write besides the object: `CreateOptions`, `UpdateOptions`, `PatchOptions`,
//! `DeleteOptions` of meta/v1.

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
        let mut options = Self::from_json(&content::decode_options(request)?)?;
        let query = &request.query;
        options.dry_run |= dry_run(query.all("dryRun"))?;
        if options.grace_period_seconds.is_none() {
            options.grace_period_seconds = query.number("gracePeriodSeconds")?;
        }
        if options.propagation.is_none() {
            options.propagation = query.get("propagationPolicy").map(propagation).transpose()?;
        }
        Ok(options)
    }

    /// Reads the object form, as bodies and evictions carry it; `null` asks for nothing.
    pub(crate) fn from_json(options: &Value) -> Result<Self, Status> {
        let text = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_owned);
        let preconditions = &options["preconditions"];
        let dry = options["dryRun"].as_array().map(Vec::as_slice).unwrap_or_default();
        let old_orphan = options["orphanDependents"].as_bool();
        let propagation = match (options["propagationPolicy"].as_str(), old_orphan) {
            (Some(word), _) => Some(propagation(word)?),
            (None, Some(true)) => Some(Propagation::Orphan),
            (None, Some(false)) => Some(Propagation::Background),
            (None, None) => None,
        };
        Ok(Self {
            grace_period_seconds: options["gracePeriodSeconds"].as_i64(),
            uid: text(&preconditions["uid"]),
            resource_version: text(&preconditions["resourceVersion"]),
            propagation,
            dry_run: dry_run(dry.iter().filter_map(Value::as_str))?,
        })
    }
}

fn propagation(word: &str) -> Result<Propagation, Status> {
    match word {
        "Orphan" => Ok(Propagation::Orphan),
        "Background" => Ok(Propagation::Background),
        "Foreground" => Ok(Propagation::Foreground),
        _ => Err(Status::bad_request(format!(
            "propagationPolicy: Unsupported value: {word:?}: supported values: \"Foreground\", \"Background\", \"Orphan\""
        ))),
    }
}
