//! SPDY/3.1 for the streams of kubectl: many of them inside one connection
//! (SPDY protocol draft 3.1; the peer is moby/spdystream, which client-go and kubelets speak).
//!
//! A server's side only: the client opens streams, and we answer. [`frame`] is the codec and does no IO;
//! [`connection`] runs it over a connection; [`stream`] is what its users hold.
//!
//! About flow control: SPDY/3.1 has windows, but spdystream neither respects them nor opens them. So we open ours
//! as data is taken, and respect the peer's once it has shown that it has any; before that, and in the other
//! direction always, it is TCP that makes the faster side wait.

mod connection;
mod dictionary;
mod frame;
mod headers;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use connection::Connection;
pub(crate) use frame::reset;
pub(crate) use stream::{Reader, Stream, Writer};
