//! The Kubernetes API's vocabulary: what every other crate means by metadata, a selector, a quantity,
//! a patch or a refusal.
//!
//! It is not a client, not a server and holds nothing about one kind of object. **Its one rule: no IO, no
//! clock, no randomness**; time and random suffixes are arguments, so that everything here can be tested
//! as data.
//!
//! Objects travel as [`serde_json::Value`]: the API is generic over kinds, and [`meta::ObjectExt`] reads
//! what all of them share. Code that acts on one kind turns the value into `k8s-openapi`'s type.

pub mod field;
pub mod fields;
pub mod labels;
pub mod meta;
pub mod names;
pub mod patch;
pub mod quantity;
pub mod schema;
pub mod status;
pub mod time;
