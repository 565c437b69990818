//! The sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures::future::try_join_all;
use hickory_proto::op::ResponseCode;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::figures::Figures;
use crate::upstream::{Upstream, read_message, write_message};
use crate::wire::{self, Step, Transport};
use crate::zone::Zone;
use crate::{Error, Upstreams};

/// How many queries may wait for the host's resolvers; more are refused with SERVFAIL.
const MAX_FORWARDED: usize = 512;

/// How many TCP connections are served at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 128;

/// How long a TCP connection may be silent (RFC 7766, section 6.2.3).
const IDLE: Duration = Duration::from_secs(10);

/// The longest UDP query that is read in full. Queries are one name and little else.
const MAX_QUERY: usize = 4096;

/// How often another free port is tried, when the one that UDP got is taken for TCP.
const PORT_ATTEMPTS: usize = 16;

/// How long nothing is accepted after an accept failed for want of something (files, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Sockets for UDP and TCP, and what it takes to answer on them.
pub(crate) struct Server {
    sockets: Vec<(UdpSocket, TcpListener)>,
    addresses: Vec<SocketAddr>,
    shared: Arc<Shared>,
}

struct Shared {
    zone: Arc<RwLock<Zone>>,
    upstream: Upstream,
    forwarded: Semaphore,
    turn: AtomicUsize,
    figures: Arc<Figures>,
}

impl Server {
    pub(crate) async fn bind(
        listen: &[SocketAddr],
        zone: Arc<RwLock<Zone>>,
        upstreams: Upstreams,
    ) -> Result<Self, Error> {
        let mut sockets = Vec::new();
        let mut addresses = Vec::new();
        for address in listen {
            let pair = bind_pair(*address).await;
            let (udp, tcp) = pair.map_err(|reason| Error::Listen { address: *address, reason })?;
            addresses.push(udp.local_addr().map_err(Error::Socket)?);
            sockets.push((udp, tcp));
        }
        let shared = Arc::new(Shared {
            zone,
            upstream: Upstream::new(upstreams, addresses.clone()),
            forwarded: Semaphore::new(MAX_FORWARDED),
            turn: AtomicUsize::new(0),
            figures: Arc::default(),
        });
        Ok(Self { sockets, addresses, shared })
    }

    pub(crate) fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.shared.figures)
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until a socket fails.
    pub(crate) async fn run(self) -> io::Result<()> {
        let loops = self.sockets.into_iter().map(|(udp, tcp)| {
            let shared = self.shared.clone();
            async move { tokio::try_join!(serve_udp(udp, shared.clone()), serve_tcp(tcp, shared)) }
        });
        try_join_all(loops).await?;
        std::future::pending().await
    }
}

/// Both sockets on one port, also when any will do.
async fn bind_pair(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let mut attempts = PORT_ATTEMPTS;
    loop {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) if address.port() != 0 || attempts == 0 => return Err(error),
            Err(_) => attempts -= 1,
        }
    }
}

impl Shared {
    fn handle(&self, packet: &[u8], transport: Transport) -> Step {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let zone = self.zone.read().unwrap_or_else(PoisonError::into_inner);
        let step = wire::handle(packet, transport, &zone, turn);
        drop(zone);
        self.figures.asked(match &step {
            Step::Ignore => "none",
            Step::Reply(_) => "zone",
            Step::Forward | Step::Complete(_) => "forward",
        });
        if let Step::Reply(reply) = &step {
            self.figures.answered(reply);
        }
        step
    }

    /// Does what the zone cannot do alone. `None`: there is nothing to reply.
    async fn finish(&self, step: Step, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let reply = self.finished(step, packet, transport).await;
        reply.iter().for_each(|reply| self.figures.answered(reply));
        reply
    }

    async fn finished(&self, step: Step, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Ok(_permit) = self.forwarded.try_acquire() else {
            return Some(wire::failure(packet, ResponseCode::ServFail));
        };
        match step {
            Step::Ignore => None,
            Step::Reply(reply) => Some(reply),
            Step::Forward => {
                let answer = self.upstream.ask(packet, transport).await;
                Some(answer.unwrap_or_else(|| wire::failure(packet, ResponseCode::ServFail)))
            }
            Step::Complete(unfinished) => {
                let found = self.upstream.resolve(&unfinished.query).await;
                Some(unfinished.finish(found.as_ref()))
            }
        }
    }
}

async fn serve_udp(socket: UdpSocket, shared: Arc<Shared>) -> io::Result<()> {
    let socket = Arc::new(socket);
    let mut buffer = vec![0; MAX_QUERY];
    // At most MAX_FORWARDED of these wait: the others have their answer at once.
    let mut waiting = JoinSet::new();
    loop {
        while waiting.try_join_next().is_some() {}
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // What came back of an earlier answer, not this socket's failure.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let packet = &buffer[..length];
        match shared.handle(packet, Transport::Udp) {
            Step::Ignore => {}
            Step::Reply(reply) => send(&socket, &reply, client).await,
            step => {
                let (socket, shared, packet) = (socket.clone(), shared.clone(), packet.to_vec());
                waiting.spawn(async move {
                    if let Some(reply) = shared.finish(step, &packet, Transport::Udp).await {
                        send(&socket, &reply, client).await;
                    }
                });
            }
        }
    }
}

/// A client that cannot be reached is its own trouble.
async fn send(socket: &UdpSocket, reply: &[u8], client: SocketAddr) {
    if let Err(error) = socket.send_to(reply, client).await {
        tracing::debug!(%client, %error, "an answer was not sent");
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        if connections.len() >= MAX_CONNECTIONS {
            connections.join_next().await;
        }
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    if let Err(error) = serve_connection(stream, &shared).await {
                        tracing::trace!(%error, "a connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve_connection(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        let packet = tokio::time::timeout(IDLE, read_message(&mut stream)).await??;
        let reply = match shared.handle(&packet, Transport::Tcp) {
            Step::Reply(reply) => Some(reply),
            step => shared.finish(step, &packet, Transport::Tcp).await,
        };
        let Some(reply) = reply else { return Ok(()) };
        tokio::time::timeout(IDLE, write_message(&mut stream, &reply)).await??;
    }
}
