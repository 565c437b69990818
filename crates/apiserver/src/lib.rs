//! The Kubernetes API over a store: HTTPS, authentication, one handler file per verb, generic over
//! `registry::KINDS`.
//!
//! It is not a controller and acts on nothing. **Its one rule: every write of every object, stead's own
//! too, goes through these handlers.**

pub mod node_streams;
