//! What belongs to an object: a set's pods, revisions and claims, a pod's claims.

use apimachinery::meta::ObjectExt;
use planner::stateful_set::parent_and_ordinal;
use serde_json::Value;

use super::{list, text};

/// An object, there or not, whose story is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Family {
    kind: String,
    name: String,
    /// Empty while the object is not there.
    uid: String,
    /// Claims by name, as a pod names them.
    claims: Vec<String>,
    /// What claims that come with a set's pods are called before the pod's name.
    claim_prefixes: Vec<String>,
}

impl Family {
    /// The family of a name; nothing is known of the object yet.
    pub(crate) fn new(kind: &str, name: &str) -> Self {
        let (claims, claim_prefixes) = (Vec::new(), Vec::new());
        Self { kind: kind.to_owned(), name: name.to_owned(), uid: String::new(), claims, claim_prefixes }
    }

    /// Whether this is the object itself.
    pub(crate) fn is_head(&self, object: &Value) -> bool {
        object["kind"] == self.kind.as_str() && object.name() == self.name
    }

    /// Learns from the object what belongs to it. What it once had stays in the family.
    pub(crate) fn learn(&mut self, object: &Value) {
        object.uid().clone_into(&mut self.uid);
        for volume in list(&object["spec"]["volumes"]) {
            let claim = volume["persistentVolumeClaim"]["claimName"].as_str();
            self.claims.extend(claim.map(str::to_owned));
        }
        for template in list(&object["spec"]["volumeClaimTemplates"]) {
            self.claim_prefixes.push(format!("{}-", template.name()));
        }
        self.claims.sort_unstable();
        self.claims.dedup();
        self.claim_prefixes.sort_unstable();
        self.claim_prefixes.dedup();
    }

    /// Whether the object's past is a part of the story.
    pub(crate) fn has(&self, object: &Value) -> bool {
        let is_owned =
            !self.uid.is_empty() && object.owner_references().iter().any(|owner| owner["uid"] == *self.uid);
        let is_claim = object["kind"] == "PersistentVolumeClaim" && self.has_claim(object.name());
        self.is_head(object) || is_owned || is_claim
    }

    /// Whether an event is: also one about a pod of the set that is gone by now.
    pub(crate) fn has_event(&self, event: &Value) -> bool {
        let about = &event["involvedObject"];
        let name = text(&about["name"]);
        match text(&about["kind"]) {
            kind if kind == self.kind && name == self.name => true,
            "Pod" => self.has_pod(name),
            "PersistentVolumeClaim" => self.has_claim(name),
            _ => self.tells_of_member(event),
        }
    }

    /// A set tells about its pods and claims: of those only what the story is about is a part of it.
    fn tells_of_member(&self, event: &Value) -> bool {
        match text(&event["message"]).split(' ').collect::<Vec<_>>().as_slice() {
            ["create" | "delete", "Pod", pod, "in", ..] => self.kind == "Pod" && *pod == self.name,
            ["create", "Claim", claim, "Pod", ..] => {
                self.has_claim(claim) || (self.kind == "PersistentVolumeClaim" && *claim == self.name)
            }
            _ => false,
        }
    }

    fn has_pod(&self, name: &str) -> bool {
        self.kind == "StatefulSet" && parent_and_ordinal(name).is_some_and(|(set, _)| set == self.name)
    }

    fn has_claim(&self, name: &str) -> bool {
        self.claims.iter().any(|claim| claim == name)
            || self
                .claim_prefixes
                .iter()
                .any(|prefix| name.strip_prefix(prefix).is_some_and(|pod| self.has_pod(pod)))
    }
}
