//! One claim per replica and template: made before its pod, kept when the pod goes, unless the retention
//! policy (KEP-1847) gives it an owner that takes it along.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::identity::pod_name;
use crate::objects::{
    controller_of, controller_ref, is_terminating, name, namespace, owners, set_owners, uid,
};
use crate::plan::Action;
use crate::world::Table;

/// The set's claim templates.
pub fn claim_templates(set: &StatefulSet) -> &[PersistentVolumeClaim] {
    set.spec.as_ref().and_then(|spec| spec.volume_claim_templates.as_deref()).unwrap_or_default()
}

/// The name of a replica's claim.
pub fn claim_name(set: &StatefulSet, template: &PersistentVolumeClaim, ordinal: i64) -> String {
    format!("{}-{}", name(&template.metadata), pod_name(set, ordinal))
}

/// The names of a replica's claims.
pub fn claim_names(set: &StatefulSet, ordinal: i64) -> impl Iterator<Item = String> {
    claim_templates(set).iter().map(move |template| claim_name(set, template, ordinal))
}

/// Puts the replica's claims among the pod's volumes; a claim overrides a volume of the same name.
pub(super) fn update_storage(set: &StatefulSet, ordinal: i64, spec: &mut PodSpec) {
    let templates = claim_templates(set);
    if templates.is_empty() {
        return;
    }
    let is_claim = |volume: &Volume| templates.iter().any(|t| name(&t.metadata) == volume.name);
    let mut volumes: Vec<Volume> = templates
        .iter()
        .map(|template| Volume {
            name: name(&template.metadata).to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim_name(set, template, ordinal),
                read_only: None,
            }),
            ..Volume::default()
        })
        .collect();
    volumes.extend(spec.volumes.take().unwrap_or_default().into_iter().filter(|v| !is_claim(v)));
    spec.volumes = Some(volumes);
}

/// Whether the pod mounts the claims of its ordinal. Volumes of a pod cannot be changed: a wrong one means
/// another pod.
pub(super) fn storage_matches(set: &StatefulSet, ordinal: i64, pod: &Pod) -> bool {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    claim_templates(set).iter().all(|template| {
        let claim = claim_name(set, template, ordinal);
        volumes.iter().any(|volume| {
            volume.name == name(&template.metadata)
                && volume.persistent_volume_claim.as_ref().is_some_and(|c| c.claim_name == claim)
        })
    })
}

/// The claims of a replica as they should be made.
pub(super) fn new_claims(set: &StatefulSet, ordinal: i64) -> impl Iterator<Item = PersistentVolumeClaim> {
    let selected = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    claim_templates(set).iter().map(move |template| {
        let mut labels = template.metadata.labels.clone().unwrap_or_default();
        labels.extend(selected.clone());
        let mut claim = PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(claim_name(set, template, ordinal)),
                namespace: set.metadata.namespace.clone(),
                labels: Some(labels),
                annotations: template.metadata.annotations.clone(),
                finalizers: template.metadata.finalizers.clone(),
                ..ObjectMeta::default()
            },
            spec: template.spec.clone(),
            status: None,
        };
        claim.metadata.owner_references = owned_by_set(set, false).then(|| vec![controller_ref(set)]);
        claim
    })
}

/// Why a claim keeps its pod from being made.
pub(super) enum Blocked<'w> {
    /// It is being deleted.
    Terminating(&'w PersistentVolumeClaim),
    /// It belongs to a pod that is gone, and goes with it.
    Stale(&'w PersistentVolumeClaim),
}

/// The first claim of the replica that must go before the pod can be made.
pub(super) fn blocking_claim<'w>(
    set: &StatefulSet,
    ordinal: i64,
    claims: &'w Table<PersistentVolumeClaim>,
) -> Option<Blocked<'w>> {
    let pod = pod_name(set, ordinal);
    claim_names(set, ordinal).find_map(|claim| {
        let claim = claims.get(namespace(&set.metadata), &claim)?;
        if is_terminating(&claim.metadata) {
            return Some(Blocked::Terminating(claim));
        }
        let stale = owners(&claim.metadata).iter().any(|owner| owner.kind == "Pod" && owner.name == pod);
        stale.then_some(Blocked::Stale(claim))
    })
}

/// What the retention policy wants of a claim.
pub(super) enum Retention {
    /// It is as the policy says.
    Settled,
    /// Its owners must be put right.
    Change(Action),
    /// Somebody else manages it: left alone.
    Conflict,
}

/// Compares a claim's owners with the policy. `removed` is the pod of a replica outside the wanted range.
pub(super) fn retention(
    set: &StatefulSet,
    ordinal: i64,
    claim: &PersistentVolumeClaim,
    removed: Option<&Pod>,
) -> Retention {
    if is_terminating(&claim.metadata) {
        // It goes already: nobody needs to own it for that.
        return Retention::Settled;
    }
    let pod = pod_name(set, ordinal);
    let ours = |owner: &OwnerReference| {
        owner.uid == uid(&set.metadata) || (owner.kind == "Pod" && owner.name == pod)
    };
    if controller_of(&claim.metadata).is_some_and(|owner| !ours(owner)) {
        return Retention::Conflict;
    }
    let wanted = match removed {
        Some(pod) if when_scaled(set) == "Delete" => Some(controller_ref(pod)),
        removed => owned_by_set(set, removed.is_some()).then(|| controller_ref(set)),
    };
    let held = owners(&claim.metadata);
    let mut owners: Vec<OwnerReference> = held.iter().filter(|owner| !ours(owner)).cloned().collect();
    let settled = match &wanted {
        Some(wanted) => held.iter().filter(|o| ours(o)).eq([wanted]),
        None => owners.len() == held.len(),
    };
    if settled {
        return Retention::Settled;
    }
    owners.extend(wanted);
    Retention::Change(set_owners(claim, &owners))
}

/// Whether the claims of this set go with the set.
fn owned_by_set(set: &StatefulSet, removed: bool) -> bool {
    when_deleted(set) == "Delete" && !(removed && when_scaled(set) == "Delete")
}

fn when_deleted(set: &StatefulSet) -> &str {
    policy(set).and_then(|policy| policy.when_deleted.as_deref()).unwrap_or("Retain")
}

/// What becomes of the claims of replicas that are scaled away: `Retain` or `Delete`.
pub(super) fn when_scaled(set: &StatefulSet) -> &str {
    policy(set).and_then(|policy| policy.when_scaled.as_deref()).unwrap_or("Retain")
}

fn policy(
    set: &StatefulSet,
) -> Option<&k8s_openapi::api::apps::v1::StatefulSetPersistentVolumeClaimRetentionPolicy> {
    set.spec.as_ref()?.persistent_volume_claim_retention_policy.as_ref()
}
