//! Sets: what their planner waits for, or what it would do next and was refused.

use super::{CHECK_NAME, Cause, Walk};
use crate::Planner;
use crate::plan::{Action, Plan};
use crate::stateful_set::{StatefulSetPlanner, replicas};
use crate::world::Key;

impl Walk<'_> {
    pub(super) fn stateful_set(&mut self, namespace: &str, name: &str) -> Vec<Cause> {
        let Some(set) = self.world.stateful_sets.get(namespace, name) else {
            let text = format!("statefulset/{name} does not exist in namespace {namespace}");
            return vec![Cause::new(text).fix(CHECK_NAME)];
        };
        self.seen.insert(("StatefulSet".to_owned(), namespace.to_owned(), name.to_owned()));
        let plan = StatefulSetPlanner.plan(self.world, &Key::new(namespace, name), self.now);
        let mut causes: Vec<Cause> = self.refused(namespace, name, &plan).into_iter().collect();
        let garbage = self.garbage("StatefulSet", namespace, name);
        causes.extend(self.waits(plan.waiting_on.into_iter().chain(garbage.waiting_on)));
        if causes.is_empty() {
            let status = set.status.as_ref();
            let available = status.and_then(|s| s.available_replicas).unwrap_or(0);
            let wanted = replicas(set);
            let pods = match wanted {
                0 => "it is to have no pods".to_owned(),
                1 if available == 1 => "its pod is available".to_owned(),
                _ => format!("{available} of {wanted} pods are available"),
            };
            causes.push(Cause::new(format!("statefulset/{name} waits for nothing: {pods}")));
        }
        causes
    }

    /// A step that is due all the time was tried, and refused: the event says by whom.
    fn refused(&self, namespace: &str, name: &str, plan: &Plan) -> Option<Cause> {
        let due = plan.actions.iter().find_map(|action| match action {
            Action::Create(object) => Some(format!(
                "make {}/{}",
                object["kind"].as_str().unwrap_or_default().to_lowercase(),
                object["metadata"]["name"].as_str().unwrap_or_default()
            )),
            Action::Delete { target, .. } => Some(format!("delete {}", crate::objects::spoken(target))),
            _ => None,
        })?;
        let reasons = ["FailedCreate", "FailedDelete", "FailedUpdate"];
        let event = self.event("StatefulSet", namespace, name, &reasons);
        let cause = Cause::new(format!("statefulset/{name} is about to {due}"));
        Some(match event.and_then(|event| event.message.as_deref()) {
            Some(message) => cause.because([Cause::new("the API refused it the last time").words(message)]),
            None => cause,
        })
    }
}
