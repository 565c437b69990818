//! The verbs against a real API server of this process, over TLS on loopback.

mod access;
mod causes;
mod explain;
mod harness;
mod rolls;
mod stories;
