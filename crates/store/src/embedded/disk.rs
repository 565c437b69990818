//! The file: its tables, its format, and what its counter promises.
//!
//! `objects` maps a key to its value behind eight bytes of revision (little endian). `meta` has three numbers:
//! `format`; `reserved`, a revision that no reader was ever shown one above of; and `closed`, which is only
//! there while the file is closed cleanly and then is the newest revision.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::backends::FileBackend;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableHandle, WriteTransaction,
};

use crate::mvcc::FIRST_REVISION;
use crate::{Revision, Versioned};

const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The format that this code writes.
const FORMAT: u64 = 1;

/// How many revisions are reserved at a time. After a crash at most so many numbers are skipped.
const RESERVE: Revision = 100_000;

/// redb's cache. Small, since all values are in memory anyway.
const CACHE_BYTES: usize = 2 << 20;

/// Why a store's file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{} is in use: stop the stead that runs with it, or choose another --data-dir", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a newer version.
    #[error(
        "{} has format {found} and this stead knows formats up to {known}: run the stead that wrote it, or a \
         newer one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format known here.
        known: u64,
    },
    /// It is not what was written, or never was a store.
    #[error(
        "{} is damaged or not a state file of stead ({reason}): put a backup in its place, or move it away to \
         start empty",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The disk refused.
    #[error("{} cannot be opened: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The writer's thread was refused.
    #[error("the store's writer cannot be started: {0}")]
    Thread(io::Error),
}

type Open = dyn Fn(&Builder) -> Result<Database, DatabaseError> + Send;

/// How to come by the database, again and again: after a failed write redb wants to be reopened.
pub(super) struct Opener {
    pub(super) path: PathBuf,
    pub(super) open: Box<Open>,
}

/// Opens the file at `path` once and for all: reopening does not look at the path again.
pub(super) fn file(path: &Path) -> Result<Opener, OpenError> {
    let open = || {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if file.metadata()?.len() == 0
            && let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty())
        {
            // A new file's name is the folder's: without this, all of it may be gone after a power cut.
            File::open(folder)?.sync_all()?;
        }
        Ok(file)
    };
    let file: File =
        open().map_err(|error: io::Error| OpenError::Io { path: path.into(), reason: error.to_string() })?;
    let open = move |builder: &Builder| builder.create_with_backend(FileBackend::new(file.try_clone()?)?);
    Ok(Opener { path: path.into(), open: Box::new(open) })
}

impl Opener {
    fn database(&self, builder: &Builder) -> Result<Database, OpenError> {
        let path = self.path.clone();
        (self.open)(builder).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
                OpenError::InUse { path }
            }
            DatabaseError::Storage(StorageError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
                OpenError::Io { path, reason: error.to_string() }
            }
            error => OpenError::Damaged { path, reason: error.to_string() },
        })
    }

    fn damaged(&self, reason: &impl ToString) -> OpenError {
        OpenError::Damaged { path: self.path.clone(), reason: reason.to_string() }
    }

    fn io(&self, error: impl Into<redb::Error>) -> OpenError {
        OpenError::Io { path: self.path.clone(), reason: error.into().to_string() }
    }
}

/// The database, or the way back to it after a failure.
pub(super) struct Disk {
    opener: Opener,
    database: Option<Database>,
    reserved: Revision,
}

impl Disk {
    /// Opens the database, and answers its values and the newest revision. Numbers that may have been shown
    /// before a crash are skipped.
    pub(super) fn open(opener: Opener) -> Result<(Self, Vec<Versioned>, Revision), OpenError> {
        let mut builder = builder();
        // Checksums of everything: all of it is read below anyway, and a damaged file is to be named, not to
        // be stumbled over later.
        builder.set_check_integrity_on_open(true);
        let database = opener.database(&builder)?;
        let found = read_meta(&opener, &database)?;
        let revision = match found {
            None => FIRST_REVISION,
            Some(Meta { closed: Some(closed), .. }) => closed,
            Some(Meta { reserved, .. }) => reserved + 1,
        };
        let values = if found.is_some() { read_objects(&opener, &database)? } else { Vec::new() };
        if let Some(newest) = values.iter().map(|value| value.revision).max()
            && newest > revision
        {
            return Err(opener.damaged(&format!("it holds revision {newest}, and ends at {revision}")));
        }
        let reserved = revision + RESERVE;
        begin_session(&database, reserved).map_err(|error| opener.io(error))?;
        Ok((Self { opener, database: Some(database), reserved }, values, revision))
    }

