//! The trash: where deleted volumes rest, and from where they come back.
//!
//! An entry is the volume's folder under another name, `<volume>@<seconds>[.<count>]`. Whoever empties the
//! trash and whoever takes something out of it may be two processes: a lock on the folder keeps one from
//! removing what the other has just given back.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use crate::about::{self, VolumeSpec};
use crate::error::VolumeError;
use crate::files::{entries, make_dir, sync};
use crate::persistent::{Volumes, is_volume_name};
use crate::tree;

/// No volume has this name: names begin with a letter or digit. Within the folder, so that moving there is a
/// rename.
const TRASH: &str = ".trash";

/// A deleted volume that still has its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trashed {
    /// The name that it had.
    pub name: String,
    /// When it was deleted.
    pub since: SystemTime,
    /// Its folder.
    pub folder: PathBuf,
    /// What was written down about it, if it can be read.
    pub spec: Option<VolumeSpec>,
}

impl Volumes {
    /// Moves the volume into the trash, data and all, durably. Answers whether it was there.
    ///
    /// The data stays until [`Volumes::empty_trash`]; [`Volumes::undelete`] brings it back.
    ///
    /// # Errors
    ///
    /// When the name is not one, somebody still uses what is mounted of it, or the file system refuses.
    pub fn delete(&self, name: &str, now: SystemTime) -> Result<bool, VolumeError> {
        let folder = self.folder(name)?;
        self.close_image(name, &folder)?;
        let trash = self.trash_dir();
        make_dir(&trash, 0o700)?;
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut target = trash.join(format!("{name}@{seconds}"));
        for again in 1.. {
            match move_to(&folder, &target) {
                Ok(()) => break,
                Err(Errno::NOENT) => return Ok(false),
                Err(Errno::EXIST) => target = trash.join(format!("{name}@{seconds}.{again}")),
                Err(errno) => return Err(VolumeError::io("move to the trash", &folder)(errno)),
            }
        }
        sync(&trash)?;
        sync(&self.dir)?;
        Ok(true)
    }

    /// What is in the trash: by name, of one name the oldest first.
    ///
    /// # Errors
    ///
    /// When the trash cannot be read.
    pub fn trash(&self) -> Result<Vec<Trashed>, VolumeError> {
        let trash = self.trash_dir();
        if !trash.exists() {
            return Ok(Vec::new());
        }
        let mut all: Vec<Trashed> = entries(&trash)?
            .into_iter()
            .filter_map(|entry| {
                let (name, since) = parse(&entry)?;
                let folder = trash.join(&entry);
                Some(Trashed { name: name.to_owned(), since, spec: about::read(&folder), folder })
            })
            .collect();
        all.sort_by(|a, b| (&a.name, a.since, &a.folder).cmp(&(&b.name, b.since, &b.folder)));
        Ok(all)
    }

    /// Takes the volume out of the trash, durably: of several that had the name the one that was deleted
    /// last. Its folder is then where it was; nobody but [`Volumes::list`] knows of it yet.
    ///
    /// # Errors
    ///
    /// When none of that name is in the trash, another volume has the name now, or the file system refuses.
    pub fn undelete(&self, name: &str) -> Result<(), VolumeError> {
        let folder = self.folder(name)?;
        let _lock = self.lock_trash()?;
        let last = self.trash()?.into_iter().rfind(|trashed| trashed.name == name);
        let Some(trashed) = last else {
            return Err(VolumeError::NotInTrash { name: name.to_owned() });
        };
        match move_to(&trashed.folder, &folder) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(VolumeError::NameTaken { name: name.to_owned() }),
            Err(errno) => return Err(VolumeError::io("take out of the trash", &trashed.folder)(errno)),
        }
        sync(&self.dir)?;
        sync(&self.trash_dir())
    }

    /// Removes for good what has been in the trash for `keep` or longer, and lists it. What cannot be removed
    /// stays, with a word in the log.
    ///
    /// # Errors
    ///
    /// When the trash cannot be read.
    pub fn empty_trash(&self, now: SystemTime, keep: Duration) -> Result<Vec<String>, VolumeError> {
        let trash = self.trash_dir();
        let Some(folder) = self.lock_trash()? else { return Ok(Vec::new()) };
        let mut removed = Vec::new();
        for name in entries(&trash)? {
            let Some((_, since)) = parse(&name) else { continue };
            if now.duration_since(since).is_ok_and(|age| age >= keep) {
                match tree::remove(folder.as_fd(), name.as_ref(), &trash.join(&name)) {
                    Ok(()) => removed.push(name),
                    Err(error) => tracing::warn!(%error, "a deleted volume stays in the trash"),
                }
            }
        }
        removed.sort();
        Ok(removed)
    }

    fn trash_dir(&self) -> PathBuf {
        self.dir.join(TRASH)
    }

    /// The trash, if there is one, for nobody else to change until it is closed.
    fn lock_trash(&self) -> Result<Option<File>, VolumeError> {
        let trash = self.trash_dir();
        let folder = match File::open(&trash) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(VolumeError::io("open", &trash)(error)),
        };
        flock(&folder, FlockOperation::LockExclusive).map_err(VolumeError::io("lock", &trash))?;
        Ok(Some(folder))
    }
}

