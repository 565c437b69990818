//! The table of kinds.

use crate::kind::Kind;

mod cluster_role;
mod cluster_role_binding;
mod config_map;
mod controller_revision;
mod deployment;
mod endpoint_slice;
mod endpoints;
pub(crate) mod event;
mod lease;
mod measured;
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
pub(crate) mod stored;

pub use measured::MEASURED;
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
    &stored::core::REPLICATION_CONTROLLER,
    &stored::core::POD_TEMPLATE,
    &stored::core::RESOURCE_QUOTA,
    &stored::core::LIMIT_RANGE,
    &deployment::KIND,
    &replica_set::KIND,
    &stored::daemon_set::DAEMON_SET,
    &stored::autoscaler::HORIZONTAL_POD_AUTOSCALER,
    &stored::jobs::JOB,
    &stored::jobs::CRON_JOB,
    &stored::nodes::CERTIFICATE_SIGNING_REQUEST,
    &stored::networking::NETWORK_POLICY,
    &stored::networking::INGRESS,
    &stored::networking::INGRESS_CLASS,
    &stored::networking::IP_ADDRESS,
    &stored::networking::SERVICE_CIDR,
    &role::KIND,
    &role_binding::KIND,
    &cluster_role::KIND,
    &cluster_role_binding::KIND,
    &stored::storage::CSI_DRIVER,
    &stored::storage::CSI_NODE,
    &stored::storage::CSI_STORAGE_CAPACITY,
    &stored::storage::VOLUME_ATTACHMENT,
    &stored::storage::VOLUME_ATTRIBUTES_CLASS,
    &stored::admission::MUTATING_ADMISSION_POLICY,
    &stored::admission::MUTATING_ADMISSION_POLICY_BINDING,
    &stored::admission::MUTATING_WEBHOOK_CONFIGURATION,
    &stored::admission::VALIDATING_ADMISSION_POLICY,
    &stored::admission::VALIDATING_ADMISSION_POLICY_BINDING,
    &stored::admission::VALIDATING_WEBHOOK_CONFIGURATION,
    &stored::nodes::PRIORITY_CLASS,
    &stored::nodes::RUNTIME_CLASS,
    &stored::admission::FLOW_SCHEMA,
    &stored::admission::PRIORITY_LEVEL_CONFIGURATION,
    &stored::devices::DEVICE_CLASS,
    &stored::devices::RESOURCE_CLAIM,
    &stored::devices::RESOURCE_CLAIM_TEMPLATE,
    &stored::devices::RESOURCE_SLICE,
];

/// What evictions ask.
pub(crate) static BUDGETS: &Kind = &pod_disruption_budget::KIND;
