//! One file per verb. A handler reads what the request asks, calls the storage step that does it, and
//! renders the answer; it knows nothing about any one kind.

pub(crate) mod apply;
pub(crate) mod binding;
pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod delete_collection;
pub(crate) mod eviction;
pub(crate) mod exec;
pub(crate) mod finalize;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod log;
pub(crate) mod measured;
pub(crate) mod patch;
pub(crate) mod port_forward;
pub(crate) mod proxy;
pub(crate) mod review;
pub(crate) mod scale;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod update;
pub(crate) mod watch;

use apimachinery::status::Status;
use http::StatusCode;

use crate::api::Request;
use crate::codec::Stored;
use crate::negotiate::{self, Shown};
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::table::Renderer;

/// How the client wants objects of the target's kind.
fn renderer(request: &Request, target: &Target, shown: Shown) -> Result<Renderer, Status> {
    let form = negotiate::form(&request.headers, request.query.get("includeObject"), shown)?;
    Ok(Renderer::new(target.kind, form, request.clock.clone()).in_version(request.version))
}

/// The answer that shows one object.
fn show(
    request: &Request,
    target: &Target,
    code: StatusCode,
    stored: &Stored,
    warnings: &[String],
) -> Result<Answer, Status> {
    let answer = respond::json_bytes(code, renderer(request, target, Shown::One)?.one(stored)?);
    Ok(respond::warn(answer, warnings))
}
