//! What every store does, run over every store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use futures::task::ArcWake;
use futures::{FutureExt, StreamExt};
use store::{
    Durability, Embedded, Error, Event, Expect, HISTORY_BYTES, HISTORY_EVENTS, Memory, Revision, Store,
    Watch, Write,
};

/// Makes one test of each function for each backend.
macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(std::sync::Arc::new(super::Memory::new())).await;
            })+
        }
        mod embedded {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                let folder = tempfile::tempdir().unwrap();
                super::$name(super::Embedded::open(folder.path().join("state.redb")).unwrap()).await;
            })+
        }
    };
}

contract!(
    create_update_delete_check_what_they_expect,
    revisions_count_the_writes,
    deleting_nothing_is_a_conflict,
    listing_is_by_key_and_in_pages,
    listing_keeps_to_its_prefix,
    pages_of_one_revision_do_not_see_later_writes,
    watch_yields_what_happened_since_and_what_happens,
    watch_tells_the_value_before,
    watch_keeps_to_its_prefix,
    watch_from_any_revision_has_no_gap_and_no_double,
    what_is_acknowledged_is_ready_in_watches,
    quiet_watch_sleeps,
    future_revisions_are_refused,
    forgotten_revisions_are_refused,
    large_values_are_forgotten_sooner,
    watch_that_falls_behind_ends,
    quiet_watch_outlives_the_history,
    late_writes_are_seen_in_order,
    concurrent_updates_lose_nothing,
    watch_ends_with_the_store,
);

type Handle = Arc<dyn Store>;

fn write(key: &str, value: Option<&str>, expect: Expect) -> Write {
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    Write { key: key.into(), value, expect, durability: Durability::Sync }
}

async fn create(store: &Handle, key: &str, value: &str) -> Revision {
    store.write(write(key, Some(value), Expect::Absent)).await.unwrap()
}

async fn update(store: &Handle, key: &str, value: &str, at: Revision) -> Revision {
    store.write(write(key, Some(value), Expect::Revision(at))).await.unwrap()
}

async fn delete(store: &Handle, key: &str, at: Revision) -> Revision {
    store.write(write(key, None, Expect::Revision(at))).await.unwrap()
}

/// Writes the key so often that history has forgotten all that was before.
async fn forget_history(store: &Handle, key: &str) {
    let mut at = None;
    for _ in 0..=HISTORY_EVENTS {
        let expect = at.map_or(Expect::Absent, Expect::Revision);
        let late = Write { durability: Durability::Late, ..write(key, Some(""), expect) };
        at = Some(store.write(late).await.unwrap());
    }
}

async fn keys(store: &Handle, prefix: &str) -> Vec<String> {
    let page = store.list(prefix, None, 0, None).await.unwrap();
    page.items.iter().map(|item| item.key.to_string()).collect()
}

async fn next_event(watch: &mut Watch) -> Arc<Event> {
    watch.next().await.expect("the watch goes on").unwrap()
}

async fn create_update_delete_check_what_they_expect(store: Handle) {
    let first = create(&store, "/pods/a", "1").await;
    let there = store.get("/pods/a").await.unwrap().0.unwrap();
    assert_eq!((&there.value[..], there.revision), (&b"1"[..], first));

    let again = store.write(write("/pods/a", Some("x"), Expect::Absent)).await;
    assert_eq!(again, Err(Error::Exists { key: "/pods/a".into(), current: there }));

    let second = update(&store, "/pods/a", "2", first).await;
    let current = store.get("/pods/a").await.unwrap().0;
    for value in [Some("x"), None] {
        let stale = store.write(write("/pods/a", value, Expect::Revision(first))).await;
        assert_eq!(stale, Err(Error::Conflict { key: "/pods/a".into(), current: current.clone() }));
    }

    delete(&store, "/pods/a", second).await;
    assert_eq!(store.get("/pods/a").await.unwrap().0, None);
    let gone = store.write(write("/pods/a", Some("x"), Expect::Revision(second))).await;
    assert_eq!(gone, Err(Error::Conflict { key: "/pods/a".into(), current: None }));
    create(&store, "/pods/a", "new").await;
}

async fn revisions_count_the_writes(store: Handle) {
    let fresh = store.revision();
    assert!(fresh > 0, "0 means any revision to Kubernetes' clients");
    let first = create(&store, "/a", "").await;
    let _ = store.write(write("/a", Some(""), Expect::Absent)).await.unwrap_err();
    let second = create(&store, "/b", "").await;
    assert_eq!((first, second, store.revision()), (fresh + 1, fresh + 2, fresh + 2));
}

async fn deleting_nothing_is_a_conflict(store: Handle) {
    for expect in [Expect::Absent, Expect::Revision(1)] {
        let nothing = store.write(write("/a", None, expect)).await;
        assert_eq!(nothing, Err(Error::Conflict { key: "/a".into(), current: None }));
    }
    assert_eq!(store.revision(), 1);
}

