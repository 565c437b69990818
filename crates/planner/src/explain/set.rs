//! Sets: what their planner waits for, or what it would do next and was refused.

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::Value;

use super::{CHECK_NAME, Cause, Walk, flag, held_by_others};
use crate::Planner;
use crate::objects::{is_namespace_going, is_terminating, name, namespace};
use crate::plan::{Action, Plan, Waiting};
use crate::pods::stuck;
use crate::stateful_set::{StatefulSetPlanner, pod_revision, reasons, replicas, revision_label};
use crate::world::Key;

/// Events of a set about what became of its steps.
const STEPS: &[&str] = &[
    "FailedCreate",
    "FailedDelete",
    "FailedUpdate",
    "SuccessfulCreate",
    "SuccessfulDelete",
    "SuccessfulUpdate",
];

impl Walk<'_> {
    pub(super) fn stateful_set(&mut self, namespace: &str, name: &str) -> Vec<Cause> {
        let world = self.world;
        let Some(set) = world.stateful_sets.get(namespace, name) else {
            let text = format!("statefulset/{name} does not exist in namespace {namespace}");
            return vec![Cause::new(text).fix(CHECK_NAME)];
        };
        self.seen.insert(("StatefulSet".to_owned(), namespace.to_owned(), name.to_owned()));
        let plan = StatefulSetPlanner.plan(self.world, &Key::new(namespace, name), self.now);
        let mut causes: Vec<Cause> = self.refused(namespace, name, &plan).into_iter().collect();
        let garbage = self.garbage("StatefulSet", namespace, name);
        causes.extend(self.waits_of_set(set, plan.waiting_on));
        causes.extend(self.waits(garbage.waiting_on));
        if causes.is_empty() {
            causes.push(at_rest(set));
        }
        if !is_terminating(&set.metadata) {
            causes.extend(self.ungoverned(set));
        }
        causes
    }

    /// What the set's planner waits for. An update that cannot go on by itself comes with the way back.
    fn waits_of_set(&mut self, set: &StatefulSet, waits: Vec<Waiting>) -> Vec<Cause> {
        let ns = namespace(&set.metadata);
        let mut causes = Vec::new();
        let mut others = Vec::new();
        for waiting in waits {
            match waiting.reason {
                reasons::NAME_HELD_BY_FOREIGN_POD => {
                    let pod = self.foreign_pod(set, &waiting.on.namespace, &waiting.on.name);
                    causes.push(Cause::new(self.sentence(&waiting)).because([pod]));
                }
                reasons::BEING_DELETED => {
                    let namespace = is_namespace_going(self.world, ns)
                        .then(|| Cause::new(format!("its namespace {ns} is being deleted")));
                    let cause = Cause::new(self.sentence(&waiting)).because(namespace);
                    causes.push(cause.because(held_by_others(&set.metadata)));
                }
                _ => others.push(waiting),
            }
        }
        let back = others.iter().enumerate().find_map(|(index, w)| Some((index, self.way_back(set, w)?)));
        let mut others = self.waits(others);
        if let Some((index, way_back)) = back {
            others[index].fix = Some(way_back);
        }
        causes.extend(others);
        causes
    }

    /// How to leave an update whose new pods cannot get further.
    fn way_back(&self, set: &StatefulSet, waiting: &Waiting) -> Option<String> {
        let status = set.status.as_ref()?;
        let (current, update) = (status.current_revision.as_deref()?, status.update_revision.as_deref()?);
        let pod = self.world.pods.get(&waiting.on.namespace, &waiting.on.name)?;
        let is_new =
            waiting.on.kind == "Pod" && current != update && pod_revision(pod) == revision_label(update);
        stuck(pod, self.now).filter(|_| is_new)?;
        let flag = flag(namespace(&set.metadata));
        Some(format!("or go back: stead rollout undo sts/{}{flag}", name(&set.metadata)))
    }

    /// A step that is due all the time was tried, and refused: the event says by whom.
    fn refused(&self, namespace: &str, name: &str, plan: &Plan) -> Option<Cause> {
        let (step, object) = plan.actions.iter().find_map(|action| match action {
            Action::Create(object) => {
                let said = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let (kind, object) =
                    (said(&object["kind"]).to_lowercase(), said(&object["metadata"]["name"]));
                Some((format!("make {kind}/{object}"), object))
            }
            Action::Delete { target, .. } => {
                Some((format!("delete {}", crate::objects::spoken(target)), target.name.clone()))
            }
            _ => None,
        })?;
        let is_about_it = |said: &str| said.split(' ').any(|word| word == object);
        let last = self.event_that_says("StatefulSet", namespace, name, STEPS, is_about_it);
        let refused = last.filter(|event| event.reason.as_deref().is_some_and(|r| r.starts_with("Failed")));
        let cause = Cause::new(format!("statefulset/{name} is about to {step}"));
        Some(match refused.and_then(|event| event.message.as_deref()) {
            Some(message) => cause.because([Cause::new("the API refused it the last time").words(message)]),
            None => cause,
        })
    }
}

/// A set that waits for nothing.
fn at_rest(set: &StatefulSet) -> Cause {
    let available = set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0);
    let wanted = replicas(set);
    let pods = match wanted {
        0 => "it is to have no pods".to_owned(),
        1 if available == 1 => "its pod is available".to_owned(),
        _ => format!("{available} of {wanted} pods are available"),
    };
    Cause::well(format!("statefulset/{} waits for nothing: {pods}", name(&set.metadata)))
}
