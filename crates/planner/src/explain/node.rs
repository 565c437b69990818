//! Nodes: not Ready, or closed to new pods.

use super::{Cause, Walk};

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
        let pods = self.world.pods.iter().filter(|pod| crate::pods::node_name(pod) == Some(name)).count();
        let pods = if pods == 1 { "1 pod".to_owned() } else { format!("{pods} pods") };
        if causes.is_empty() {
            return Cause::well(format!("node/{name} is Ready and has {pods}"));
        }
        Cause::new(format!("node/{name}, which has {pods}, is not as it should be")).because(causes)
    }
}

/// How a node takes pods again.
pub(super) fn uncordon(name: &str) -> String {
    format!(r#"let it take pods again: stead patch node {name} -p '{{"spec":{{"unschedulable":false}}}}'"#)
}
