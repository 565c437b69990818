//! Server-side apply: who owns which field, and what an applied configuration makes of an object (KEP-555;
//! upstream: `sigs.k8s.io/structured-merge-diff` and `k8s.io/apimachinery/pkg/util/managedfields`).
//!
//! [`apply()`] merges a configuration into an object and refuses what belongs to others; [`update`] keeps
//! `metadata.managedFields` after any other write. Both take the moment as an argument and read what they need of
//! types from the [schema](crate::schema).
//!
//! A set of fields is kept as FieldsV1 itself: sets are read, compared and written without a form of their own.

mod compare;
mod conflict;
mod last_applied;
mod managed;
mod merge;
mod own;
mod path;
mod place;
mod remove;
mod set;
#[cfg(test)]
mod tests;
mod write;

pub use conflict::{Conflict, message};
pub use managed::{Manager, Operation, same_but_for_times};
pub use write::{Refusal, Writer, apply, update};
