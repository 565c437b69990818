//! Persistent volumes: `<dir>/<name>/data`, or an [`image`], with `volume.json` beside it that says whose it is.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::about::{self, Backing, VolumeSpec};
use crate::error::VolumeError;
use crate::files::{entries, make_dir, set_mode, sync};
use crate::trash::Trashed;
use crate::{image, usage};

/// The folder of a volume's data, in the volume's folder.
pub(crate) const DATA: &str = "data";
/// The longest name that Kubernetes gives an object.
const NAME_MAX: usize = 253;

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
    pub(crate) dir: PathBuf,
    /// Held by whoever gives an image its device or takes it away.
    pub(crate) attaching: Arc<Mutex<()>>,
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
        Ok(Volumes { dir, attaching: Arc::default() })
    }

    /// Makes the volume and answers with where its data is, once that would survive a power cut. A volume that is
    /// there already is kept as it is; only what is written down about it is brought up to date.
    ///
    /// # Errors
    ///
    /// When the name is not one, there is no room, the volume was made for another claim, or the machine refuses:
    /// then nothing stays of a volume that was not there before.
    pub fn provision(&self, spec: &VolumeSpec) -> Result<PathBuf, VolumeError> {
        let folder = self.folder(&spec.name)?;
        let before = about::read(&folder);
        if let Some(before) = &before
            && (&before.namespace, &before.claim) != (&spec.namespace, &spec.claim)
        {
            return Err(VolumeError::Owned {
                name: spec.name.clone(),
                owner: format!("{}/{}", before.namespace, before.claim),
                claim: format!("{}/{}", spec.namespace, spec.claim),
            });
        }
        self.check_total(&spec.name, spec.capacity_bytes)?;
        let is_new = make_dir(&folder, 0o700)?;
        let made = self.make(&folder, before.as_ref(), spec);
        if made.is_err() && is_new {
            image::remove_unfinished(&folder);
        }
        made
    }

    fn make(
        &self,
        folder: &Path,
        before: Option<&VolumeSpec>,
        spec: &VolumeSpec,
    ) -> Result<PathBuf, VolumeError> {
        if before != Some(spec) {
            about::write(folder, spec)?;
        }
        let data = match spec.backing {
            Backing::Directory => {
                let data = folder.join(DATA);
                if make_dir(&data, 0o700)? {
                    set_mode(&data, 0o777)?;
                }
                sync(&data)?;
                data
            }
            Backing::Image => {
                self.make_image(folder, spec)?;
                if spec.is_device() { folder.join(image::IMAGE) } else { self.open_image(folder, spec)? }
            }
        };
        sync(folder)?;
        sync(&self.dir)?;
        Ok(data)
    }

    /// Where the volume's data is: an image is mounted for that.
    ///
    /// # Errors
    ///
    /// When there is no such volume: it is never made by looking for it. When it is a block device
    /// ([`Volumes::device`]), or its file system cannot be mounted.
    pub fn path(&self, name: &str) -> Result<PathBuf, VolumeError> {
        let folder = self.folder(name)?;
        if let Some(spec) = about::read(&folder).filter(|spec| spec.backing == Backing::Image) {
            if spec.is_device() || !folder.join(image::IMAGE).is_file() {
                return Err(VolumeError::Missing { name: name.to_owned(), path: folder.join(DATA) });
            }
            return self.open_image(&folder, &spec);
        }
        let path = folder.join(DATA);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Ok(path),
            Ok(_) => Err(VolumeError::Missing { name: name.to_owned(), path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(VolumeError::Missing { name: name.to_owned(), path })
            }
            Err(error) => Err(VolumeError::io("look at", &path)(error)),
        }
    }

    /// Where the volume's data is: the folder, or the image of a block device, for its object to say.
    ///
    /// # Errors
    ///
    /// As [`Volumes::path`].
    pub fn place(&self, name: &str) -> Result<PathBuf, VolumeError> {
        let folder = self.folder(name)?;
        let image = folder.join(image::IMAGE);
        let is_device = about::read(&folder).is_some_and(|spec| spec.is_device());
        if is_device && image.is_file() { Ok(image) } else { self.path(name) }
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
                Volume { path: folder.join(DATA), spec: about::read(&folder), name }
            })
            .collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// The bytes that are used in the volume, if that can be seen: of an image only while it is mounted, and of a
    /// block device never.
    ///
    /// # Errors
    ///
    /// When the name is not one.
    pub fn used(&self, name: &str) -> Result<Option<u64>, VolumeError> {
        let folder = self.folder(name)?;
        if folder.join(image::IMAGE).exists() {
            return Ok(self.used_in_image(&folder));
        }
        Ok(Some(usage::of_tree(&folder.join(DATA))))
    }

    /// The bytes that a volume in the trash takes on disk.
    pub fn used_in_trash(&self, trashed: &Trashed) -> u64 {
        usage::of_tree(&trashed.folder)
    }

    /// Writes down anew whose the volume is: one that nobody's objects know is adopted by a claim.
    ///
    /// # Errors
    ///
    /// When there is no such volume, or the file system refuses.
    pub fn reassign(&self, spec: &VolumeSpec) -> Result<(), VolumeError> {
        let folder = self.folder(&spec.name)?;
        if !folder.is_dir() {
            return Err(VolumeError::Missing { name: spec.name.clone(), path: folder });
        }
        about::write(&folder, spec)?;
        sync(&folder)
    }

    /// Whether the file system could ever hold so much.
    pub(crate) fn check_total(&self, name: &str, capacity: u64) -> Result<(), VolumeError> {
        let total = self.space()?.total;
        if capacity <= total {
            return Ok(());
        }
        Err(VolumeError::TooLarge { name: name.to_owned(), capacity, total, path: self.dir.clone() })
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

    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, VolumeError> {
        if is_volume_name(name) {
            Ok(self.dir.join(name))
        } else {
            Err(VolumeError::Name { name: name.to_owned() })
        }
    }
}

