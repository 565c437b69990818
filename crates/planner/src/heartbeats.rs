//! When nodes were last heard of (the `probeTimestamp` of `pkg/controller/nodelifecycle`).
//!
//! What counts is when *we* heard of a heartbeat, not when the node says that it was: clocks of machines differ, and
//! after a time in which nobody listened, nobody is late.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::nodes;
use crate::objects::{name, namespace};
use crate::world::{Change, Object};

/// Where nodes renew their leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// By node, when it was last heard of.
#[derive(Clone, Debug, Default)]
pub struct Heartbeats(BTreeMap<String, Timestamp>);

impl Heartbeats {
    /// When the node was last heard of; `None` where nobody listens.
    pub fn last(&self, node: &str) -> Option<Timestamp> {
        self.0.get(node).copied()
    }

    /// Takes note of a change that was heard of at `now`: a node that appears, a lease that is renewed, a node that
    /// says anew how it is.
    pub fn hear(&mut self, change: &Change, now: Timestamp) {
        match (&change.old, &change.new) {
            (Some(Object::Node(node)), None) => {
                self.0.remove(name(&node.metadata));
            }
            (None, Some(Object::Node(node))) => {
                self.0.insert(name(&node.metadata).to_owned(), now);
            }
            (Some(Object::Node(old)), Some(Object::Node(new))) => {
                let [before, after] = [old, new].map(|node| nodes::condition(node, "Ready"));
                // What others say of a silent node is no word of its own.
                if before != after && after.is_some_and(|ready| ready.status != "Unknown") {
                    self.0.insert(name(&new.metadata).to_owned(), now);
                }
            }
            (old, Some(Object::Lease(lease))) if namespace(&lease.metadata) == LEASE_NAMESPACE => {
                let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
                let before = match old {
                    Some(Object::Lease(old)) => old.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()),
                    _ => None,
                };
                if renewed != before
                    && let Some(last) = self.0.get_mut(name(&lease.metadata))
                {
                    *last = now;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::world::World;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn tell(world: &mut World, kind: (&'static str, &'static str), object: Value, second: i64) {
        let change = world.apply(kind, object).unwrap().expect("news");
        world.heartbeats.hear(&change, at(second));
    }

    fn node(version: &str, ready: &str, since: &str) -> Value {
        json!({"metadata": {"name": "a", "resourceVersion": version},
            "status": {"conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": since}]}})
    }

    fn lease(version: &str, namespace: &str, renewed: &str) -> Value {
        json!({"metadata": {"name": "a", "namespace": namespace, "resourceVersion": version},
            "spec": {"renewTime": renewed}})
    }

    const NODE: (&str, &str) = ("v1", "Node");
    const LEASE: (&str, &str) = ("coordination.k8s.io/v1", "Lease");
    const OLD: &str = "2020-01-01T00:00:00.000000Z";

    #[test]
    fn a_lease_that_was_renewed_long_ago_is_news_when_it_is_heard_of_first() {
        let mut world = World::default();
        tell(&mut world, NODE, node("1", "True", "2020-01-01T00:00:00Z"), 100);
        tell(&mut world, LEASE, lease("2", LEASE_NAMESPACE, OLD), 101);
        assert_eq!(world.heartbeats.last("a"), Some(at(101)));
    }

    #[test]
    fn only_a_renewal_and_the_node_s_own_words_are_heartbeats() {
        let mut world = World::default();
        tell(&mut world, NODE, node("1", "True", "2020-01-01T00:00:00Z"), 1);
        tell(&mut world, LEASE, lease("2", LEASE_NAMESPACE, OLD), 2);
        // Somebody labels the lease, leads an election elsewhere, doubts the node.
        tell(&mut world, LEASE, lease("3", LEASE_NAMESPACE, OLD), 3);
        tell(&mut world, LEASE, lease("4", "default", OLD), 4);
        tell(&mut world, NODE, node("5", "Unknown", "2020-01-01T00:00:00Z"), 5);
        assert_eq!(world.heartbeats.last("a"), Some(at(2)));
        tell(&mut world, NODE, node("6", "False", "2020-01-01T00:00:06Z"), 6);
        assert_eq!(world.heartbeats.last("a"), Some(at(6)));
        tell(&mut world, LEASE, lease("7", LEASE_NAMESPACE, "2020-01-01T00:00:07.000000Z"), 7);
        assert_eq!(world.heartbeats.last("a"), Some(at(7)));
    }

    #[test]
    fn a_node_that_is_gone_is_forgotten() {
        let mut world = World::default();
        tell(&mut world, NODE, node("1", "True", "2020-01-01T00:00:00Z"), 1);
        let change = world.remove(NODE, node("2", "True", "2020-01-01T00:00:00Z")).unwrap().expect("news");
        world.heartbeats.hear(&change, at(2));
        tell(&mut world, LEASE, lease("3", LEASE_NAMESPACE, OLD), 3);
        assert_eq!(world.heartbeats.last("a"), None);
    }
}
