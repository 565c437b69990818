//! POST of `/eviction`: a delete that a budget can refuse. What it may say stands in `registry::eviction`.

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use http::StatusCode;
use registry::Subresource;
use registry::eviction::{self, Verdict};
use registry::nodes::Operation;
use serde_json::{Value, json};

use super::delete;
use crate::api::{ApiServer, Request};
use crate::authz::restriction;
use crate::codec;
use crate::content;
use crate::life::Part;
use crate::options::{DeleteOptions, WriteOptions};
use crate::ownership::Author;
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::storage::Update;

/// How often an eviction that lost a race is tried again before the client hears of it (`EvictionsRetry`).
const MAX_ATTEMPTS: usize = 20;
/// When to ask again after that, in seconds.
const RETRY_AFTER_SECONDS: i64 = 10;

pub(crate) async fn eviction(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let write = WriteOptions::from_request(request)?;
    let mut warnings = Vec::new();
    let eviction = content::decode(request, "policy/v1", "Eviction", write.field_validation, &mut warnings)?;
    if eviction.name() != target.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut options = DeleteOptions::from_json(&eviction["deleteOptions"])?;
    options.dry_run |= write.dry_run;
    restriction::admit_end(api, &request.user, target, Operation::Create, &options).await?;
    evict(api, target, &options).await?;
    let success =
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(respond::warn(respond::json_value(StatusCode::CREATED, &success), &warnings))
}

async fn evict(api: &ApiServer, target: &Target, options: &DeleteOptions) -> Result<(), Status> {
    let wants_version = options.resource_version.is_some();
    for _ in 0..MAX_ATTEMPTS {
        let object = codec::decode(&api.read(target).await?)?;
        // What will be refused must not cost a budget anything.
        delete::check_preconditions(target, &object, options)?;
        let as_it_is = || DeleteOptions {
            resource_version: Some(object.resource_version().to_owned()),
            ..options.clone()
        };
        let (guarded, budget) = match consider(api, target, &object).await? {
            Verdict::Free | Verdict::Unasked { unless_changed: false } => (None, None),
            Verdict::Unasked { unless_changed: true } => (Some(as_it_is()), None),
            Verdict::Unhealthy(budget) => (Some(as_it_is()), Some(budget)),
            Verdict::Pays(budget) => match pay(api, target, options, &budget).await {
                // Somebody took the budget away: look again which one is asked.
                Err(status) if status.reason == "NotFound" => continue,
                paid => {
                    paid?;
                    (None, None)
                }
            },
        };
        let options = guarded.as_ref().filter(|_| !wants_version).unwrap_or(options);
        match delete::delete_noting(api, target, options, eviction::mark).await {
            Err(status) if status.reason == "Conflict" && guarded.is_some() && !wants_version => {
                if let Some(budget) = budget {
                    return Err(eviction::still_processed(&budget));
                }
            }
            done => return done.map(drop),
        }
    }
    Err(Status::stale(&target.kind.resource(), &target.name))
}

async fn consider(api: &ApiServer, target: &Target, object: &Value) -> Result<Verdict, Status> {
    if let Some(verdict) = eviction::goes_unasked(object) {
        return Ok(verdict);
    }
    let prefix = registry::namespace_prefix(eviction::budgets(), &target.namespace);
    eviction::consider(object, &api.objects(&prefix).await?)
}

/// Takes the eviction out of the budget; under its version, so that nothing is spent twice.
async fn pay(api: &ApiServer, target: &Target, options: &DeleteOptions, budget: &str) -> Result<(), Status> {
    let place = Target {
        kind: eviction::budgets(),
        namespace: target.namespace.clone(),
        name: budget.to_owned(),
        subresource: Some(Subresource::Status),
    };
    let (author, warnings) = (&Author::Server, &mut Vec::new());
    let update = Update { target: &place, part: Part::Status, dry_run: options.dry_run, author, warnings };
    let spend = |old: &Value, _: &mut Vec<String>| eviction::spend(old, &target.name, api.clock().now());
    match api.update(update, spend).await {
        Err(status) if status.reason == "Conflict" => {
            let message = format!("couldn't update PodDisruptionBudget {budget:?} due to conflicts");
            let mut status = Status::new(504, "Timeout", format!("Timeout: {message}"));
            status.details = json!({"retryAfterSeconds": RETRY_AFTER_SECONDS});
            Err(status)
        }
        done => done.map(drop),
    }
}
