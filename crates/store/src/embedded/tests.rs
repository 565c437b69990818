//! What only a store with a disk can get wrong: crashes, failing disks, other people's files.

mod platter;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt;
use proptest::prelude::*;

use self::platter::Platter;
use super::*;
use crate::{Durability, Expect};

fn open(platter: &Platter) -> Arc<Embedded> {
    Embedded::start(platter.opener()).unwrap()
}

fn put(key: &str, value: &str, expect: Expect, durability: Durability) -> Write {
    Write { key: key.into(), value: Some(Bytes::copy_from_slice(value.as_bytes())), expect, durability }
}

fn create(key: &str) -> Write {
    put(key, "", Expect::Absent, Durability::Sync)
}

fn late(key: &str) -> Write {
    put(key, "", Expect::Absent, Durability::Late)
}

type Map = BTreeMap<String, (Bytes, Revision)>;

async fn everything(store: &Embedded) -> Map {
    let page = store.list("", None, 0, None).await.unwrap();
    page.items.into_iter().map(|item| (item.key.to_string(), (item.value, item.revision))).collect()
}

#[tokio::test]
async fn clean_close_continues_with_the_next_number() {
    let platter = Platter::default();
    let store = open(&platter);
    store.write(create("/a")).await.unwrap();
    let last = store.write(late("/b")).await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.write(create("/c")).await, Err(Error::Backend(_))));
    assert_eq!(everything(&store).await.len(), 2, "reads go on");
    drop(store);

    let store = open(&platter);
    assert_eq!(store.revision(), last);
    assert_eq!(everything(&store).await.len(), 2);
    assert_eq!(store.write(create("/c")).await.unwrap(), last + 1);
}

#[tokio::test]
async fn crash_skips_every_number_that_may_have_been_shown() {
    let platter = Platter::default();
    // That it was closed cleanly before must not count.
    drop(open(&platter));
    let store = open(&platter);
    let shown = store.write(late("/a")).await.unwrap();
    let mut after = platter.crash(0).platter;
    // Crashing at once again must not go back either.
    for _ in 0..3 {
        let store = open(&after);
        assert!(store.revision() > shown);
        assert!(matches!(store.watch("", shown), Err(Error::Compacted { .. })));
        after = after.crash(0).platter;
    }
}

#[tokio::test]
async fn late_writes_beyond_the_reservation_wait_for_the_next_one() {
    let platter = Platter::default();
    let store = open(&platter);
    let mut shown = 0;
    let (first, rest) = (store.revision() + 1, 100_500);
    for i in first..=rest {
        shown = store.write(late(&format!("/{}", i))).await.unwrap();
    }
    assert_eq!(shown, rest);
    assert!(open(&platter.crash(0).platter).revision() > shown);
}

#[tokio::test]
async fn flush_makes_late_writes_durable() {
    let platter = Platter::default();
    let store = open(&platter);
    store.write(late("/a")).await.unwrap();
    store.flush().await.unwrap();
    assert_eq!(everything(&open(&platter.crash(0).platter)).await.len(), 1);
}

#[tokio::test]
async fn sync_write_takes_earlier_late_writes_along() {
    let platter = Platter::default();
    let store = open(&platter);
    store.write(late("/a")).await.unwrap();
    store.write(create("/b")).await.unwrap();
    assert_eq!(everything(&open(&platter.crash(0).platter)).await.len(), 2);
}

#[tokio::test]
async fn late_writes_reach_the_disk_by_themselves() {
    let platter = Platter::default();
    let store = open(&platter);
    store.write(late("/a")).await.unwrap();
    let before = platter.syncs();
    platter.synced_after(before).await;
    assert_eq!(everything(&open(&platter.crash(0).platter)).await.len(), 1);
}

