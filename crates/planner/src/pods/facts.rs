//! What a pod's owner asks of it at every plan, read once when the pod changes.
//!
//! A set of a thousand is planned several times for each of its pods that is replaced, and looks at all of them each
//! time. What it asks lies scattered over a pod's memory; here it lies side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{phase, ready_since, rest_to_available};
use crate::objects::{is_terminating, name};
use crate::stateful_set::{
    POD_INDEX_LABEL, POD_NAME_LABEL, REVISION_LABEL, identity_matches, parent_and_ordinal,
};
use crate::world::Facts;

/// What a pod has in common with others that were made from the same template.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kin {
    /// The set's name, as the pod's name tells it; empty when it tells none.
    pub(crate) parent: String,
    /// The labels but for those that name the pod.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Kin {
    /// The labels that [`Kin::labels`] leaves out.
    pub(crate) const LEFT_OUT: [&str; 2] = [POD_NAME_LABEL, POD_INDEX_LABEL];

    /// The revision that the pods were made from, as their label says it.
    pub(crate) fn revision(&self) -> &str {
        self.labels.get(REVISION_LABEL).map_or("", String::as_str)
    }

    fn is_of(&self, pod: &Pod) -> bool {
        self.parent == parent_and_ordinal(name(&pod.metadata)).map_or("", |(parent, _)| parent)
            && self.labels.iter().eq(labels(pod))
    }

    fn of(pod: &Pod) -> Self {
        let parent = parent_and_ordinal(name(&pod.metadata)).map_or("", |(parent, _)| parent);
        let labels = labels(pod).map(|(key, value)| (key.clone(), value.clone()));
        Self { parent: parent.to_owned(), labels: labels.collect() }
    }
}

fn labels(pod: &Pod) -> impl Iterator<Item = (&String, &String)> {
    let labels = pod.metadata.labels.iter().flatten();
    labels.filter(|(key, _)| !Kin::LEFT_OUT.contains(&key.as_str()))
}

/// See the module.
#[derive(Clone, Debug)]
pub struct PodFacts {
    /// Shared with the pods beside it wherever they say the same.
    pub(crate) kin: Arc<Kin>,
    /// The ordinal that its name tells.
    pub(crate) ordinal: Option<i64>,
    /// `identityMatches`: whether the labels that name it are right.
    pub(crate) identity_matches: bool,
    /// Whether it is being deleted.
    pub(crate) is_terminating: bool,
    /// Whether its phase is Running.
    pub(crate) is_running: bool,
    /// Whether all its containers have ended for good.
    pub(crate) is_terminal: bool,
    /// Whether it has the condition Ready.
    pub(crate) is_ready: bool,
    /// Since when it is Ready, if it is and that is known.
    ready_since: Option<Timestamp>,
}

impl Facts<Pod> for PodFacts {
    fn of<'f>(pod: &Pod, mut beside: impl Iterator<Item = &'f Self>) -> Self {
        let kin = beside.find(|facts| facts.kin.is_of(pod)).map(|facts| Arc::clone(&facts.kin));
        let ordinal = parent_and_ordinal(name(&pod.metadata)).map(|(_, ordinal)| ordinal);
        Self {
            kin: kin.unwrap_or_else(|| Arc::new(Kin::of(pod))),
            ordinal,
            identity_matches: ordinal.is_some_and(|ordinal| identity_matches(pod, ordinal)),
            is_terminating: is_terminating(&pod.metadata),
            is_running: phase(pod) == "Running",
            is_terminal: super::is_terminal(pod),
            is_ready: super::is_ready(pod),
            ready_since: ready_since(pod),
        }
    }
}

impl PodFacts {
    /// `isRunningAndReady`.
    pub(crate) fn is_running_and_ready(&self) -> bool {
        self.is_running && self.is_ready
    }

    /// See [`super::available_in`].
    pub(crate) fn available_in(&self, min_ready_seconds: i32, now: Timestamp) -> Option<SignedDuration> {
        self.is_running_and_ready().then(|| rest_to_available(self.ready_since, min_ready_seconds, now))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
    fn pod(name: &str, labels: Value, status: Value) -> Pod {
        let pod = json!({"metadata": {"name": name, "labels": labels}, "status": status});
        serde_json::from_value(pod).unwrap()
    }

    fn labels(name: &str, index: &str, revision: &str) -> Value {
        json!({"app": "db", POD_NAME_LABEL: name, POD_INDEX_LABEL: index, REVISION_LABEL: revision})
    }

    fn facts(pod: &Pod) -> PodFacts {
        PodFacts::of(pod, [].iter())
    }

    #[test]
    fn pods_of_one_template_share_what_they_have_in_common() {
        let first = facts(&pod("db-0", labels("db-0", "0", "db-1"), json!({})));
        let shares = |name: &str, index: &str, revision: &str| {
            let facts =
                PodFacts::of(&pod(name, labels(name, index, revision), json!({})), [&first].into_iter());
            Arc::ptr_eq(&facts.kin, &first.kin)
        };
        assert!(shares("db-1", "1", "db-1"));
        assert!(!shares("db-1", "1", "db-2"), "another revision");
        assert!(!shares("web-1", "1", "db-1"), "another set's name");
        assert_eq!((first.kin.parent.as_str(), first.kin.revision()), ("db", "db-1"));
    }

    #[test]
    fn an_identity_is_the_name_with_the_labels_that_tell_it() {
        let check = |name: &str, labels: Value, ordinal: Option<i64>, matches: bool| {
            let facts = facts(&pod(name, labels, json!({})));
            assert_eq!((facts.ordinal, facts.identity_matches), (ordinal, matches), "{name}");
        };
        check("db-7", labels("db-7", "7", "r"), Some(7), true);
        check("db-7", labels("db-7", "8", "r"), Some(7), false);
        check("db-7", labels("db-8", "7", "r"), Some(7), false);
        check("db-7", json!({}), Some(7), false);
        check("db", labels("db", "0", "r"), None, false);
    }

    #[test]
    fn readiness_counts_while_the_pod_runs() {
        let since = "2026-01-01T00:00:00Z";
        let ready = json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        let status =
            |phase: &str| facts(&pod("db-0", json!({}), json!({"phase": phase, "conditions": ready})));
        let now: Timestamp = "2026-01-01T00:00:04Z".parse().unwrap();
        let (running, failed) = (status("Running"), status("Failed"));
        assert_eq!(running.available_in(10, now), Some(SignedDuration::from_secs(6)));
        assert_eq!(running.available_in(0, now), Some(SignedDuration::ZERO));
        assert_eq!(failed.available_in(0, now), None);
        assert_eq!((running.is_terminal, failed.is_terminal), (false, true));
        assert!(!status("Pending").is_running_and_ready());
    }
}
