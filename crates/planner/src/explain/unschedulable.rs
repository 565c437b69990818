//! Pods that no node takes: node by node, what is in the way.

use apimachinery::quantity::Quantity;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};

use super::{Cause, Walk, flag, node};
use crate::node_lifecycle::is_condition;
use crate::objects::{label, name, namespace};
use crate::pods::spec;
use crate::scheduler::{Refusal, Shortage, home_of, port_holder, refusals};
use crate::volume_binder::matching::volume_name;

/// The causes of at most so many nodes are told; the others are counted.
const MOST_NODES: usize = 5;

impl Walk<'_> {
    /// Why each node will not do for the pod.
    pub(super) fn refusals(&mut self, pod: &Pod) -> Vec<Cause> {
        let world = self.world;
        let all = refusals(world, pod);
        let mut causes = Vec::new();
        for (node, refusals) in all.iter().take(MOST_NODES) {
            causes.extend(refusals.iter().map(|refusal| self.refusal(pod, node, refusal)));
        }
        if all.len() > MOST_NODES {
            causes.push(Cause::new(format!("{} other nodes will not do either", all.len() - MOST_NODES)));
        }
        causes
    }

    fn refusal(&mut self, pod: &Pod, node: &Node, refusal: &Refusal<'_>) -> Cause {
        let node_name = name(&node.metadata);
        match refusal {
            Refusal::Cordoned => {
                Cause::new(format!("node/{node_name} takes no new pods (spec.unschedulable)"))
                    .fix(node::uncordon(node_name))
            }
            Refusal::NotReady => self.object("Node", "", node_name),
            Refusal::Affinity => unwanted(pod, node),
            Refusal::Taint(taint) if is_condition(taint) => self.object("Node", "", node_name),
            Refusal::Taint(taint) => {
                let value = taint.value.as_deref().map_or(String::new(), |value| format!("={value}"));
                let spoken = format!("{}{value}:{}", taint.key, taint.effect);
                Cause::new(format!("node/{node_name} has the taint {spoken}, which the pod does not tolerate"))
                    .fix(format!(
                        "give the pod a toleration of it (spec.tolerations), or take it off: stead edit node {node_name}"
                    ))
            }
            Refusal::HostPort(port) => {
                let holder = match port_holder(self.world, node, pod) {
                    Some(held) => {
                        format!("by pod/{}{}", name(&held.metadata), flag(namespace(&held.metadata)))
                    }
                    None => "by another pod".to_owned(),
                };
                Cause::new(format!(
                    "on node/{node_name} the host port {port} that it wants is taken {holder}"
                ))
                .fix("change containers[].ports[].hostPort, or leave it out")
            }
            Refusal::Short(shortage) => short(node_name, shortage),
            Refusal::VolumeElsewhere(claim) => self.volume_elsewhere(claim, node_name),
            Refusal::ClaimTaken(claim, holder) => Cause::new(format!(
                "claim/{} is ReadWriteOncePod, and pod/{} uses it",
                name(&claim.metadata),
                name(&holder.metadata)
            ))
            .fix(
                "wait until that pod is gone, or let several pods use the volume: access mode ReadWriteOnce",
            ),
            Refusal::NoVolume(claim) => {
                let text = format!("claim/{} finds no volume on node/{node_name}", name(&claim.metadata));
                Cause::new(text).because(self.misfits(claim, Some(node))).fix(self.give_volume())
            }
        }
    }

    /// A claim whose volume is tied to another node.
    fn volume_elsewhere(&mut self, claim: &PersistentVolumeClaim, node_name: &str) -> Cause {
        let volume = volume_name(claim).unwrap_or_default();
        let claim_name = name(&claim.metadata);
        let Some(home) = home_of(self.world, claim) else {
            let text = format!("claim/{claim_name} has volume {volume}, which node/{node_name} cannot reach");
            return Cause::new(text).fix(format!(
                "compare its spec.nodeAffinity with the nodes' labels: stead get pv {volume} -o yaml"
            ));
        };
        let home = home.to_owned();
        let text =
            format!("claim/{claim_name} has its volume {volume} on node {home}, and not on {node_name}");
        let cause = Cause::new(text);
        if self.world.nodes.get("", &home).is_some() {
            // Why that one does not take the pod stands beside this.
            return cause.fix(format!("the pod can only run where its data is: let node {home} take it"));
        }
        let behind = self.object("Node", "", &home);
        cause.because([behind])
    }
}

/// A node that the pod's `nodeSelector` does not mean, with the labels that it lacks, or else its node affinity.
fn unwanted(pod: &Pod, node: &Node) -> Cause {
    let node_name = name(&node.metadata);
    let wanted = spec(pod).into_iter().flat_map(|spec| spec.node_selector.iter().flatten());
    let lacking = wanted.filter(|(key, value)| label(&node.metadata, key) != Some(value));
    let labels = lacking.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
    if labels.is_empty() {
        return Cause::new(format!("node/{node_name} is not one that spec.affinity.nodeAffinity means"))
            .fix(format!("compare it with the node's labels: stead get node {node_name} --show-labels"));
    }
    Cause::new(format!("node/{node_name} lacks the label {labels}, which spec.nodeSelector wants"))
        .fix(format!("change spec.nodeSelector, or: stead label node {node_name} {labels}"))
}

/// Too little of something on a node.
fn short(node: &str, shortage: &Shortage) -> Cause {
    let Shortage { resource, requested, used, capacity } = shortage;
    if resource == "pods" {
        return Cause::new(format!("node/{node} has as many pods as it can: {capacity}"))
            .fix("delete pods that are not needed, or add a node");
    }
    let [asks, taken, has] = [requested, used, capacity].map(|amount| spoken(resource, *amount));
    if requested > capacity {
        let text = format!("it asks for {resource} {asks}, and node/{node} has {has} for all pods together");
        return Cause::new(text).fix("lower the containers' resources.requests, or add a larger node");
    }
    Cause::new(format!(
        "it asks for {resource} {asks}; of the {has} of node/{node} other pods ask for {taken}"
    ))
    .fix("lower resources.requests of this pod or of others, or remove pods that are not needed")
}

/// An amount as people write it: `500m`, `8Gi`.
fn spoken(resource: &str, amount: i64) -> String {
    match resource {
        "cpu" if amount % 1000 != 0 => format!("{amount}m"),
        "cpu" => (amount / 1000).to_string(),
        "memory" | "ephemeral-storage" => {
            const UNITS: &[(&str, i64)] = &[("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
            let unit = UNITS.iter().find(|(_, size)| amount >= *size && amount % size == 0);
            let rough = UNITS.iter().find(|(_, size)| amount >= 10 * size);
            match (unit, rough) {
                (Some((unit, size)), _) => format!("{}{unit}", amount / size),
                (None, Some((unit, size))) => format!("{}{unit}", amount / size),
                (None, None) => amount.to_string(),
            }
        }
        _ => Quantity::parse(&amount.to_string()).map_or(amount.to_string(), |amount| amount.to_string()),
    }
}
