//! One claim: find it a volume, bind both, or say why not (`syncClaim`).

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition, PersistentVolumeClaimStatus,
};
use serde_json::{Value, json};

use super::matching::{best_volume, class_name, is_reserved_for, reserved_volume, volume_name, volume_of};
use super::{BIND_COMPLETED, BOUND_BY_CONTROLLER, parameters, provisioner, reasons};
use crate::objects::{annotation, guarded_patch, is_terminating, name, namespace, status_patch};
use crate::plan::{EventType, Plan};
use crate::scheduler::{SELECTED_NODE, waits_for_consumer};
use crate::world::{World, object_ref};

/// The condition that says why a claim has no volume.
const VOLUME_BOUND: &str = "VolumeBound";
const DEFAULT_CLASS: &str = "storageclass.kubernetes.io/is-default-class";

/// Plans for one claim.
pub(super) fn do_plan_claim(world: &World, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    if annotation(&claim.metadata, BIND_COMPLETED).is_some() {
        do_plan_bound(world, claim, plan);
    } else if !is_terminating(&claim.metadata) {
        do_plan_unbound(world, claim, plan);
    }
}

/// Why a claim has no volume, for its condition and its events.
struct Refusal {
    reason: &'static str,
    event: &'static str,
    event_type: EventType,
    message: String,
}

impl Refusal {
    fn warning(reason: &'static str, event: &'static str, message: String) -> Self {
        Self { reason, event, event_type: EventType::Warning, message }
    }

    fn normal(reason: &'static str, event: &'static str, message: String) -> Self {
        Self { reason, event, event_type: EventType::Normal, message }
    }
}

/// `syncUnboundClaim`.
fn do_plan_unbound(world: &World, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    if let Some(wanted) = volume_name(claim) {
        return match volume_of(world, claim) {
            Some(volume) if is_reserved_for(volume, claim) || is_unclaimed(volume) => {
                bind(volume, claim, plan);
            }
            Some(_) => {
                let message = format!("volume \"{wanted}\" already bound to a different claim.");
                refuse(claim, Refusal::warning(reasons::VOLUME_TAKEN, "FailedBinding", message), plan);
            }
            None => {
                let message = format!("volume \"{wanted}\" not found");
                refuse(claim, Refusal::warning(reasons::VOLUME_MISSING, "FailedBinding", message), plan);
            }
        };
    }
    if class_is_open(claim)
        && let Some(default) = default_class(world)
    {
        plan.actions.push(guarded_patch(claim, json!({"spec": {"storageClassName": default}})));
        return;
    }
    let selected = annotation(&claim.metadata, SELECTED_NODE);
    let delayed = waits_for_consumer(world, claim) && selected.is_none();
    let node = selected.and_then(|node| world.nodes.get("", node)).map(|node| &**node);
    let found = if delayed { reserved_volume(world, claim) } else { best_volume(world, claim, node) };
    match found {
        Some(volume) => bind(volume, claim, plan),
        None => refuse(claim, why_unbound(world, claim, delayed), plan),
    }
}

fn is_unclaimed(volume: &PersistentVolume) -> bool {
    volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_none())
}

/// Whether the claim leaves the class to the default one. An empty name asks for none.
fn class_is_open(claim: &PersistentVolumeClaim) -> bool {
    claim.spec.as_ref().is_some_and(|spec| spec.storage_class_name.is_none())
}

/// The newest default class, as upstream picks it among several.
fn default_class(world: &World) -> Option<&str> {
    let classes = world.storage_classes.iter();
    let defaults = classes.filter(|class| annotation(&class.metadata, DEFAULT_CLASS) == Some("true"));
    let newest = defaults.max_by_key(|class| {
        (class.metadata.creation_timestamp.clone(), std::cmp::Reverse(class.metadata.name.clone()))
    });
    newest.map(|class| name(&class.metadata))
}

fn why_unbound(world: &World, claim: &PersistentVolumeClaim, delayed: bool) -> Refusal {
    let Some(class) = class_name(claim) else {
        let message = "no persistent volumes available for this claim and no storage class is set".to_owned();
        return Refusal::normal(reasons::NO_MATCHING_VOLUME, "FailedBinding", message);
    };
    let Some(held) = world.storage_classes.get("", class) else {
        let message = format!("storageclass.storage.k8s.io \"{class}\" not found");
        return Refusal::warning(reasons::STORAGE_CLASS_MISSING, "ProvisioningFailed", message);
    };
    if delayed {
        let message = "waiting for first consumer to be created before binding".to_owned();
        return Refusal::normal(reasons::WAIT_FOR_FIRST_CONSUMER, "WaitForFirstConsumer", message);
    }
    match held.provisioner.as_str() {
        provisioner::PROVISIONER => match parameters::unsupported(claim, held) {
            Some(why) => Refusal::warning(reasons::PROVISIONING_FAILED, "ProvisioningFailed", why),
            None => {
                let message = format!(
                    "Waiting for a volume to be created either by the external provisioner '{}' or manually by the \
                     system administrator.",
                    provisioner::PROVISIONER
                );
                Refusal::normal(reasons::PROVISIONING, "ExternalProvisioning", message)
            }
        },
        "kubernetes.io/no-provisioner" => {
            let message = format!("no volume of class \"{class}\" fits, and the class makes none");
            Refusal::normal(reasons::NO_MATCHING_VOLUME, "FailedBinding", message)
        }
        other => {
            let message = format!(
                "Waiting for a volume to be created either by the external provisioner '{other}' or manually by the \
                 system administrator."
            );
            Refusal::normal(reasons::PROVISIONING, "ExternalProvisioning", message)
        }
    }
}

