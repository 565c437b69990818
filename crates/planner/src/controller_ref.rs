//! What belongs to an owner by its selector (`pkg/controller/controller_ref_manager.go`): an owner takes what
//! nobody manages and lets go what it no longer selects.

use std::sync::Arc;

use apimachinery::labels::Selector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::{Metadata, Resource};

use crate::objects::{controller_of, controller_ref, owners, set_owners, uid};
use crate::plan::{Action, Plan};

/// Makes the owner the object's controller.
pub(crate) fn adopt<O, K>(owner: &O, object: &K) -> Action
where
    O: Resource + Metadata<Ty = ObjectMeta>,
    K: Resource + Metadata<Ty = ObjectMeta>,
{
    let mut all = owners(object.metadata()).to_vec();
    all.push(controller_ref(owner));
    set_owners(object, &all)
}

/// Takes the owner away from the object.
pub(crate) fn release<O, K>(owner: &O, object: &K) -> Action
where
    O: Resource + Metadata<Ty = ObjectMeta>,
    K: Resource + Metadata<Ty = ObjectMeta>,
{
    let held = owners(object.metadata()).iter();
    let rest: Vec<OwnerReference> =
        held.filter(|reference| reference.uid != uid(owner.metadata())).cloned().collect();
    set_owners(object, &rest)
}

/// Objects of one kind, as one owner sees them.
pub(crate) struct Claims<'w, K> {
    /// Those that the owner manages and selects.
    pub(crate) kept: Vec<&'w K>,
    /// Those that nobody manages and the owner selects.
    orphans: Vec<&'w K>,
    /// Those that the owner manages and no longer selects.
    strays: Vec<&'w K>,
}

impl<'w, K: Resource + Metadata<Ty = ObjectMeta>> Claims<'w, K> {
    /// Sorts `objects`. What `is_settled` says of an object decides whether its owners may still change: one
    /// that is on its way out changes hands no more.
    pub(crate) fn of(
        owner: &ObjectMeta,
        selects: &Selector,
        objects: impl Iterator<Item = &'w Arc<K>>,
        is_settled: impl Fn(&K) -> bool,
    ) -> Self {
        let mut claims = Self { kept: Vec::new(), orphans: Vec::new(), strays: Vec::new() };
        for object in objects {
            let meta = object.metadata();
            let fits = selects.matches(&meta.labels);
            match controller_of(meta) {
                Some(controller) if controller.uid != uid(owner) => {}
                Some(_) if fits => claims.kept.push(object),
                Some(_) if !is_settled(object) => claims.strays.push(object),
                None if fits && !is_settled(object) => claims.orphans.push(object),
                Some(_) | None => {}
            }
        }
        claims
    }

    /// Takes orphans and lets strays go: for an owner that stays, for what is left of one that is being deleted goes
    /// with it. `true`: plan again when that is done.
    pub(crate) fn do_plan<O>(&self, owner: &O, plan: &mut Plan) -> bool
    where
        O: Resource + Metadata<Ty = ObjectMeta>,
    {
        plan.actions.extend(self.strays.iter().map(|stray| release(owner, *stray)));
        plan.actions.extend(self.orphans.iter().map(|orphan| adopt(owner, *orphan)));
        plan.independent = !plan.actions.is_empty();
        plan.independent
    }
}
