//! Persistent volumes: `<dir>/<name>/data`, with `volume.json` beside it that says whose it is.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::VolumeError;
use crate::tree;

const DATA: &str = "data";
const ABOUT: &str = "volume.json";
/// No volume has this name: names begin with a letter or digit. Within the folder, so that moving there is a
/// rename.
const TRASH: &str = ".trash";
/// The longest name that Kubernetes gives an object.
const NAME_MAX: usize = 253;

/// A volume to be, and what is written down about it for those who find it without its objects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeSpec {
    /// The PersistentVolume's name: `pvc-<uid of the claim>`.
    pub name: String,
    /// `spec.capacity.storage`, in bytes. What is used is not limited to it.
    pub capacity_bytes: u64,
    /// The claim's namespace.
    pub namespace: String,
    /// The claim's name.
    pub claim: String,
}

/// A volume that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The name of its folder.
    pub name: String,
    /// Where its data is.
    pub path: PathBuf,
    /// What was written down about it, if it can be read.
    pub spec: Option<VolumeSpec>,
}

/// Room on the file system that volumes are on, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// In all.
    pub total: u64,
    /// That may still be used.
    pub available: u64,
}

/// The folder of all persistent volumes.
#[derive(Clone, Debug)]
pub struct Volumes {
    dir: PathBuf,
}

impl Volumes {
    /// Finds or makes the folder, for root alone: what containers wrote there is nobody else's to read.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or closed to others.
    pub fn open(dir: &Path) -> Result<Volumes, VolumeError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(VolumeError::io("make", dir))?;
        set_mode(dir, 0o700)?;
        let dir = dir.canonicalize().map_err(VolumeError::io("look at", dir))?;
        Ok(Volumes { dir })
    }

    /// Makes the volume and answers with the folder for its data, once that would survive a power cut. A
    /// volume that is there already is kept as it is; only what is written down about it is brought up to
    /// date.
    ///
    /// # Errors
    ///
    /// When the name is not one, the capacity exceeds the whole file system, the volume was made for another
    /// claim, or the file system refuses.
    pub fn provision(&self, spec: &VolumeSpec) -> Result<PathBuf, VolumeError> {
        let folder = self.folder(&spec.name)?;
        let space = self.space()?;
        if spec.capacity_bytes > space.total {
            return Err(VolumeError::TooLarge {
                name: spec.name.clone(),
                capacity: spec.capacity_bytes,
                total: space.total,
                path: self.dir.clone(),
            });
        }
        let before = read_about(&folder);
        if let Some(before) = &before
            && (&before.namespace, &before.claim) != (&spec.namespace, &spec.claim)
        {
            return Err(VolumeError::Owned {
                name: spec.name.clone(),
                owner: format!("{}/{}", before.namespace, before.claim),
                claim: format!("{}/{}", spec.namespace, spec.claim),
            });
        }
        make_dir(&folder, 0o700)?;
        if before.as_ref() != Some(spec) {
            write_about(&folder, spec)?;
        }
        let data = folder.join(DATA);
        if make_dir(&data, 0o700)? {
            set_mode(&data, 0o777)?;
        }
        for made in [&data, &folder, &self.dir] {
            sync(made)?;
        }
        Ok(data)
    }

    /// Where the volume's data is.
    ///
    /// # Errors
    ///
    /// When there is no such volume: it is never made by looking for it.
    pub fn path(&self, name: &str) -> Result<PathBuf, VolumeError> {
        let path = self.folder(name)?.join(DATA);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(path),
            Ok(_) => Err(VolumeError::Missing { name: name.to_owned(), path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(VolumeError::Missing { name: name.to_owned(), path })
            }
            Err(error) => Err(VolumeError::io("look at", &path)(error)),
        }
    }

    /// All volumes, by name.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Volume>, VolumeError> {
        let mut volumes: Vec<Volume> = entries(&self.dir)?
            .into_iter()
            .filter(|name| is_volume_name(name))
            .map(|name| {
                let folder = self.dir.join(&name);
                Volume { path: folder.join(DATA), spec: read_about(&folder), name }
            })
            .collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Moves the volume into the trash, data and all, durably. Answers whether it was there.
    ///
    /// The data stays until [`Volumes::empty_trash`]; whoever needs it back moves the folder back by hand.
    ///
    /// # Errors
    ///
    /// When the name is not one, or the file system refuses.
    pub fn delete(&self, name: &str, now: SystemTime) -> Result<bool, VolumeError> {
        let folder = self.folder(name)?;
        let trash = self.dir.join(TRASH);
        make_dir(&trash, 0o700)?;
        let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut target = trash.join(format!("{name}@{seconds}"));
        for again in 1.. {
            match rustix::fs::renameat_with(
                rustix::fs::CWD,
                &folder,
                rustix::fs::CWD,
                &target,
                rustix::fs::RenameFlags::NOREPLACE,
            ) {
                Ok(()) => break,
                Err(rustix::io::Errno::NOENT) => return Ok(false),
                Err(rustix::io::Errno::EXIST) => {
                    target = trash.join(format!("{name}@{seconds}.{again}"));
                }
                Err(errno) => return Err(VolumeError::io("move to the trash", &folder)(errno)),
            }
        }
        sync(&trash)?;
        sync(&self.dir)?;
        Ok(true)
    }

    /// Removes for good what has been in the trash for `keep` or longer, and lists it. What cannot be removed
    /// stays, with a word in the log.
    ///
    /// # Errors
    ///
    /// When the trash cannot be read.
    pub fn empty_trash(&self, now: SystemTime, keep: Duration) -> Result<Vec<String>, VolumeError> {
        let trash = self.dir.join(TRASH);
        let folder = match File::open(&trash) {
            Ok(folder) => folder,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(VolumeError::io("open", &trash)(error)),
        };
        let mut removed = Vec::new();
        for name in entries(&trash)? {
            let Some(since) = trashed_at(&name) else { continue };
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

    /// The room there is.
    ///
    /// # Errors
    ///
    /// When the file system does not say.
    pub fn space(&self) -> Result<Space, VolumeError> {
        let stat = rustix::fs::statvfs(&self.dir).map_err(VolumeError::io("look at", &self.dir))?;
        Ok(Space { total: stat.f_blocks * stat.f_frsize, available: stat.f_bavail * stat.f_frsize })
    }

    fn folder(&self, name: &str) -> Result<PathBuf, VolumeError> {
        if is_volume_name(name) {
            Ok(self.dir.join(name))
        } else {
            Err(VolumeError::Name { name: name.to_owned() })
        }
    }
}

/// A DNS subdomain as object names are (RFC 1123): it has no `/` and begins with a letter or digit, so it
/// leads nowhere else.
fn is_volume_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= NAME_MAX
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'.')
}

