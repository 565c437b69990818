//! Pods: not made, not placed, not started, not Ready, or not gone.

use apimachinery::annotations::RESERVE_ORDINALS;
use k8s_openapi::api::core::v1::Pod;

use super::{CHECK_NAME, Cause, Walk, container, flag, held_by_others, references};
use crate::Planner;
use crate::nodes;
use crate::objects::{annotation, is_terminating, namespace};
use crate::plan::Waiting;
use crate::pod_actions::reasons as resizing;
use crate::pods::{
    RESIZE_IN_PROGRESS, RESIZE_PENDING, claim_names, condition, container_statuses, is_running_and_ready,
    is_terminal, node_name, phase, ready_since, spec,
};
use crate::scheduler::{SCHEDULER_NAME, Scheduler, reasons};
use crate::stateful_set::{Ordinals, parent_and_ordinal};
use crate::taint_eviction::TaintEviction;
use crate::volume_binder::matching::is_bound;
use crate::world::Key;

impl Walk<'_> {
    pub(super) fn pod(&mut self, namespace: &str, name: &str) -> Cause {
        let world = self.world;
        let Some(pod) = world.pods.get(namespace, name) else {
            return self.missing_pod(namespace, name);
        };
        if is_terminating(&pod.metadata) {
            return self.terminating_pod(pod, name);
        }
        if node_name(pod).is_none() {
            return self.unscheduled_pod(pod, namespace, name);
        }
        if !is_terminal(pod)
            && let Some(behind) = self.silent_node(pod)
        {
            let node = node_name(pod).unwrap_or_default();
            return Cause::new(format!("pod/{name} is on node {node}, which says nothing of it"))
                .because([behind])
                .because(self.eviction(pod));
        }
        if let Some(eviction) = self.eviction(pod) {
            let node = node_name(pod).unwrap_or_default();
            return Cause::new(format!("pod/{name} may not stay on node {node}")).because([eviction]);
        }
        if is_running_and_ready(pod) {
            if let Some(cause) = resize(pod, name) {
                return cause;
            }
            let since = ready_since(pod).map_or(String::new(), |since| format!(" for {}", self.age(since)));
            return Cause::well(format!("pod/{name} is Running and Ready{since}"));
        }
        if is_terminal(pod) {
            return self.ended_pod(pod, name);
        }
        let missing = references::missing(self.world, pod);
        if !missing.is_empty() {
            let text = format!("pod/{name} cannot start: what it refers to is missing");
            return Cause::new(text).because(missing);
        }
        if let Some(cause) = self.unbound_claims(pod, namespace, name) {
            return cause;
        }
        self.unready_pod(pod, namespace, name)
    }

    fn missing_pod(&mut self, namespace: &str, name: &str) -> Cause {
        let set = parent_and_ordinal(name)
            .filter(|(set, _)| self.world.stateful_sets.get(namespace, set).is_some());
        let seen = set.is_some_and(|(set, _)| {
            self.seen.contains(&("StatefulSet".to_owned(), namespace.to_owned(), set.to_owned()))
        });
        let cause = Cause::new(format!("pod/{name} does not exist"));
        let Some((set, ordinal)) = set else { return cause.fix(CHECK_NAME) };
        if seen {
            return cause;
        }
        if let Some(unwanted) = self.unwanted(namespace, set, ordinal) {
            return cause.because([unwanted]);
        }
        let because = self.stateful_set(namespace, set);
        cause.because(because)
    }

    fn terminating_pod(&mut self, pod: &Pod, name: &str) -> Cause {
        let since = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
        let text = match since {
            // The timestamp is when the grace period ends.
            Some(end) if end > self.now => {
                let left = end.duration_since(self.now).as_secs() + 1;
                format!("pod/{name} is terminating; it has {left} of {grace} s left to stop by itself")
            }
            Some(end) if grace > 0 => {
                format!(
                    "pod/{name} is terminating; its grace period of {grace} s ended {} ago",
                    self.age(end)
                )
            }
            Some(end) => format!("pod/{name} is terminating and was to stop at once, {} ago", self.age(end)),
            None => format!("pod/{name} is terminating"),
        };
        let failed =
            self.event("Pod", namespace(&pod.metadata), name, &["FailedKillPod", "FailedPreStopHook"]);
        let failed = failed.map(|event| {
            let reason = event.reason.as_deref().unwrap_or_default();
            Cause::new(format!("its node reports {reason}"))
                .words(event.message.as_deref().unwrap_or_default())
        });
        let silent = self.silent_node(pod).map(|behind| {
            Cause::new("only its node can say that its processes are gone")
                .because([behind])
                .fix(self.give_up(pod, name))
        });
        Cause::new(text).because(failed).because(silent).because(held_by_others(&pod.metadata))
    }

    /// How somebody says that a pod's processes are gone, whose node cannot.
    fn give_up(&self, pod: &Pod, name: &str) -> String {
        let (node, flag) = (node_name(pod).unwrap_or_default(), flag(namespace(&pod.metadata)));
        if self.world.nodes.get("", node).is_none() {
            return format!(
                "when you are sure that node {node} is off for good: stead delete pod {name}{flag} --force \
                 --grace-period=0"
            );
        }
        super::node::out_of_service(node)
    }

    /// That the pod may stay on its node only for a while.
    fn eviction(&self, pod: &Pod) -> Option<Cause> {
        let plan = TaintEviction.plan(self.world, &Key::of(&pod.metadata), self.now);
        let waiting = plan.waiting_on.into_iter().next()?;
        let fix = "to let it stay for longer, or for ever, give its template a toleration (spec.tolerations)";
        Some(Cause::new(waiting.message).fix(fix))
    }

    /// Why a set makes no pod of this ordinal, if it does not want one.
    fn unwanted(&self, namespace: &str, set_name: &str, ordinal: i64) -> Option<Cause> {
        let set = self.world.stateful_sets.get(namespace, set_name)?;
        let (ordinals, flag) = (Ordinals::of(set), flag(namespace));
        if ordinals.contains(ordinal) {
            return None;
        }
        if ordinals.reserved().contains(ordinal) {
            let reserved = annotation(&set.metadata, RESERVE_ORDINALS).unwrap_or_default();
            let text = format!(
                "statefulset/{set_name} leaves ordinal {ordinal} out: its annotation {RESERVE_ORDINALS} is \"{reserved}\""
            );
            let fix = format!(
                "to have it, reserve others or none: stead annotate sts {set_name}{flag} {RESERVE_ORDINALS}-"
            );
            return Some(Cause::new(text).fix(fix));
        }
        let has = match ordinals.bounds() {
            Some((first, last)) if first == last => format!("has one replica, {set_name}-{first}"),
            Some((first, last)) => {
                format!("has {} replicas, {set_name}-{first} to {set_name}-{last}", ordinals.count())
            }
            None => "has no replicas".to_owned(),
        };
        let reserved = ordinals.reserved();
        let without = if reserved.is_empty() { String::new() } else { format!(", without {reserved}") };
        let cause = Cause::new(format!("statefulset/{set_name} {has}{without}"));
        Some(match ordinals.replicas_for(ordinal) {
            Some(more) => cause.fix(format!("for more: stead scale sts/{set_name}{flag} --replicas={more}")),
            None => cause,
        })
    }

    /// The pod's node, where that is not there or has not spoken lately.
    fn silent_node(&mut self, pod: &Pod) -> Option<Cause> {
        let node = node_name(pod)?;
        let speaks = self.world.nodes.get("", node).is_some_and(|node| nodes::is_ready(node));
        (!speaks).then(|| self.object("Node", "", node))
    }

    fn unscheduled_pod(&mut self, pod: &Pod, namespace: &str, name: &str) -> Cause {
        let asked = spec(pod).and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or(SCHEDULER_NAME);
        if asked != SCHEDULER_NAME {
            return Cause::new(format!("pod/{name} waits for the scheduler {asked}, which is not this one"))
                .fix(format!("remove spec.schedulerName, or run {asked}"));
        }
        let waits = self
            .unscheduled
            .get_or_init(|| Scheduler.plan(self.world, &Key::new("", SCHEDULER_NAME), self.now).waiting_on);
        let mine = |waiting: &&Waiting| waiting.who.name == name && waiting.who.namespace == namespace;
        let Some(waiting) = waits.iter().find(mine).cloned() else {
            return Cause::new(format!("pod/{name} is about to be placed on a node"));
        };
        let cause = Cause::new(format!("pod/{name} has no node: {}", waiting.message));
        match waiting.reason {
            reasons::UNSCHEDULABLE => {
                let behind = self.refusals(pod);
                if behind.is_empty() {
                    return cause.fix("start a node: stead up without --no-node");
                }
                let summary = waiting.message.split(": ").next().unwrap_or_default();
                Cause::new(format!("pod/{name} has no node: {summary}")).because(behind)
            }
            reasons::SCHEDULING_GATED => cause.fix("whoever set the gates must take them off"),
            _ => {
                let behind = self.object(&waiting.on.kind, &waiting.on.namespace, &waiting.on.name);
                cause.because([behind])
            }
        }
    }

    fn ended_pod(&self, pod: &Pod, name: &str) -> Cause {
        let status = pod.status.as_ref();
        let reason = status.and_then(|s| s.reason.as_deref()).map_or(String::new(), |r| format!(" ({r})"));
        let message = status.and_then(|s| s.message.as_deref()).unwrap_or_default();
        let runs = container_statuses(pod).filter_map(|c| container::last_run(self, pod, c));
        let text = format!("pod/{name} has {}{reason}", phase(pod).to_lowercase());
        if phase(pod) == "Succeeded" {
            return Cause::well(text).words(message);
        }
        Cause::new(text).words(message).because(runs)
    }

    fn unbound_claims(&mut self, pod: &Pod, namespace: &str, name: &str) -> Option<Cause> {
        let unbound: Vec<String> = claim_names(pod)
            .filter(|claim| !self.world.claims.get(namespace, claim).is_some_and(|claim| is_bound(claim)))
            .map(str::to_owned)
            .collect();
        if unbound.is_empty() {
            return None;
        }
        let cause = Cause::new(format!("pod/{name} waits for its volumes"));
        Some(
            cause.because(unbound.iter().map(|claim| self.object("PersistentVolumeClaim", namespace, claim))),
        )
    }

    fn unready_pod(&self, pod: &Pod, namespace: &str, name: &str) -> Cause {
        let mut problems: Vec<Cause> =
            container_statuses(pod).filter_map(|status| container::problem(self, pod, status)).collect();
        let node = node_name(pod).unwrap_or_default();
        if problems.is_empty()
            && let Some(event) = self.event("Pod", namespace, name, &[])
        {
            let reason = event.reason.as_deref().unwrap_or_default();
            let said = event.message.as_deref().unwrap_or_default();
            problems.push(Cause::new(format!("node {node} reports {reason}")).words(said));
        }
        let gates = spec(pod).and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
        let closed = gates.iter().filter(|gate| {
            crate::pods::condition(pod, &gate.condition_type)
                .is_none_or(|condition| condition.status != "True")
        });
        problems.extend(closed.map(|gate| {
            Cause::new(format!("its readiness gate {} is not True", gate.condition_type))
                .fix("whoever looks after that condition must set it")
        }));
        if problems.is_empty() {
            return Cause::new(format!("pod/{name} is being started by node {node}"));
        }
        Cause::new(format!("pod/{name} is not Ready")).because(problems)
    }
}

/// That a pod which is well is not given the resources that its spec asks for.
fn resize(pod: &Pod, name: &str) -> Option<Cause> {
    let told = |kind| condition(pod, kind).filter(|c| c.status == "True");
    let pending = told(RESIZE_PENDING).or_else(|| told(RESIZE_IN_PROGRESS))?;
    let fix = match pending.reason.as_deref()? {
        resizing::INFEASIBLE => "lower the containers' resources.requests; the node has no more than that",
        resizing::DEFERRED => {
            "it gets them when others let go of them: lower resources.requests of this pod or of others, or remove \
             pods that are not needed"
        }
        resizing::ERROR => "raise the limit, or let the program use less; it is tried again all the time",
        _ => return None,
    };
    let text =
        format!("pod/{name} is Running and Ready, with the resources that it had before it was resized");
    Some(Cause::new(text).words(pending.message.as_deref().unwrap_or_default()).fix(fix))
}
