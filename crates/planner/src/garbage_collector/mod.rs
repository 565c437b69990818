//! What goes when its owners go (`pkg/controller/garbagecollector`): dependents of absent owners in the
//! background, dependents before their owner in the foreground, or nothing but the references (orphan).
//!
//! A key is one object, `Kind name` in its namespace. A world can be late: whatever rests on an owner being
//! gone asks the API itself first ([`Action::ExpectGone`]), and owners of kinds that a world does not hold
//! count as there.

mod dependent;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use crate::Planner;
use crate::objects::{has_finalizer, is_terminating, name, namespace, owners, spoken, uid};
use crate::plan::{Action, Plan, Waiting, deleted_since};
use crate::world::{Key, Object, World};

/// The finalizer of an owner that goes after its dependents.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The finalizer of an owner that leaves its dependents behind.
pub const ORPHAN: &str = "orphan";

/// Why an object waits: the reasons in `waiting_on`.
pub mod reasons {
    /// An owner that is deleted in the foreground waits for a dependent.
    pub const DEPENDENT_REMAINS: &str = "DependentRemains";
    /// An owner is named that lives in another namespace. Also an event.
    pub const OWNER_REF_INVALID_NAMESPACE: &str = "OwnerRefInvalidNamespace";
}

/// Kinds without a namespace, of those in a world.
pub(crate) const CLUSTER_SCOPED: &[&str] = &["Namespace", "Node", "PersistentVolume", "StorageClass"];

/// The garbage collector.
pub struct GarbageCollector;

impl Planner for GarbageCollector {
    fn name(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:generic-garbage-collector"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        let meta = object.metadata();
        let held = world.find(object.kind().1, namespace(meta), name(meta));
        let gone = held.is_none_or(|held| uid(held.metadata()) != uid(meta));
        let mut keys = Vec::new();
        if !gone && (!owners(meta).is_empty() || is_terminating(meta)) {
            keys.push(key_of(object));
        }
        // An owner that waits for its dependents looks again when one of them changes or goes.
        for owner in owners(meta) {
            let found = find_owner(world, meta, owner);
            keys.extend(found.filter(|o| has_finalizer(o.metadata(), FOREGROUND)).map(|o| key_of(&o)));
        }
        if gone || has_finalizer(meta, FOREGROUND) {
            keys.extend(world.owned_by(meta).iter().map(key_of));
        }
        keys
    }

    fn plan(&self, world: &World, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some((kind, name)) = key.name.split_once(' ') else { return plan };
        let Some(object) = world.find(kind, &key.namespace, name) else { return plan };
        let meta = object.metadata();
        if !is_terminating(meta) {
            dependent::do_plan_dependent(world, &object, &mut plan);
        } else if has_finalizer(meta, ORPHAN) {
            do_plan_orphaning(world, &object, &mut plan);
        } else if has_finalizer(meta, FOREGROUND) {
            do_plan_foreground(world, &object, &mut plan);
        }
        plan
    }
}

fn key_of(object: &Object) -> Key {
    let meta = object.metadata();
    Key::new(namespace(meta), &format!("{} {}", object.kind().1, name(meta)))
}

/// The kind of an owner, when worlds hold it.
fn known_kind(owner: &OwnerReference) -> Option<&'static str> {
    let group = |version: &str| version.rsplit_once('/').map_or(String::new(), |(group, _)| group.to_owned());
    let known = World::KINDS
        .iter()
        .find(|(version, kind)| *kind == owner.kind && group(version) == group(&owner.api_version));
    known.map(|(_, kind)| *kind)
}

fn find_owner(world: &World, dependent: &ObjectMeta, owner: &OwnerReference) -> Option<Object> {
    let kind = known_kind(owner)?;
    let ns = if CLUSTER_SCOPED.contains(&kind) { "" } else { namespace(dependent) };
    world.find(kind, ns, &owner.name).filter(|found| uid(found.metadata()) == owner.uid)
}

/// Takes the owner off its dependents, then lets it go.
fn do_plan_orphaning(world: &World, object: &Object, plan: &mut Plan) {
    let meta = object.metadata();
    for dependent in world.owned_by(meta) {
        let held = owners(dependent.metadata());
        let rest: Vec<&OwnerReference> = held.iter().filter(|owner| owner.uid != uid(meta)).collect();
        plan.actions.push(patch_meta(&dependent, json!({"ownerReferences": rest})));
    }
    plan.actions.push(without_finalizer(object, ORPHAN));
}

/// Lets the owner go once no dependent is left that blocks it. The dependents themselves go by their own plans.
fn do_plan_foreground(world: &World, object: &Object, plan: &mut Plan) {
    let meta = object.metadata();
    let blocks = |dependent: &Object| {
        owners(dependent.metadata())
            .iter()
            .any(|o| o.uid == uid(meta) && o.block_owner_deletion == Some(true))
    };
    let left: Vec<Object> = world.owned_by(meta).into_iter().filter(blocks).collect();
    let Some(first) = left.first() else {
        plan.actions.push(without_finalizer(object, FOREGROUND));
        return;
    };
    let (owner, dependent) = (spoken(&object.reference()), spoken(&first.reference()));
    let message = match left.len() {
        1 => format!("{owner} goes once {dependent}, which it owns, is gone"),
        count => {
            format!("{owner} goes once the {count} objects that it owns are gone, {dependent} among them")
        }
    };
    let reason = reasons::DEPENDENT_REMAINS;
    plan.waiting_on.push(Waiting {
        who: object.reference(),
        on: first.reference(),
        reason,
        message,
        since: deleted_since(meta),
    });
}

fn patch_meta(object: &Object, mut metadata: Value) -> Action {
    metadata["uid"] = uid(object.metadata()).into();
    metadata["resourceVersion"] = json!(object.metadata().resource_version);
    Action::Patch { target: object.reference(), patch: json!({"metadata": metadata}) }
}

fn without_finalizer(object: &Object, finalizer: &str) -> Action {
    let held = object.metadata().finalizers.iter().flatten();
    let rest: Vec<&String> = held.filter(|held| *held != finalizer).collect();
    patch_meta(object, json!({"finalizers": rest}))
}
