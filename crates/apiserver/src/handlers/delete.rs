//! DELETE of one object: at once, after a grace period, or when its last finalizer goes
//! (upstream: apiserver/pkg/registry/rest/delete.go, registry/generic/registry/store.go).

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use http::StatusCode;
use jiff::Timestamp;
use registry::nodes::Operation;
use serde_json::{Value, json};
use store::{Durability, Error, Expect};

use crate::api::{ApiServer, Request};
use crate::authz::restriction;
use crate::codec::{self, Stored};
use crate::life;
use crate::options::{DeleteOptions, Propagation};
use crate::respond::{self, Answer};
use crate::route::Target;
use crate::storage::{self, Outcome};

/// The garbage collector frees the dependents and then takes this finalizer off.
const ORPHAN: &str = "orphan";
/// The garbage collector deletes the dependents and then takes this finalizer off.
const FOREGROUND: &str = "foregroundDeletion";
/// How often a delete that lost a race is tried again before the client hears of it.
const MAX_ATTEMPTS: usize = 16;

pub(crate) async fn delete(api: &ApiServer, request: &Request, target: &Target) -> Result<Answer, Status> {
    let options = DeleteOptions::from_request(request)?;
    restriction::admit_end(api, &request.user, target, Operation::Delete, &options).await?;
    match delete_object(api, target, &options).await? {
        Outcome::Kept(stored) => super::show(request, target, StatusCode::OK, &stored, &[]),
        Outcome::Removed(stored) => {
            let gone = codec::decode(&stored)?;
            // Upstream answers with the object where a kind is deleted gracefully, else with a Status.
            if target.kind.strategy.default_grace_period(&gone).is_some() {
                return super::show(request, target, StatusCode::OK, &stored, &[]);
            }
            let success = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                "details": {"name": target.name, "group": target.kind.group, "kind": target.kind.plural, "uid": gone.uid()}});
            Ok(respond::json_value(StatusCode::OK, &success))
        }
    }
}

/// What a delete does to the object as it is now.
enum Step {
    /// Its deletion is under way already and nothing changes.
    Nothing,
    /// It is marked and waits.
    Mark(Value),
    /// It goes now.
    Remove,
}

/// Deletes the object, or begins to.
pub(crate) async fn delete_object(
    api: &ApiServer,
    target: &Target,
    options: &DeleteOptions,
) -> Result<Outcome, Status> {
    delete_noting(api, target, options, |_, _| {}).await
}

/// [`delete_object`]; an object that does not go at once is told by `note`, with the mark of its deletion, why.
pub(crate) async fn delete_noting(
    api: &ApiServer,
    target: &Target,
    options: &DeleteOptions,
    note: fn(&mut Value, Timestamp),
) -> Result<Outcome, Status> {
    if let Some(why) = target.kind.strategy.forbids_delete(&target.name) {
        return Err(Status::forbidden(&target.kind.resource(), &target.name, why));
    }
    for _ in 0..MAX_ATTEMPTS {
        let current = api.read(target).await?;
        let object = codec::decode(&current)?;
        check_preconditions(target, &object, options)?;
        let now = api.clock().now();
        let done = match plan(target, object, options, now) {
            Step::Nothing => return Ok(Outcome::Kept(current)),
            Step::Remove if options.dry_run => return Ok(Outcome::Removed(current)),
            Step::Remove => api
                .remove(target, current.revision)
                .await
                .map(|revision| Outcome::Removed(Stored { revision, ..current })),
            Step::Mark(mut marked) => {
                note(&mut marked, now);
                mark(api, target, &marked, &current, options.dry_run).await.map(Outcome::Kept)
            }
        };
        match done {
            Err(Error::Conflict { .. }) => {}
            other => return other.map_err(|e| storage::refused(target, e)),
        }
    }
    Err(Status::stale(&target.kind.resource(), &target.name))
}

async fn mark(
    api: &ApiServer,
    target: &Target,
    marked: &Value,
    current: &Stored,
    dry_run: bool,
) -> Result<Stored, Error> {
    let bytes = codec::encode(target.kind, marked);
    if dry_run {
        return Ok(Stored { bytes, revision: current.revision });
    }
    let expect = Expect::Revision(current.revision);
    let durability = if target.kind.ephemeral { Durability::Late } else { Durability::Sync };
    let revision = api.write(&target.key(), Some(bytes.clone()), expect, durability).await?;
    Ok(Stored { bytes, revision })
}

/// 409 when the object is not the one that the client means.
pub(crate) fn check_preconditions(
    target: &Target,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let refuse = |what: &str, wanted: &str, found: &str| {
        let fate = if what == "UID" { "deleted and then recreated" } else { "modified" };
        let why = format!(
            "the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). \
             The object might have been {fate}"
        );
        Err(Status::conflict(&target.kind.resource(), &target.name, &why))
    };
    match (&options.uid, &options.resource_version) {
        (Some(uid), _) if uid != object.uid() => refuse("UID", uid, object.uid()),
        (_, Some(version)) if version != object.resource_version() => {
            refuse("ResourceVersion", version, object.resource_version())
        }
        _ => Ok(()),
    }
}

fn plan(target: &Target, mut object: Value, options: &DeleteOptions, now: Timestamp) -> Step {
    let kind = target.kind;
    let grace = grace(kind.strategy.default_grace_period(&object), options.grace_period_seconds);
    let changed_finalizers = apply_propagation(&mut object, options.propagation);
    let held = !life::finalizers(&object).is_empty() || kind.strategy.is_held(&object);
    if object.is_terminating() {
        // An unbounded wait never began, or what is left of it may only be shortened.
        let shortened = match options.grace_period_seconds {
            Some(_) => life::shorten_grace(&mut object, grace),
            None => false,
        };
        let waits = life::grace_period(&object).unwrap_or_default() > 0;
        return match (held || waits, shortened || changed_finalizers) {
            (false, _) => Step::Remove,
            (true, true) => Step::Mark(object),
            (true, false) => Step::Nothing,
        };
    }
    if grace == 0 && !held {
        return Step::Remove;
    }
    life::mark_terminating(kind, &mut object, now, grace);
    Step::Mark(object)
}

/// Seconds between asking and going: the client's wish within what the kind allows (`None`: none at all).
fn grace(default: Option<i64>, wished: Option<i64>) -> i64 {
    match (default, wished) {
        (None | Some(0), _) => 0,
        // Upstream takes negative periods for one second.
        (Some(_), Some(wished)) => {
            if wished < 0 {
                1
            } else {
                wished
            }
        }
        (Some(default), None) => default,
    }
}

/// Sets the finalizers that tell the garbage collector what the client wants. Whether that changed anything.
fn apply_propagation(object: &mut Value, propagation: Option<Propagation>) -> bool {
    let Some(propagation) = propagation else { return false };
    let before: Vec<String> = life::finalizers(object).into_iter().map(str::to_owned).collect();
    let mut after: Vec<String> =
        before.iter().filter(|f| *f != ORPHAN && *f != FOREGROUND).cloned().collect();
    match propagation {
        Propagation::Orphan => after.push(ORPHAN.to_owned()),
        Propagation::Foreground => after.push(FOREGROUND.to_owned()),
        Propagation::Background => {}
    }
    if after == before {
        return false;
    }
    life::set_finalizers(object, &after);
    true
}
