//! Everything about a kind of object, one file per kind: its names, scope, defaults, validation and
//! printer columns.
//!
//! [`KINDS`] is THE table: routes, storage keys, discovery, OpenAPI, the printer and the CLI derive from
//! it. It is not an API server: it never stores or serves anything. **Its one rule: a kind is one file and
//! one line in the table**, and nothing about a kind stands outside this crate, `planner` and tests.
//!
//! ```
//! let sts = registry::by_word("sts").expect("a built-in kind");
//! assert_eq!(sts.resource(), "statefulsets.apps");
//! assert_eq!(registry::key(sts, "default", "postgres"), "/apps/statefulsets/default/postgres");
//! ```

pub mod bootstrap;
mod check;
pub mod eviction;
pub mod kind;
mod kinds;
mod lookup;
mod meta;
pub mod nodes;
mod pod_spec;
mod print;
pub mod rbac;
pub mod reviews;
pub mod tokens;
mod value;
mod versions;

pub use bootstrap::bootstrap_objects;
pub use kind::{ClusterView, Column, Kind, Scale, Scope, Strategy, Subresource};
pub use kinds::{ANSWERED, KINDS, MEASURED};
pub use lookup::{
    by_gvk, by_resource, by_word, key, measured, namespace_prefix, sealed_prefixes, served, storage_prefix,
};
pub use meta::{validate_object_meta, validate_object_meta_update};
pub use versions::{VERSIONS, Version};
