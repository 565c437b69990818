//! Where a request comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apimachinery::status::Status;

use crate::fairness;
use crate::places::{Place, Places};

/// Where a request comes from.
#[derive(Clone)]
pub(crate) enum Origin {
    /// This process: controllers, the node, the server itself.
    Process,
    /// A client's connection.
    Connection(Arc<Connection>),
}

/// What is known of a connection.
pub(crate) struct Connection {
    /// Its number; no two have the same.
    pub(crate) number: u64,
    /// How many watches it carries.
    watches: AtomicUsize,
}

impl Connection {
    pub(crate) fn new(number: u64) -> Self {
        Self { number, watches: AtomicUsize::new(0) }
    }

    /// Whether it carries a watch: then its client must take what it is sent.
    pub(crate) fn has_watches(&self) -> bool {
        self.watches.load(Ordering::Relaxed) > 0
    }
}

/// The right to watch, for as long as it lives. What runs in this process may watch as much as it likes.
pub(crate) struct WatchPlace {
    connection: Option<(Arc<Connection>, Place)>,
}

impl WatchPlace {
    /// 429 for a user who watches as much as one may, or when all places are taken.
    pub(crate) fn take(places: &Places, origin: &Origin, user: &str) -> Result<Self, Status> {
        let Origin::Connection(connection) = origin else { return Ok(Self { connection: None }) };
        let place = places.take(user).ok_or_else(|| fairness::too_many(user, "watches"))?;
        connection.watches.fetch_add(1, Ordering::Relaxed);
        Ok(Self { connection: Some((Arc::clone(connection), place)) })
    }
}

impl Drop for WatchPlace {
    fn drop(&mut self) {
        if let Some((connection, _)) = &self.connection {
            connection.watches.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
