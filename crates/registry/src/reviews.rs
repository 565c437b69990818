//! What reviews ask and what they may not say (upstream: `pkg/registry/authorization`,
//! `pkg/registry/authentication`, `pkg/apis/authorization/validation`).

use apimachinery::field::{FieldError, Path};
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use serde_json::{Value, json};

use crate::kind::{Kind, Scope};
use crate::kinds::ANSWERED;
use crate::rbac::{Attributes, Decision, Resolved, Rule};
use crate::value::{is_empty, text};

/// A kind that is answered and not stored.
pub struct Answered {
    /// Its names.
    pub kind: Kind,
    /// What it asks.
    pub question: Question,
}

/// What a review asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whose token it is.
    Token,
    /// Who asks.
    WhoAmI,
    /// Whether somebody may do something.
    MayThey,
    /// Whether the asker may do something.
    MayI,
    /// All that the asker may do in a namespace.
    WhatMayI,
}

/// What a kind asks; `None` for the kinds that are stored.
pub fn question(kind: &Kind) -> Option<Question> {
    let same = |a: &&Answered| a.kind.plural == kind.plural && a.kind.group == kind.group;
    ANSWERED.iter().find(same).map(|answered| answered.question)
}

/// Refuses a review that says too much, too little or both.
///
/// # Errors
/// 400 or 422, in upstream's words.
pub fn check(kind: &Kind, question: Question, review: &Value, namespace: &str) -> Result<(), Status> {
    let spec = &review["spec"];
    let mut errors = Vec::new();
    match question {
        Question::WhoAmI => return Ok(()),
        Question::Token => {
            return match text(&spec["token"]) {
                "" => Err(Status::bad_request("token is required for TokenReview in authentication")),
                _ => Ok(()),
            };
        }
        Question::WhatMayI => {
            return match text(&spec["namespace"]) {
                "" => Err(Status::bad_request("no namespace on request")),
                _ => Ok(()),
            };
        }
        Question::MayThey => {
            check_attributes(&mut errors, spec);
            if is_empty(&spec["user"]) && is_empty(&spec["groups"]) {
                let words = "at least one of user or group must be specified";
                let path = Path::new("spec").child("user");
                errors.push(FieldError::invalid(&path, text(&spec["user"]), words));
            }
        }
        Question::MayI => check_attributes(&mut errors, spec),
    }
    if kind.scope == Scope::Namespaced {
        let path = Path::new("spec").child("resourceAttributes").child("namespace");
        let said = text(&spec["resourceAttributes"]["namespace"]);
        if spec["resourceAttributes"].is_object() && said != namespace {
            errors.push(FieldError::invalid(&path, said, "must match metadata.namespace"));
        }
        if spec["nonResourceAttributes"].is_object() {
            let path = Path::new("spec").child("nonResourceAttributes");
            let words = "disallowed on this kind of request";
            errors.push(FieldError::invalid(&path, spec["nonResourceAttributes"].clone(), words));
        }
    }
    if !review.name().is_empty() {
        let words = "must be empty except for namespace";
        errors.push(FieldError::invalid(&Path::new("metadata"), review["metadata"].clone(), words));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(&kind.group_kind(), "", &errors)) }
}

fn check_attributes(errors: &mut Vec<FieldError>, spec: &Value) {
    let (path, resource, other) =
        (Path::new("spec"), &spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_object() && other.is_object() {
        let words = "cannot be specified in combination with resourceAttributes";
        errors.push(FieldError::invalid(&path.child("nonResourceAttributes"), other.clone(), words));
    }
    if !resource.is_object() && !other.is_object() {
        let words = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid(&path.child("resourceAttributes"), Value::Null, words));
    }
}

/// What a review of access asks for.
pub fn attributes(spec: &Value) -> Attributes<'_> {
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if other.is_object() {
        return Attributes {
            verb: text(&other["verb"]),
            path: Some(text(&other["path"])),
            ..Attributes::default()
        };
    }
    let said = |field: &str| text(&resource[field]);
    Attributes {
        verb: said("verb"),
        group: said("group"),
        resource: said("resource"),
        subresource: said("subresource"),
        namespace: said("namespace"),
        name: said("name"),
        ..Attributes::default()
    }
}

/// The status that tells a decision.
pub fn decided(decision: &Decision) -> Value {
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.as_str().into();
    }
    if let (false, Some(why)) = (decision.allowed, decision.reason.strip_prefix("RBAC: ")) {
        status["evaluationError"] = why.into();
    }
    status
}

/// The status that tells all rules.
pub fn resolved(resolved: &Resolved) -> Value {
    let told = |paths: bool| -> Vec<Value> {
        let rules = resolved.rules.iter().filter(|rule| rule.non_resource_urls.is_empty() != paths);
        rules.map(Rule::to_value).collect()
    };
    let mut status = json!({"resourceRules": told(false), "nonResourceRules": told(true), "incomplete": resolved.incomplete});
    if !resolved.errors.is_empty() {
        status["evaluationError"] = resolved.errors.join(", ").into();
    }
    status
}
