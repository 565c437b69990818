//! What can go wrong with the network.

use std::io;

use crate::cidr::Ipv4Cidr;
use crate::leases::LeaseError;
use crate::netlink::NetlinkError;

/// Why a network cannot be opened, or a pod cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The range is not free on this machine.
    #[error("pod range {cidr} overlaps {what} of interface {interface}: choose another one with --pod-cidr")]
    Collision {
        /// The range that was asked for.
        cidr: Ipv4Cidr,
        /// `address 10.42.3.4/24` or `the route to 10.0.0.0/8`.
        what: String,
        /// Whose it is.
        interface: String,
    },
    /// Something else has the bridge's name.
    #[error("interface {name} is not a bridge: remove or rename it")]
    NotABridge {
        /// The name that the instance's bridge must have.
        name: String,
    },
    /// An id that interface names cannot be made from.
    #[error("instance id {instance:?} does not begin with six letters or digits")]
    Instance {
        /// The id.
        instance: String,
    },
    /// The network namespace of a process cannot be opened: most likely the process is gone.
    #[error("cannot open the network namespace of process {pid}: {error}")]
    Namespace {
        /// The process.
        pid: u32,
        /// Why.
        error: io::Error,
    },
    /// The process has no network namespace of its own.
    #[error("process {pid} is in the host's network namespace and gets no link of its own")]
    HostNamespace {
        /// The process.
        pid: u32,
    },
    /// The namespace has a link of that name that was not made here.
    #[error("the network namespace of pod {pod} already has a link {link} with another address")]
    ForeignLink {
        /// The link.
        link: String,
        /// The pod.
        pod: String,
    },
    /// A kernel setting cannot be written.
    #[error("cannot set {name}=1: {error}")]
    Sysctl {
        /// As `sysctl` names it.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// No address, or no way to write it down.
    #[error(transparent)]
    Lease(#[from] LeaseError),
}
