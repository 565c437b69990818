//! The pure controllers: each is a function from what is to what to do next.
//!
//! `plan(&Snapshot, now) -> Plan`. A planner sees a snapshot of the objects it needs, and answers with the
//! writes to make, the status to keep, when to be asked again at the latest, and **what it waits for**. It
//! is not a loop and not a client: `controllers` and `node` feed it and carry out what it says.
//! **Its one rule: no IO, no clock, no randomness; the same snapshot gives the same plan, and a world that
//! needs nothing gives an empty one.**

pub mod plan;

pub use plan::{Action, ObjectRef, Plan, Waiting};
