//! stead end to end: the real binary, real containers, real clients. Every test has a stead of its own, with
//! its own data directory, port, address ranges and node name, and leaves nothing behind; those of
//! `stateful_sets`, `deployments`, `access`, `clients`, `kubectl` and `streams` share one, and have a namespace each.
//!
//! `cargo xtask test` makes the images that these tests run and names their folder in `STEAD_IMAGES`.

mod access;
mod clients;
mod deployments;
mod encryption;
mod escapes;
mod figures;
mod harness;
mod images;
mod kubectl;
mod lifecycle;
mod network_and_dns;
mod nodes;
mod pods;
mod recovery;
mod refusals;
mod resize;
mod seed_walkthrough;
mod services;
mod stateful_sets;
mod streams;
mod survival;
mod volumes;
