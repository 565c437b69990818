//! POST of a new object.

use apimachinery::status::Status;
use http::StatusCode;
use registry::Scope;

use crate::api::{ApiServer, Request};
use crate::content;
use crate::options::WriteOptions;
use crate::ownership::Author;
use crate::respond::Answer;
use crate::route::Target;

pub(crate) async fn create(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    if target.kind.scope == Scope::Namespaced && target.namespace.is_empty() {
        return Err(Status::bad_request("an empty namespace may not be set during creation"));
    }
    let options = WriteOptions::from_request(request)?;
    let author = Author::of(request)?;
    let mut warnings = Vec::new();
    let object = content::decode_kind(request, target.kind, options.field_validation, &mut warnings)?;
    if let Some(version) = request.version {
        version.check(&object, None)?;
    }
    let stored = api.make(target, object, options.dry_run, &author, &mut warnings).await?;
    super::show(request, target, StatusCode::CREATED, &stored, &warnings)
}
