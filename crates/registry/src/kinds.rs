//! The table of kinds.

use crate::kind::Kind;

mod cluster_role;
mod cluster_role_binding;
mod config_map;
mod controller_revision;
mod deployment;
mod endpoint_slice;
mod endpoints;
mod event;
mod lease;
mod namespace;
mod node;
mod persistent_volume;
mod persistent_volume_claim;
mod pod;
mod pod_disruption_budget;
mod replica_set;
mod reviews;
mod role;
mod role_binding;
mod secret;
mod service;
mod service_account;
mod stateful_set;
mod storage_class;
mod stored;

pub use reviews::ANSWERED;

/// Every built-in kind that stead stores and serves, in discovery order.
pub static KINDS: &[&Kind] = &[
    &namespace::KIND,
    &node::KIND,
    &pod::KIND,
    &service::KIND,
    &endpoints::KIND,
    &config_map::KIND,
    &secret::KIND,
    &service_account::KIND,
    &persistent_volume_claim::KIND,
    &persistent_volume::KIND,
    &event::KIND,
    &stateful_set::KIND,
    &controller_revision::KIND,
    &lease::KIND,
    &endpoint_slice::KIND,
    &pod_disruption_budget::KIND,
    &storage_class::KIND,
    &stored::REPLICATION_CONTROLLER,
    &stored::RESOURCE_QUOTA,
    &stored::LIMIT_RANGE,
    &deployment::KIND,
    &replica_set::KIND,
    &stored::DAEMON_SET,
    &stored::JOB,
    &stored::CRON_JOB,
    &stored::HORIZONTAL_POD_AUTOSCALER,
    &stored::NETWORK_POLICY,
    &stored::INGRESS,
    &stored::INGRESS_CLASS,
    &role::KIND,
    &role_binding::KIND,
    &cluster_role::KIND,
    &cluster_role_binding::KIND,
    &stored::PRIORITY_CLASS,
];

/// What evictions ask.
pub(crate) static BUDGETS: &Kind = &pod_disruption_budget::KIND;
