//! Which endpoints of a port get new connections (`pkg/proxy/topology.go`, KEP-1669).

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::ServicePort;
use k8s_openapi::api::discovery::v1::Endpoint;

use super::{View, port_number};
use crate::endpoint_slice::publishes_not_ready;
use crate::objects::{is_terminating, uid};
use crate::pods::{is_ready, is_terminal};

/// How an endpoint is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Ready,
    /// It is going, and still answers.
    ServingTerminating,
    Neither,
}

impl View<'_> {
    /// The ready ones; when there are none, those that are going and still answer. With `local`, only those on
    /// this node.
    pub(super) fn endpoints(&self, port: &ServicePort, local: bool) -> Vec<(Ipv4Addr, u16)> {
        let name = port.name.as_deref().unwrap_or_default();
        let (mut ready, mut going) = (Vec::new(), Vec::new());
        for slice in self.slices {
            let of_port =
                slice.ports.iter().flatten().find(|p| p.name.as_deref().unwrap_or_default() == name);
            let Some(target) = of_port.and_then(|p| port_number(p.port)) else { continue };
            for endpoint in slice.endpoints.iter().flatten() {
                if local && endpoint.node_name.as_deref() != Some(self.node) {
                    continue;
                }
                let list = match self.standing(endpoint) {
                    Standing::Ready => &mut ready,
                    Standing::ServingTerminating => &mut going,
                    Standing::Neither => continue,
                };
                list.extend(endpoint.addresses.iter().filter_map(|ip| Some((ip.parse().ok()?, target))));
            }
        }
        let mut chosen: Vec<(Ipv4Addr, u16)> = if ready.is_empty() { going } else { ready };
        // An endpoint may be in two slices while it moves between them.
        chosen.sort_unstable();
        chosen.dedup();
        chosen
    }

    /// The addresses of the ready ones on this node. One may come twice.
    pub(super) fn ready_here(&self) -> impl Iterator<Item = &str> {
        let all = self.slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        let here = all.filter(|endpoint| {
            endpoint.node_name.as_deref() == Some(self.node) && self.standing(endpoint) == Standing::Ready
        });
        here.flat_map(|endpoint| endpoint.addresses.iter().map(String::as_str))
    }

    /// What the slice says, and what is known of the pod by now.
    fn standing(&self, endpoint: &Endpoint) -> Standing {
        let said = endpoint.conditions.as_ref();
        let mut ready = said.and_then(|c| c.ready).unwrap_or(true);
        let mut serving = said.and_then(|c| c.serving).unwrap_or(ready);
        let mut terminating = said.and_then(|c| c.terminating).unwrap_or(false);
        let target = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
        if let Some(target) = target
            && let (Some(place), Some(name)) = (&target.namespace, &target.name)
        {
            let pod = self
                .world
                .pods
                .get(place, name)
                .filter(|pod| Some(uid(&pod.metadata)) == target.uid.as_deref());
            let Some(pod) = pod.filter(|pod| !is_terminal(pod)) else { return Standing::Neither };
            if !publishes_not_ready(self.service) {
                serving &= is_ready(pod);
                terminating |= is_terminating(&pod.metadata);
                ready &= serving && !terminating;
            }
        }
        match (ready, serving && terminating) {
            (true, _) => Standing::Ready,
            (false, true) => Standing::ServingTerminating,
            (false, false) => Standing::Neither,
        }
    }
}
