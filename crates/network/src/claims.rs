//! Ports of the host that services ask for, held by sockets.
//!
//! A rule that leads a port of the host to pods would silently take it from whoever listens there, another
//! stead among them. So a port is bound before the rule is made, as kube-proxy used to do, and stays bound
//! while the rule is there: whoever comes later is told that the address is in use. The sockets never listen.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with};

use crate::services::{Frontend, Protocol};

/// The ports that are held.
#[derive(Default)]
pub(crate) struct Claims {
    held: BTreeMap<Frontend, OwnedFd>,
}

impl Claims {
    /// Holds these ports and no others; answers with those that cannot be had, and why.
    pub(crate) fn set(&mut self, wanted: &[Frontend]) -> BTreeMap<Frontend, Errno> {
        self.held.retain(|at, _| wanted.contains(at));
        let mut refused = BTreeMap::new();
        for at in wanted {
            if self.held.contains_key(at) {
                continue;
            }
            match hold(*at) {
                Ok(Some(socket)) => drop(self.held.insert(*at, socket)),
                Ok(None) => {}
                Err(errno) => drop(refused.insert(*at, errno)),
            }
        }
        refused
    }
}

/// `SO_REUSEADDR` stays off: two sockets that have it and do not listen would share a port.
fn hold(at: Frontend) -> Result<Option<OwnedFd>, Errno> {
    let kind = match at.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
        // Many kernels have no SCTP of their own, and forward it all the same.
        Protocol::Sctp => return Ok(None),
    };
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrV4::new(at.address.unwrap_or(Ipv4Addr::UNSPECIFIED), at.port))?;
    Ok(Some(socket))
}
