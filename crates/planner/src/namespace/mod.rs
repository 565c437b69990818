//! Namespaces: emptied and let go when they are deleted (`pkg/controller/namespace`), and given what every one has
//! while they live: the ServiceAccount `default` (`pkg/controller/serviceaccount`) and the ConfigMap
//! `kube-root-ca.crt` (`pkg/controller/certificates/rootcacertpublisher`).

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Map, Value, json};

use crate::Planner;
use crate::objects::{guarded_patch, is_terminating, name, namespace, spoken};
use crate::plan::{Action, Plan, Waiting, deleted_since};
use crate::world::{Key, Object, World, object_ref, to_value};

/// The finalizer in a namespace's spec that stands for its content.
pub const FINALIZER: &str = "kubernetes";
/// The ServiceAccount that every namespace has.
pub const DEFAULT_SERVICE_ACCOUNT: &str = "default";
/// The ConfigMap by which pods know the API. What it holds is published in [`SYSTEM`], and copied from there.
pub const ROOT_CA: &str = "kube-root-ca.crt";
/// The namespace of the system's own objects.
pub const SYSTEM: &str = "kube-system";

/// Why a namespace waits: the reasons in `waiting_on`.
pub mod reasons {
    /// A namespace that is being deleted waits for an object in it to go.
    pub const CONTENT_REMAINS: &str = "ContentRemains";
}

/// The namespace and ServiceAccount controllers.
pub struct NamespacePlanner;

impl Planner for NamespacePlanner {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:namespace-controller"
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        let meta = object.metadata();
        match object {
            Object::Namespace(_) => vec![Key::of(meta)],
            Object::ServiceAccount(_) => vec![Key::new("", namespace(meta))],
            Object::ConfigMap(_) if name(meta) == ROOT_CA && namespace(meta) == SYSTEM => {
                world.namespaces.iter().map(|held| Key::of(&held.metadata)).collect()
            }
            Object::ConfigMap(_) if name(meta) == ROOT_CA => vec![Key::new("", namespace(meta))],
            _ => {
                let held = world.namespaces.get("", namespace(meta));
                held.filter(|n| is_terminating(&n.metadata))
                    .map(|n| Key::of(&n.metadata))
                    .into_iter()
                    .collect()
            }
        }
    }

    fn plan(&self, world: &World, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan { independent: true, ..Plan::default() };
        let Some(held) = world.namespaces.get("", &key.name) else { return plan };
        if is_terminating(&held.metadata) {
            do_plan_emptying(world, held, &mut plan);
        } else {
            do_plan_furnishing(world, &key.name, &mut plan);
        }
        plan
    }
}

/// Makes what every namespace has, and puts it right.
fn do_plan_furnishing(world: &World, place: &str, plan: &mut Plan) {
    if world.service_accounts.get(place, DEFAULT_SERVICE_ACCOUNT).is_none() {
        plan.actions.push(Action::Create(json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"name": DEFAULT_SERVICE_ACCOUNT, "namespace": place},
        })));
    }
    let Some(published) = world.config_maps.get(SYSTEM, ROOT_CA).filter(|_| place != SYSTEM) else { return };
    match world.config_maps.get(place, ROOT_CA) {
        None => plan.actions.push(Action::Create(json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": ROOT_CA, "namespace": place, "annotations": published.metadata.annotations},
            "data": published.data,
        }))),
        Some(held) if held.data != published.data && !is_terminating(&held.metadata) => {
            // A merge patch: what has been added goes as well.
            let mut data: Map<String, Value> =
                held.data.iter().flatten().map(|(key, _)| (key.clone(), Value::Null)).collect();
            data.extend(
                published.data.iter().flatten().map(|(key, text)| (key.clone(), text.as_str().into())),
            );
            plan.actions.push(guarded_patch(&**held, json!({"data": data})));
        }
        Some(_) => {}
    }
}

/// Deletes what is in the namespace, and lets the namespace go when nothing is left.
fn do_plan_emptying(world: &World, held: &Namespace, plan: &mut Plan) {
    let content = world.objects_in(name(&held.metadata));
    for object in content.iter().filter(|object| !is_terminating(object.metadata())) {
        plan.actions.push(Action::Delete {
            target: object.reference(),
            resource_version: None,
            grace_period: None,
        });
    }
    if let Some(first) = content.first() {
        let (who, on) = (name(&held.metadata), spoken(&first.reference()));
        let message = match content.len() {
            1 => format!("namespace/{who} goes once {on} in it is gone"),
            count => format!("namespace/{who} goes once the {count} objects in it are gone, {on} among them"),
        };
        plan.waiting_on.push(Waiting {
            who: object_ref(held),
            on: first.reference(),
            reason: reasons::CONTENT_REMAINS,
            message,
            since: deleted_since(&held.metadata),
        });
        return;
    }
    let mut finalized = held.clone();
    let finalizers = finalized.spec.get_or_insert_default().finalizers.get_or_insert_default();
    if let Some(index) = finalizers.iter().position(|finalizer| finalizer == FINALIZER) {
        finalizers.remove(index);
        plan.actions.push(Action::Finalize(to_value(&finalized)));
    }
}
