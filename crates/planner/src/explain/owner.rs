//! A pod that has the name of a set's pod and is not the set's.

use k8s_openapi::api::apps::v1::StatefulSet;

use super::{Cause, Walk, flag};
use crate::objects::{annotation, controller_of, is_terminating, label, uid};
use crate::pods::node_name;

/// The annotation of pods that a node runs from a file of its own.
const MIRROR: &str = "kubernetes.io/config.mirror";

impl Walk<'_> {
    /// Whose pod it is, and what to do about it.
    pub(super) fn foreign_pod(&mut self, set: &StatefulSet, namespace: &str, name: &str) -> Cause {
        let world = self.world;
        let Some(pod) = world.pods.get(namespace, name).filter(|pod| !is_terminating(&pod.metadata)) else {
            return self.object("Pod", namespace, name);
        };
        self.seen.insert(("Pod".to_owned(), namespace.to_owned(), name.to_owned()));
        let flag = flag(namespace);
        if annotation(&pod.metadata, MIRROR).is_some() {
            let node = node_name(pod).unwrap_or_default();
            return Cause::new(format!("pod/{name} is a static pod: node {node} makes it from a file"))
                .fix("take its manifest away there, or give it another name");
        }
        if let Some(owner) = controller_of(&pod.metadata) {
            let kind = owner.kind.to_lowercase();
            if owner.kind == "StatefulSet"
                && owner.uid != uid(&set.metadata)
                && owner.name == crate::objects::name(&set.metadata)
            {
                return Cause::new(format!(
                    "pod/{name} belongs to an earlier {kind}/{} and goes with it",
                    owner.name
                ));
            }
            return Cause::new(format!("pod/{name} belongs to {kind}/{}", owner.name))
                .fix(format!("delete that, or the pod: stead delete pod {name}{flag}"));
        }
        let wanted =
            set.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
        let lacks = |key: &str, value: &str| label(&pod.metadata, key) != Some(value);
        let lacking: Vec<String> = wanted
            .iter()
            .filter(|(key, value)| lacks(key, value))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let cause = Cause::new(format!("pod/{name} was made by hand: nothing owns it"));
        if lacking.is_empty() {
            return cause.fix(format!("stead delete pod {name}{flag}"));
        }
        cause.fix(format!(
            "stead delete pod {name}{flag}; or let the set take it over: stead label pod {name}{flag} --overwrite {}",
            lacking.join(" ")
        ))
    }
}
