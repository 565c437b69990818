//! The Kubernetes API's vocabulary: what every other crate means by metadata, a selector, a quantity,
//! a patch or a refusal.
//!
//! It is not a client, not a server and holds nothing about one kind of object. **Its one rule: no IO, no
//! clock, no randomness**; time and random suffixes are arguments, so that everything here can be tested
//! as data.
//!
//! Objects travel as [`serde_json::Value`]: the API is generic over kinds, and [`meta::ObjectExt`] reads
//! what all of them share. Code that acts on one kind turns the value into `k8s-openapi`'s type.
//!
//! ```
//! use apimachinery::{labels::Selector, meta::ObjectExt, patch::strategic, schema::Schema};
//! use serde_json::json;
//!
//! let mut pod = json!({"metadata": {"name": "db-0", "labels": {"app": "db"}}, "spec": {"containers": [{"name": "db"}]}});
//! assert!(Selector::parse("app in (db,web)")?.matches(&pod.meta_map("labels")));
//!
//! let pod_type = Schema::builtin().gvk("v1", "Pod").expect("a built-in kind");
//! let patch = json!({"spec": {"containers": [{"name": "db", "image": "postgres:17"}]}});
//! strategic::apply(&mut pod, &patch, pod_type)?;
//! assert_eq!(pod["spec"]["containers"][0]["image"], "postgres:17");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod annotations;
pub mod apply;
pub mod field;
pub mod fields;
pub mod inject;
pub mod labels;
pub mod meta;
pub mod names;
pub mod ordinals;
pub mod patch;
pub mod protobuf;
pub mod quantity;
pub mod schema;
pub mod spelling;
pub mod status;
pub mod time;
pub mod yaml;
