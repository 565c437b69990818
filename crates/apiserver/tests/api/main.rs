//! The API's behaviour, asked through its service in process, and over TLS on loopback.

mod access;
mod apply;
mod bounds;
mod concepts;
mod contract;
mod deletion;
mod edges;
mod eviction;
mod figures;
mod harness;
mod kube_client;
mod lists;
mod nodes;
mod protobuf;
mod samples;
mod schema;
mod stateful_sets;
mod stored;
mod streams;
mod strictness;
mod tables;
mod tls;
mod tokens;
mod versions;
mod watches;
mod writes;
