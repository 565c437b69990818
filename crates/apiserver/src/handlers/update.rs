//! PUT of an object.

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use http::StatusCode;
use serde_json::Value;

use crate::api::{ApiServer, Request};
use crate::authz;
use crate::content;
use crate::life::Part;
use crate::options::WriteOptions;
use crate::ownership::Author;
use crate::respond::Answer;
use crate::route::Target;
use crate::storage::{self, Update};

pub(crate) async fn update(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    put(api, request, target, Part::Main).await
}

/// Replaces the part of the object that `part` names.
pub(crate) async fn put(
    api: &ApiServer,
    request: &Request,
    target: &Target,
    part: Part,
) -> Result<Answer, Status> {
    let options = WriteOptions::from_request(request)?;
    let author = Author::of(request)?;
    let mut warnings = Vec::new();
    let sent = content::decode_kind(request, target.kind, options.field_validation, &mut warnings)?;
    check_name(target, &sent)?;
    let may_make = part == Part::Main && target.kind.strategy.allows_create_on_update();
    let update = Update { target, part, dry_run: options.dry_run, author: &author, warnings: &mut warnings };
    let change = |old: &Value, _: &mut Vec<String>| {
        request.version.map_or(Ok(()), |version| version.check(&sent, Some(old)))?;
        Ok(sent.clone())
    };
    match api.update(update, change).await {
        Err(status) if may_make && status.reason == "NotFound" => {
            make(api, request, target, sent, options, &author).await
        }
        updated => super::show(request, target, StatusCode::OK, &updated?.into_stored(), &warnings),
    }
}

/// Makes what a put did not find.
async fn make(
    api: &ApiServer,
    request: &Request,
    target: &Target,
    sent: Value,
    options: WriteOptions,
    author: &Author,
) -> Result<Answer, Status> {
    if !sent.uid().is_empty() {
        let why = format!("Precondition failed: UID in precondition: {}, UID in object meta: ", sent.uid());
        return Err(Status::conflict(&target.kind.resource(), &target.name, &why));
    }
    authz::authorize_creation(api, author, target).await?;
    let mut warnings = Vec::new();
    let stored = api.make(target, sent, options.dry_run, author, &mut warnings).await?;
    super::show(request, target, StatusCode::CREATED, &stored, &warnings)
}

/// The object's name and namespace must be those of the path.
pub(crate) fn check_name(target: &Target, object: &Value) -> Result<(), Status> {
    let name = object.name();
    if name.is_empty() {
        return Err(Status::bad_request("name must be provided"));
    }
    if name != target.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            target.name
        )));
    }
    storage::check_namespace(target, object)
}
