//! The API on a TLS listener: HTTP/1.1 and HTTP/2, client certificates, bounds, an orderly end.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::api::ApiServer;
use crate::origin;
use crate::pki::Pki;
use crate::places::Places;
use crate::stall::Stall;
use crate::user::UserInfo;

/// Connections at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 4096;
/// Connections of one user at once: a place is left for others.
const MAX_CONNECTIONS_OF_USER: usize = 3072;
/// How long a client that watches may take nothing of what it is sent, before it is cut off.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// Requests at once on one HTTP/2 connection (upstream's default is 250).
const MAX_STREAMS: u32 = 1000;
/// The request line and all headers together.
const MAX_HEADER_BYTES: usize = 64 << 10;
/// How long a client may take for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an HTTP/1.1 connection may wait for the next request's headers: longer than Go's clients keep idle
/// connections (90 s), so that it is the client who closes.
const HEADER_TIMEOUT: Duration = Duration::from_secs(120);
/// A silent HTTP/2 connection is asked for a sign of life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long requests under way may take at the end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// A pause when the system has no more file descriptors to accept with.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl ApiServer {
    /// Serves until `shutdown` resolves, then ends watches and waits a moment for the rest.
    pub async fn serve(&self, listener: TcpListener, pki: &Pki, shutdown: impl Future<Output = ()> + Send) {
        let acceptor = TlsAcceptor::from(pki.server_config());
        let graceful = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let places = Places::new(MAX_CONNECTIONS, MAX_CONNECTIONS_OF_USER);
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = accept(&listener, &permits) => accepted,
            };
            match accepted {
                Ok((stream, permit)) => {
                    let connection = Connection {
                        api: self.clone(),
                        acceptor: acceptor.clone(),
                        watcher: graceful.watcher(),
                        places: places.clone(),
                        _permit: permit,
                    };
                    tokio::spawn(connection.run(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        self.end_streams();
        if tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await.is_err() {
            tracing::info!("some connections were still open at the end");
        }
    }
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, permit))
}

struct Connection {
    api: ApiServer,
    acceptor: TlsAcceptor,
    watcher: Watcher,
    places: Places,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection without TCP_NODELAY");
        }
        let tls = match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream)).await {
            Ok(Ok(tls)) => tls,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                return;
            }
            Err(_) => return,
        };
        let certificate = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let user =
            certificate.and_then(|c| UserInfo::from_certificate(c)).unwrap_or_else(UserInfo::anonymous);
        let Some(_place) = self.places.take(&user.name) else {
            tracing::warn!(user = user.name, "too many connections of one user");
            return;
        };
        let (origin, service) = self.api.connection(user);
        let service = TowerToHyperService::new(service);
        let is_h2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let builder = if is_h2 { builder().http2_only() } else { builder().http1_only() };
        let connection = builder
            .serve_connection_with_upgrades(
                TokioIo::new(Stall::new(tls, WRITE_PATIENCE, Arc::clone(&origin))),
                service,
            )
            .into_owned();
        serve_until_stuck(self.watcher.watch(connection), &origin).await;
    }
}

/// Serves the connection to its end, or until one of its watches is stuck: dropping it cuts its client off.
async fn serve_until_stuck<E: Display>(
    served: impl Future<Output = Result<(), E>>,
    origin: &origin::Connection,
) {
    tokio::select! {
        biased;
        outcome = served => if let Err(error) = outcome {
            tracing::debug!(%error, "a connection broke");
        },
        () = origin.stuck(WRITE_PATIENCE) => tracing::debug!("a client takes nothing of what a watch sends to it"),
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .keep_alive_interval(KEEP_ALIVE);
    builder
}

#[cfg(test)]
mod tests;
