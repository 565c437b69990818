//! Places of which there are so many in all and so many for one client: connections, watches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts who has how many. Cheap to clone: all clones are one.
#[derive(Clone)]
pub(crate) struct Places {
    in_all: usize,
    each: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    in_all: usize,
    by_client: HashMap<String, usize>,
}

/// One place; it is free again when it is dropped.
pub(crate) struct Place {
    places: Places,
    client: String,
}

impl Places {
    /// So many places in all, and so many for each client.
    pub(crate) fn new(in_all: usize, each: usize) -> Self {
        Self { in_all, each, taken: Arc::default() }
    }

    /// A place for the client; `None` when it has all that it may have, or all are taken.
    pub(crate) fn take(&self, client: &str) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.by_client.get(client).copied().unwrap_or_default();
        if taken.in_all >= self.in_all || own >= self.each {
            return None;
        }
        taken.in_all += 1;
        taken.by_client.insert(client.to_owned(), own + 1);
        Some(Place { places: self.clone(), client: client.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.in_all -= 1;
        if let Some(own) = taken.by_client.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                taken.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_more_than_there_is_for_one_and_what_is_given_back_is_free() {
        let places = Places::new(3, 2);
        let first = places.take("a").expect("a place");
        let _second = places.take("a").expect("a place");
        assert!(places.take("a").is_none(), "that is all for one");
        let _third = places.take("b").expect("a place");
        assert!(places.take("c").is_none(), "that is all");
        drop(first);
        assert!(places.take("c").is_some());
        assert!(
            !places.taken.lock().expect("counted").by_client.contains_key("c"),
            "nothing is kept of who has none"
        );
    }
}
