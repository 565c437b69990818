use std::path::PathBuf;

use futures::StreamExt;

use super::*;
use crate::{Embedded, Memory};

const VALUE: &str = r#"{"data":{"password":"a-very-secret-word"}}"#;
const WORD: &[u8] = b"a-very-secret-word";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("state.redb")
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("encryption-keys")
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.keys()).expect("keys");
        text.lines().map(str::to_owned).collect()
    }

    fn below(&self) -> Arc<Embedded> {
        Embedded::open(self.database()).expect("a database")
    }

    async fn open(&self, below: &Arc<Embedded>) -> Result<Sealed, OpenSealedError> {
        Sealed::open(below.clone(), prefixes(), &self.keys()).await
    }

    fn has_word(&self) -> bool {
        let bytes = std::fs::read(self.database()).expect("a database");
        bytes.windows(WORD.len()).any(|window| window == WORD)
    }
}

fn prefixes() -> Vec<String> {
    vec!["/core/secrets/".to_owned()]
}

fn write(key: &str) -> Write {
    Write { key: key.into(), value: Some(VALUE.into()), expect: Expect::Absent, durability: Durability::Sync }
}

async fn value_of(store: &dyn Store, key: &str) -> Option<Bytes> {
    store.get(key).await.expect("read").0.map(|value| value.value)
}

#[tokio::test]
async fn the_file_holds_no_word_of_a_secret_and_readers_see_all_of_it() {
    let place = Place::new();
    let below = place.below();
    let store = place.open(&below).await.expect("opened");
    let mut watch = store.watch("/", store.revision()).expect("watched");
    let revision = store.write(write("/core/secrets/default/db")).await.expect("written");
    assert_eq!(value_of(&store, "/core/secrets/default/db").await, Some(VALUE.into()));
    let listed = store.list("/", None, 0, None).await.expect("listed").items;
    assert_eq!(listed[0].value, VALUE);
    let Some(Ok(event)) = watch.next().await else { panic!("a change was made") };
    assert_eq!(event.current.as_ref().expect("a value").value, VALUE);
    let again = store.write(write("/core/secrets/default/db")).await.expect_err("it is there");
    assert!(matches!(again, Error::Exists { current, .. } if current.value == VALUE));
    let expect = Expect::Revision(revision);
    let gone = Write { value: None, expect, ..write("/core/secrets/default/db") };
    store.write(Write { expect, ..write("/core/secrets/default/db") }).await.expect("written");
    let stale = store.write(gone).await.expect_err("it was written since");
    assert!(matches!(stale, Error::Conflict { current: Some(current), .. } if current.value == VALUE));
    below.close().await.expect("closed");
    assert!(!place.has_word());
    store.write(write("/core/configmaps/default/open")).await.expect_err("closed");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(place.keys()).expect("keys").permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn what_lies_elsewhere_lies_open() {
    let place = Place::new();
    let below = place.below();
    let store = place.open(&below).await.expect("opened");
    store.write(write("/core/configmaps/default/open")).await.expect("written");
    assert_eq!(value_of(&*below, "/core/configmaps/default/open").await, Some(VALUE.into()));
}

#[tokio::test]
async fn what_was_written_before_there_were_keys_is_read_and_sealed_when_written_again() {
    let place = Place::new();
    let below = place.below();
    let old = below.write(write("/core/secrets/default/old")).await.expect("written");
    let store = place.open(&below).await.expect("opened");
    assert_eq!(value_of(&store, "/core/secrets/default/old").await, Some(VALUE.into()));
    store
        .write(Write { expect: Expect::Revision(old), ..write("/core/secrets/default/old") })
        .await
        .expect("written");
    let sealed = value_of(&*below, "/core/secrets/default/old").await.expect("a value");
    assert!(sealed.starts_with(MAGIC));
}

#[tokio::test]
async fn a_value_opens_only_at_its_own_key_and_unchanged() {
    let place = Place::new();
    let below = place.below();
    let store = place.open(&below).await.expect("opened");
    store.write(write("/core/secrets/default/a")).await.expect("written");
    let sealed = value_of(&*below, "/core/secrets/default/a").await.expect("a value");
    let moved = Write { value: Some(sealed.clone()), ..write("/core/secrets/default/b") };
    below.write(moved).await.expect("written");
    let mut changed = sealed.to_vec();
    *changed.last_mut().expect("a byte") ^= 1;
    below
        .write(Write { value: Some(changed.into()), ..write("/core/secrets/default/c") })
        .await
        .expect("written");
    for key in ["/core/secrets/default/b", "/core/secrets/default/c"] {
        let error = store.get(key).await.expect_err("sealed for another key, or changed").to_string();
        assert!(error.contains(&format!("{key} does not open with the keys in ")), "{error}");
    }
}

#[tokio::test]
async fn a_missing_or_wrong_key_is_told_and_nothing_is_lost() {
    let place = Place::new();
    let below = place.below();
    let store = place.open(&below).await.expect("opened");
    store.write(write("/core/secrets/default/db")).await.expect("written");
    let (kept, other) = (place.folder.path().join("kept"), place.folder.path().join("other"));
    Keys::create(&other).expect("another key");
    std::fs::rename(place.keys(), &kept).expect("moved");
    let told = place.open(&below).await.err().expect("no key").to_string();
    assert!(told.ends_with("encryption-keys is missing, and values in the database are sealed with the key in it: put the file back from a backup (nothing was changed)"), "{told}");
    assert!(!place.keys().exists());
    std::fs::copy(&other, place.keys()).expect("copied");
    let told = place.open(&below).await.err().expect("a wrong key").to_string();
    assert!(told.contains("does not hold the key that /core/secrets/default/db is sealed with"), "{told}");
    std::fs::write(place.keys(), "00 11\n").expect("written");
    let told = place.open(&below).await.err().expect("no key").to_string();
    assert!(told.contains("line 1: no key"), "{told}");
    std::fs::rename(&kept, place.keys()).expect("moved back");
    let store = place.open(&below).await.expect("opened");
    assert_eq!(value_of(&store, "/core/secrets/default/db").await, Some(VALUE.into()));
}

#[tokio::test]
async fn a_rotation_leaves_one_new_key_and_every_value_sealed_with_it() {
    let place = Place::new();
    let below = place.below();
    // From before there were keys.
    below.write(write("/core/secrets/default/old")).await.expect("written");
    let store = place.open(&below).await.expect("opened");
    store.write(write("/core/secrets/default/new")).await.expect("written");
    drop(store);
    let before = place.lines();
    assert_eq!(Sealed::rotate(below.clone(), prefixes(), &place.keys()).await.expect("rotated"), 2);
    let after = place.lines();
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
    let store = place.open(&below).await.expect("opened");
    for name in ["old", "new"] {
        let key = format!("/core/secrets/default/{name}");
        assert_eq!(value_of(&store, &key).await, Some(VALUE.into()));
        assert!(value_of(&*below, &key).await.expect("a value").starts_with(MAGIC));
    }
}

/// A store that takes some writes and then fails, as a process that is killed.
struct Breaking {
    below: Arc<Memory>,
    writes_left: std::sync::atomic::AtomicI32,
    may_flush: bool,
}

impl Store for Breaking {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<(Option<Versioned>, Revision), Error>> {
        self.below.get(key)
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        revision: Option<Revision>,
    ) -> BoxFuture<'_, Result<Page, Error>> {
        self.below.list(prefix, after, limit, revision)
    }

    fn write(&self, write: Write) -> BoxFuture<'_, Result<Revision, Error>> {
        if self.writes_left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) <= 0 {
            return async { Err(Error::Backend("broken off".into())) }.boxed();
        }
        self.below.write(write)
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.below.watch(prefix, after)
    }

    fn revision(&self) -> Revision {
        self.below.revision()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        let outcome = if self.may_flush { Ok(()) } else { Err(Error::Backend("broken off".into())) };
        std::future::ready(outcome).boxed()
    }
}

