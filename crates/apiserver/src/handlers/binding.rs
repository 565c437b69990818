//! POST of `/binding`: the scheduler's word on where a pod runs.

use apimachinery::status::Status;
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::{ApiServer, Request};
use crate::content;
use crate::life::Part;
use crate::options::WriteOptions;
use crate::ownership::Author;
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::storage::Update;

pub(crate) async fn binding(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let options = WriteOptions::from_request(request)?;
    let mut warnings = Vec::new();
    let binding = content::decode(request, "v1", "Binding", options.field_validation, &mut warnings)?;
    if binding["target"]["name"].as_str().unwrap_or_default().is_empty() {
        return Err(Status::bad_request("target.name: Required value: the name of a node"));
    }
    let resource = target.kind.resource();
    let author = &Author::Server;
    let update =
        Update { target, part: Part::Given, dry_run: options.dry_run, author, warnings: &mut warnings };
    let change = |old: &Value, _: &mut Vec<String>| {
        let mut new = old.clone();
        target
            .kind
            .strategy
            .bind(&mut new, &binding, request.clock.now())
            .map_err(|why| Status::conflict(&format!("{resource}/binding"), &target.name, &why))?;
        Ok(new)
    };
    api.update(update, change).await?;
    let success =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::warn(respond::json_value(StatusCode::CREATED, &success), &warnings))
}
