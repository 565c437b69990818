//! What an image is made of: a folder under images/.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// `recipe.yaml` and its folder.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The folder's name, and the repository's.
    pub(crate) name: String,
    /// Changes when anything in the folder does.
    pub(crate) key: String,
    /// What the image really is.
    pub(crate) note: String,
    /// Where the big layer comes from.
    pub(crate) root: Root,
    /// Tags, each with environment variables of its own.
    pub(crate) tags: BTreeMap<String, BTreeMap<String, String>>,
    config: Config,
    folder: PathBuf,
}

/// The big layer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Root {
    /// Essential packages of Debian, and these.
    Debian(Debian),
    /// A package with a static busybox.
    Busybox(String),
    /// The big layer of another recipe.
    From(String),
}

/// What mmdebstrap is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Debian {
    /// Packages; their dependencies follow, what they recommend does not.
    pub(crate) packages: Vec<String>,
    /// Files that are left out (dpkg's patterns).
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    /// A shell script, run before the packages are installed; `$1` is the root.
    #[serde(default)]
    pub(crate) before: String,
    /// The same, run at the end.
    #[serde(default)]
    pub(crate) after: String,
}

/// How the image is run, in the words of the OCI's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The start of the command line.
    pub(crate) entrypoint: Vec<String>,
    /// Its arguments.
    pub(crate) cmd: Vec<String>,
    /// Environment variables.
    pub(crate) env: BTreeMap<String, String>,
    /// Paths that should be volumes.
    pub(crate) volumes: Vec<String>,
    /// `5432/tcp`.
    pub(crate) ports: Vec<String>,
    /// The signal to stop it with.
    pub(crate) stop_signal: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    note: String,
    #[serde(with = "serde_yaml_ng::with::singleton_map")]
    root: Root,
    tags: BTreeMap<String, BTreeMap<String, String>>,
    #[serde(default)]
    config: Config,
}

/// All recipes, by name.
pub(crate) fn read_all(folder: &Path) -> Result<Vec<Recipe>> {
    let mut recipes = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let folder = entry?.path();
        if folder.join("recipe.yaml").exists() {
            recipes.push(read(folder)?);
        }
    }
    recipes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(recipes)
}

fn read(folder: PathBuf) -> Result<Recipe> {
    let path = folder.join("recipe.yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: File =
        serde_yaml_ng::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))?;
    let mut hash = Sha256::new();
    hash_folder(&folder, &mut hash).with_context(|| format!("cannot read {}", folder.display()))?;
    let File { note, root, tags, config } = file;
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Recipe { name, key: hex::encode(hash.finalize()), note, root, tags, config, folder })
}

fn hash_folder(folder: &Path, hash: &mut Sha256) -> Result<()> {
    for path in sorted(folder)? {
        let meta = fs::symlink_metadata(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        hash.update(format!("{name} {:o} {}\n", meta.permissions().mode(), meta.len()));
        if meta.is_dir() {
            hash_folder(&path, hash)?;
        } else {
            hash.update(fs::read(&path)?);
        }
    }
    Ok(())
}

/// What is in a folder, in an order that does not depend on the disk.
pub(crate) fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}

impl Recipe {
    /// `postgres:14` and so on.
    pub(crate) fn names(&self) -> Vec<String> {
        self.tags.keys().map(|tag| format!("{}:{tag}", self.name)).collect()
    }

    /// Whether this is the recipe for an image, or goes by that name itself.
    pub(crate) fn makes(&self, name: &str) -> bool {
        self.name == name || self.names().iter().any(|own| own == name)
    }

    /// The name as docker completes it.
    pub(crate) fn full_name(&self, tag: &str) -> String {
        format!("docker.io/library/{}:{tag}", self.name)
    }

    /// The recipe that makes the big layer: this one, or the one that it refers to.
    pub(crate) fn base<'a>(&'a self, all: &'a [Self]) -> Result<&'a Self> {
        let Root::From(name) = &self.root else { return Ok(self) };
        match all.iter().find(|recipe| recipe.name == *name) {
            Some(base) if !matches!(base.root, Root::From(_)) => Ok(base),
            Some(_) => bail!("recipe {}: {name} has no layer of its own to share", self.name),
            None => bail!("recipe {}: there is no recipe {name}", self.name),
        }
    }

    /// Changes when the big layer would.
    pub(crate) fn root_key(&self) -> String {
        hex::encode(Sha256::digest(format!("{:?}", self.root)))
    }

    /// The files of the small layer, when there are any.
    pub(crate) fn rootfs(&self) -> Option<PathBuf> {
        Some(self.folder.join("rootfs")).filter(|rootfs| rootfs.is_dir())
    }

    /// The configuration of one tag.
    pub(crate) fn config(&self, env: &BTreeMap<String, String>) -> Config {
        let mut config = self.config.clone();
        config.env.extend(env.clone());
        config
    }
}
