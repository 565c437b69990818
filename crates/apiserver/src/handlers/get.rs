//! GET of one object.

use apimachinery::status::Status;
use http::StatusCode;

use crate::api::{ApiServer, Request};
use crate::list_options;
use crate::respond::Answer;
use crate::route::Target;
use crate::storage;

pub(crate) async fn get(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    if let Some(text) = request.query.get("resourceVersion") {
        let asked = list_options::revision(text);
        let asked = asked.map_err(|e| Status::bad_request(format!("invalid resource version: {e}")))?;
        storage::check_happened(api, asked)?;
    }
    let stored = api.read(target).await?;
    super::show(request, target, StatusCode::OK, &stored, &[])
}
