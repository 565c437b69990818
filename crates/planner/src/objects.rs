//! Owners, selectors and guarded patches: what every planner needs of any object.

use apimachinery::labels::Selector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::{Metadata, Resource};
use serde_json::{Value, json};

use crate::plan::{Action, ObjectRef};
use crate::world::{World, object_ref};

/// Whether the object is being deleted.
pub(crate) fn is_terminating(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// Whether the object, or its whole namespace, is being deleted: then nothing is made for it any more.
pub(crate) fn is_going(world: &World, meta: &ObjectMeta) -> bool {
    is_terminating(meta) || is_namespace_going(world, namespace(meta))
}

/// Whether this namespace is being deleted.
pub(crate) fn is_namespace_going(world: &World, namespace: &str) -> bool {
    world.namespaces.get("", namespace).is_some_and(|home| is_terminating(&home.metadata))
}

/// The name; empty only for what never came from the API.
pub(crate) fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// The namespace; empty for cluster-scoped objects.
pub(crate) fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

/// The uid; empty only for what never came from the API.
pub(crate) fn uid(meta: &ObjectMeta) -> &str {
    meta.uid.as_deref().unwrap_or_default()
}

/// The label `key`.
pub(crate) fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// The annotation `key`.
pub(crate) fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The owner references.
pub(crate) fn owners(meta: &ObjectMeta) -> &[OwnerReference] {
    meta.owner_references.as_deref().unwrap_or_default()
}

/// The one owner that manages the object (`metav1.GetControllerOf`).
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    owners(meta).iter().find(|owner| owner.controller == Some(true))
}

/// The reference by which `owner` manages another object (`metav1.NewControllerRef`).
pub(crate) fn controller_ref<K: Resource + Metadata<Ty = ObjectMeta>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::API_VERSION.to_owned(),
        kind: K::KIND.to_owned(),
        name: name(owner.metadata()).to_owned(),
        uid: uid(owner.metadata()).to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// A typed label selector, ready to match. The API refuses selectors that do not parse; one that came in
/// another way selects nothing, and so does none at all.
pub(crate) fn selector<'s>(typed: impl Into<Option<&'s LabelSelector>>) -> Selector {
    let Some(typed) = typed.into() else { return Selector::nothing() };
    let expressions = typed
        .match_expressions
        .iter()
        .flatten()
        .map(|e| (e.key.as_str(), e.operator.as_str(), e.values.as_deref().unwrap_or_default()));
    Selector::from_parts(typed.match_labels.iter().flatten(), expressions)
        .unwrap_or_else(|_| Selector::nothing())
}

/// A merge patch of this very object, refused when it was replaced or changed meanwhile.
pub(crate) fn guarded_patch<K>(object: &K, mut patch: Value) -> Action
where
    K: Resource + Metadata<Ty = ObjectMeta>,
{
    let meta = object.metadata();
    patch["metadata"]["uid"] = uid(meta).into();
    patch["metadata"]["resourceVersion"] = meta.resource_version.as_deref().into();
    Action::Patch { target: object_ref(object), patch }
}

/// A merge patch of this very object's status, refused when it was replaced meanwhile.
pub(crate) fn status_patch<K: Resource + Metadata<Ty = ObjectMeta>>(object: &K, status: &Value) -> Action {
    let patch = json!({"metadata": {"uid": uid(object.metadata())}, "status": status});
    Action::PatchStatus { target: object_ref(object), patch }
}

/// Puts these owner references in place of those that the object has.
pub(crate) fn set_owners<K>(object: &K, owners: &[OwnerReference]) -> Action
where
    K: Resource + Metadata<Ty = ObjectMeta>,
{
    guarded_patch(object, json!({"metadata": {"ownerReferences": owners}}))
}

/// Takes one finalizer away.
pub(crate) fn remove_finalizer<K: Resource + Metadata<Ty = ObjectMeta>>(
    object: &K,
    finalizer: &str,
) -> Action {
    let rest: Vec<&String> =
        object.metadata().finalizers.iter().flatten().filter(|held| *held != finalizer).collect();
    guarded_patch(object, json!({"metadata": {"finalizers": rest}}))
}

/// Whether the object has this finalizer.
pub(crate) fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|held| held == finalizer)
}

/// Deletes this very object, whatever became of it meanwhile.
pub(crate) fn delete<K: Resource + Metadata<Ty = ObjectMeta>>(object: &K) -> Action {
    Action::Delete { target: object_ref(object), resource_version: None, grace_period: None }
}

/// Deletes this very object at once: nobody is asked whether it can go.
pub(crate) fn deleted_now<K: Resource + Metadata<Ty = ObjectMeta>>(object: &K) -> Action {
    Action::Delete { target: object_ref(object), resource_version: None, grace_period: Some(0) }
}

/// How people call an object: `pod/web-0`.
pub(crate) fn spoken(object: &ObjectRef) -> String {
    format!("{}/{}", object.kind.to_lowercase(), object.name)
}
