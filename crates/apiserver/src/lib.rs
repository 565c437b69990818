//! The Kubernetes API over a store: HTTPS, authentication, one handler file per verb, generic over
//! `registry::KINDS`.
//!
//! It is not a controller and acts on nothing: it refuses, completes, stores and tells. What is particular
//! about a kind stands in its `registry::Strategy`. **Its one rule: every write of every object, stead's own
//! too, goes through these handlers.**
//!
//! [`ApiServer::service`] is the API without a socket, for a `kube::Client` in the same process;
//! [`ApiServer::serve`] puts it on a TLS listener.

mod api;
mod attributes;
mod authn;
mod authz;
mod bind;
mod body;
mod codec;
mod conditional;
mod container;
mod content;
mod continue_token;
mod discovery;
mod expire;
mod fairness;
pub mod figures;
mod finish;
mod handlers;
mod life;
mod list_options;
mod negotiate;
pub mod node_streams;
mod openapi;
mod options;
mod origin;
mod ownership;
mod patching;
pub mod pki;
mod places;
mod proxy;
mod query;
mod respond;
mod route;
mod selection;
mod serve;
mod spdy;
mod stall;
mod storage;
mod streaming;
mod table;
mod user;

pub use api::{ApiServer, ApiService, Config};
pub use authn::{KeyError, TokenKey};
pub use bind::{BindError, bind};
pub use body::Body;
pub use user::UserInfo;
