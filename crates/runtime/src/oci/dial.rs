//! Connections into a pod's network, made where its loopback is.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use tokio::sync::oneshot;

use super::sandbox::system;
use crate::Error;

/// How long a connection may take to come about: it never leaves the machine.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to `port` on the loopback of the network namespace that the process of this pidfd is in. A thread of its
/// own goes there, and does not come back: one of the runtime's would carry others into that namespace.
pub(super) async fn loopback(process: Arc<OwnedFd>, port: u16) -> Result<TcpStream, Error> {
    let doing = || format!("connecting to port {port} of the pod");
    let (tell, told) = oneshot::channel();
    let thread = std::thread::Builder::new().name("port-forward".to_owned());
    let spawned = thread.spawn(move || {
        let entered = setns(&*process, CloneFlags::CLONE_NEWNET).map_err(io::Error::from);
        let _ = tell.send(entered.and_then(|()| connect(port)));
    });
    spawned.map_err(|e| system(doing(), e))?;
    let connected = told.await.map_err(|e| system(doing(), e))?;
    connected.map_err(|e| system(doing(), e))
}

/// By IPv4, and when nobody listens there by IPv6, as upstream has it. The first failure is told.
fn connect(port: u16) -> io::Result<TcpStream> {
    let to = |address: SocketAddr| TcpStream::connect_timeout(&address, TIMEOUT);
    to((Ipv4Addr::LOCALHOST, port).into())
        .or_else(|failure| to((Ipv6Addr::LOCALHOST, port).into()).map_err(|_| failure))
}
