//! Everything that waits, each thing once.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde::Serialize;

use super::{Chain, Walk, canonical};
use crate::garbage_collector::CLUSTER_SCOPED;
use crate::world::World;

/// The kinds that are looked at when none is named, in this order: what explains others comes first.
const KINDS: &[&str] = &[
    "StatefulSet",
    "Deployment",
    "ReplicaSet",
    "Pod",
    "PersistentVolumeClaim",
    "Service",
    "PodDisruptionBudget",
];
/// Those without a namespace, which are looked at together with all namespaces.
const KINDS_OF_THE_CLUSTER: &[&str] = &["Namespace", "Node", "PersistentVolume"];

/// One object and why it is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// `StatefulSet`.
    pub kind: &'static str,
    /// Empty for cluster-scoped objects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Why.
    #[serde(flatten)]
    pub chain: Chain,
}

/// What came of looking at many objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many were looked at.
    pub looked_at: usize,
    /// Those that wait for something that is not told with another one.
    pub waiting: Vec<Explained>,
}

/// Explains every object that waits: of one kind or of all that matter, in one namespace or in all of them.
/// `events` are those of the same namespaces. `None` for a kind of which nothing is known.
pub fn survey(
    world: &World,
    events: &[Event],
    kind: Option<&str>,
    namespace: Option<&str>,
    now: Timestamp,
) -> Option<Survey> {
    let kinds: Vec<&'static str> = match kind {
        Some(word) => vec![canonical(word)?],
        None if namespace.is_some() => KINDS.to_vec(),
        None => KINDS.iter().chain(KINDS_OF_THE_CLUSTER).copied().collect(),
    };
    let mut walk = Walk::new(world, events, now);
    let mut survey = Survey::default();
    for kind in kinds {
        let inside = namespace.filter(|_| !CLUSTER_SCOPED.contains(&kind));
        let mut objects = inside.map_or_else(|| world.objects(), |namespace| world.objects_in(namespace));
        objects.retain(|object| object.kind().1 == kind);
        for object in objects {
            survey.looked_at += 1;
            let reference = object.reference();
            let key = (kind.to_owned(), reference.namespace.clone(), reference.name.clone());
            if walk.seen.contains(&key) {
                continue;
            }
            let chain = walk.explain(kind, &reference.namespace, &reference.name);
            if !chain.is_well() && !chain.is_told() {
                survey.waiting.push(Explained {
                    kind,
                    namespace: reference.namespace,
                    name: reference.name,
                    chain,
                });
            }
        }
    }
    Some(survey)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::explain::ASK_ABOUT;

    #[test]
    fn people_are_told_to_ask_about_every_kind_that_is_looked_at() {
        let words = ASK_ABOUT.trim_start_matches("ask about ").replace(" or ", ", ");
        let named: BTreeSet<_> = words.split(", ").filter_map(canonical).collect();
        assert_eq!(named, KINDS.iter().chain(KINDS_OF_THE_CLUSTER).copied().collect());
    }
}
