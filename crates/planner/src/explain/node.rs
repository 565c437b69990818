//! Nodes: not Ready, or closed to new pods.

use k8s_openapi::api::core::v1::Node;

use super::{Cause, Walk};
use crate::node_lifecycle::is_condition;
use crate::nodes::{self, OUT_OF_SERVICE, pods_on};
use crate::objects::is_terminating;

/// Conditions that are bad when they are True.
const PRESSURES: &[&str] = &["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"];

impl Walk<'_> {
    pub(super) fn node(&self, name: &str) -> Cause {
        let Some(node) = self.world.nodes.get("", name) else {
            return Cause::new(format!("node/{name} is not registered"))
                .fix(format!("start stead there: stead up --node-name {name}"));
        };
        let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        let mut causes = Vec::new();
        match conditions.iter().find(|condition| condition.type_ == "Ready") {
            None => causes.push(Cause::new("nobody has said yet how it is")),
            Some(ready) if ready.status != "True" => {
                let reason = ready.reason.as_deref().unwrap_or("NotReady");
                let since = ready.last_transition_time.as_ref();
                let since = since.map_or(String::new(), |since| format!(" for {}", self.age(since.0)));
                let cause = Cause::new(format!("it has not been Ready{since} ({reason})"))
                    .words(ready.message.as_deref().unwrap_or_default());
                causes.push(cause.fix("start stead there, if it does not run: stead up"));
            }
            Some(_) => {}
        }
        for bad in conditions.iter().filter(|c| PRESSURES.contains(&c.type_.as_str()) && c.status == "True") {
            let words = bad.message.as_deref().unwrap_or_default();
            causes.push(Cause::new(format!("it has the condition {}", bad.type_)).words(words));
        }
        if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
            causes.push(Cause::new("it takes no new pods (spec.unschedulable)").fix(uncordon(name)));
        }
        causes.extend(evictions(node, name));
        let pods = counted(pods_on(self.world, name).count());
        if causes.is_empty() {
            return Cause::well(format!("node/{name} is Ready and has {pods}"));
        }
        Cause::new(format!("node/{name}, which has {pods}, is not as it should be")).because(causes)
    }

    /// Pods that are to go and cannot, since the node does not say that they are gone.
    pub(super) fn stranded_pods(&self, name: &str) -> Option<Cause> {
        let node = self.world.nodes.get("", name)?;
        if nodes::is_ready(node) || nodes::is_out_of_service(node) {
            return None;
        }
        let stranded = pods_on(self.world, name).filter(|pod| is_terminating(&pod.metadata)).count();
        (stranded > 0).then(|| {
            let text =
                format!("node/{name} does not say whether processes are gone: {} to go", counted(stranded));
            Cause::new(text).fix(out_of_service(name))
        })
    }
}

/// Pods in words.
fn counted(pods: usize) -> String {
    if pods == 1 { "1 pod".to_owned() } else { format!("{pods} pods") }
}

/// Taints that somebody has put on to drive pods out.
fn evictions(node: &Node, name: &str) -> impl Iterator<Item = Cause> {
    let by_hand = nodes::evicting(node).filter(|taint| !is_condition(taint));
    by_hand.map(move |taint| {
        let key = &taint.key;
        if key == OUT_OF_SERVICE {
            let text = if nodes::is_ready(node) {
                format!(
                    "somebody has said that its machine is off ({key}), and it says itself that it is well"
                )
            } else {
                format!("somebody has said that its machine is off ({key}): its pods are given up")
            };
            let fix = format!(
                "take the taint off before the machine runs pods again: kubectl taint node {name} {key}-"
            );
            return Cause::new(text).fix(fix);
        }
        Cause::new(format!("it has the taint {key}:NoExecute: pods that do not tolerate it are deleted"))
            .fix(format!("to let them be there: kubectl taint node {name} {key}:NoExecute-"))
    })
}

/// How somebody says that a node's machine is off, so that its pods can be given up.
pub(super) fn out_of_service(name: &str) -> String {
    format!(
        "when you are sure that the machine of node {name} is off, give all its pods up: kubectl taint node {name} \
         {OUT_OF_SERVICE}=nodeshutdown:NoExecute"
    )
}

/// How a node takes pods again.
pub(super) fn uncordon(name: &str) -> String {
    format!(r#"let it take pods again: stead patch node {name} -p '{{"spec":{{"unschedulable":false}}}}'"#)
}
