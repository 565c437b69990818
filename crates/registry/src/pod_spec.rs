//! `core/v1` PodSpec, which pods and the templates of workloads share: its defaults, its validation and
//! what stead does not act on yet.

mod containers;
mod defaults;
mod env;
mod ephemeral;
mod probes;
mod qos;
mod resize;
mod resources;
mod scheduling;
mod security;
mod update;
mod validate;
mod volumes;
mod warnings;

pub(crate) use defaults::{default_claim_spec, default_pod, default_pod_spec};
pub(crate) use ephemeral::validate_ephemeral_containers_update;
pub(crate) use qos::qos_class;
pub(crate) use resize::{take_over_resize, validate_resize};
pub(crate) use resources::{canonical_quantities, is_zero_quantity, validate_quantity};
pub(crate) use scheduling::{TAINT_EFFECTS, validate_node_selector};
pub(crate) use update::validate_pod_spec_update;
pub(crate) use validate::{For, validate_pod_spec, validate_pod_template};
pub(crate) use volumes::validate_host_path;
pub(crate) use warnings::pod_spec_warnings;