/// Says why the claim has no volume: always in `waiting_on`, and as a condition and an event when it is news.
fn refuse(claim: &PersistentVolumeClaim, refusal: Refusal, plan: &mut Plan) {
    let Refusal { reason, event, event_type, message } = refusal;
    plan.wait(claim, claim, reason, message.clone());
    let status = claim.status.clone().unwrap_or_default();
    let told = status.conditions.iter().flatten().any(|condition| {
        condition.type_ == VOLUME_BOUND
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_deref() == Some(message.as_str())
    });
    if told && status.phase.as_deref() == Some("Pending") {
        return;
    }
    let mut conditions: Vec<Value> = other_conditions(&status).map(|condition| json!(condition)).collect();
    conditions.push(json!({"type": VOLUME_BOUND, "status": "False", "reason": reason, "message": message}));
    plan.actions.push(status_patch(claim, &json!({"phase": "Pending", "conditions": conditions})));
    plan.record(&object_ref(claim), event_type, event, message);
}

fn other_conditions(
    status: &PersistentVolumeClaimStatus,
) -> impl Iterator<Item = &PersistentVolumeClaimCondition> {
    status.conditions.iter().flatten().filter(|condition| condition.type_ != VOLUME_BOUND)
}

/// Binds both sides, each step only where it is not done yet: the volume names the claim first, so that a crash
/// in between never leaves one volume with two claims.
fn bind(volume: &PersistentVolume, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if reference.and_then(|r| r.uid.as_ref()) != claim.metadata.uid.as_ref() {
        let mut patch = json!({"spec": {"claimRef": {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace(&claim.metadata),
            "name": name(&claim.metadata), "uid": claim.metadata.uid,
        }}});
        if reference.is_none() {
            patch["metadata"]["annotations"][BOUND_BY_CONTROLLER] = "yes".into();
        }
        plan.actions.push(guarded_patch(volume, patch));
    }
    if volume.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
        plan.actions.push(status_patch(volume, &json!({"phase": "Bound"})));
    }
    let wanted = name(&volume.metadata);
    if volume_name(claim) != Some(wanted) || annotation(&claim.metadata, BIND_COMPLETED).is_none() {
        let mut annotations = json!({BIND_COMPLETED: "yes"});
        if volume_name(claim).is_none() {
            annotations[BOUND_BY_CONTROLLER] = "yes".into();
        }
        let patch = json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": wanted}});
        plan.actions.push(guarded_patch(claim, patch));
    }
    do_plan_bound_status(volume, claim, plan);
}

/// The claim's status says what its volume has. A capacity that is there already is the node's to raise, once
/// the volume has really grown.
fn do_plan_bound_status(volume: &PersistentVolume, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    let status = claim.status.clone().unwrap_or_default();
    let has = volume.spec.as_ref();
    let modes = has.and_then(|spec| spec.access_modes.clone()).unwrap_or_default();
    let capacity = has.and_then(|spec| spec.capacity.clone()).unwrap_or_default();
    let refused = status.conditions.iter().flatten().any(|condition| condition.type_ == VOLUME_BOUND);
    let settled = status.phase.as_deref() == Some("Bound")
        && status.access_modes.as_ref() == Some(&modes)
        && status.capacity.is_some()
        && !refused;
    if !settled {
        let mut patch = json!({"phase": "Bound", "accessModes": modes, "capacity": capacity});
        if refused {
            patch["conditions"] = json!(other_conditions(&status).collect::<Vec<_>>());
        }
        plan.actions.push(status_patch(claim, &patch));
    }
}

/// `syncBoundClaim`.
fn do_plan_bound(world: &World, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    match volume_of(world, claim) {
        Some(volume) if is_reserved_for(volume, claim) || is_unclaimed(volume) => bind(volume, claim, plan),
        Some(_) => {
            let message = "Two claims are bound to the same volume, this one is bound incorrectly";
            lose(claim, "ClaimMisbound", message, plan);
        }
        None if volume_name(claim).is_some() => {
            let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
            lose(claim, "ClaimLost", message, plan);
        }
        None => {
            let message = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
            lose(claim, "ClaimLost", message, plan);
        }
    }
}

fn lose(claim: &PersistentVolumeClaim, event: &str, message: &str, plan: &mut Plan) {
    plan.wait(claim, claim, reasons::CLAIM_LOST, message.to_owned());
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Lost") {
        plan.actions.push(status_patch(claim, &json!({"phase": "Lost"})));
        plan.record(&object_ref(claim), EventType::Warning, event, message.to_owned());
    }
}
