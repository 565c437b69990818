//! `Status`: the one shape in which the API refuses something
//! (`meta/v1.Status`, built as `k8s.io/apimachinery/pkg/api/errors` builds it).

use std::fmt;

use serde_json::{Value, json};

use crate::field::FieldError;

/// A refusal, or the outcome of a delete, as clients read it.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// The HTTP code.
    pub code: u16,
    /// The machine's word for it: `NotFound`, `Conflict`, `Invalid`, …
    pub reason: &'static str,
    /// One clear sentence.
    pub message: String,
    /// `details`, an object; `null` when there is nothing to add.
    pub details: Value,
    /// `metadata.continue`: where a list may go on, told with the refusal of a page that is too old; else empty.
    pub continue_token: String,
}

impl std::error::Error for Status {}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Status {
    /// A status with no details.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Value::Null, continue_token: String::new() }
    }

    /// 404: `pods "db-0" not found`. `resource` is `plural` or `plural.group`.
    pub fn not_found(resource: &str, name: &str) -> Self {
        Self::about(404, "NotFound", resource, name, format!("{resource} {name:?} not found"))
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &str, name: &str) -> Self {
        Self::about(409, "AlreadyExists", resource, name, format!("{resource} {name:?} already exists"))
    }

    /// 409: the write lost against another one, or a precondition failed.
    pub fn conflict(resource: &str, name: &str, why: &str) -> Self {
        Self::about(
            409,
            "Conflict",
            resource,
            name,
            format!("Operation cannot be fulfilled on {resource} {name:?}: {why}"),
        )
    }

    /// 409 for a stale `resourceVersion`, in upstream's words.
    pub fn stale(resource: &str, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 403: not allowed, and why.
    pub fn forbidden(resource: &str, name: &str, why: &str) -> Self {
        Self::about(403, "Forbidden", resource, name, format!("{resource} {name:?} is forbidden: {why}"))
    }

    /// 422: the object breaks rules. `kind` is `Kind` or `Kind.group`.
    pub fn invalid(kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let words: Vec<String> = errors.iter().map(FieldError::to_string).collect();
        let all = match words.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|e| json!({"reason": e.error_type.reason(), "message": e.body(), "field": e.field.as_str()}))
            .collect();
        let (short, group) = kind.split_once('.').unwrap_or((kind, ""));
        let mut status = Self::new(422, "Invalid", format!("{kind} {name:?} is invalid: {all}"));
        status.details = details(name, group, short);
        status.details["causes"] = Value::Array(causes);
        status
    }

    /// 400: the request itself cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: nobody vouches for the client.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 405: the path is known, the verb is not.
    pub fn method_not_allowed() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
    }

    /// 404 for a path that no kind lives at.
    pub fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 410: the revision asked for is no longer in the history; list again.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 413: the body is over the limit.
    pub fn too_large(limit: usize) -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {limit} bytes; send less in one request"),
        )
    }

    /// 406: none of the forms that the client accepts is one that the server speaks.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::new(406, "NotAcceptable", message)
    }

    /// 415: no decoder for the body's type.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 500: stead itself failed.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// The status as the JSON object that goes over the wire.
    pub fn to_json(&self) -> Value {
        let mut out = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.continue_token.is_empty() {
            out["metadata"]["continue"] = self.continue_token.as_str().into();
        }
        if !self.details.is_null() {
            out["details"] = self.details.clone();
        }
        out
    }

    fn about(code: u16, reason: &'static str, resource: &str, name: &str, message: String) -> Self {
        let (short, group) = resource.split_once('.').unwrap_or((resource, ""));
        Self { details: details(name, group, short), ..Self::new(code, reason, message) }
    }
}

fn details(name: &str, group: &str, kind: &str) -> Value {
    let mut out = serde_json::Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            out.insert(key.to_owned(), value.into());
        }
    }
    Value::Object(out)
}
