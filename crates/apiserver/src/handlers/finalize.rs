//! PUT of `/finalize`: who keeps a terminating object lets it go.

use apimachinery::status::Status;
use http::StatusCode;

use super::update::check_name;
use crate::api::{ApiServer, Request};
use crate::content;
use crate::life::Part;
use crate::options::WriteOptions;
use crate::respond::Answer;
use crate::route::Target;
use crate::storage::Update;

pub(crate) async fn finalize(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let options = WriteOptions::from_request(request)?;
    let mut warnings = Vec::new();
    let sent = content::decode_kind(request, target.kind, options.field_validation, &mut warnings)?;
    check_name(target, &sent)?;
    let update = Update { target, part: Part::Given, dry_run: options.dry_run, warnings: &mut warnings };
    let change = |old: &serde_json::Value, _: &mut Vec<String>| {
        let mut new = old.clone();
        new["metadata"]["resourceVersion"] = sent["metadata"]["resourceVersion"].clone();
        target.kind.strategy.finalize(&mut new, &sent);
        Ok(new)
    };
    let stored = api.update(update, change).await?.into_stored();
    super::show(request, target, StatusCode::OK, &stored, &warnings)
}
