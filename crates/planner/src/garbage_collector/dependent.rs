//! What has owners: whether they are still there, and what to do when they are not (`attemptToDeleteItem`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Map, json};

use super::{CLUSTER_SCOPED, FOREGROUND, ORPHAN, find_owner, known_kind, patch_meta, reasons};
use crate::objects::{has_finalizer, is_terminating, namespace, owners, spoken};
use crate::plan::{Action, EventType, ObjectRef, Plan, Waiting};
use crate::world::{Object, World};

/// What an owner reference is worth.
enum Standing {
    /// The owner is there, or is of a kind that nobody here can judge.
    Solid,
    /// The owner is gone.
    Dangling(ObjectRef),
    /// The owner is there, and waits for its dependents to go.
    Waiting,
    /// The owner lives in a namespace and the dependent does not: such an owner can never be found.
    Unresolvable,
}

fn standing(world: &World, dependent: &ObjectMeta, owner: &OwnerReference) -> Standing {
    let Some(kind) = known_kind(owner) else { return Standing::Solid };
    let is_cluster_scoped = CLUSTER_SCOPED.contains(&kind);
    if !is_cluster_scoped && namespace(dependent).is_empty() {
        return Standing::Unresolvable;
    }
    match find_owner(world, dependent, owner) {
        None => {
            let place = if is_cluster_scoped { "" } else { namespace(dependent) };
            Standing::Dangling(reference(owner, place))
        }
        Some(found) if is_terminating(found.metadata()) && has_finalizer(found.metadata(), FOREGROUND) => {
            Standing::Waiting
        }
        Some(_) => Standing::Solid,
    }
}

fn reference(owner: &OwnerReference, namespace: &str) -> ObjectRef {
    ObjectRef {
        api_version: owner.api_version.clone(),
        kind: owner.kind.clone(),
        namespace: namespace.to_owned(),
        name: owner.name.clone(),
        uid: owner.uid.clone(),
    }
}

/// Deletes an object whose owners are all gone or wait for it to go; takes such references off one that has
/// another owner left (`attemptToDeleteItem`).
pub(super) fn do_plan_dependent(world: &World, object: &Object, plan: &mut Plan) {
    let meta = object.metadata();
    let mut solid = Vec::new();
    let mut gone = Vec::new();
    for owner in owners(meta) {
        match standing(world, meta, owner) {
            Standing::Solid => solid.push(owner),
            Standing::Dangling(reference) => gone.push(reference),
            Standing::Waiting => {}
            Standing::Unresolvable => {
                solid.push(owner);
                plan.waiting_on.push(unresolvable(object, owner));
            }
        }
    }
    if solid.len() == owners(meta).len() {
        return;
    }
    let all_gone = gone.len() == owners(meta).len();
    let misplaced = events_about_namespaces(world, object, &gone);
    plan.actions.extend(gone.into_iter().map(Action::ExpectGone));
    if solid.is_empty() {
        if !all_gone {
            do_plan_cascade(world, object, plan);
        }
        // Data may hang on it: not even a change of the object may come in between.
        let resource_version = meta.resource_version.clone().filter(|_| all_gone);
        plan.actions.push(Action::Delete {
            target: object.reference(),
            resource_version,
            grace_period: None,
        });
    } else {
        plan.actions.push(patch_meta(object, json!({"ownerReferences": solid})));
    }
    plan.actions.extend(misplaced);
}

/// An owner waits for this object: then this one waits for its own dependents in turn, down to the last. Where they
/// go round in a circle, it stops holding its owners up.
fn do_plan_cascade(world: &World, object: &Object, plan: &mut Plan) {
    let meta = object.metadata();
    let dependents = world.owned_by(meta);
    if dependents.is_empty() {
        return;
    }
    let mut patch = Map::new();
    let is_going =
        |object: &Object| is_terminating(object.metadata()) && has_finalizer(object.metadata(), FOREGROUND);
    let blocks = owners(meta).iter().any(|owner| owner.block_owner_deletion == Some(true));
    if blocks && dependents.iter().any(is_going) {
        let freed =
            owners(meta).iter().map(|o| OwnerReference { block_owner_deletion: Some(false), ..o.clone() });
        patch.insert("ownerReferences".into(), json!(freed.collect::<Vec<_>>()));
    }
    if !has_finalizer(meta, FOREGROUND) && !has_finalizer(meta, ORPHAN) {
        let mut finalizers: Vec<&str> = meta.finalizers.iter().flatten().map(String::as_str).collect();
        finalizers.push(FOREGROUND);
        patch.insert("finalizers".into(), json!(finalizers));
    }
    if !patch.is_empty() {
        plan.actions.push(patch_meta(object, patch.into()));
    }
}

/// Tells of owners that are there, but in another namespace: they count as gone
/// (`reportInvalidNamespaceOwnerRef`).
fn events_about_namespaces(world: &World, object: &Object, gone: &[ObjectRef]) -> Vec<Action> {
    let elsewhere = gone.iter().filter(|owner| world.find_uid(&owner.kind, &owner.uid).is_some());
    let event = |owner: &ObjectRef| Action::Record {
        about: object.reference(),
        event_type: EventType::Warning,
        reason: reasons::OWNER_REF_INVALID_NAMESPACE.to_owned(),
        message: format!(
            "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] does not exist in namespace {:?}",
            owner.api_version, owner.kind, owner.namespace, owner.name, owner.uid, owner.namespace
        ),
        failed: None,
    };
    elsewhere.map(event).collect()
}

fn unresolvable(object: &Object, owner: &OwnerReference) -> Waiting {
    let (who, on) = (object.reference(), reference(owner, ""));
    let message = format!(
        "{} has no namespace and cannot be owned by {}, which lives in one: it will never be collected",
        spoken(&who),
        spoken(&on)
    );
    Waiting { who, on, reason: reasons::OWNER_REF_INVALID_NAMESPACE, message, since: None }
}
