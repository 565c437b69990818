//! PUT of an object.

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use http::StatusCode;
use serde_json::Value;

use crate::api::{ApiServer, Request};
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
    let update = Update { target, part, dry_run: options.dry_run, author: &author, warnings: &mut warnings };
    let stored = api.update(update, |_, _| Ok(sent.clone())).await?.into_stored();
    super::show(request, target, StatusCode::OK, &stored, &warnings)
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
