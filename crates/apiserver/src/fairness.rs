//! Who is served when more is asked than can be done at once: everybody in turn, so that a client that floods the API
//! slows itself only (upstream: API Priority and Fairness, KEP-1040, in its smallest form).
//!
//! Users take turns, and the connections of one user take turns. A request that finds its queue full is refused with
//! 429 and comes back later. What controllers ask inside the process does not come through here.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use apimachinery::status::Status;
use serde_json::json;
use tokio::sync::oneshot;

/// Requests under way at once, of all (upstream: `--max-requests-inflight` and `--max-mutating-requests-inflight`).
const MAX_RUNNING: usize = 600;
/// Requests of one user under way at once: others find room whatever one of them does.
const MAX_RUNNING_OF_USER: usize = 200;
/// Requests of one connection under way at once. They share commits; more would only make others wait.
const MAX_RUNNING_OF_CONNECTION: usize = 32;
/// Requests of one user that wait for their turn.
const MAX_WAITING_OF_USER: usize = 4000;
/// Requests of one connection that wait for their turn.
const MAX_WAITING_OF_CONNECTION: usize = 1000;
/// When a client that was refused may come back.
const RETRY_AFTER_SECONDS: u64 = 1;

/// How much may be under way and may wait.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    running: usize,
    of_user: usize,
    of_connection: usize,
    waiting_of_user: usize,
    waiting_of_connection: usize,
}

/// The queues of all clients. Cheap to clone: all clones are one.
#[derive(Clone)]
pub(crate) struct FairQueue {
    bounds: Bounds,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    running: usize,
    users: Turns<Arc<str>, User>,
}

#[derive(Default)]
struct User {
    running: usize,
    waiting: usize,
    connections: Turns<u64, Connection>,
}

#[derive(Default)]
struct Connection {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Seat>>,
}

/// Members, and the order in which those who wait are served.
struct Turns<K, V> {
    members: HashMap<K, V>,
    /// Whoever waits stands in it once.
    order: VecDeque<K>,
}

