//! The claims of a set grow with its templates: one after the other, the highest ordinal first, while their pods run
//! (kubernetes 68737, KEP-4650).
//!
//! A template that asks for less than a claim has changes nothing: volumes do not shrink. What is larger than the
//! template, because somebody grew it by hand, stays.

use apimachinery::quantity::Quantity;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

use super::{View, reasons, storage};
use crate::objects::{guarded_patch, is_terminating, name, namespace};
use crate::plan::{EventType, Plan};
use crate::volume_binder::growth::is_growing;
use crate::volume_binder::matching::{class_name, requested};
use crate::world::{World, object_ref};

/// How far the growth of a set's claims is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// The claims that are as large as their templates say.
    pub(super) done: usize,
    /// All that exist.
    pub(super) all: usize,
}

/// Lets the next claim grow, when the one before it has.
pub(super) fn do_plan_growth(view: &View<'_, '_>, world: &World, plan: &mut Plan) {
    let set = view.snapshot.set;
    let mut progress = Progress::default();
    let mut next: Option<(&PersistentVolumeClaim, Quantity)> = None;
    let mut under_way: Option<&PersistentVolumeClaim> = None;
    let ordinals = view.replicas.iter().rev().map(|replica| replica.ordinal);
    for (ordinal, template) in
        ordinals.flat_map(|o| storage::claim_templates(set).iter().map(move |t| (o, t)))
    {
        let claim = storage::claim_name(set, template, ordinal);
        let Some(claim) = view.snapshot.claims.get(namespace(&set.metadata), &claim) else { continue };
        if is_terminating(&claim.metadata) {
            continue;
        }
        progress.all += 1;
        let wanted = requested(template);
        if requested(claim) < wanted {
            next = next.or(Some((claim, wanted)));
        } else if is_growing(claim) {
            under_way = under_way.or(Some(claim));
        } else {
            progress.done += 1;
        }
    }
    let share = format!("{} of {} claims are as large as their template", progress.done, progress.all);
    match (under_way, next) {
        (None, None) => {}
        (Some(claim), _) => {
            let message = format!("{} is growing; {share}", name(&claim.metadata));
            plan.wait(set, claim, reasons::CLAIM_GROWING, message);
        }
        (None, Some((claim, wanted))) if expands(world, claim) => {
            let message = format!("{} is growing to {wanted}; {share}", name(&claim.metadata));
            plan.wait(set, claim, reasons::CLAIM_GROWING, message);
            let patch = json!({"spec": {"resources": {"requests": {"storage": wanted.to_string()}}}});
            plan.actions.push(guarded_patch(claim, patch));
            let told = format!("grow Claim {} to {wanted} successful", name(&claim.metadata));
            plan.record(&object_ref(set), EventType::Normal, "SuccessfulGrow", told);
        }
        (None, Some((claim, wanted))) => {
            let class = class_name(claim).unwrap_or_default();
            let message = format!(
                "{} cannot grow to {wanted}: its class {class:?} has no allowVolumeExpansion: true; {share}",
                name(&claim.metadata)
            );
            plan.wait(set, set, reasons::CLAIM_CANNOT_GROW, message);
        }
    }
}

/// Whether the API would let the claim grow (the admission plugin PersistentVolumeClaimResize).
fn expands(world: &World, claim: &PersistentVolumeClaim) -> bool {
    let class = class_name(claim).and_then(|class| world.storage_classes.get("", class));
    class.is_some_and(|class| class.allow_volume_expansion == Some(true))
}
