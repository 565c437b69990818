//! POST of `/eviction`: a delete that a disruption budget could refuse; there are none.

use apimachinery::status::Status;
use http::StatusCode;
use serde_json::json;

use super::delete;
use crate::api::{ApiServer, Request};
use crate::content;
use crate::options::{DeleteOptions, WriteOptions};
use crate::respond::{self, Answer};
use crate::route::Target;

pub(crate) async fn eviction(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let write = WriteOptions::from_request(request)?;
    let mut warnings = Vec::new();
    let eviction = content::decode(request, "policy/v1", "Eviction", write.field_validation, &mut warnings)?;
    let mut options = DeleteOptions::from_json(&eviction["deleteOptions"])?;
    options.dry_run |= write.dry_run;
    delete::delete_object(api, target, &options).await?;
    let success =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::warn(respond::json_value(StatusCode::CREATED, &success), &warnings))
}
