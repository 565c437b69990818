//! Waiting until the kernel has noticed a new link.
//!
//! A link's carrier comes by the kernel's own work queue, some tenths of a millisecond after the link is up
//! (net/core/link_watch.c). What is sent before is lost, and sent again only a second later: a pod's first
//! look-up or connection would now and then take that second. So attaching ends when the bridge forwards.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::netlink::route;
use crate::netlink::{NetlinkError, Socket};

/// Longer than the kernel ever takes; after that the pod may as well try for itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// Tells when ports of a bridge have begun to forward.
pub(crate) struct Settling {
    /// Wakes at any change of any link. What it misses does not matter: the state is asked for.
    events: Socket,
    queries: Socket,
}

impl Settling {
    pub(crate) fn new() -> Result<Settling, NetlinkError> {
        Ok(Settling { events: Socket::link_events(PATIENCE)?, queries: Socket::route()? })
    }

    /// Waits until frames pass between the port and the bridge, or the port is gone with its namespace.
    pub(crate) fn wait(&mut self, port: &str, bridge: &str) -> Result<(), NetlinkError> {
        let deadline = Instant::now() + PATIENCE;
        self.events.drain();
        while Instant::now() < deadline {
            let Some(port) = route::link_by_name(&mut self.queries, port)? else { return Ok(()) };
            let bridge = route::link_by_name(&mut self.queries, bridge)?;
            if port.forwarding && bridge.is_some_and(|bridge| bridge.operational) {
                return Ok(());
            }
            match self.events.wait_for_any() {
                // Too many events for the buffer are events too.
                Ok(()) | Err(Errno::NOBUFS) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(NetlinkError::new("cannot watch links", errno)),
            }
        }
        tracing::warn!(port, bridge, "a pod's link is up, but the bridge does not forward yet");
        Ok(())
    }
}
