//! PATCH of an object: JSON patch, merge patch, strategic merge patch, apply.

use std::borrow::Cow;

use apimachinery::status::Status;
use http::StatusCode;
use registry::Version;
use serde_json::Value;

use super::update::check_name;
use crate::api::{ApiServer, Request};
use crate::content;
use crate::life::Part;
use crate::options::WriteOptions;
use crate::ownership::Author;
use crate::patching::{self, Patch};
use crate::respond::Answer;
use crate::route::Target;
use crate::storage::Update;

pub(crate) async fn patch(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    patch_part(api, request, target, Part::Main).await
}

/// Patches the part of the object that `part` names.
pub(crate) async fn patch_part(
    api: &ApiServer,
    request: &Request,
    target: &Target,
    part: Part,
) -> Result<Answer, Status> {
    if patching::is_apply(request) {
        return super::apply::apply(api, request, target, part).await;
    }
    let options = WriteOptions::from_request(request)?;
    let author = Author::of(request)?;
    let patch = Patch::from_request(request)?;
    let mut warnings = Vec::new();
    let update = Update { target, part, dry_run: options.dry_run, author: &author, warnings: &mut warnings };
    let change = |stored: &Value, warnings: &mut Vec<String>| {
        let old = in_version(request.version, stored);
        let mut new = patch.apply(&old)?;
        for field in ["apiVersion", "kind"] {
            if new[field] != old[field] {
                return Err(Status::bad_request(format!("{field} cannot be changed by a patch")));
            }
        }
        check_name(target, &new)?;
        content::check_shape(&mut new, options.field_validation, patch.duplicates.clone(), warnings)?;
        if let Some(version) = request.version {
            version.to_stored(&mut new);
            version.check(&new, Some(stored))?;
        }
        Ok(new)
    };
    let stored = api.update(update, change).await?.into_stored();
    super::show(request, target, StatusCode::OK, &stored, &warnings)
}

/// The stored object as a client of this version sees it.
fn in_version<'v>(version: Option<&Version>, stored: &'v Value) -> Cow<'v, Value> {
    match version {
        None => Cow::Borrowed(stored),
        Some(version) => {
            let mut object = stored.clone();
            version.from_stored(&mut object);
            Cow::Owned(object)
        }
    }
}