async fn listing_is_by_key_and_in_pages(store: Handle) {
    for key in ["/p/c", "/p/a", "/p/e", "/p/b", "/p/d"] {
        create(&store, key, key).await;
    }
    let mut seen = Vec::new();
    let mut after: Option<Arc<str>> = None;
    for remaining in [3, 1, 0] {
        let page = store.list("/p/", after.as_deref(), 2, None).await.unwrap();
        assert_eq!((page.remaining, page.revision), (remaining, store.revision()));
        after = page.items.last().map(|item| item.key.clone());
        seen.extend(page.items.into_iter().map(|item| item.key.to_string()));
    }
    assert_eq!(seen, ["/p/a", "/p/b", "/p/c", "/p/d", "/p/e"]);
    assert!(store.list("/p/", Some("/p/e"), 2, None).await.unwrap().items.is_empty());
}

async fn listing_keeps_to_its_prefix(store: Handle) {
    for key in ["/p/ns/a", "/p/ns-2/a", "/p/n", "/q/ns/a"] {
        create(&store, key, "").await;
    }
    assert_eq!(keys(&store, "/p/ns/").await, ["/p/ns/a"]);
    assert_eq!(keys(&store, "/p/").await, ["/p/n", "/p/ns-2/a", "/p/ns/a"]);
    let from_before_the_prefix = store.list("/q/", Some("/a"), 0, None).await.unwrap();
    assert_eq!(from_before_the_prefix.items.len(), 1);
}

async fn pages_of_one_revision_do_not_see_later_writes(store: Handle) {
    let b = create(&store, "/p/b", "old").await;
    let c = create(&store, "/p/c", "old").await;
    let d = create(&store, "/p/d", "old").await;
    let first = store.list("/p/", None, 1, None).await.unwrap();
    assert_eq!((first.items.len(), first.remaining), (1, 2));

    update(&store, "/p/b", "new", b).await;
    create(&store, "/p/bb", "new").await;
    let c = delete(&store, "/p/c", c).await;
    create(&store, "/p/c", "new").await;
    delete(&store, "/p/d", d).await;
    create(&store, "/q/x", "new").await;
    assert!(c > first.revision);

    let rest = store.list("/p/", Some("/p/b"), 0, Some(first.revision)).await.unwrap();
    let rest: Vec<_> = rest.items.iter().map(|item| (&*item.key, &item.value[..])).collect();
    assert_eq!(rest, [("/p/c", &b"old"[..]), ("/p/d", &b"old"[..])]);
    assert_eq!(keys(&store, "/p/").await, ["/p/b", "/p/bb", "/p/c"]);
}

async fn watch_yields_what_happened_since_and_what_happens(store: Handle) {
    let first = create(&store, "/p/a", "1").await;
    let second = update(&store, "/p/a", "2", first).await;
    let mut watch = store.watch("/p/", first).unwrap();
    assert_eq!(next_event(&mut watch).await.revision, second);
    assert!(watch.next().now_or_never().is_none(), "it waits for what is to come");
    let third = delete(&store, "/p/a", second).await;
    assert_eq!(next_event(&mut watch).await.revision, third);
}

async fn watch_tells_the_value_before(store: Handle) {
    let mut watch = store.watch("/p/", store.revision()).unwrap();
    let first = create(&store, "/p/a", "1").await;
    let second = update(&store, "/p/a", "2", first).await;
    delete(&store, "/p/a", second).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let event = next_event(&mut watch).await;
        assert_eq!(event.key(), "/p/a");
        let text = |value: &store::Versioned| String::from_utf8(value.value.to_vec()).unwrap();
        told.push((event.previous.as_ref().map(text), event.current.as_ref().map(text)));
    }
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(told, [(None, text("1")), (text("1"), text("2")), (text("2"), None)]);
}

async fn watch_keeps_to_its_prefix(store: Handle) {
    let mut watch = store.watch("/p/ns/", store.revision()).unwrap();
    let mut all = store.watch("", store.revision()).unwrap();
    for key in ["/p/ns-2/a", "/p/n", "/p/ns/a", "/é", "/p/ns/b"] {
        create(&store, key, "").await;
    }
    assert_eq!(next_event(&mut watch).await.key(), "/p/ns/a");
    assert_eq!(next_event(&mut watch).await.key(), "/p/ns/b");
    assert_eq!(next_event(&mut all).await.key(), "/p/ns-2/a");
}

