//! Cluster DNS: what Services and EndpointSlices say, as DNS, on sockets of this machine.
//!
//! [`zone`] is a pure answer (Kubernetes DNS-Based Service Discovery 1.1.0, and `CoreDNS` where that is silent);
//! `feed` keeps it current from an API server; `wire` makes messages of it; `server` has the sockets;
//! `upstream` asks the host's resolvers for everything else. It is no recursive resolver and caches nothing.
//! **Its one rule: a name of the cluster is answered from what the API says this instant, and never asked for
//! outside.**
//!
//! ```
//! use dns::zone::{Key, Service, Target, Zone};
//! use hickory_proto::op::Query;
//! use hickory_proto::rr::{Name, RecordType};
//!
//! let mut zone = Zone::new("cluster.local")?;
//! let key = Key { namespace: "default".into(), name: "web".into() };
//! let target = Target::ClusterIps(vec!["10.43.0.10".parse()?]);
//! zone.set_service(&key, Some(Service { target, ports: Vec::new() }));
//! zone.set_complete();
//!
//! let query = Query::query(Name::from_ascii("web.default.svc.cluster.local.")?, RecordType::A);
//! let answer = zone.answer(&query, 0).ok_or("the name is the cluster's")?;
//! assert_eq!(answer.answers[0].data.to_string(), "10.43.0.10");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod feed;
mod figures;
mod server;
mod upstream;
mod wire;
pub mod zone;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

pub use figures::Figures;
use server::Server;
use tokio::sync::oneshot;
use zone::Zone;

/// How long queries wait unanswered in their sockets for the first list of Services at most. After that,
/// names of the cluster are refused with SERVFAIL until it is there, and all others are answered.
pub const FIRST_LIST_PATIENCE: Duration = Duration::from_secs(2);

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Config {
    /// Addresses for UDP and TCP. Port 0 picks a free one. Prefer single addresses to unspecified ones: an
    /// answer must come from the address that was asked.
    pub listen: Vec<SocketAddr>,
    /// The cluster's domain, for instance `cluster.local`.
    pub cluster_domain: String,
    /// Who is asked for all other names.
    pub upstreams: Upstreams,
}

/// The resolvers for names that are not the cluster's.
#[derive(Clone, Debug)]
pub enum Upstreams {
    /// The `nameserver` lines of a file as described in resolv.conf(5). Read again whenever it changes.
    ResolvConf(PathBuf),
    /// These, in this order.
    Fixed(Vec<SocketAddr>),
}

/// Why DNS is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster's domain is not a domain.
    #[error("cluster domain {domain:?} is not a domain name ({reason})")]
    Domain {
        /// What was given.
        domain: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("DNS cannot listen on {address}: {reason}; choose another with --dns-listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A socket failed while it was served.
    #[error("DNS socket failed: {0}")]
    Socket(std::io::Error),
}

/// A DNS server that has its sockets. Clients may send queries from now on; [`Dns::run`] answers them.
pub struct Dns {
    server: Server,
    zone: Arc<RwLock<Zone>>,
}

impl Dns {
    /// Opens the sockets.
    ///
    /// # Errors
    ///
    /// The domain is none, or an address is in use or not this machine's.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let zone = Arc::new(RwLock::new(Zone::new(&config.cluster_domain)?));
        let server = Server::bind(&config.listen, zone.clone(), config.upstreams).await?;
        Ok(Self { server, zone })
    }

    /// The addresses that are listened on, with their ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.server.addresses()
    }

    /// What it counts, also while it runs.
    pub fn figures(&self) -> Arc<Figures> {
        self.server.figures()
    }

    /// Follows the Services and EndpointSlices of all namespaces, and answers queries until `shutdown`.
    ///
    /// # Errors
    ///
    /// A socket failed. The API server may fail as it likes: it is asked again.
    pub async fn run(self, client: kube::Client, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let Self { server, zone } = self;
        let (listed, complete) = oneshot::channel();
        let follow = feed::follow(client, zone, listed);
        let serve = async {
            // Until then, queries wait in their sockets.
            let _ = tokio::time::timeout(FIRST_LIST_PATIENCE, complete).await;
            server.run().await
        };
        tokio::select! {
            () = shutdown => Ok(()),
            () = follow => unreachable!("the feed never gives up"),
            failed = serve => failed.map_err(Error::Socket),
        }
    }
}
