//! A patch as a request carries it.

use apimachinery::patch::{json, merge, strategic};
use apimachinery::schema::Schema;
use apimachinery::schema::strict_json;
use apimachinery::status::Status;
use serde_json::Value;

use crate::api::Request;
use crate::content;
use crate::ownership;

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// The types of patches that are understood.
pub(crate) const MEDIA_TYPES: &[&str] = &[JSON, MERGE, STRATEGIC, APPLY];

/// Whether the body is a configuration to apply, and no patch of its own.
pub(crate) fn is_apply(request: &Request) -> bool {
    content::media_type(&request.headers) == APPLY
}

/// A patch, read but not applied.
pub(crate) struct Patch {
    form: Form,
    patch: Value,
    /// What to say of keys that stand twice in it.
    pub(crate) duplicates: Vec<String>,
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    Merge,
    Strategic,
}

impl Patch {
    /// Reads the body. 415 for other types of patches, 400 for what is no JSON, 422 for who forces one.
    pub(crate) fn from_request(request: &Request) -> Result<Self, Status> {
        ownership::refuse_force(request)?;
        let form = match content::media_type(&request.headers) {
            JSON => Form::Json,
            MERGE => Form::Merge,
            STRATEGIC => Form::Strategic,
            _ => {
                return Err(Status::unsupported_media_type(format!(
                    "the body of the request was in an unknown format - accepted media types include: {}",
                    MEDIA_TYPES.join(", ")
                )));
            }
        };
        let parsed = strict_json::parse(&request.body).map_err(|e| Status::bad_request(e.to_string()))?;
        let duplicates = parsed.messages().collect();
        if matches!(form, Form::Merge | Form::Strategic) && !parsed.value.is_object() {
            return Err(Status::bad_request("the patch is not an object: send the fields to change"));
        }
        Ok(Self { form, patch: parsed.value, duplicates })
    }

    /// The object with the patch applied. 400 for a patch that is none, 422 for one that does not fit.
    pub(crate) fn apply(&self, object: &Value) -> Result<Value, Status> {
        match self.form {
            Form::Json => json::apply(object, &self.patch).map_err(|error| match error {
                json::Error::Malformed { .. } | json::Error::NotAList => {
                    Status::bad_request(error.to_string())
                }
                json::Error::TooLarge { .. } => Status::new(413, "RequestEntityTooLarge", error.to_string()),
                json::Error::TestFailed { .. } | json::Error::NoSuchPath { .. } => {
                    unprocessable(&error.to_string())
                }
            }),
            Form::Merge => {
                let mut patched = object.clone();
                merge::apply(&mut patched, &self.patch);
                Ok(patched)
            }
            Form::Strategic => {
                let said = |field: &str| object[field].as_str().unwrap_or_default();
                let type_id = Schema::builtin().gvk(said("apiVersion"), said("kind"));
                let type_id = type_id.ok_or_else(|| {
                    Status::unsupported_media_type(format!("{} takes no strategic merge patch", said("kind")))
                })?;
                let mut patched = object.clone();
                strategic::apply(&mut patched, &self.patch, type_id)
                    .map_err(|error| Status::bad_request(error.to_string()))?;
                Ok(patched)
            }
        }
    }
}

/// 422 with the reason that upstream gives to patches that cannot be applied.
fn unprocessable(why: &str) -> Status {
    Status::new(
        422,
        "Invalid",
        format!("the server rejected our request due to an error in our request: {why}"),
    )
}
