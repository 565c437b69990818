//! `/status`: reads the whole object, writes only its status.

use apimachinery::status::Status;
use http::Method;

use super::{get, patch, update};
use crate::api::{ApiServer, Request};
use crate::life::Part;
use crate::respond::Answer;
use crate::route::Target;

pub(crate) async fn status(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    match request.method {
        Method::GET => get::get(api, request, target).await,
        Method::PUT => update::put(api, request, target, Part::Status).await,
        Method::PATCH => patch::patch_part(api, request, target, Part::Status).await,
        _ => Err(Status::method_not_allowed()),
    }
}
