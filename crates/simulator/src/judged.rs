//! The planners, with a judge at their side: no plan may break a rule, none may be made on a world that is older
//! than the last answer, and none may panic. In every build, whatever the planners assert themselves.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use planner::{Key, Object, PLANNERS, Plan, Planner, World, check};

use crate::sim::Sim;

thread_local! {
    /// The run of this thread.
    static CURRENT: RefCell<Option<Arc<Sim>>> = const { RefCell::new(None) };
}

/// All planners, judged by the run of the thread that they are called on.
pub(crate) static JUDGED: LazyLock<Vec<&'static dyn Planner>> = LazyLock::new(|| {
    let judged = PLANNERS.iter().map(|planner| &*Box::leak(Box::new(Judged(*planner))) as &dyn Planner);
    judged.collect()
});

/// The run that judges on this thread, for as long as this lives.
pub(crate) struct Bench;

impl Bench {
    pub(crate) fn of(sim: &Arc<Sim>) -> Self {
        CURRENT.with(|current| *current.borrow_mut() = Some(Arc::clone(sim)));
        Self
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        CURRENT.with(|current| *current.borrow_mut() = None);
    }
}

struct Judged(&'static dyn Planner);

impl Planner for Judged {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn user(&self) -> &'static str {
        self.0.user()
    }

    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        self.0.keys(world, object)
    }

    fn plan(&self, world: &World, key: &Key, now: Timestamp) -> Plan {
        let Some(sim) = CURRENT.with(|current| current.borrow().clone()) else {
            return self.0.plan(world, key, now);
        };
        let name = self.name();
        if let Some(process) = sim.controllers() {
            let judge = |place: &_, uid: &_| sim.judge().exists(place, uid);
            for wrong in process.forgotten(world, judge) {
                sim.fail(format!("the {name} has forgotten: {wrong}"));
            }
        }
        let is_sets = name == "statefulset-controller";
        if let Some(set) = world.stateful_sets.get(&key.namespace, &key.name).filter(|_| is_sets) {
            let revision = set.metadata.resource_version.as_deref().and_then(|v| v.parse().ok());
            sim.judge().planned(&key.name, revision.unwrap_or(0));
        }
        let planned = catch_unwind(AssertUnwindSafe(|| match sim.options.sabotage.filter(|_| is_sets) {
            Some(sabotage) => sabotage.plan(self.0.plan(&sabotage.world(world), key, now)),
            None => self.0.plan(world, key, now),
        }));
        let plan = planned.unwrap_or_else(|panic| {
            sim.fail(format!("the {name} panicked over {}: {}", key.name, said(&*panic)));
            Plan::default()
        });
        if is_sets && !sim.options.unchecked {
            for wrong in check::violations(world, key, &plan, now) {
                sim.fail(format!("the {name}'s plan for {}: {wrong}", key.name));
            }
        }
        plan
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use registry::rbac::{Attributes, Policy, Subject, defaults};

    use super::*;

    #[test]
    fn every_planner_writes_as_somebody_whom_roles_bind() {
        let mut policy = Policy::default();
        for object in defaults::objects() {
            let said = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
            let plural = format!("{}s", object["kind"].as_str().unwrap_or_default().to_lowercase());
            policy.apply(&plural, said("namespace"), said("name"), Some(&object));
        }
        for planner in PLANNERS {
            let who = Subject { name: planner.user(), groups: &[] };
            let may = |verb, resource| {
                let asked = Attributes { verb, resource, namespace: "default", ..Attributes::default() };
                policy.decide(who, &asked).allowed
            };
            assert!(!policy.rules_for(who, "default").rules.is_empty(), "{}", planner.user());
            // Only who cleans up after others may touch all there is.
            let cleans = ["generic-garbage-collector", "namespace-controller"];
            let expected = cleans.iter().any(|name| planner.user().ends_with(name));
            assert_eq!(may("delete", "secrets"), expected, "{}", planner.user());
            assert!(!may("create", "secrets"), "{}", planner.user());
        }
    }
}