#[tokio::test]
async fn many_writers_share_commits() {
    let platter = Platter::default();
    let store = open(&platter);
    platter.hold();
    let writes: Vec<_> = (0..500)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move { store.write(create(&format!("/{i}"))).await })
        })
        .collect();
    // All are queued before the disk answers the first.
    while store.room.available_permits() > MAX_QUEUED - 500 {
        tokio::task::yield_now().await;
    }
    let before = platter.syncs();
    platter.release();
    for write in writes {
        write.await.unwrap().unwrap();
    }
    let syncs = platter.syncs() - before;
    assert!(syncs <= 6, "500 writes took {syncs} syncs");
}

#[tokio::test]
async fn undurable_write_is_not_seen() {
    let platter = Platter::default();
    let store = open(&platter);
    platter.hold();
    let writing = tokio::spawn({
        let store = store.clone();
        async move { store.write(create("/a")).await }
    });
    platter.held().await;
    assert_eq!((everything(&store).await.len(), store.revision()), (0, 1));
    // Neither by being told that the key exists: that answer waits, too.
    let refused = tokio::spawn({
        let store = store.clone();
        async move { store.write(create("/a")).await }
    });
    while store.room.available_permits() > MAX_QUEUED - 2 {
        tokio::task::yield_now().await;
    }
    assert!(!refused.is_finished());
    platter.release();
    assert_eq!(writing.await.unwrap(), Ok(2));
    assert!(matches!(refused.await.unwrap(), Err(Error::Exists { .. })));
}

#[tokio::test]
async fn failing_disk_refuses_writes_and_serves_reads() {
    let platter = Platter::default();
    let store = open(&platter);
    let first = store.write(create("/a")).await.unwrap();
    let mut watch = store.watch("", first).unwrap();

    platter.set_full(true);
    let Err(Error::Backend(reason)) = store.write(create("/b")).await else { panic!("the disk is full") };
    assert!(reason.contains("no space"), "{reason}");
    assert!(matches!(store.flush().await, Err(Error::Backend(_))));
    assert_eq!((everything(&store).await.len(), store.revision()), (1, first));

    platter.set_full(false);
    let again = store.write(create("/b")).await.unwrap();
    assert!(again > first + 1, "the number of the failed write is not used again");
    assert_eq!(watch.next().await.unwrap().unwrap().revision, again);
    assert_eq!(everything(&open(&platter.crash(0).platter)).await.len(), 2);
}

#[tokio::test]
async fn refused_write_that_reached_the_disk_is_taken_back() {
    let platter = Platter::default();
    let store = open(&platter);
    // The data is written and synced, but the disk reports failure.
    platter.lie_about_syncs(true);
    assert!(matches!(store.write(create("/a")).await, Err(Error::Backend(_))));
    platter.lie_about_syncs(false);
    store.write(create("/b")).await.unwrap();
    let survived = everything(&open(&platter.crash(0).platter)).await;
    assert_eq!(survived.keys().collect::<Vec<_>>(), ["/b"]);
}

/// What a crash may leave of a run: the store as of one revision, and none older than what was acknowledged.
async fn check_crash(platter: &Platter, history: &BTreeMap<Revision, Map>, acknowledged: Revision) {
    let store = open(platter);
    let survived = everything(&store).await;
    let (newest, _) = history.last_key_value().unwrap();
    assert!(history.range(acknowledged..).any(|(_, then)| *then == survived), "{survived:?}");
    assert!(store.revision() > *newest);
}

#[derive(Clone, Debug)]
struct Step {
    key: u8,
    delete: bool,
    late: bool,
    flush: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (0u8..5, any::<bool>(), any::<bool>(), proptest::bool::weighted(0.1))
        .prop_map(|(key, delete, late, flush)| Step { key, delete, late, flush })
}

