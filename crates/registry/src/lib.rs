//! Everything about a kind of object, one file per kind: its names, scope, defaults, validation and
//! printer columns.
//!
//! [`KINDS`] is THE table: routes, storage keys, discovery, OpenAPI, the printer and the CLI derive from
//! it. It is not an API server: it never stores or serves anything. **Its one rule: a kind is one file and
//! one line in the table**, and nothing about a kind stands outside this crate, `planner` and tests.

pub mod kind;

pub use kind::{Column, Kind, Scope, Strategy, Subresource};

/// Every built-in kind that stead serves, in discovery order.
pub static KINDS: &[&Kind] = &[];
