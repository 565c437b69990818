//! The table of kinds.

use crate::kind::Kind;

mod config_map;
mod controller_revision;
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
mod secret;
mod service;
mod service_account;
mod stateful_set;
mod storage_class;

/// Every built-in kind that stead serves, in discovery order.
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
];

/// What evictions ask.
pub(crate) static BUDGETS: &Kind = &pod_disruption_budget::KIND;
