//! How balancers elsewhere learn whether this node has endpoints of a service: they ask on its
//! `healthCheckNodePort` (`pkg/proxy/healthcheck`). Services of type LoadBalancer with
//! `externalTrafficPolicy: Local` have one.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ServiceSpec;

use super::{View, port_number};
use crate::plan::ObjectRef;
use crate::world::object_ref;

/// What is answered on one `healthCheckNodePort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The service.
    pub owner: ObjectRef,
    /// Its ready endpoints on this node. Those that are going get connections while there are no others, but do not
    /// count: balancers turn elsewhere first.
    pub local_endpoints: usize,
}

impl View<'_> {
    /// The service's port for this, and its answer.
    pub(super) fn health_check(&self, spec: &ServiceSpec) -> Option<(u16, HealthCheck)> {
        let port = port_number(spec.health_check_node_port)?;
        let addresses: BTreeSet<&str> = self.ready_here().collect();
        Some((port, HealthCheck { owner: object_ref(self.service), local_endpoints: addresses.len() }))
    }
}
