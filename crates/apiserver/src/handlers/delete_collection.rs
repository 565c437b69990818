//! DELETE of a collection: every object that the selectors choose, each as a delete of its own.

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use http::StatusCode;
use registry::nodes::Operation;
use serde_json::Value;

use super::{delete, list};
use crate::api::{ApiServer, Request};
use crate::authz::restriction;
use crate::codec;
use crate::list_options::ListOptions;
use crate::negotiate::Shown;
use crate::options::DeleteOptions;
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::selection::Selection;

pub(crate) async fn delete_collection(
    api: &ApiServer,
    request: &Request,
    target: &Target,
) -> Result<Answer, Status> {
    let renderer = super::renderer(request, target, Shown::List)?;
    let options = DeleteOptions::from_request(request)?;
    let listed = ListOptions::from_query(&request.query)?;
    let selection = Selection::from_request(request, target)?;
    let (items, meta) = list::select(api, &listed, target, &selection).await?;
    for item in &items {
        let object = codec::decode(item)?;
        let one = Target {
            namespace: object.namespace().to_owned(),
            name: object.name().to_owned(),
            ..target.clone()
        };
        restriction::admit(api, &request.user, &one, Operation::Delete, &Value::Null, &object).await?;
        // What was selected is deleted, not what has taken its name since.
        let options = DeleteOptions { uid: Some(object.uid().to_owned()), ..options.clone() };
        match delete::delete_object(api, &one, &options).await {
            Ok(_) => {}
            Err(status) if matches!(status.reason, "NotFound" | "Conflict") => {}
            Err(status) => return Err(status),
        }
    }
    Ok(respond::json_bytes(StatusCode::OK, renderer.list(&items, &meta)?))
}
