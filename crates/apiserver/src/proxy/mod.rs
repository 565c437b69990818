//! The API as a way to what pods and services serve over HTTP (upstream: `apimachinery/pkg/util/proxy`,
//! `pkg/registry/core/{pod,service}/strategy.go` `ResourceLocation`).

mod forward;
mod location;

pub(crate) use forward::{Place, forward, unreachable};
pub(crate) use location::{Name, of_pod, of_service};
