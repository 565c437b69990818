//! A claim asks for more than its volume holds: what the node does next about it
//! (`sigs.k8s.io/external-resizer`, and `pkg/volume/util/operationexecutor` for the file system).
//!
//! Three steps, each told of before the next: the claim says that it is being resized, the volume gets larger, the file
//! system in it fills that. Each is found again from the objects alone, so that whoever is stopped in between goes on
//! from there.
//!
//! A directory grows, too: its capacity was never more than what the node's file system could hold when it was asked
//! for, and growing asks that again. Nothing is said that does not hold as much as it did before.

use apimachinery::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition, PersistentVolumeClaimStatus,
};
use serde_json::{Value, json};

use super::matching::{capacity, class_name, is_bound, requested, volume_of};
use super::{provisioner, reasons};
use crate::objects::{guarded_patch, name, status_patch};
use crate::plan::{Action, EventType, ObjectRef, Plan};
use crate::world::{World, object_ref};

/// The volume is being made larger.
const RESIZING: &str = "Resizing";
/// The volume is larger, and the file system in it is not yet.
const FILE_SYSTEM_PENDING: &str = "FileSystemResizePending";
/// `allocatedResourceStatuses` while each of the two goes on.
const CONTROLLER_IN_PROGRESS: &str = "ControllerResizeInProgress";
const NODE_IN_PROGRESS: &str = "NodeResizeInProgress";

/// What the node does to its disk for one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing: the step only says what comes next.
    Nothing,
    /// Lets the volume hold so many bytes.
    Volume {
        /// All in all.
        bytes: u64,
    },
    /// Lets the file system fill the volume.
    FileSystem,
}

/// One step of a claim's growth.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// Whose.
    pub claim: ObjectRef,
    /// The volume's name.
    pub volume: String,
    /// What to do.
    pub work: Work,
    /// What to write when that is done.
    pub then: Vec<Action>,
}

/// The next step, if the claim's volume is one that `provisioner` made, and is to grow.
pub(super) fn next(world: &World, claim: &PersistentVolumeClaim) -> Option<Growth> {
    let volume = volume_of(world, claim).filter(|_| is_growing(claim))?;
    if !provisioner::is_ours(volume) {
        return None;
    }
    let (wanted, holds) = (requested(claim), capacity(volume));
    let status = claim.status.clone().unwrap_or_default();
    let announced = has_condition(&status, RESIZING) && allocated(&status) == Some(wanted);
    let (work, then) = if holds >= wanted {
        (Work::FileSystem, finished(claim, holds, true))
    } else if !announced {
        (Work::Nothing, announcement(claim, volume))
    } else {
        let bytes = u64::try_from(wanted.value()).unwrap_or(0);
        let mut then =
            vec![guarded_patch(volume, json!({"spec": {"capacity": {"storage": wanted.to_string()}}}))];
        if provisioner::has_file_system(volume) {
            then.extend(file_system_pending(claim));
        } else {
            then.extend(finished(claim, wanted, false));
        }
        (Work::Volume { bytes }, then)
    };
    Some(Growth { claim: object_ref(claim), volume: name(&volume.metadata).to_owned(), work, then })
}

/// Whether the claim has less than it asks for, or its file system does not know yet what it has.
pub(crate) fn is_growing(claim: &PersistentVolumeClaim) -> bool {
    let status = claim.status.as_ref();
    is_bound(claim)
        && status.is_some_and(|status| {
            has(status).is_some_and(|has| has < requested(claim))
                || has_condition(status, FILE_SYSTEM_PENDING)
        })
}

/// Says that the claim waits to grow, and for what.
pub(super) fn do_plan_wait(world: &World, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    let Some(status) = claim.status.as_ref().filter(|_| is_growing(claim)) else { return };
    let (from, to) = (has(status).unwrap_or(Quantity::ZERO), requested(claim));
    let ours = volume_of(world, claim).is_some_and(provisioner::is_ours);
    let class = class_name(claim).unwrap_or_default();
    let what = if !ours {
        format!(": nothing here grows volumes of class {class:?}")
    } else if has_condition(status, FILE_SYSTEM_PENDING) {
        ": its volume is larger, and the file system in it is being grown".to_owned()
    } else {
        String::new()
    };
    let message = format!("claim/{} grows from {from} to {to}{what}", name(&claim.metadata));
    plan.wait(claim, claim, reasons::GROWING, message);
}

/// How much the claim has.
fn has(status: &PersistentVolumeClaimStatus) -> Option<Quantity> {
    Quantity::parse(&status.capacity.as_ref()?.get("storage")?.0).ok()
}

/// How much it is being given.
fn allocated(status: &PersistentVolumeClaimStatus) -> Option<Quantity> {
    Quantity::parse(&status.allocated_resources.as_ref()?.get("storage")?.0).ok()
}

fn has_condition(status: &PersistentVolumeClaimStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|held| held.type_ == kind && held.status == "True")
}

fn announcement(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Vec<Action> {
    let status = json!({
        "conditions": conditions(claim, Some(json!({"type": RESIZING, "status": "True"}))),
        "allocatedResources": {"storage": requested(claim).to_string()},
        "allocatedResourceStatuses": {"storage": CONTROLLER_IN_PROGRESS},
    });
    let message = format!("External resizer is resizing volume {}", name(&volume.metadata));
    vec![status_patch(claim, &status), told(claim, "Resizing", message)]
}

fn file_system_pending(claim: &PersistentVolumeClaim) -> Vec<Action> {
    let condition = json!({
        "type": FILE_SYSTEM_PENDING, "status": "True",
        "message": "Waiting for the node to grow the file system in the volume.",
    });
    let status = json!({
        "conditions": conditions(claim, Some(condition)),
        "allocatedResourceStatuses": {"storage": NODE_IN_PROGRESS},
    });
    let message = "Require file system resize of volume on node".to_owned();
    vec![status_patch(claim, &status), told(claim, "FileSystemResizeRequired", message)]
}

fn finished(claim: &PersistentVolumeClaim, capacity: Quantity, file_system: bool) -> Vec<Action> {
    let status = json!({
        "capacity": {"storage": capacity.to_string()},
        "conditions": conditions(claim, None),
        "allocatedResources": {"storage": capacity.to_string()},
        "allocatedResourceStatuses": null,
    });
    let (reason, message) = if file_system {
        ("FileSystemResizeSuccessful", "MountVolume.NodeExpandVolume succeeded for volume")
    } else {
        ("VolumeResizeSuccessful", "Resize volume succeeded")
    };
    vec![status_patch(claim, &status), told(claim, reason, message.to_owned())]
}

/// The claim's conditions with this one for those of growing.
fn conditions(claim: &PersistentVolumeClaim, own: Option<Value>) -> Vec<Value> {
    let of_others = |held: &&PersistentVolumeClaimCondition| {
        !matches!(held.type_.as_str(), RESIZING | FILE_SYSTEM_PENDING)
    };
    let held = claim.status.iter().flat_map(|status| status.conditions.iter().flatten());
    held.filter(of_others).map(|held| json!(held)).chain(own).collect()
}

fn told(claim: &PersistentVolumeClaim, reason: &str, message: String) -> Action {
    let (about, reason) = (object_ref(claim), reason.to_owned());
    Action::Record { about, event_type: EventType::Normal, reason, message, failed: None }
}
