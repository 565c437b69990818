//! The keys that values are sealed with, and the file that they live in.
//!
//! The file has a line for each key, the newest first: its name, and its 32 bytes in hexadecimal. New values are
//! sealed with the first; all of them open. A key's name follows from its bytes, so that a wrong one is noticed
//! before anything is opened with it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// The most keys that a file may hold: a rotation that was broken off leaves one more behind.
const MAX_KEYS: usize = 16;
/// Bytes of a key.
const KEY_LEN: usize = 32;
/// Bytes of a key's name.
pub(super) const NAME_LEN: usize = 4;

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file.
    #[error(
        "{} is missing, and values in the database are sealed with the key in it: put the file back from a backup \
         (nothing was changed)",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file is not what was written.
    #[error("{}, line {line}: no key: put the file back from a backup (nothing was changed)", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line at fault, from 1.
        line: usize,
    },
    /// The keys do not open what is stored.
    #[error(
        "{} does not hold the key that {key} is sealed with: put the right file back from a backup (nothing was \
         changed)",
        path.display()
    )]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The first value that does not open.
        key: String,
    },
    /// The disk refused.
    #[error("{} cannot be read or written: {reason}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The system has no randomness to give.
    #[error("the system gives no random bytes for a new key")]
    NoRandomness,
}

/// One key.
pub(super) struct Key {
    bytes: [u8; KEY_LEN],
    name: [u8; NAME_LEN],
    cipher: LessSafeKey,
}

impl Key {
    fn new(bytes: [u8; KEY_LEN]) -> Self {
        let mut name = [0; NAME_LEN];
        name.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..NAME_LEN]);
        let cipher =
            UnboundKey::new(&AES_256_GCM, &bytes).expect("the key has the length that the cipher wants");
        Self { bytes, name, cipher: LessSafeKey::new(cipher) }
    }

    pub(super) fn name(&self) -> [u8; NAME_LEN] {
        self.name
    }

    /// Seals in place; the answer is the nonce. `context` must be the same when the value is opened.
    pub(super) fn seal(&self, context: &str, value: &mut Vec<u8>) -> Result<[u8; NONCE_LEN], KeyError> {
        let nonce = random()?;
        let aad = Aad::from(context.as_bytes());
        self.cipher
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, value)
            .expect("a value is far shorter than what the cipher can take");
        Ok(nonce)
    }

    /// Opens in place; `None` when it was sealed with another key, in another context, or changed since.
    pub(super) fn open<'v>(
        &self,
        context: &str,
        nonce: [u8; NONCE_LEN],
        sealed: &'v mut [u8],
    ) -> Option<&'v mut [u8]> {
        let aad = Aad::from(context.as_bytes());
        self.cipher.open_in_place(Nonce::assume_unique_for_key(nonce), aad, sealed).ok()
    }
}

fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
    Ok(bytes)
}

/// The keys of one database, the newest first. There is always one.
pub struct Keys {
    path: PathBuf,
    keys: Vec<Key>,
}

impl Keys {
    /// The keys in the file at `path`; `None` when there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read or is no file of keys.
    pub fn load(path: &Path) -> Result<Option<Self>, KeyError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(path, &error)),
        };
        let malformed = |line| KeyError::Malformed { path: path.to_owned(), line };
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let key = parse_line(line).ok_or_else(|| malformed(at + 1))?;
            keys.push(key);
        }
        if keys.is_empty() || keys.len() > MAX_KEYS {
            return Err(malformed(keys.len().max(1)));
        }
        Ok(Some(Self { path: path.to_owned(), keys }))
    }

    /// A new key in a new file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let mut keys = Self { path: path.to_owned(), keys: Vec::new() };
        keys.add()?;
        Ok(keys)
    }

    /// Puts a new key before the others, on disk first: nothing is sealed with a key that could be lost.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing has changed.
    pub fn add(&mut self) -> Result<(), KeyError> {
        let key = Key::new(random()?);
        write(&self.path, std::iter::once(&key).chain(&self.keys))?;
        self.keys.insert(0, key);
        self.keys.truncate(MAX_KEYS);
        Ok(())
    }

    /// Forgets all keys but the newest, which everything must be sealed with by now.
    ///
    /// # Errors
    /// When the file cannot be written; then nothing has changed.
    pub fn forget_older(&mut self) -> Result<(), KeyError> {
        write(&self.path, self.keys.iter().take(1))?;
        self.keys.truncate(1);
        Ok(())
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn newest(&self) -> &Key {
        &self.keys[0]
    }

    pub(super) fn named(&self, name: [u8; NAME_LEN]) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

fn parse_line(line: &str) -> Option<Key> {
    let (name, bytes) = line.split_once(' ')?;
    let key = Key::new(from_hex(bytes)?);
    (from_hex(name)? == key.name).then_some(key)
}

/// Replaces the file as a whole: a crash leaves the old one or the new one.
fn write<'k>(path: &Path, keys: impl Iterator<Item = &'k Key>) -> Result<(), KeyError> {
    let lines: String = keys.map(|key| format!("{} {}\n", to_hex(&key.name), to_hex(&key.bytes))).collect();
    let next = path.with_extension("new");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&next, path)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| io_error(path, &error))
}

fn io_error(path: &Path, error: &io::Error) -> KeyError {
    KeyError::Io { path: path.to_owned(), reason: error.to_string() }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
