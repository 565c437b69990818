//! The work queue: every key at most once in it, and at most one worker at a time on a key
//! (`k8s.io/client-go/util/workqueue`).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;
use tokio::time::{Duration, Instant};

/// The longest delay of a key: some of the clock's distances overflow, and nobody plans for a year ahead.
const LONGEST_DELAY: Duration = Duration::from_secs(365 * 86_400);

/// A queue that is bounded by the number of keys: adding a key that waits already changes nothing, and a key
/// that is added while a worker has it comes again when the worker is done.
pub(crate) struct Queue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
}

struct State<K> {
    ready: VecDeque<K>,
    waiting: HashSet<K>,
    busy: HashSet<K>,
    again: HashSet<K>,
    /// Keys that come later, by time; `later_of` finds a key's time.
    later: BTreeMap<(Instant, u64), K>,
    later_of: HashMap<K, (Instant, u64)>,
    sequence: u64,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                waiting: HashSet::new(),
                busy: HashSet::new(),
                again: HashSet::new(),
                later: BTreeMap::new(),
                later_of: HashMap::new(),
                sequence: 0,
            }),
            wake: Notify::new(),
        }
    }

    /// Adds a key to be worked on now.
    pub(crate) fn add(&self, key: K) {
        self.lock().add(key);
        self.wake.notify_one();
    }

    /// Adds a key to be worked on after `delay` (of at most [`LONGEST_DELAY`]), unless it comes sooner anyway.
    pub(crate) fn add_after(&self, key: K, delay: Duration) {
        let mut state = self.lock();
        let at = Instant::now() + delay.min(LONGEST_DELAY);
        if let Some(held) = state.later_of.get(&key).copied() {
            if held.0 <= at {
                return;
            }
            state.later.remove(&held);
        }
        state.sequence += 1;
        let slot = (at, state.sequence);
        state.later.insert(slot, key.clone());
        state.later_of.insert(key, slot);
        drop(state);
        self.wake.notify_one();
    }

    /// Waits for the next key. The caller must give it back with [`Queue::done`].
    pub(crate) async fn next(&self) -> K {
        loop {
            let notified = self.wake.notified();
            let sleep = {
                let mut state = self.lock();
                state.promote(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.waiting.remove(&key);
                    state.busy.insert(key.clone());
                    if !state.ready.is_empty() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                state.later.keys().next().map(|(at, _)| *at)
            };
            match sleep {
                Some(at) => tokio::select! {
                    biased;
                    () = notified => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => notified.await,
            }
        }
    }

    /// Gives a key back. If it was added meanwhile it is ready again.
    pub(crate) fn done(&self, key: &K) {
        let mut state = self.lock();
        state.busy.remove(key);
        if state.again.remove(key) {
            state.add(key.clone());
            drop(state);
            self.wake.notify_one();
        }
    }

    /// How many keys wait for a worker.
    pub(crate) fn len(&self) -> usize {
        self.lock().ready.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl<K: Clone + Eq + Hash> State<K> {
    fn add(&mut self, key: K) {
        if self.busy.contains(&key) {
            self.again.insert(key);
        } else if self.waiting.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.later_of.remove(&key);
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_added_twice_comes_once() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!((queue.next().await, queue.next().await), ("a", "b"));
        assert!(queue.lock().ready.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_added_while_busy_comes_again_only_after_it_is_done() {
        let queue = Queue::new();
        queue.add("a");
        let key = queue.next().await;
        queue.add("a");
        assert!(queue.lock().ready.is_empty(), "two workers must never hold one key");
        queue.done(&key);
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_key_comes_at_its_time_and_the_sooner_time_wins() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(60));
        queue.add_after("a", Duration::from_secs(5));
        queue.add_after("a", Duration::from_secs(30));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delayed_key_is_not_late_because_the_worker_that_waited_for_it_got_another() {
        let queue = std::sync::Arc::new(Queue::new());
        let start = Instant::now();
        let (sender, mut taken) = tokio::sync::mpsc::unbounded_channel();
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let (queue, sender) = (queue.clone(), sender.clone());
            workers.spawn(async move {
                sender.send((queue.next().await, start.elapsed())).unwrap();
                // It is busy with that for ever.
                std::future::pending::<()>().await;
            });
        }
        tokio::task::yield_now().await;
        // Waiters are woken in their order (tokio's Notify): who waits for the time is the last of them.
        queue.add_after("later", Duration::from_secs(5));
        tokio::task::yield_now().await;
        queue.add("now");
        assert_eq!(taken.recv().await.unwrap(), ("now", Duration::ZERO));
        assert_eq!(taken.recv().await.unwrap(), ("later", Duration::from_secs(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_delay_is_too_long_to_be_counted() {
        let queue = Queue::new();
        queue.add_after("a", Duration::MAX);
        queue.add("b");
        assert_eq!(queue.next().await, "b");
    }
}
