//! Notices when somebody else changes the firewall: a reload throws away what is not its own.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::netlink::nft::Notices;
use crate::netlink::{NetlinkError, Socket};

/// Tells when rules of the network may be gone. Its descriptor is readable when there is news.
pub struct RuleWatch {
    socket: Socket,
    notices: Notices,
}

impl RuleWatch {
    /// For the table of this name, which the socket of that port changes itself.
    pub(crate) fn open(table: &str, own_port: u32) -> Result<RuleWatch, NetlinkError> {
        Ok(RuleWatch { socket: Socket::netfilter_events()?, notices: Notices::new(table, own_port) })
    }

    /// Reads the news; does not wait for any. Answers whether somebody else has removed or changed something
    /// that the network's rules depend on.
    ///
    /// # Errors
    ///
    /// When the kernel's news cannot be read any more.
    pub fn changed_by_others(&mut self) -> Result<bool, NetlinkError> {
        let mut concerned = false;
        loop {
            match self.notices.read(&mut self.socket) {
                Ok(concerns) => concerned |= concerns,
                // What was lost may have been about us.
                Err(Errno::NOBUFS) => concerned = true,
                Err(Errno::AGAIN) => return Ok(concerned),
                Err(errno) => return Err(NetlinkError::new("cannot read news of nf_tables", errno)),
            }
        }
    }
}

impl AsFd for RuleWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
