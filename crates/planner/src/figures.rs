//! What the world counts: pods and volumes, by where they are in their lives. For `/metrics`.

use std::collections::BTreeMap;

use crate::pods::phase;
use crate::world::World;

/// How many pods there are in each phase.
pub fn pods_by_phase(world: &World) -> BTreeMap<String, usize> {
    counted(world.pods.iter().map(|pod| phase(pod)))
}

/// How many claims and volumes there are, by kind and phase.
pub fn volumes_by_phase(world: &World) -> BTreeMap<(&'static str, String), usize> {
    let claims = world.claims.iter().map(|claim| claim.status.as_ref().and_then(|s| s.phase.as_deref()));
    let volumes = world.volumes.iter().map(|volume| volume.status.as_ref().and_then(|s| s.phase.as_deref()));
    let claims = counted(claims.map(Option::unwrap_or_default));
    let volumes = counted(volumes.map(Option::unwrap_or_default));
    let named = |kind| move |(phase, count)| ((kind, phase), count);
    let claims = claims.into_iter().map(named("PersistentVolumeClaim"));
    claims.chain(volumes.into_iter().map(named("PersistentVolume"))).collect()
}

fn counted<'p>(phases: impl Iterator<Item = &'p str>) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for phase in phases {
        let name = if phase.is_empty() { "Unknown" } else { phase };
        *all.entry(name.to_owned()).or_default() += 1;
    }
    all
}