impl<K, V> Default for Turns<K, V> {
    fn default() -> Self {
        Self { members: HashMap::new(), order: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V: Default> Turns<K, V> {
    fn member(&mut self, key: &K) -> &mut V {
        self.members.entry(key.clone()).or_default()
    }

    fn line_up(&mut self, key: &K) {
        if !self.order.contains(key) {
            self.order.push_back(key.clone());
        }
    }
}

/// The right to be served; it is given on when it is dropped.
pub(crate) struct Seat {
    queue: FairQueue,
    user: Arc<str>,
    connection: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let given = self.queue.lock().leave(&self.queue, &self.user, self.connection);
        // Outside the lock: a client that has gone meanwhile gives its seat back at once.
        for (waiting, seat) in given {
            let _ = waiting.send(seat);
        }
    }
}

impl FairQueue {
    pub(crate) fn new() -> Self {
        Self::with(Bounds {
            running: MAX_RUNNING,
            of_user: MAX_RUNNING_OF_USER,
            of_connection: MAX_RUNNING_OF_CONNECTION,
            waiting_of_user: MAX_WAITING_OF_USER,
            waiting_of_connection: MAX_WAITING_OF_CONNECTION,
        })
    }

    fn with(bounds: Bounds) -> Self {
        Self { bounds, state: Arc::default() }
    }

    /// Waits until it is this connection's turn. 429 when too many of its requests, or of its user's, wait already.
    pub(crate) async fn seat(&self, user: &str, connection: u64) -> Result<Seat, Status> {
        let place = self.lock().enter(self, &Arc::from(user), connection);
        match place {
            Found::Seat(seat) => Ok(seat),
            Found::Queue(turn) => turn.await.map_err(|_| too_many(user, "requests")),
            Found::NoRoom => Err(too_many(user, "requests")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_seat(&self, user: &Arc<str>, connection: u64) -> Seat {
        Seat { queue: self.clone(), user: Arc::clone(user), connection }
    }
}

/// What a request finds.
enum Found {
    Seat(Seat),
    Queue(oneshot::Receiver<Seat>),
    NoRoom,
}

impl State {
    fn enter(&mut self, queue: &FairQueue, user: &Arc<str>, connection: u64) -> Found {
        let bounds = queue.bounds;
        let of_user = self.users.member(user);
        let of_connection = of_user.connections.member(&connection);
        let has_room = self.running < bounds.running
            && of_user.running < bounds.of_user
            && of_connection.running < bounds.of_connection;
        if has_room && of_connection.waiting.is_empty() {
            self.running += 1;
            of_user.running += 1;
            of_connection.running += 1;
            return Found::Seat(queue.new_seat(user, connection));
        }
        if of_user.waiting >= bounds.waiting_of_user
            || of_connection.waiting.len() >= bounds.waiting_of_connection
        {
            return Found::NoRoom;
        }
        let (sender, receiver) = oneshot::channel();
        of_connection.waiting.push_back(sender);
        of_user.waiting += 1;
        of_user.connections.line_up(&connection);
        self.users.line_up(user);
        Found::Queue(receiver)
    }

    /// Takes a seat back, and says who gets what is free now.
    fn leave(
        &mut self,
        queue: &FairQueue,
        user: &Arc<str>,
        connection: u64,
    ) -> Vec<(oneshot::Sender<Seat>, Seat)> {
        self.running -= 1;
        if let Some(of_user) = self.users.members.get_mut(user) {
            of_user.running -= 1;
            if let Some(of_connection) = of_user.connections.members.get_mut(&connection) {
                of_connection.running -= 1;
            }
        }
        let mut given = Vec::new();
        while self.running < queue.bounds.running
            && let Some(next) = self.next(queue)
        {
            given.push(next);
        }
        self.forget(user, connection);
        given
    }

    /// Serves whoever's turn it is, and lets the others have theirs first next time.
    fn next(&mut self, queue: &FairQueue) -> Option<(oneshot::Sender<Seat>, Seat)> {
        for _ in 0..self.users.order.len() {
            let user = self.users.order.pop_front()?;
            let of_user = self.users.member(&user);
            let served = if of_user.running < queue.bounds.of_user {
                of_user.next(queue.bounds.of_connection)
            } else {
                None
            };
            if of_user.waiting > 0 {
                self.users.order.push_back(Arc::clone(&user));
            } else if of_user.connections.members.is_empty() {
                self.users.members.remove(&user);
            }
            if let Some((waiting, connection)) = served {
                self.running += 1;
                return Some((waiting, queue.new_seat(&user, connection)));
            }
        }
        None
    }

    /// Keeps nothing of clients that are not here.
    fn forget(&mut self, user: &Arc<str>, connection: u64) {
        let Some(of_user) = self.users.members.get_mut(user) else { return };
        let connections = &mut of_user.connections.members;
        if connections.get(&connection).is_some_and(|c| c.running == 0 && c.waiting.is_empty()) {
            connections.remove(&connection);
        }
        if connections.is_empty() {
            self.users.members.remove(user);
        }
    }
}

impl User {
    fn next(&mut self, bound: usize) -> Option<(oneshot::Sender<Seat>, u64)> {
        for _ in 0..self.connections.order.len() {
            let key = self.connections.order.pop_front()?;
            let connection = self.connections.member(&key);
            let mut served = None;
            while connection.running < bound && served.is_none() {
                let Some(waiting) = connection.waiting.pop_front() else { break };
                self.waiting -= 1;
                // Who gave up does not get a seat.
                served = Some(waiting).filter(|waiting| !waiting.is_closed());
            }
            connection.running += usize::from(served.is_some());
            if !connection.waiting.is_empty() {
                self.connections.order.push_back(key);
            } else if connection.running == 0 {
                self.connections.members.remove(&key);
            }
            if let Some(waiting) = served {
                self.running += 1;
                return Some((waiting, key));
            }
        }
        None
    }
}

/// 429, and when to come back.
pub(crate) fn too_many(user: &str, what: &str) -> Status {
    let why = format!("too many {what} of {user:?}, please try again later: have fewer at once");
    let mut status = Status::new(429, "TooManyRequests", why);
    status.details = json!({"retryAfterSeconds": RETRY_AFTER_SECONDS});
    status
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::BoxFuture;

    fn queue(running: usize, of_user: usize, of_connection: usize, waiting: usize) -> FairQueue {
        FairQueue::with(Bounds {
            running,
            of_user,
            of_connection,
            waiting_of_user: 2 * waiting,
            waiting_of_connection: waiting,
        })
    }

    /// A request that has asked, and may have to wait.
    struct Asked(BoxFuture<'static, Result<Seat, Status>>);

    fn ask(queue: &FairQueue, user: &'static str, connection: u64) -> Asked {
        let queue = queue.clone();
        let mut asked = async move { queue.seat(user, connection).await }.boxed();
        match (&mut asked).now_or_never() {
            Some(done) => Asked(std::future::ready(done).fuse().boxed()),
            None => Asked(asked.fuse().boxed()),
        }
    }

    impl Asked {
        fn seat(&mut self) -> Option<Seat> {
            (&mut self.0).now_or_never().map(|seat| seat.expect("not refused"))
        }
    }

    #[tokio::test]
    async fn a_flood_waits_for_itself_and_others_find_room() {
        let queue = queue(8, 4, 2, 100);
        let mut flood: Vec<Asked> = (0..50).map(|n| ask(&queue, "flood", n % 4)).collect();
        let served: Vec<Seat> = flood.iter_mut().filter_map(Asked::seat).collect();
        assert_eq!(served.len(), 4, "no more than a user may have");
        let other = ask(&queue, "other", 9).seat();
        assert!(other.is_some(), "another user is served at once");
    }

    #[tokio::test]
    async fn users_take_turns_however_many_requests_of_one_wait() {
        let queue = queue(1, 1, 1, 100);
        let first = ask(&queue, "flood", 0).seat().expect("the first");
        let mut flood: Vec<Asked> = (0..20).map(|_| ask(&queue, "flood", 0)).collect();
        let mut others = [ask(&queue, "a", 1), ask(&queue, "b", 2)];
        drop(first);
        // One of the flood stood in line before; then each of the others has its turn.
        let mut order = Vec::new();
        for _ in 0..4 {
            let flooding = flood.iter_mut().find_map(|asked| asked.seat().map(|seat| ("flood", seat)));
            let other =
                others.iter_mut().zip(["a", "b"]).find_map(|(o, name)| o.seat().map(|seat| (name, seat)));
            let (name, seat) = flooding.or(other).expect("somebody is served");
            order.push(name);
            if name == "flood" {
                flood.remove(0);
            }
            drop(seat);
        }
        assert_eq!(order, ["flood", "a", "b", "flood"]);
    }

    #[tokio::test]
    async fn connections_of_one_user_take_turns_too() {
        let queue = queue(8, 1, 1, 100);
        let first = ask(&queue, "admin", 0).seat().expect("the first");
        let mut flood: Vec<Asked> = (0..20).map(|_| ask(&queue, "admin", 0)).collect();
        let mut patient = ask(&queue, "admin", 1);
        drop(first);
        drop(flood[0].seat().expect("it stood in line before"));
        assert!(patient.seat().is_some());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_with_a_time_to_come_back() {
        let queue = queue(1, 1, 1, 3);
        let _running = ask(&queue, "flood", 0).seat().expect("the first");
        let _waiting: Vec<Asked> = (0..3).map(|_| ask(&queue, "flood", 0)).collect();
        let refused = queue.seat("flood", 0).await.err().expect("no room");
        assert_eq!((refused.code, refused.reason), (429, "TooManyRequests"));
        assert_eq!(refused.details["retryAfterSeconds"], 1);
        // Another connection of the same user has room of its own, until the user's is full.
        let _others: Vec<Asked> = (0..3).map(|_| ask(&queue, "flood", 1)).collect();
        assert!(queue.seat("flood", 2).await.is_err());
    }

    #[tokio::test]
    async fn who_gives_up_waiting_holds_nobody_up_and_nothing_is_kept_of_who_has_gone() {
        let queue = queue(1, 1, 1, 10);
        let first = ask(&queue, "a", 0).seat().expect("the first");
        let gone: Vec<Asked> = (0..5).map(|_| ask(&queue, "a", 0)).collect();
        let mut patient = ask(&queue, "b", 1);
        drop(gone);
        drop(first);
        drop(patient.seat().expect("the next who is still here"));
        let state = queue.lock();
        assert_eq!((state.running, state.users.members.len(), state.users.order.len()), (0, 0, 0));
    }
}
