//! A store whose values under some prefixes lie sealed in the store below: AES-256-GCM, bound to their keys, with
//! the keys of the cipher in a file of their own ([`Keys`]).
//!
//! What was written before there were keys is read as it is, and sealed when it is written again.

mod keys;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use ring::aead::NONCE_LEN;

use keys::NAME_LEN;
pub use keys::{KeyError, Keys};

use crate::{Durability, Error, Event, Expect, Page, Revision, Store, Versioned, Watch, Write};

/// What a sealed value begins with; no JSON does. Then come the key's name, the nonce, and what was sealed.
const MAGIC: &[u8] = b"\0sealed1";

/// See the module.
pub struct Sealed {
    below: Arc<dyn Store>,
    sealer: Arc<Sealer>,
}

struct Sealer {
    keys: Keys,
    prefixes: Vec<String>,
}

impl Sealed {
    /// Seals what lies under `prefixes` in `below`, with the keys in the file at `path`, which is made when nothing
    /// is sealed yet. Everything that is sealed is opened once, to see that it can be.
    ///
    /// # Errors
    /// When a key is missing or wrong. Nothing has changed then.
    pub async fn open(
        below: Arc<dyn Store>,
        prefixes: Vec<String>,
        path: &std::path::Path,
    ) -> Result<Self, OpenSealedError> {
        let keys = match Keys::load(path)? {
            Some(keys) => keys,
            None => {
                if !sealed_values(&*below, &prefixes).await?.is_empty() {
                    return Err(KeyError::Missing { path: path.to_owned() }.into());
                }
                Keys::create(path)?
            }
        };
        let store = Self { below, sealer: Arc::new(Sealer { keys, prefixes }) };
        for value in sealed_values(&*store.below, &store.sealer.prefixes).await? {
            let key = value.key.to_string();
            let wrong = |_| KeyError::Wrong { path: path.to_owned(), key };
            store.sealer.open(value).map_err(wrong)?;
        }
        Ok(store)
    }

    /// Seals everything with a new key, and forgets the older ones. When it breaks off at any point, everything
    /// still opens, and the next rotation finishes what it began. Nobody else may write meanwhile. The answer is
    /// how many values there were.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn rotate(
        below: Arc<dyn Store>,
        prefixes: Vec<String>,
        path: &std::path::Path,
    ) -> Result<usize, OpenSealedError> {
        let Self { below, sealer } = Self::open(below, prefixes, path).await?;
        let Ok(Sealer { mut keys, prefixes }) = Arc::try_unwrap(sealer).map_err(drop) else {
            return Err(Error::Backend("the store is in use".into()).into());
        };
        keys.add()?;
        let sealer = Sealer { keys, prefixes };
        let mut count = 0;
        for prefix in &sealer.prefixes {
            for value in below.list(prefix, None, 0, None).await?.items {
                let value = sealer.open(value)?;
                let (key, expect) = (value.key, Expect::Revision(value.revision));
                let sealed = Some(sealer.seal(&key, &value.value)?);
                below.write(Write { key, value: sealed, expect, durability: Durability::Late }).await?;
                count += 1;
            }
        }
        // Not before this is an old key nobody's.
        below.flush().await?;
        let Sealer { mut keys, .. } = sealer;
        keys.forget_older()?;
        Ok(count)
    }
}

/// Why a sealed store cannot be opened, or its key not be changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenSealedError {
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The store below.
    #[error(transparent)]
    Store(#[from] Error),
}

async fn sealed_values(below: &dyn Store, prefixes: &[String]) -> Result<Vec<Versioned>, Error> {
    let mut found = Vec::new();
    for prefix in prefixes {
        let page = below.list(prefix, None, 0, None).await?;
        found.extend(page.items.into_iter().filter(|value| value.value.starts_with(MAGIC)));
    }
    Ok(found)
}

impl Sealer {
    fn covers(&self, key: &str) -> bool {
        self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()))
    }

    fn seal(&self, key: &str, value: &[u8]) -> Result<Bytes, Error> {
        let cipher = self.keys.newest();
        let mut sealed = value.to_vec();
        let nonce = cipher.seal(key, &mut sealed).map_err(|error| Error::Backend(error.to_string()))?;
        Ok([MAGIC, &cipher.name(), &nonce, &sealed].concat().into())
    }

    fn open(&self, value: Versioned) -> Result<Versioned, Error> {
        let Some(rest) = value.value.strip_prefix(MAGIC) else { return Ok(value) };
        let opened = self.open_bytes(&value.key, rest).ok_or_else(|| {
            Error::Backend(format!(
                "{} does not open with the keys in {}",
                value.key,
                self.keys.path().display()
            ))
        })?;
        Ok(Versioned { value: opened, ..value })
    }

    fn open_bytes(&self, key: &str, rest: &[u8]) -> Option<Bytes> {
        let (name, rest) = rest.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let length = self.keys.named(*name)?.open(key, *nonce, &mut sealed)?.len();
        sealed.truncate(length);
        Some(sealed.into())
    }

    fn open_event(&self, event: Arc<Event>) -> Result<Arc<Event>, Error> {
        if !self.covers(event.key()) {
            return Ok(event);
        }
        let open = |side: &Option<Versioned>| side.clone().map(|value| self.open(value)).transpose();
        let (previous, current) = (open(&event.previous)?, open(&event.current)?);
        Ok(Arc::new(Event { previous, current, revision: event.revision }))
    }

    /// A refusal tells what stands in the way.
    fn open_error(&self, error: Error) -> Error {
        let open = |value: Versioned| self.open(value);
        match error {
            Error::Exists { key, current } => match open(current) {
                Ok(current) => Error::Exists { key, current },
                Err(error) => error,
            },
            Error::Conflict { key, current } => match current.map(open).transpose() {
                Ok(current) => Error::Conflict { key, current },
                Err(error) => error,
            },
            other => other,
        }
    }
}

impl Store for Sealed {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<(Option<Versioned>, Revision), Error>> {
        let found = self.below.get(key);
        if !self.sealer.covers(key) {
            return found;
        }
        async move {
            let (value, revision) = found.await?;
            Ok((value.map(|value| self.sealer.open(value)).transpose()?, revision))
        }
        .boxed()
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        revision: Option<Revision>,
    ) -> BoxFuture<'_, Result<Page, Error>> {
        let page = self.below.list(prefix, after, limit, revision);
        async move {
            let page = page.await?;
            let items =
                page.items.into_iter().map(|value| self.sealer.open(value)).collect::<Result<_, _>>()?;
            Ok(Page { items, ..page })
        }
        .boxed()
    }

    fn write(&self, write: Write) -> BoxFuture<'_, Result<Revision, Error>> {
        if !self.sealer.covers(&write.key) {
            return self.below.write(write);
        }
        async move {
            let value = write.value.as_ref().map(|value| self.sealer.seal(&write.key, value)).transpose()?;
            let written = self.below.write(Write { value, ..write }).await;
            written.map_err(|error| self.sealer.open_error(error))
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        let changes = self.below.watch(prefix, after)?;
        let sealer = self.sealer.clone();
        let open = move |item: Result<_, Error>| item.and_then(|event| sealer.open_event(event));
        Ok(changes.map(open).boxed())
    }

    fn revision(&self) -> Revision {
        self.below.revision()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        self.below.flush()
    }
}
