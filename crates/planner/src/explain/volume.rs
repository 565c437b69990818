//! Volumes: which of those that exist a claim could have, and why it cannot.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};

use super::{Cause, Walk};
use crate::objects::{is_terminating, name};
use crate::volume_binder::matching::{Mismatch, capacity, class_name, mismatch, requested};

/// At most so many volumes are told of; the others are counted.
const MOST_VOLUMES: usize = 5;

impl Walk<'_> {
    /// The volumes of the claim's class, and why none of them will do.
    pub(super) fn misfits(&self, claim: &PersistentVolumeClaim, node: Option<&Node>) -> Vec<Cause> {
        let class = class_name(claim).unwrap_or_default();
        let is_ours = |volume: &&PersistentVolume| {
            let spec = volume.spec.as_ref();
            spec.and_then(|spec| spec.storage_class_name.as_deref()).unwrap_or_default() == class
        };
        let volumes: Vec<&PersistentVolume> =
            self.world.volumes.iter().map(|volume| &**volume).filter(is_ours).collect();
        if volumes.is_empty() {
            let kind =
                if class.is_empty() { "without a class".to_owned() } else { format!("of class {class}") };
            return vec![Cause::new(format!("there is no volume {kind}"))];
        }
        let told = volumes.iter().take(MOST_VOLUMES).filter_map(|volume| misfit(volume, claim, node));
        let mut causes: Vec<Cause> = told.collect();
        if volumes.len() > MOST_VOLUMES {
            causes.push(Cause::new(format!(
                "{} other volumes will not do either",
                volumes.len() - MOST_VOLUMES
            )));
        }
        causes
    }

    /// Whose volume this is.
    pub(super) fn volume_owner(&self, volume_name: &str) -> Option<Cause> {
        let volume = self.world.volumes.get("", volume_name)?;
        Some(Cause::new(format!("volume {volume_name} belongs to {}", claimant(volume)?)))
    }
}

/// The claim that a volume is for: `claim default/data-db-0`.
pub(super) fn claimant(volume: &PersistentVolume) -> Option<String> {
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    Some(format!("claim {}/{}", text(&claim.namespace), text(&claim.name)))
}

/// Why the claim cannot have the volume.
fn misfit(volume: &PersistentVolume, claim: &PersistentVolumeClaim, node: Option<&Node>) -> Option<Cause> {
    let volume_name = name(&volume.metadata);
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    if is_terminating(&volume.metadata) {
        return Some(Cause::new(format!("volume {volume_name} is being deleted")));
    }
    if let Some(claimant) = claimant(volume) {
        if phase != Some("Released") {
            return Some(Cause::new(format!("volume {volume_name} belongs to {claimant}")));
        }
        let text = format!("volume {volume_name} keeps the data of {claimant}, which is gone");
        let fix =
            format!("to give it away with that data: remove its spec.claimRef (stead edit pv {volume_name})");
        return Some(Cause::new(text).fix(fix));
    }
    let spec = volume.spec.clone().unwrap_or_default();
    let wants = claim.spec.clone().unwrap_or_default();
    let modes = |modes: Option<Vec<String>>| modes.unwrap_or_default().join(" and ");
    let mode = |mode: Option<String>| mode.unwrap_or_else(|| "Filesystem".to_owned());
    let why = match mismatch(volume, claim, node)? {
        Mismatch::TooSmall => {
            format!("holds {}, and the claim wants {}", capacity(volume), requested(claim))
        }
        Mismatch::AccessModes => {
            format!("offers {}, and the claim wants {}", modes(spec.access_modes), modes(wants.access_modes))
        }
        Mismatch::VolumeMode => format!(
            "has volumeMode {}, and the claim wants {}",
            mode(spec.volume_mode),
            mode(wants.volume_mode)
        ),
        Mismatch::Selector => "lacks the labels that the claim's spec.selector wants".to_owned(),
        Mismatch::Node => {
            let node = node.map_or("", |node| name(&node.metadata));
            format!("cannot be reached from node {node}")
        }
        Mismatch::Class => return None,
    };
    Some(Cause::new(format!("volume {volume_name} {why}")))
}
