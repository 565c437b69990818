//! Descriptors that the async runtime watches.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Watches a descriptor that does not block.
pub(crate) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd always gives the same open descriptor, and closes it only when it is dropped: the
    // AsyncFd owns it and takes it off the runtime's list before that.
    let watched = unsafe { AsyncFd::register(fd) };
    watched.map_err(Into::into)
}
