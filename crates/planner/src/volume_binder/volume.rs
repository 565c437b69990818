//! One volume: available, bound or released (`syncVolume`). Nothing here deletes one: that is the node's, when
//! the claim is gone and the policy says so.

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use serde_json::{Value, json};

use super::BOUND_BY_CONTROLLER;
use super::matching::volume_name;
use super::provisioner::PROVISIONED_BY;
use crate::objects::{annotation, guarded_patch, name, status_patch};
use crate::plan::{Action, ObjectRef, Plan};
use crate::world::World;

/// Plans for one volume.
pub(super) fn do_plan_volume(world: &World, volume: &PersistentVolume, plan: &mut Plan) {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let Some((reference, uid)) =
        reference.and_then(|r| Some((r, r.uid.as_deref().filter(|uid| !uid.is_empty())?)))
    else {
        // Nobody's, or set aside for a claim that is not bound yet.
        return set_phase(volume, "Available", plan);
    };
    match claim_of(world, reference, uid) {
        None => {
            if phase(volume) != "Released" {
                plan.actions.push(Action::ExpectGone(claim_reference(reference, uid)));
                set_phase(volume, "Released", plan);
            }
        }
        Some(claim) => match volume_name(claim) {
            Some(bound) if bound == name(&volume.metadata) => set_phase(volume, "Bound", plan),
            // The claim is about to be bound to it: the claim's own plan does that.
            None => {}
            Some(_) => do_plan_misbound(volume, plan),
        },
    }
}

fn claim_of<'w>(
    world: &'w World,
    reference: &ObjectReference,
    uid: &str,
) -> Option<&'w PersistentVolumeClaim> {
    let claim = world.claims.get(reference.namespace.as_deref()?, reference.name.as_deref()?)?;
    (claim.metadata.uid.as_deref() == Some(uid)).then_some(&**claim)
}

fn claim_reference(reference: &ObjectReference, uid: &str) -> ObjectRef {
    ObjectRef {
        api_version: "v1".to_owned(),
        kind: "PersistentVolumeClaim".to_owned(),
        namespace: reference.namespace.clone().unwrap_or_default(),
        name: reference.name.clone().unwrap_or_default(),
        uid: uid.to_owned(),
    }
}

/// The claim took another volume. One that was made for it is released and stays until the claim is gone; one
/// that we had reserved is free again; one that somebody reserved stays reserved.
fn do_plan_misbound(volume: &PersistentVolume, plan: &mut Plan) {
    if annotation(&volume.metadata, PROVISIONED_BY).is_some() {
        set_phase(volume, "Released", plan);
    } else if annotation(&volume.metadata, BOUND_BY_CONTROLLER).is_some() {
        let annotations = json!({BOUND_BY_CONTROLLER: Value::Null});
        let patch = json!({"metadata": {"annotations": annotations}, "spec": {"claimRef": Value::Null}});
        plan.actions.push(guarded_patch(volume, patch));
    } else {
        set_phase(volume, "Available", plan);
    }
}

fn phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn set_phase(volume: &PersistentVolume, wanted: &str, plan: &mut Plan) {
    if phase(volume) != wanted {
        plan.actions.push(status_patch(volume, &json!({"phase": wanted})));
    }
}
