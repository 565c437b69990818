//! Where a request comes from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apimachinery::status::Status;
use tokio::sync::Notify;
use tokio::time::Instant;

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
    /// The watches that have given a piece and have not been asked for the next, and since when. As many as there are
    /// watches, at the most.
    waiting: Mutex<BTreeMap<u64, Instant>>,
    gave: Notify,
    /// The number of the next watch.
    next: AtomicU64,
}

impl Connection {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            number,
            watches: AtomicUsize::new(0),
            waiting: Mutex::default(),
            gave: Notify::new(),
            next: AtomicU64::new(0),
        }
    }

    /// Whether it carries a watch: then its client must take what it is sent.
    pub(crate) fn has_watches(&self) -> bool {
        self.watches.load(Ordering::Relaxed) > 0
    }

    /// Resolves when a watch has given a piece for which its client has made no room in all of `patience`. HTTP/2 goes on
    /// with other streams meanwhile, so that this is not to be seen from the connection itself.
    pub(crate) async fn stuck(&self, patience: Duration) {
        loop {
            let first = self.waiting().values().min().copied();
            match first.map(|since| since + patience) {
                None => self.gave.notified().await,
                Some(end) if Instant::now() >= end => return,
                Some(end) => tokio::time::sleep_until(end).await,
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to watch, for as long as it lives. What runs in this process may watch as much as it likes.
pub(crate) struct WatchPlace {
    connection: Option<(Arc<Connection>, Place)>,
    number: u64,
}

impl WatchPlace {
    /// 429 for a user who watches as much as one may, or when all places are taken.
    pub(crate) fn take(places: &Places, origin: &Origin, user: &str) -> Result<Self, Status> {
        let Origin::Connection(connection) = origin else { return Ok(Self { connection: None, number: 0 }) };
        let place = places.take(user).ok_or_else(|| fairness::too_many(user, "watches"))?;
        connection.watches.fetch_add(1, Ordering::Relaxed);
        let number = connection.next.fetch_add(1, Ordering::Relaxed);
        Ok(Self { connection: Some((Arc::clone(connection), place)), number })
    }

    /// The watch has given a piece.
    pub(crate) fn gave(&self) {
        if let Some((connection, _)) = &self.connection {
            connection.waiting().insert(self.number, Instant::now());
            connection.gave.notify_one();
        }
    }

    /// There is room for the next.
    pub(crate) fn asked(&self) {
        if let Some((connection, _)) = &self.connection {
            connection.waiting().remove(&self.number);
        }
    }
}

impl Drop for WatchPlace {
    fn drop(&mut self) {
        self.asked();
        if let Some((connection, _)) = &self.connection {
            connection.watches.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