#[tokio::test]
async fn a_rotation_that_breaks_off_anywhere_loses_nothing_and_can_be_repeated() {
    let place = Place::new();
    let below = Arc::new(Memory::new());
    let store = Sealed::open(below.clone(), prefixes(), &place.keys()).await.expect("opened");
    let names: Vec<String> = (0..3).map(|n| format!("/core/secrets/default/s{n}")).collect();
    for name in &names {
        store.write(write(name)).await.expect("written");
    }
    drop(store);
    for (writes, may_flush) in [(0, true), (1, true), (2, true), (3, false)] {
        let writes_left = std::sync::atomic::AtomicI32::new(writes);
        let breaking = Arc::new(Breaking { below: below.clone(), writes_left, may_flush });
        let broken = Sealed::rotate(breaking, prefixes(), &place.keys()).await;
        assert!(broken.is_err(), "after {writes} writes");
        assert!(place.lines().len() > 1, "no key may go before all is sealed with the newest");
        let store = Sealed::open(below.clone(), prefixes(), &place.keys()).await.expect("opened");
        for name in &names {
            assert_eq!(value_of(&store, name).await, Some(VALUE.into()));
        }
    }
    assert_eq!(Sealed::rotate(below.clone(), prefixes(), &place.keys()).await.expect("rotated"), 3);
    assert_eq!(place.lines().len(), 1);
    let store = Sealed::open(below, prefixes(), &place.keys()).await.expect("opened");
    assert_eq!(value_of(&store, &names[0]).await, Some(VALUE.into()));
}
