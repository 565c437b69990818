//! All planners together, against an API in a few maps: stories with one set, and whatever else can be told only
//! by several planners at once.

mod convergence;
mod endpoints;
mod garbage;
mod judge;
mod revisions;
mod scheduling;
mod script;
mod sim;
mod stateful_set;
mod volumes;
mod why;