async fn watch_from_any_revision_has_no_gap_and_no_double(store: Handle) {
    let start = store.revision();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut at = create(&store, &format!("/p/{writer}"), "").await;
                for _ in 0..30 {
                    at = update(&store, &format!("/p/{writer}"), "", at).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let end = start + 8 * 31;
    let mut watches = Vec::new();
    while store.revision() < end {
        let from = store.revision();
        watches.push((from, store.watch("/p/", from).unwrap()));
        tokio::task::yield_now().await;
    }
    watches.push((start, store.watch("/p/", start).unwrap()));
    for writer in writers {
        writer.await.unwrap();
    }
    for (from, mut watch) in watches {
        for expected in from + 1..=end {
            assert_eq!(next_event(&mut watch).await.revision, expected);
        }
        assert!(watch.next().now_or_never().is_none());
    }
}

async fn what_is_acknowledged_is_ready_in_watches(store: Handle) {
    let mut watch = store.watch("/p/", store.revision()).unwrap();
    for key in ["/q/a", "/p/a", "/q/b", "/p/b", "/q/c"] {
        let written = create(&store, key, "").await;
        let told = key.starts_with("/p/").then_some(written);
        let ready = watch.next().now_or_never();
        assert_eq!(ready.map(|item| item.unwrap().unwrap().revision), told);
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicU32);

impl ArcWake for Woken {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.fetch_add(1, Ordering::Relaxed);
    }
}

async fn quiet_watch_sleeps(store: Handle) {
    let woken = Arc::new(Woken::default());
    let mut quiet = store.watch("/p/", store.revision()).unwrap();
    let waker = futures::task::waker(Arc::clone(&woken));
    assert!(quiet.poll_next_unpin(&mut Context::from_waker(&waker)).is_pending());
    for key in ["/q/a", "/q/b", "/q/c"] {
        create(&store, key, "").await;
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    }
    create(&store, "/p/a", "").await;
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

async fn future_revisions_are_refused(store: Handle) {
    let newest = create(&store, "/p/a", "").await;
    let refusal = Error::Future { asked: newest + 1, newest };
    assert_eq!(store.list("/p/", None, 0, Some(newest + 1)).await.unwrap_err(), refusal);
    assert_eq!(store.watch("/p/", newest + 1).err(), Some(refusal));
}

async fn forgotten_revisions_are_refused(store: Handle) {
    let old = create(&store, "/p/a", "").await;
    forget_history(&store, "/q/x").await;
    let Err(Error::Compacted { asked, oldest }) = store.list("/p/", None, 0, Some(old)).await else {
        panic!("{old} is out of history");
    };
    assert_eq!(asked, old);
    assert!(matches!(store.watch("/p/", old), Err(Error::Compacted { .. })));
    assert!(store.watch("/p/", oldest).is_ok());
    assert_eq!(store.list("/p/", None, 0, Some(oldest)).await.unwrap().items.len(), 1);
}

async fn large_values_are_forgotten_sooner(store: Handle) {
    let large = "x".repeat(HISTORY_BYTES / 4);
    let first = create(&store, "/p/a", &large).await;
    let mut at = first;
    for _ in 0..6 {
        at = update(&store, "/p/a", &large, at).await;
    }
    // Four replaced values fit: those of the last four writes.
    let oldest = at - 4;
    let refusal = Error::Compacted { asked: first, oldest };
    assert_eq!(store.watch("/p/", first).err(), Some(refusal));
    assert!(store.watch("/p/", oldest).is_ok());
}

async fn watch_that_falls_behind_ends(store: Handle) {
    let mut slow = store.watch("/p/", store.revision()).unwrap();
    create(&store, "/p/a", "").await;
    forget_history(&store, "/p/x").await;
    assert!(matches!(slow.next().await, Some(Err(Error::Compacted { .. }))));
    assert!(slow.next().await.is_none());
}

async fn quiet_watch_outlives_the_history(store: Handle) {
    let mut quiet = store.watch("/p/", store.revision()).unwrap();
    forget_history(&store, "/q/x").await;
    let made = create(&store, "/p/a", "").await;
    // It never looked, and missed nothing all the same: only this change is under its prefix.
    assert_eq!(next_event(&mut quiet).await.revision, made);
}

async fn late_writes_are_seen_in_order(store: Handle) {
    let mut watch = store.watch("/p/", store.revision()).unwrap();
    let writes = (0..200).map(|i| {
        let durability = if i % 3 == 0 { Durability::Sync } else { Durability::Late };
        store.write(Write { durability, ..write(&format!("/p/{i}"), Some(""), Expect::Absent) })
    });
    let mut revisions = futures::future::try_join_all(writes).await.unwrap();
    revisions.sort_unstable();
    for revision in revisions {
        assert_eq!(next_event(&mut watch).await.revision, revision);
    }
    store.flush().await.unwrap();
}

async fn concurrent_updates_lose_nothing(store: Handle) {
    create(&store, "/n", "0").await;
    let counters = (0..10).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut done = 0;
            while done < 10 {
                let current = store.get("/n").await.unwrap().0.unwrap();
                let count: u32 = std::str::from_utf8(&current.value).unwrap().parse().unwrap();
                let next = (count + 1).to_string();
                match store.write(write("/n", Some(&next), Expect::Revision(current.revision))).await {
                    Ok(_) => done += 1,
                    Err(Error::Conflict { .. }) => {}
                    Err(other) => panic!("{other}"),
                }
            }
        })
    });
    futures::future::try_join_all(counters).await.unwrap();
    assert_eq!(&store.get("/n").await.unwrap().0.unwrap().value[..], b"100");
}