/// Renames, and never over something.
fn move_to(from: &Path, to: &Path) -> Result<(), Errno> {
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
}

/// The volume's name, and when the entry came into the trash.
fn parse(entry: &str) -> Option<(&str, SystemTime)> {
    let (name, stamp) = entry.rsplit_once('@')?;
    let seconds = stamp.split('.').next()?.parse().ok()?;
    let since = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    is_volume_name(name).then_some((name, since))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::persistent::tests::{open, spec};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_deleted_volume_rests_in_the_trash_for_a_day() {
        let (dir, volumes) = open();
        let data = volumes.provision(&spec("pvc-1")).unwrap();
        fs::write(data.join("row"), "1").unwrap();
        assert!(volumes.delete("pvc-1", at(1000)).unwrap());
        assert!(!volumes.delete("pvc-1", at(1000)).unwrap(), "only once");
        assert_eq!(volumes.list().unwrap(), []);
        let resting = dir.path().join("volumes/.trash/pvc-1@1000/data/row");
        assert_eq!(volumes.empty_trash(at(1000) + DAY - Duration::from_secs(1), DAY).unwrap(), [""; 0]);
        assert_eq!(fs::read_to_string(&resting).unwrap(), "1");
        assert_eq!(volumes.empty_trash(at(1000) + DAY, DAY).unwrap(), ["pvc-1@1000"]);
        assert!(!resting.exists());
    }

    #[test]
    fn two_volumes_of_one_name_rest_side_by_side() {
        let (_dir, volumes) = open();
        for _ in 0..3 {
            volumes.provision(&spec("pvc-1")).unwrap();
            assert!(volumes.delete("pvc-1", at(5)).unwrap());
        }
        assert_eq!(
            volumes.empty_trash(at(5), Duration::ZERO).unwrap(),
            ["pvc-1@5", "pvc-1@5.1", "pvc-1@5.2"]
        );
    }

    #[test]
    fn what_nobody_trashed_is_not_removed_from_the_trash() {
        let (dir, volumes) = open();
        volumes.provision(&spec("pvc-1")).unwrap();
        volumes.delete("pvc-1", at(5)).unwrap();
        let mine = dir.path().join("volumes/.trash/kept-by-hand");
        fs::create_dir(&mine).unwrap();
        volumes.empty_trash(at(u32::MAX.into()), Duration::ZERO).unwrap();
        assert!(mine.exists());
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_neither_deleted_nor_brought_back() {
        let (_dir, volumes) = open();
        for name in ["", "..", "../etc", "/etc", ".trash", "pvc-1@5"] {
            assert!(matches!(volumes.delete(name, at(0)), Err(VolumeError::Name { .. })), "{name:?}");
            assert!(matches!(volumes.undelete(name), Err(VolumeError::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn the_last_of_a_name_comes_back_with_its_data() {
        let (_dir, volumes) = open();
        for row in ["first", "second"] {
            let data = volumes.provision(&spec("pvc-1")).unwrap();
            fs::write(data.join("row"), row).unwrap();
            volumes.delete("pvc-1", at(5)).unwrap();
        }
        let resting = volumes.trash().unwrap();
        assert_eq!(resting.len(), 2);
        assert_eq!((resting[0].since, resting[0].spec.clone()), (at(5), Some(spec("pvc-1"))));
        volumes.undelete("pvc-1").unwrap();
        assert_eq!(fs::read_to_string(volumes.path("pvc-1").unwrap().join("row")).unwrap(), "second");
        let refusal = volumes.undelete("pvc-1").unwrap_err().to_string();
        assert!(refusal.starts_with("there is a volume pvc-1 already"), "{refusal}");
        assert_eq!(volumes.trash().unwrap().len(), 1, "the other one rests on");
    }

    #[test]
    fn what_is_not_in_the_trash_cannot_come_back() {
        let (_dir, volumes) = open();
        let refusal = volumes.undelete("pvc-1").unwrap_err().to_string();
        assert!(refusal.starts_with("there is no volume pvc-1 in the trash"), "{refusal}");
    }

    #[test]
    fn nobody_empties_the_trash_while_something_is_taken_out() {
        let (_dir, volumes) = open();
        volumes.provision(&spec("pvc-1")).unwrap();
        volumes.delete("pvc-1", at(5)).unwrap();
        let held = volumes.lock_trash().unwrap();
        let (told, done) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let removed = volumes.empty_trash(at(6), Duration::ZERO).unwrap();
                told.send(removed).unwrap();
            });
            // As `undelete` does, with the lock held.
            let resting = volumes.trash().unwrap().remove(0);
            move_to(&resting.folder, &volumes.folder("pvc-1").unwrap()).unwrap();
            assert!(done.try_recv().is_err(), "it waits for the lock");
            drop(held);
            assert_eq!(done.recv().unwrap(), [""; 0], "what was given back is not removed");
        });
        assert!(volumes.path("pvc-1").is_ok());
    }
}