/// When the entry came into the trash: `<name>@<seconds>[.<count>]`.
fn trashed_at(entry: &str) -> Option<SystemTime> {
    let (_, stamp) = entry.rsplit_once('@')?;
    let seconds = stamp.split('.').next()?.parse().ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn read_about(folder: &Path) -> Option<VolumeSpec> {
    let text = fs::read(folder.join(ABOUT)).ok()?;
    serde_json::from_slice(&text).ok()
}

fn write_about(folder: &Path, spec: &VolumeSpec) -> Result<(), VolumeError> {
    let path = folder.join(ABOUT);
    let fresh = folder.join("volume.json.new");
    let write = || {
        let mut text = serde_json::to_vec_pretty(spec)?;
        text.push(b'\n');
        fs::write(&fresh, text)?;
        File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, &path)
    };
    write().map_err(VolumeError::io("write", &path))
}

/// Makes the folder; answers whether it was missing.
fn make_dir(path: &Path, mode: u32) -> Result<bool, VolumeError> {
    match DirBuilder::new().mode(mode).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(VolumeError::io("make", path)(error)),
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), VolumeError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(VolumeError::io("set the mode of", path))
}

fn sync(folder: &Path) -> Result<(), VolumeError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(VolumeError::io("sync", folder))
}

fn entries(folder: &Path) -> Result<Vec<String>, VolumeError> {
    let read = || {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<String>>>()
    };
    read().map_err(VolumeError::io("read", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn spec(name: &str) -> VolumeSpec {
        VolumeSpec {
            name: name.into(),
            capacity_bytes: 1 << 20,
            namespace: "default".into(),
            claim: "data-postgres-0".into(),
        }
    }

    fn open() -> (tempfile::TempDir, Volumes) {
        let dir = tempfile::tempdir().unwrap();
        let volumes = Volumes::open(&dir.path().join("volumes")).unwrap();
        (dir, volumes)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_volume_is_a_folder_that_only_its_containers_reach() {
        let (dir, volumes) = open();
        let data = volumes.provision(&spec("pvc-1")).unwrap();
        assert_eq!(data, dir.path().canonicalize().unwrap().join("volumes/pvc-1/data"));
        assert_eq!(mode(&data), 0o777);
        assert_eq!(mode(&dir.path().join("volumes/pvc-1")), 0o700);
        assert_eq!(mode(&dir.path().join("volumes")), 0o700);
        assert_eq!(volumes.path("pvc-1").unwrap(), data);
    }

    #[test]
    fn provisioning_again_keeps_the_data() {
        let (_dir, volumes) = open();
        let data = volumes.provision(&spec("pvc-1")).unwrap();
        fs::write(data.join("row"), "1").unwrap();
        set_mode(&data, 0o2770).unwrap();
        let larger = VolumeSpec { capacity_bytes: 2 << 20, ..spec("pvc-1") };
        assert_eq!(volumes.provision(&larger).unwrap(), data);
        assert_eq!(fs::read_to_string(data.join("row")).unwrap(), "1");
        assert_eq!(mode(&data), 0o2770, "whatever its pod made of it");
        assert_eq!(
            volumes.list().unwrap(),
            [Volume { name: "pvc-1".into(), path: data, spec: Some(larger) }]
        );
    }

    #[test]
    fn a_volume_of_another_claim_is_not_given_away() {
        let (_dir, volumes) = open();
        volumes.provision(&spec("pvc-1")).unwrap();
        let other = VolumeSpec { claim: "data-postgres-1".into(), ..spec("pvc-1") };
        assert_eq!(
            volumes.provision(&other).unwrap_err().to_string(),
            "volume pvc-1 holds the data of claim default/data-postgres-0 and cannot be provisioned for \
             default/data-postgres-1"
        );
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        let (_dir, volumes) = open();
        for name in
            ["", ".", "..", "../etc", "a/b", "/etc", ".trash", "-a", "A", "a\0b", "a b", &"a".repeat(254)]
        {
            assert!(matches!(volumes.provision(&spec(name)), Err(VolumeError::Name { .. })), "{name:?}");
            assert!(matches!(volumes.delete(name, at(0)), Err(VolumeError::Name { .. })), "{name:?}");
            assert!(matches!(volumes.path(name), Err(VolumeError::Name { .. })), "{name:?}");
        }
    }

    #[test]
    fn more_than_the_file_system_holds_is_refused() {
        let (_dir, volumes) = open();
        let huge = VolumeSpec { capacity_bytes: 1 << 60, ..spec("pvc-1") };
        let refusal = volumes.provision(&huge).unwrap_err().to_string();
        assert!(refusal.contains("is to hold 1152921504606846976 bytes"), "{refusal}");
        assert!(refusal.contains(&format!("has {} in all", volumes.space().unwrap().total)), "{refusal}");
        assert_eq!(volumes.list().unwrap(), [], "nothing was made");
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
    fn a_missing_volume_is_not_made_by_looking_for_it() {
        let (_dir, volumes) = open();
        let missing = volumes.path("pvc-9").unwrap_err().to_string();
        assert!(missing.starts_with("volume pvc-9 has no folder "), "{missing}");
        assert_eq!(volumes.list().unwrap(), []);
    }

    #[test]
    fn a_volume_whose_making_was_cut_short_is_finished() {
        let (dir, volumes) = open();
        fs::create_dir(dir.path().join("volumes/pvc-1")).unwrap();
        let data = volumes.provision(&spec("pvc-1")).unwrap();
        assert_eq!(volumes.list().unwrap()[0].spec, Some(spec("pvc-1")));
        assert_eq!(mode(&data), 0o777);
    }
}
