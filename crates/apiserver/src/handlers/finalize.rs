//! PUT of `/finalize`: who keeps a terminating object lets it go.

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use http::StatusCode;
use registry::Scope;
use serde_json::Value;

use super::delete;
use super::update::check_name;
use crate::api::{ApiServer, Request};
use crate::codec;
use crate::content;
use crate::life::Part;
use crate::options::{DeleteOptions, WriteOptions};
use crate::ownership::Author;
use crate::respond::Answer;
use crate::route::Target;
use crate::storage::Update;

pub(crate) async fn finalize(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let options = WriteOptions::from_request(request)?;
    let mut warnings = Vec::new();
    let sent = content::decode_kind(request, target.kind, options.field_validation, &mut warnings)?;
    check_name(target, &sent)?;
    if !options.dry_run {
        empty(api, target, &sent).await?;
    }
    let author = &Author::of(request)?;
    let update =
        Update { target, part: Part::Given, dry_run: options.dry_run, author, warnings: &mut warnings };
    let change = |old: &Value, _: &mut Vec<String>| {
        let mut new = old.clone();
        new["metadata"]["resourceVersion"] = sent["metadata"]["resourceVersion"].clone();
        target.kind.strategy.finalize(&mut new, &sent);
        Ok(new)
    };
    let stored = api.update(update, change).await?.into_stored();
    super::show(request, target, StatusCode::OK, &stored, &warnings)
}

/// Who lets a namespace go has emptied it of what they know of. What they do not look at, and what came in at the
/// last moment, goes now: nothing may outlive its namespace unseen.
async fn empty(api: &ApiServer, target: &Target, sent: &Value) -> Result<(), Status> {
    let mut held = codec::decode(&api.read(target).await?)?;
    target.kind.strategy.finalize(&mut held, sent);
    if !held.is_terminating() || target.kind.strategy.is_held(&held) {
        return Ok(());
    }
    for kind in registry::KINDS.iter().copied().filter(|kind| kind.scope == Scope::Namespaced) {
        for object in api.objects(&registry::namespace_prefix(kind, &target.name)).await? {
            let namespace = target.name.clone();
            let one = Target { kind, namespace, name: object.name().to_owned(), subresource: None };
            match delete::delete_object(api, &one, &DeleteOptions::default()).await {
                Err(status) if status.reason != "NotFound" => return Err(status),
                _ => {}
            }
        }
    }
    Ok(())
}
