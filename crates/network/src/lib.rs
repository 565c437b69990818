//! Every pod its own address: a bridge, a link for each pod, leases of addresses, NAT, service addresses.
//!
//! Pods reach each other and the host over the bridge, the host reaches pods, and what goes elsewhere is
//! masqueraded. Bridge, links and rules live in the kernel, so they outlast stead; opening a network again
//! finds them. It talks netlink itself and runs no other program. It is not a CNI plugin, and knows nothing
//! of Kubernetes' objects: it is told uids and namespaces. **Its one rule: an address is never two pods' at
//! once; the kernel vouches for it, because links are named after their addresses.**
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use network::{Config, Network, PodRef};
//!
//! let network = Network::open(&Config {
//!     dir: "/var/lib/stead/network".into(),
//!     pod_cidr: "10.42.0.0/16".parse()?,
//!     instance: "3f9c2a".into(),
//!     mtu: None,
//!     notes: "/run/stead/sysctls".into(),
//! })?;
//! let pod = PodRef { uid: "1b4e28ba".into(), namespace: "default".into(), name: "db-0".into() };
//! let pid_in_the_pods_network_namespace = 4711;
//! let given = network.attach(pod, pid_in_the_pods_network_namespace).await?;
//! println!("{} on {}", given.ip, given.interface);
//! # Ok(())
//! # }
//! ```

mod cidr;
mod claims;
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;
mod error;
mod firewall;
mod host;
mod leases;
mod netlink;
mod network;
mod service_rules;
mod services;
mod settle;
mod sysctls;
mod watch;

pub use cidr::{CidrError, Ipv4Cidr};
pub use error::NetworkError;
pub use leases::{Lease, LeaseError, PodRef};
pub use netlink::socket::NetlinkError;
pub use network::{Config, Network, PodNetwork};
pub use services::{Frontend, Protocol, ServiceRule};
pub use watch::RuleWatch;
