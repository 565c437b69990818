//! Pods: not made, not placed, not started, not Ready, or not gone.

use k8s_openapi::api::core::v1::Pod;

use super::{CHECK_NAME, Cause, Walk, container, flag, references};
use crate::Planner;
use crate::objects::is_terminating;
use crate::pods::{
    claim_names, container_statuses, is_running_and_ready, node_name, phase, ready_since, spec,
};
use crate::scheduler::{Scheduler, reasons};
use crate::stateful_set::{parent_and_ordinal, replicas, start_ordinal};
use crate::volume_binder::matching::is_bound;
use crate::world::Key;

impl Walk<'_> {
    pub(super) fn pod(&mut self, namespace: &str, name: &str) -> Cause {
        let Some(pod) = self.world.pods.get(namespace, name) else {
            return self.missing_pod(namespace, name);
        };
        if is_terminating(&pod.metadata) {
            return self.terminating_pod(pod, name);
        }
        if node_name(pod).is_none() {
            return self.unscheduled_pod(pod, namespace, name);
        }
        if is_running_and_ready(pod) {
            let since = ready_since(pod).map_or(String::new(), |since| format!(" for {}", self.age(since)));
            return Cause::new(format!("pod/{name} is Running and Ready{since}"));
        }
        if phase(pod) == "Failed" || phase(pod) == "Succeeded" {
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
        let held = self.world.stateful_sets.get(namespace, set);
        let first = held.map_or(0, |set| start_ordinal(set));
        let count = held.map_or(0, |set| replicas(set));
        if !(first..first + count).contains(&ordinal) {
            let has = match count {
                0 => "has no replicas".to_owned(),
                1 => format!("has one replica, {set}-{first}"),
                count => format!("has {count} replicas, {set}-{first} to {set}-{}", first + count - 1),
            };
            let cause = cause.because([Cause::new(format!("statefulset/{set} {has}"))]);
            let more = ordinal - first + 1;
            return match more {
                1.. => {
                    cause.fix(format!("for more: stead scale sts/{set}{} --replicas={more}", flag(namespace)))
                }
                _ => cause,
            };
        }
        let because = self.stateful_set(namespace, set);
        cause.because(because)
    }

    fn terminating_pod(&self, pod: &Pod, name: &str) -> Cause {
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
        let finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
        let failed = self.event("Pod", crate::objects::namespace(&pod.metadata), name, &["FailedKillPod"]);
        let failed = failed.map(|event| {
            Cause::new("its node could not stop it").words(event.message.as_deref().unwrap_or_default())
        });
        let cause = Cause::new(text).because(failed);
        if finalizers.is_empty() {
            return cause;
        }
        cause.because([Cause::new(format!("finalizers hold it: {}", finalizers.join(", ")))
            .fix("whoever set them must take them off")])
    }

    fn unscheduled_pod(&mut self, pod: &Pod, namespace: &str, name: &str) -> Cause {
        let asked = spec(pod)
            .and_then(|spec| spec.scheduler_name.as_deref())
            .unwrap_or(crate::scheduler::SCHEDULER_NAME);
        if asked != crate::scheduler::SCHEDULER_NAME {
            return Cause::new(format!("pod/{name} waits for the scheduler {asked}, which is not this one"))
                .fix(format!("remove spec.schedulerName, or run {asked}"));
        }
        let plan = Scheduler.plan(self.world, &Key::new("", crate::scheduler::SCHEDULER_NAME), self.now);
        let mine = |waiting: &crate::Waiting| waiting.who.name == name && waiting.who.namespace == namespace;
        let Some(waiting) = plan.waiting_on.into_iter().find(mine) else {
            return Cause::new(format!("pod/{name} is about to be placed on a node"));
        };
        let cause = Cause::new(format!("pod/{name} has no node: {}", waiting.message));
        match waiting.reason {
            reasons::UNSCHEDULABLE => match unschedulable_fix(&waiting.message) {
                Some(fix) => cause.fix(fix),
                None => cause,
            },
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
        Cause::new(format!("pod/{name} has {}{reason}", phase(pod).to_lowercase()))
            .words(message)
            .because(runs)
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

/// What helps against the scheduler's refusals, where one thing plainly does.
fn unschedulable_fix(message: &str) -> Option<&'static str> {
    const FIXES: &[(&str, &str)] = &[
        ("no nodes available", "start a node: stead up without --no-node"),
        ("Insufficient", "lower the containers' resources.requests, or make room on the node"),
        ("Too many pods", "delete pods that are not needed, or add a node"),
        ("untolerated taint", "add a toleration to the pod, or take the taint off the node"),
        ("were unschedulable", super::node::UNCORDON),
        ("node affinity/selector", "compare spec.nodeSelector and spec.affinity with the nodes' labels"),
        ("were not ready", "see why the node is not Ready: stead why node/NODE"),
        ("free ports", "another pod has the host port: change containers[].ports[].hostPort"),
        ("volume node affinity", "the pod's volume is on another node: the pod can only run there"),
        (
            "didn't find available persistent volumes",
            "create a PersistentVolume of the claim's class for the node",
        ),
    ];
    FIXES.iter().find(|(part, _)| message.contains(part)).map(|(_, fix)| *fix)
}