/// A DNS subdomain as object names are (RFC 1123): it has no `/` and begins with a letter or digit, so it
/// leads nowhere else.
pub(crate) fn is_volume_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= NAME_MAX
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|byte| plain(byte) || byte == b'-' || byte == b'.')
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    pub(crate) fn spec(name: &str) -> VolumeSpec {
        VolumeSpec {
            name: name.into(),
            capacity_bytes: 1 << 20,
            namespace: "default".into(),
            claim: "data-postgres-0".into(),
            ..VolumeSpec::default()
        }
    }

    pub(crate) fn open() -> (tempfile::TempDir, Volumes) {
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
    fn a_volume_that_is_given_to_another_claim_by_name_is_that_one_s() {
        let (_dir, volumes) = open();
        let data = volumes.provision(&spec("pvc-1")).unwrap();
        let other = VolumeSpec { claim: "data-postgres-1".into(), ..spec("pvc-1") };
        volumes.reassign(&other).unwrap();
        assert_eq!(volumes.provision(&other).unwrap(), data);
        assert!(volumes.reassign(&spec("pvc-2")).unwrap_err().to_string().starts_with("volume pvc-2 has no"));
    }

    #[test]
    fn names_that_concatenate_alike_are_not_the_same_claim() {
        let (_dir, volumes) = open();
        let first = VolumeSpec { namespace: "a".into(), claim: "b-data".into(), ..spec("pvc-1") };
        let second = VolumeSpec { namespace: "a-b".into(), claim: "data".into(), ..spec("pvc-1") };
        volumes.provision(&first).unwrap();
        let refusal = volumes.provision(&second).unwrap_err().to_string();
        assert!(refusal.contains("of claim a/b-data and cannot be provisioned for a-b/data"), "{refusal}");
    }

    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        let (_dir, volumes) = open();
        for name in
            ["", ".", "..", "../etc", "a/b", "/etc", ".trash", "-a", "A", "a\0b", "a b", &"a".repeat(254)]
        {
            assert!(matches!(volumes.provision(&spec(name)), Err(VolumeError::Name { .. })), "{name:?}");
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