    /// The newest revision that may be shown before another commit.
    pub(super) fn reserved(&self) -> Revision {
        self.reserved
    }

    /// Puts `changes` (`None` removes a key) on disk, all or none of them, where `revision` is the newest.
    /// After an error they may be there or not, and the next commit tries a fresh start.
    pub(super) fn commit(
        &mut self,
        changes: impl Iterator<Item = (Arc<str>, Option<Versioned>)>,
        revision: Revision,
    ) -> Result<(), String> {
        let reserved =
            if revision + RESERVE / 2 > self.reserved { revision + RESERVE } else { self.reserved };
        let database = match self.database.take() {
            Some(database) => database,
            None => self.opener.database(&builder()).map_err(|error| error.to_string())?,
        };
        let write = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            write_changes(&transaction, changes)?;
            if reserved != self.reserved {
                transaction.open_table(META)?.insert("reserved", reserved)?;
            }
            Ok(transaction.commit()?)
        };
        write().map_err(|error| error.to_string())?;
        self.reserved = reserved;
        self.database = Some(database);
        Ok(())
    }

    /// Records that the newest revision is known, and closes the file.
    pub(super) fn close(mut self, revision: Revision) -> Result<(), String> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.opener.database(&builder()).map_err(|error| error.to_string())?,
        };
        let write = || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            transaction.open_table(META)?.insert("closed", revision)?;
            Ok(transaction.commit()?)
        };
        write().map_err(|error| error.to_string())?;
        database.close().map_err(|error| error.to_string())
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

struct Meta {
    reserved: Revision,
    closed: Option<Revision>,
}

/// What the file says of itself; `None` when it is new.
fn read_meta(opener: &Opener, database: &Database) -> Result<Option<Meta>, OpenError> {
    let read = || -> Result<_, redb::Error> {
        let transaction = database.begin_read()?;
        let names: Vec<String> = transaction.list_tables()?.map(|table| table.name().to_owned()).collect();
        if !names.iter().any(|name| name == META.name()) {
            return Ok((names, [None; 3]));
        }
        let meta = transaction.open_table(META)?;
        let number = |name| Ok::<_, redb::Error>(meta.get(name)?.map(|value| value.value()));
        Ok((names, [number("format")?, number("reserved")?, number("closed")?]))
    };
    let (names, [format, reserved, closed]) = read().map_err(|error| opener.damaged(&error))?;
    match (format, reserved) {
        (None, None) if names.is_empty() => Ok(None),
        (Some(found), _) if found > FORMAT => {
            Err(OpenError::Newer { path: opener.path.clone(), found, known: FORMAT })
        }
        (Some(_), Some(reserved)) => Ok(Some(Meta { reserved, closed })),
        _ => Err(opener.damaged(&"its tables are another program's")),
    }
}

fn read_objects(opener: &Opener, database: &Database) -> Result<Vec<Versioned>, OpenError> {
    let read = || -> Result<_, redb::Error> {
        let objects = database.begin_read()?.open_table(OBJECTS)?;
        let mut values = Vec::new();
        for entry in objects.iter()? {
            let (key, value) = entry?;
            values.push(decode(key.value(), value.value()));
        }
        Ok(values)
    };
    let values = read().map_err(|error| opener.damaged(&error))?;
    values.into_iter().collect::<Option<_>>().ok_or_else(|| opener.damaged(&"a value has no revision"))
}

/// Marks the file as not closed, and reserves the session's first revisions.
fn begin_session(database: &Database, reserved: Revision) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert("format", FORMAT)?;
        meta.insert("reserved", reserved)?;
        meta.remove("closed")?;
        transaction.open_table(OBJECTS)?;
    }
    Ok(transaction.commit()?)
}

fn write_changes(
    transaction: &WriteTransaction,
    changes: impl Iterator<Item = (Arc<str>, Option<Versioned>)>,
) -> Result<(), redb::Error> {
    let mut objects = transaction.open_table(OBJECTS)?;
    for (key, value) in changes {
        match value {
            Some(value) => drop(objects.insert(&*key, encode(&value).as_slice())?),
            None => drop(objects.remove(&*key)?),
        }
    }
    Ok(())
}

fn encode(value: &Versioned) -> Vec<u8> {
    [&value.revision.to_le_bytes(), &value.value[..]].concat()
}

fn decode(key: &str, stored: &[u8]) -> Option<Versioned> {
    let (revision, value) = stored.split_first_chunk()?;
    let value = Bytes::copy_from_slice(value);
    Some(Versioned { key: key.into(), value, revision: Revision::from_le_bytes(*revision) })
}
