//! Which pod has which address, kept in an append-only file.
//!
//! A lease protects a network namespace that is alive, and namespaces outlive stead but not the machine. So
//! a lease must survive the death of the process, which a plain write does, and needs no fsync: a hundred
//! pods that start at once cost a hundred short writes. What a power cut tears off is of pods that are gone.
//! Addresses go round: the one handed out is always the next after the last, so that a released one rests
//! as long as the range allows, also over restarts.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::cidr::Ipv4Cidr;

const FILE: &str = "leases";
/// The file is rewritten when it holds this many more records than there are leases.
const STALE_RECORDS: usize = 4096;

/// The pod that an address belongs to. Only the uid counts; the names are for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodRef {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// An address in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Whose it is.
    #[serde(flatten)]
    pub pod: PodRef,
    /// The address.
    pub ip: Ipv4Addr,
}

/// Leases that cannot be read, written or given.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Every address is in use.
    #[error(
        "all {in_use} pod addresses of {cidr} are in use: delete pods, or start with a larger --pod-cidr"
    )]
    Exhausted {
        /// The range.
        cidr: Ipv4Cidr,
        /// Leases, or addresses that namespaces still hold.
        in_use: usize,
    },
    /// The address that a pod's namespace has is another pod's.
    #[error("address {ip} of pod {namespace}/{name} is leased to pod {owner}")]
    Taken {
        /// The address.
        ip: Ipv4Addr,
        /// The pod that has it in its namespace.
        namespace: String,
        /// The pod that has it in its namespace.
        name: String,
        /// The uid of the pod that has the lease.
        owner: String,
    },
    /// Another process has the folder open.
    #[error("address leases in {} are in use by another stead", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("cannot {doing} address leases in {}: {error}", path.display())]
    Io {
        /// `read`, `write`, …
        doing: &'static str,
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Record {
    Lease(Lease),
    Release { uid: String },
    Cursor { ip: Ipv4Addr },
}

pub(crate) struct Leases {
    cidr: Ipv4Cidr,
    path: PathBuf,
    /// Holds the lock on the folder.
    folder: File,
    file: File,
    records: usize,
    by_uid: BTreeMap<String, Lease>,
    in_use: HashSet<Ipv4Addr>,
    /// The address handed out last.
    cursor: Ipv4Addr,
}

impl Leases {
    /// Opens or makes the folder, locks it and reads what is there.
    pub(crate) fn open(path: &Path, cidr: Ipv4Cidr) -> Result<Leases, LeaseError> {
        let failed = |doing| move |error| LeaseError::Io { doing, path: path.to_owned(), error };
        std::fs::create_dir_all(path).map_err(failed("make a folder for"))?;
        let folder = File::open(path).map_err(failed("open"))?;
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LeaseError::Locked { path: path.to_owned() }),
            Err(errno) => return Err(failed("lock")(errno.into())),
        }
        let text = match std::fs::read(path.join(FILE)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed("read")(error)),
        };
        let file =
            OpenOptions::new().append(true).create(true).open(path.join(FILE)).map_err(failed("open"))?;
        let mut leases = Leases {
            cidr,
            path: path.to_owned(),
            folder,
            file,
            records: 0,
            by_uid: BTreeMap::new(),
            in_use: HashSet::new(),
            cursor: cidr.gateway(),
        };
        leases.replay(&text);
        leases.compact()?;
        Ok(leases)
    }

    fn replay(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.is_empty()) {
            match serde_json::from_str(line) {
                Ok(record) => self.apply(record),
                Err(error) => {
                    tracing::warn!(line, %error, "an address lease is unreadable and is left out");
                }
            }
        }
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Lease(lease) => {
                self.cursor = lease.ip;
                self.in_use.insert(lease.ip);
                if let Some(before) = self.by_uid.insert(lease.pod.uid.clone(), lease.clone())
                    && before.ip != lease.ip
                {
                    self.in_use.remove(&before.ip);
                }
            }
            Record::Release { uid } => {
                if let Some(lease) = self.by_uid.remove(&uid) {
                    self.in_use.remove(&lease.ip);
                }
            }
            Record::Cursor { ip } => self.cursor = ip,
        }
    }

    pub(crate) fn find(&self, uid: &str) -> Option<&Lease> {
        self.by_uid.get(uid)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.by_uid.values()
    }

    /// The pod's address, or the next free one. A lease from another range (an earlier `--pod-cidr`) is
    /// given up.
    pub(crate) fn allocate(&mut self, pod: &PodRef) -> Result<Ipv4Addr, LeaseError> {
        match self.find(&pod.uid) {
            Some(lease) if self.cidr.contains(lease.ip) => Ok(lease.ip),
            _ => self.allocate_next(pod),
        }
    }

    /// Another address for the pod than the one it may have: the next free one.
    pub(crate) fn allocate_next(&mut self, pod: &PodRef) -> Result<Ipv4Addr, LeaseError> {
        let ip = self
            .free_after(self.cursor)
            .ok_or(LeaseError::Exhausted { cidr: self.cidr, in_use: self.in_use.len() })?;
        self.write(Record::Lease(Lease { pod: pod.clone(), ip }))?;
        Ok(ip)
    }

    /// Writes down the address that a pod was found to have.
    pub(crate) fn adopt(&mut self, pod: &PodRef, ip: Ipv4Addr) -> Result<(), LeaseError> {
        match self.by_uid.values().find(|lease| lease.ip == ip) {
            Some(lease) if lease.pod.uid == pod.uid => Ok(()),
            Some(lease) => Err(LeaseError::Taken {
                ip,
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
                owner: lease.pod.uid.clone(),
            }),
            None => self.write(Record::Lease(Lease { pod: pod.clone(), ip })),
        }
    }

    pub(crate) fn release(&mut self, uid: &str) -> Result<(), LeaseError> {
        if self.by_uid.contains_key(uid) {
            self.write(Record::Release { uid: uid.to_owned() })?;
        }
        Ok(())
    }

    fn free_after(&self, cursor: Ipv4Addr) -> Option<Ipv4Addr> {
        let first = self.cidr.gateway().to_bits() + 1;
        let count = self.cidr.capacity();
        let start = match cursor.to_bits().checked_sub(first) {
            Some(offset) if offset < count => offset + 1,
            _ => 0,
        };
        (0..count)
            .map(|step| Ipv4Addr::from_bits(first + (start + step) % count))
            .find(|ip| !self.in_use.contains(ip))
    }

    fn write(&mut self, record: Record) -> Result<(), LeaseError> {
        self.append(&record).map_err(|error| self.failed("write", error))?;
        self.apply(record);
        if self.records > self.by_uid.len() + STALE_RECORDS {
            self.compact()?;
        }
        Ok(())
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        self.file.write_all(&line(record)?)?;
        self.records += 1;
        Ok(())
    }

    /// Rewrites the file with what holds now, durably.
    fn compact(&mut self) -> Result<(), LeaseError> {
        self.rewrite().map_err(|error| self.failed("rewrite", error))
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let fresh = self.path.join("leases.new");
        let mut text = Vec::new();
        let records = self.by_uid.values().cloned().map(Record::Lease);
        for record in records.chain([Record::Cursor { ip: self.cursor }]) {
            text.extend(line(&record)?);
        }
        std::fs::write(&fresh, &text)?;
        let file = OpenOptions::new().append(true).open(&fresh)?;
        file.sync_all()?;
        std::fs::rename(&fresh, self.path.join(FILE))?;
        self.folder.sync_all()?;
        self.file = file;
        self.records = self.by_uid.len() + 1;
        Ok(())
    }

    fn failed(&self, doing: &'static str, error: io::Error) -> LeaseError {
        LeaseError::Io { doing, path: self.path.clone(), error }
    }
}

