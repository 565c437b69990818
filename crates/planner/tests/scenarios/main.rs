//! All planners together, against an API in a few maps: stories with one set, and whatever else can be told only
//! by several planners at once.

// Objects are written as literals where they are used.
#![allow(clippy::needless_pass_by_value)]

mod conditions;
mod convergence;
mod creation;
mod deletion;
mod deployments;
mod disruption;
mod endpoints;
mod garbage;
mod growth;
mod holds;
mod judge;
mod nodes;
mod replica_sets;
mod revisions;
mod roles;
mod scaling;
mod scheduling;
mod script;
mod sim;
mod updates;
mod volumes;
mod why;
