//! GET of one object.

use apimachinery::status::Status;
use http::StatusCode;

use crate::api::{ApiServer, Request};
use crate::respond::Answer;
use crate::route::Target;
use crate::storage;

pub(crate) async fn get(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    if let Some(asked) = request.query.number::<u64>("resourceVersion")? {
        let newest = api.store().revision();
        if asked > newest {
            return Err(storage::too_large_version(asked, newest));
        }
    }
    let stored = api.read(target).await?;
    super::show(request, target, StatusCode::OK, &stored, &[])
}