async fn watch_ends_with_the_store(store: Handle) {
    let mut watch = store.watch("/p/", store.revision()).unwrap();
    let made = create(&store, "/p/a", "").await;
    drop(store);
    assert_eq!(next_event(&mut watch).await.revision, made);
    let rest: Vec<_> = watch.collect().await;
    assert!(rest.is_empty(), "{rest:?}");
}

/// Every store must behave as a map that numbers its writes, whatever is done to it in whatever order.
mod model {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        /// Key, new value (`None` deletes), whether the expectation is right, late or not.
        Write(u8, Option<u8>, bool, bool),
        /// How many writes back, page size.
        List(u64, usize),
        Flush,
        Reopen,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0u8..6, proptest::option::of(any::<u8>()), proptest::bool::weighted(0.9), any::<bool>())
                .prop_map(|(key, value, right, late)| Op::Write(key, value, right, late)),
            2 => (0u64..12, 1usize..5).prop_map(|(back, size)| Op::List(back, size)),
            1 => Just(Op::Flush),
            1 => Just(Op::Reopen),
        ]
    }

    type Map = BTreeMap<String, (Vec<u8>, Revision)>;

    async fn listed(store: &Handle, size: usize, revision: Revision) -> Map {
        let mut all = Map::new();
        let mut after: Option<Arc<str>> = None;
        loop {
            let page = store.list("/m/", after.as_deref(), size, Some(revision)).await.unwrap();
            assert_eq!(page.revision, revision);
            after = page.items.last().map(|item| item.key.clone());
            all.extend(page.items.iter().map(|i| (i.key.to_string(), (i.value.to_vec(), i.revision))));
            if page.remaining == 0 {
                return all;
            }
        }
    }

    async fn run(open: impl Fn() -> Handle, reopens: bool, ops: Vec<Op>) {
        let mut store = open();
        // The map as of every revision that can be asked for.
        let mut history = BTreeMap::from([(store.revision(), Map::new())]);
        for op in ops {
            let (newest, now) = history.last_key_value().map(|(r, m)| (*r, m.clone())).unwrap();
            match op {
                Op::Write(key, value, right, late) => {
                    let key = format!("/m/{key}");
                    let current = now.get(&key).map(|(_, revision)| *revision);
                    let expect = match (current, right) {
                        (None, true) => Expect::Absent,
                        (Some(revision), true) => Expect::Revision(revision),
                        (None, false) => Expect::Revision(newest),
                        (Some(revision), false) => Expect::Revision(revision - 1),
                    };
                    let durability = if late { Durability::Late } else { Durability::Sync };
                    let bytes = value.map(|value| Bytes::from(vec![value]));
                    let result =
                        store.write(Write { key: (*key).into(), value: bytes, expect, durability }).await;
                    let possible = right && (value.is_some() || current.is_some());
                    assert_eq!(result.as_ref().ok(), possible.then_some(&(newest + 1)));
                    if possible {
                        let mut next = now;
                        match value {
                            Some(value) => next.insert(key, (vec![value], newest + 1)),
                            None => next.remove(&key),
                        };
                        history.insert(newest + 1, next);
                    }
                }
                Op::List(back, size) => {
                    let (revision, then) = history.range(newest.saturating_sub(back)..).next().unwrap();
                    assert_eq!(&listed(&store, size, *revision).await, then);
                }
                Op::Flush => store.flush().await.unwrap(),
                Op::Reopen if reopens => {
                    drop(store);
                    store = open();
                    assert_eq!(store.revision(), newest);
                    history.retain(|revision, _| *revision == newest);
                }
                Op::Reopen => {}
            }
        }
        let (newest, now) = history.pop_last().unwrap();
        assert_eq!(listed(&store, 3, newest).await, now);
    }

    fn block_on(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn memory_behaves_as_a_numbered_map(ops in proptest::collection::vec(op(), 1..60)) {
            block_on(run(|| Arc::new(Memory::new()), false, ops));
        }

        #[test]
        fn embedded_behaves_as_a_numbered_map(ops in proptest::collection::vec(op(), 1..60)) {
            let folder = tempfile::tempdir().unwrap();
            block_on(run(|| Embedded::open(folder.path().join("state.redb")).unwrap(), true, ops));
        }
    }
}
