//! PATCH with `application/apply-patch+yaml`: server-side apply. What does not exist is made.

use apimachinery::apply::{self, Refusal};
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use http::StatusCode;
use registry::Subresource;
use serde_json::{Value, json};

use super::update::check_name;
use crate::api::{ApiServer, Request};
use crate::content;
use crate::life::Part;
use crate::options::{FieldValidation, WriteOptions};
use crate::ownership::{self, Author};
use crate::respond::Answer;
use crate::route::Target;
use crate::storage::Update;

/// How often who lost a race to make or to change the object looks again.
const MAX_ATTEMPTS: usize = 3;

/// A request to apply, read.
struct Configuration<'a> {
    object: Value,
    manager: &'a str,
    force: bool,
    options: WriteOptions,
}

pub(crate) async fn apply(
    api: &ApiServer,
    request: &Request,
    target: &Target,
    part: Part,
) -> Result<Answer, Status> {
    let options = WriteOptions::from_request(request)?;
    let manager = ownership::applier(request)?;
    let mut warnings = Vec::new();
    let object = read(request, target, part, options.field_validation, &mut warnings)?;
    let config = Configuration { object, manager, force: request.query.flag("force"), options };
    for attempt in 1.. {
        let last = attempt == MAX_ATTEMPTS;
        let author = &Author::Applied;
        let update = Update { target, part, dry_run: options.dry_run, author, warnings: &mut warnings };
        match api.update(update, |old, said| config.put_into(api, target, Some(old), said)).await {
            Err(status) if status.reason == "NotFound" && part == Part::Main => {}
            done => {
                let stored = done?.into_stored();
                return super::show(request, target, StatusCode::OK, &stored, &warnings);
            }
        }
        let object = config.put_into(api, target, None, &mut warnings)?;
        match api.make(target, object, options.dry_run, author, &mut warnings).await {
            Err(status) if status.reason == "AlreadyExists" && !last => {}
            made => return super::show(request, target, StatusCode::CREATED, &made?, &warnings),
        }
    }
    unreachable!("the last attempt returns")
}

impl Configuration<'_> {
    fn put_into(
        &self,
        api: &ApiServer,
        target: &Target,
        live: Option<&Value>,
        warnings: &mut Vec<String>,
    ) -> Result<Value, Status> {
        let api_version = target.kind.api_version();
        let writer = ownership::writer(target, &api_version, self.manager, api.clock().now());
        let writer = writer.ok_or_else(|| {
            Status::unsupported_media_type(format!(
                "{} cannot be applied: send it with PUT",
                target.kind.kind
            ))
        })?;
        let mut object = apply::apply(live, &self.object, self.force, &writer)
            .map_err(|refusal| refused(target, refusal))?;
        check_name(target, &object)?;
        content::check_shape(&mut object, self.options.field_validation, Vec::new(), warnings)?;
        Ok(object)
    }
}

fn read(
    request: &Request,
    target: &Target,
    part: Part,
    validation: FieldValidation,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let mut object = content::decode_applied(request, validation, warnings)?;
    let said = |field: &str| object[field].as_str().unwrap_or_default();
    let (api_version, kind) = (target.kind.api_version(), target.kind.kind);
    if said("apiVersion") != api_version {
        return Err(Status::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {api_version}",
            said("apiVersion")
        )));
    }
    if said("kind") != kind {
        return Err(Status::bad_request(format!(
            "the kind in the apply patch ({}) does not match the kind of the path ({kind})",
            said("kind")
        )));
    }
    if !object["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    // What this path does not write is nobody's by it (upstream: `GetResetFields`).
    if part == Part::Status {
        object.meta_mut().remove("ownerReferences");
    }
    let has_status = target.kind.has(Subresource::Status);
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|name, _| match name.as_str() {
            "apiVersion" | "kind" | "metadata" => true,
            "status" => part == Part::Status || !has_status,
            _ => part != Part::Status,
        });
    }
    Ok(object)
}

/// Upstream: `managedfields.NewConflictError`; what is no configuration is told as its typed conversion tells it.
fn refused(target: &Target, refusal: Refusal) -> Status {
    match refusal {
        Refusal::Conflicts(conflicts) => {
            let causes: Vec<Value> = conflicts
                .iter()
                .map(|c| json!({"reason": "FieldManagerConflict", "message": c.cause(), "field": c.path}))
                .collect();
            let mut status = Status::new(409, "Conflict", apply::message(&conflicts));
            status.details = json!({"causes": causes});
            status
        }
        Refusal::Malformed(why) => {
            let Target { kind, namespace, name, .. } = target;
            let about = format!("{namespace}/{name}; {}/{}, Kind={}", kind.group, kind.version, kind.kind);
            Status::new(500, "", format!("failed to create typed patch object ({about}): {why}"))
        }
    }
}
