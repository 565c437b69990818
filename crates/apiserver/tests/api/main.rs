//! The API's behaviour, asked through its service in process, and over TLS on loopback.

mod access;
mod contract;
mod deletion;
mod harness;
mod kube_client;
mod lists;
mod samples;
mod streams;
mod strictness;
mod tables;
mod tls;
mod watches;
mod writes;
