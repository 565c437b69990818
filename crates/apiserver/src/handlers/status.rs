//! `/status` and its like: read the whole object, write only the part that they name.

use apimachinery::status::Status;
use http::Method;

use super::{get, patch, update};
use crate::api::{ApiServer, Request};
use crate::life::Part;
use crate::respond::Answer;
use crate::route::Target;

pub(crate) async fn status(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    part(api, request, target, Part::Status).await
}

/// Reads the object, or writes `part` of it.
pub(crate) async fn part(
    api: &ApiServer,
    request: &Request,
    target: &Target,
    part: Part,
) -> Result<Answer, Status> {
    match request.method {
        Method::GET => get::get(api, request, target).await,
        Method::PUT => update::put(api, request, target, part).await,
        Method::PATCH => patch::patch_part(api, request, target, part).await,
        _ => Err(Status::method_not_allowed()),
    }
}
