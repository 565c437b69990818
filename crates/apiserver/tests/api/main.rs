//! The API's behaviour, asked through its service in process, and over TLS on loopback.

mod access;
mod apply;
mod concepts;
mod contract;
mod deletion;
mod eviction;
mod harness;
mod kube_client;
mod lists;
mod samples;
mod stateful_sets;
mod streams;
mod strictness;
mod tables;
mod tls;
mod tokens;
mod watches;
mod writes;
