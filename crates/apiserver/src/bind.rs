//! Takes the address to listen on, or says plainly why that cannot be.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

/// Why the API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another program listens there.
    #[error("{address} is in use by another program; stop it, or choose another address with --listen")]
    InUse {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The address is not this machine's.
    #[error("{address} is not an address of this machine; choose one with --listen")]
    NotLocal {
        /// The address asked for.
        address: SocketAddr,
    },
    /// The port is below 1024 and the user is not root.
    #[error("listening on {address} needs root; run as root, or choose a port above 1023 with --listen")]
    NotPermitted {
        /// The address asked for.
        address: SocketAddr,
    },
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// The address asked for.
        address: SocketAddr,
        /// The system's word.
        source: io::Error,
    },
}

/// Listens on the address; port 0 takes any free one.
///
/// # Errors
/// When the address is taken, not this machine's, or not permitted.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        io::ErrorKind::AddrNotAvailable => BindError::NotLocal { address },
        io::ErrorKind::PermissionDenied => BindError::NotPermitted { address },
        _ => BindError::Other { address, source },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = first.local_addr().expect("bound");
        let error = bind(address).await.expect_err("taken");
        assert_eq!(
            error.to_string(),
            format!(
                "{address} is in use by another program; stop it, or choose another address with --listen"
            )
        );
    }
}
