//! PATCH with `application/apply-patch+yaml`: server-side apply. What does not exist is made.

use std::sync::Arc;

use apimachinery::apply::{self, Refusal};
use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use http::StatusCode;
use registry::{Kind, Subresource};
use serde_json::{Value, json};

use super::update::check_name;
use crate::api::{ApiServer, Request};
use crate::authz;
use crate::codec::Stored;
use crate::content;
use crate::life::Part;
use crate::options::WriteOptions;
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
    author: Author,
}

pub(crate) async fn apply(
    api: &ApiServer,
    request: &Request,
    target: &Target,
    part: Part,
) -> Result<Answer, Status> {
    let mut warnings = Vec::new();
    let served = request.version.map_or(target.kind, |version| &version.served);
    let mut config = Configuration::read(request, &served.api_version(), served.kind, &mut warnings)?;
    if let Some(version) = request.version {
        content::check_shape(&mut config.object, config.options.field_validation, Vec::new(), &mut warnings)?;
        version.to_stored(&mut config.object);
    }
    let (code, stored) = config.of_part(target.kind, part).write(api, target, part, &mut warnings).await?;
    super::show(request, target, code, &stored, &warnings)
}

/// Applies a Scale: the object with the replicas that it says, which are all that the manager owns by this path.
pub(crate) async fn apply_scale(
    api: &ApiServer,
    request: &Request,
    target: &Target,
    warnings: &mut Vec<String>,
) -> Result<Stored, Status> {
    let mut config = Configuration::read(request, "autoscaling/v1", "Scale", warnings)?;
    content::check_shape(&mut config.object, config.options.field_validation, Vec::new(), warnings)?;
    let replicas = config.object["spec"]["replicas"].as_i64();
    let mut scaled = json!({"apiVersion": target.kind.api_version(), "kind": target.kind.kind, "spec": {}});
    scaled["metadata"] = config.object["metadata"].take();
    if let Some(replicas) = replicas {
        target.kind.strategy.set_replicas(&mut scaled, replicas);
    }
    config.object = scaled;
    // What is not there is not made: a Scale is no whole object.
    let update = config.update(target, Part::Main, warnings);
    Ok(api.update(update, |old, said| config.put_into(api, target, Some(old), said)).await?.into_stored())
}

impl<'a> Configuration<'a> {
    /// Reads a configuration of this kind of object.
    fn read(
        request: &'a Request,
        api_version: &str,
        kind: &str,
        warnings: &mut Vec<String>,
    ) -> Result<Self, Status> {
        let options = WriteOptions::from_request(request)?;
        let manager = ownership::applier(request)?;
        let object = content::decode_applied(request, options.field_validation, warnings)?;
        let said = |field: &str| object[field].as_str().unwrap_or_default();
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
        let (force, author) =
            (request.query.flag("force"), Author::Applied { user: Arc::clone(&request.user) });
        Ok(Self { object, manager, force, options, author })
    }

    /// The configuration without what the path does not write: that is nobody's by it (upstream:
    /// `GetResetFields`).
    fn of_part(mut self, kind: &Kind, part: Part) -> Self {
        if part == Part::Status {
            self.object.meta_mut().remove("ownerReferences");
        }
        let has_status = kind.has(Subresource::Status);
        if let Some(fields) = self.object.as_object_mut() {
            fields.retain(|name, _| match name.as_str() {
                "apiVersion" | "kind" | "metadata" => true,
                "status" => part == Part::Status || !has_status,
                _ => part != Part::Status,
            });
        }
        self
    }

    /// Changes the object, or makes it.
    async fn write(
        &self,
        api: &ApiServer,
        target: &Target,
        part: Part,
        warnings: &mut Vec<String>,
    ) -> Result<(StatusCode, Stored), Status> {
        for attempt in 1.. {
            let update = self.update(target, part, warnings);
            match api.update(update, |old, said| self.put_into(api, target, Some(old), said)).await {
                Err(status) if status.reason == "NotFound" && part == Part::Main => {}
                done => return Ok((StatusCode::OK, done?.into_stored())),
            }
            if !self.object.uid().is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {}, and no existing object was found",
                    self.object.uid()
                );
                return Err(Status::conflict(&target.kind.resource(), &target.name, &why));
            }
            authz::authorize_creation(api, &self.author, target).await?;
            let object = self.put_into(api, target, None, warnings)?;
            match api.make(target, object, self.options.dry_run, &self.author, warnings).await {
                // Somebody else made it in between.
                Err(status) if status.reason == "AlreadyExists" && attempt < MAX_ATTEMPTS => {}
                made => return Ok((StatusCode::CREATED, made?)),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn update<'u>(&'u self, target: &'u Target, part: Part, warnings: &'u mut Vec<String>) -> Update<'u> {
        Update { target, part, dry_run: self.options.dry_run, author: &self.author, warnings }
    }

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