impl Drop for Leases {
    /// Closing the file would not do while a child that was just forked shares it.
    fn drop(&mut self) {
        if let Err(error) = flock(&self.folder, FlockOperation::Unlock) {
            tracing::warn!(%error, "cannot unlock the address leases");
        }
    }
}

/// A record begins its own line, so that a torn one before it spoils only itself.
fn line(record: &Record) -> io::Result<Vec<u8>> {
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, record)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(uid: &str) -> PodRef {
        PodRef { uid: uid.into(), namespace: "default".into(), name: format!("db-{uid}") }
    }

    fn open(folder: &tempfile::TempDir, cidr: &str) -> Leases {
        Leases::open(folder.path(), cidr.parse().unwrap()).unwrap()
    }

    fn allocate(leases: &mut Leases, uid: &str) -> String {
        leases.allocate(&pod(uid)).unwrap().to_string()
    }

    #[test]
    fn a_pod_keeps_its_address() {
        let folder = tempfile::tempdir().unwrap();
        let mut leases = open(&folder, "10.42.0.0/24");
        assert_eq!(allocate(&mut leases, "a"), "10.42.0.2", "after the gateway");
        assert_eq!(allocate(&mut leases, "b"), "10.42.0.3");
        assert_eq!(allocate(&mut leases, "a"), "10.42.0.2");
        drop(leases);
        let mut leases = open(&folder, "10.42.0.0/24");
        assert_eq!(allocate(&mut leases, "b"), "10.42.0.3", "also after a restart");
    }

    #[test]
    fn a_released_address_is_reused_last() {
        let folder = tempfile::tempdir().unwrap();
        let mut leases = open(&folder, "10.42.0.0/29");
        for uid in ["a", "b", "c"] {
            allocate(&mut leases, uid);
        }
        leases.release("c").unwrap();
        leases.release("a").unwrap();
        drop(leases);
        let mut leases = open(&folder, "10.42.0.0/29");
        let order: Vec<String> = ["d", "e", "f", "g"].iter().map(|uid| allocate(&mut leases, uid)).collect();
        assert_eq!(order, ["10.42.0.5", "10.42.0.6", "10.42.0.2", "10.42.0.4"]);
    }

    #[test]
    fn a_full_range_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let mut leases = open(&folder, "10.42.0.0/30");
        allocate(&mut leases, "a");
        assert_eq!(
            leases.allocate(&pod("b")).unwrap_err().to_string(),
            "all 1 pod addresses of 10.42.0.0/30 are in use: delete pods, or start with a larger --pod-cidr"
        );
        leases.release("a").unwrap();
        assert_eq!(allocate(&mut leases, "b"), "10.42.0.2");
    }

    #[test]
    fn a_torn_file_loses_only_what_is_torn() {
        let folder = tempfile::tempdir().unwrap();
        let mut leases = open(&folder, "10.42.0.0/24");
        allocate(&mut leases, "a");
        allocate(&mut leases, "b");
        drop(leases);
        let path = folder.path().join(FILE);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        let mut leases = open(&folder, "10.42.0.0/24");
        assert_eq!(leases.find("a").unwrap().ip.to_string(), "10.42.0.2");
        assert_eq!(leases.find("b"), None);
        assert_eq!(allocate(&mut leases, "c"), "10.42.0.3");
        drop(leases);
        assert_eq!(allocate(&mut open(&folder, "10.42.0.0/24"), "c"), "10.42.0.3");
    }

    #[test]
    fn another_range_gives_new_addresses() {
        let folder = tempfile::tempdir().unwrap();
        allocate(&mut open(&folder, "10.42.0.0/24"), "a");
        let mut leases = open(&folder, "10.50.0.0/24");
        assert_eq!(allocate(&mut leases, "a"), "10.50.0.2");
        assert_eq!(leases.iter().count(), 1);
    }

    #[test]
    fn a_found_address_is_taken_up_unless_it_is_another_pods() {
        let folder = tempfile::tempdir().unwrap();
        let mut leases = open(&folder, "10.42.0.0/24");
        leases.adopt(&pod("a"), Ipv4Addr::new(10, 42, 0, 9)).unwrap();
        leases.adopt(&pod("a"), Ipv4Addr::new(10, 42, 0, 9)).unwrap();
        assert_eq!(
            leases.adopt(&pod("b"), Ipv4Addr::new(10, 42, 0, 9)).unwrap_err().to_string(),
            "address 10.42.0.9 of pod default/db-b is leased to pod a"
        );
        assert_eq!(allocate(&mut leases, "a"), "10.42.0.9");
    }

    #[test]
    fn the_file_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let mut leases = open(&folder, "10.42.0.0/24");
        for round in 0..STALE_RECORDS {
            allocate(&mut leases, &round.to_string());
            leases.release(&round.to_string()).unwrap();
        }
        let lines = std::fs::read_to_string(folder.path().join(FILE)).unwrap().lines().count();
        assert!(lines <= STALE_RECORDS + 2, "{lines} lines");
    }

    #[test]
    fn one_process_at_a_time_has_the_leases() {
        let folder = tempfile::tempdir().unwrap();
        let _first = open(&folder, "10.42.0.0/24");
        let second = Leases::open(folder.path(), "10.42.0.0/24".parse().unwrap());
        assert!(matches!(second, Err(LeaseError::Locked { .. })));
    }
}