async fn crash_after_each_step(steps: Vec<Step>, seed: u64) {
    let platter = Platter::default();
    let store = open(&platter);
    let mut history = BTreeMap::from([(store.revision(), Map::new())]);
    let mut acknowledged = store.revision();
    for step in steps {
        let key = format!("/{}", step.key);
        let mut now = history.last_key_value().unwrap().1.clone();
        let current = now.get(&key).map(|(_, revision)| *revision);
        let delete = step.delete && current.is_some();
        let durability = if step.late { Durability::Late } else { Durability::Sync };
        let expect = current.map_or(Expect::Absent, Expect::Revision);
        let value = (!delete).then(|| Bytes::from_static(b"value"));
        let write = Write { key: (*key).into(), value: value.clone(), expect, durability };
        let revision = store.write(write).await.unwrap();
        match value {
            Some(value) => now.insert(key, (value, revision)),
            None => now.remove(&key),
        };
        history.insert(revision, now);
        if step.flush {
            store.flush().await.unwrap();
        }
        if step.flush || !step.late {
            acknowledged = revision;
        }
        check_crash(&platter.crash(seed).platter, &history, acknowledged).await;
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn crash_leaves_the_store_as_of_one_revision(
        steps in proptest::collection::vec(step(), 1..20),
        seed in any::<u64>(),
    ) {
        block_on(crash_after_each_step(steps, seed));
    }

    /// The power fails in the middle of commits, while eight writers are at work.
    #[test]
    fn crash_in_a_commit_keeps_what_was_acknowledged(at in 1usize..400, seed in any::<u64>()) {
        block_on(async {
            let platter = Platter::default();
            let store = open(&platter);
            platter.crash_at(at, seed);
            let writers = (0..8).map(|writer| {
                let (store, platter) = (store.clone(), platter.clone());
                tokio::spawn(async move {
                    let key = format!("/{writer}");
                    let mut expect = Expect::Absent;
                    for i in 0..12 {
                        let durability = if i % 4 == 1 { Durability::Late } else { Durability::Sync };
                        let revision = store.write(put(&key, "", expect, durability)).await.unwrap();
                        platter.acknowledge(&key, revision, durability);
                        expect = Expect::Revision(revision);
                    }
                })
            });
            futures::future::try_join_all(writers).await.unwrap();
            let crash = platter.take_crash().unwrap_or_else(|| platter.crash(seed));
            let store = open(&crash.platter);
            let survived = everything(&store).await;
            for (key, revision, durability) in crash.acknowledged {
                assert!(store.revision() > revision);
                let found = survived.get(&key).map_or(0, |(_, revision)| *revision);
                assert!(durability == Durability::Late || found >= revision, "{key}: {found} < {revision}");
            }
        });
    }
}

#[test]
fn opening_makes_a_file_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    drop(Embedded::open(&path).unwrap());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn second_opening_says_that_the_file_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let _first = Embedded::open(&path).unwrap();
    let message = Embedded::open(&path).err().unwrap().to_string();
    assert_eq!(
        message.replace(folder.path().to_str().unwrap(), "DIR"),
        "DIR/state.redb is in use: stop the stead that runs with it, or choose another --data-dir"
    );
}

#[test]
fn foreign_file_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let text = "these are somebody's notes\n".repeat(1000);
    std::fs::write(&path, &text).unwrap();
    let error = Embedded::open(&path).err().unwrap();
    assert!(matches!(&error, OpenError::Damaged { .. }), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn damaged_file_is_named_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let store = Embedded::open(&path).unwrap();
    let value = "wanted".repeat(100);
    block_on(store.write(put("/a", &value, Expect::Absent, Durability::Sync))).unwrap();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(6).rposition(|window| window == b"wanted").unwrap();
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = Embedded::open(&path).err().unwrap();
    assert!(matches!(&error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn newer_format_is_refused() {
    let platter = Platter::default();
    drop(open(&platter));
    let database = (platter.opener().open)(&redb::Builder::new()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(disk::META).unwrap().insert("format", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = Embedded::start(platter.opener()).err().unwrap();
    assert!(matches!(error, OpenError::Newer { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn other_programs_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let theirs = redb::Database::create(&path).unwrap();
    let transaction = theirs.begin_write().unwrap();
    transaction.open_table(redb::TableDefinition::<u64, u64>::new("theirs")).unwrap();
    transaction.commit().unwrap();
    drop(theirs);
    let error = Embedded::open(&path).err().unwrap();
    assert!(matches!(&error, OpenError::Damaged { .. }), "{error}");
}
