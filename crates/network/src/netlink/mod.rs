//! The one place that talks to netlink: messages as bytes, sockets, and the two families that pods need.
//!
//! An encoder of our own, because the few messages needed fit on some pages, go out several at a time in
//! one system call, and block nothing but the calling thread. Names of constants are the kernel's
//! (include/uapi/linux).

pub(crate) mod conntrack;
pub(crate) mod message;
pub(crate) mod nft;
pub(crate) mod nft_expr;
pub(crate) mod route;
pub(crate) mod socket;

pub(crate) use message::{Attributes, Message};
pub(crate) use socket::{NetlinkError, Socket};
