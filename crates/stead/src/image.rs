//! `stead image`: the images of this machine.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use images::{ImageStore, Mirror, PullOptions};

use crate::instance::Instance;

/// Flags of `stead image`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Image {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Import an OCI layout or a `docker save` archive: a tar file (also compressed) or a folder
    Import {
        /// The archive or folder
        file: PathBuf,
        /// Names to give the image, when the archive names none
        #[arg(long = "name", value_name = "NAME")]
        names: Vec<String>,
    },
    /// Pull an image from its registry
    Pull {
        /// The image, for instance postgres:14
        reference: String,
        /// Look here first for images of a registry
        #[arg(long, value_name = "HOST=URL")]
        registry_mirror: Vec<Mirror>,
    },
    /// List images
    Ls,
    /// Remove an image's name, and the image when it was the last one
    Rm {
        /// The image's name
        name: String,
    },
    /// Remove what no name leads to
    Prune,
}

/// Carries out `stead image …`.
pub(crate) fn run(image: Image, data_dir: &Path) -> Result<()> {
    let dir = data_dir.join("images");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let store = ImageStore::open(&dir)?;
    match image.verb {
        Verb::Import { file, names } => {
            for image in store.import(&file, &names)? {
                println!("imported {} ({})", image.names.join(", "), short(&image.id));
            }
        }
        Verb::Pull { reference, registry_mirror } => {
            let options = PullOptions { mirrors: registry_mirror, ..PullOptions::default() };
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            let pulled = runtime.block_on(store.pull(&reference, &options, |_| {}))?;
            println!("pulled {} ({})", reference, short(&pulled.id));
        }
        Verb::Ls => list(&store)?,
        Verb::Rm { name } => {
            for removed in store.remove(&name, &layers_in_use(data_dir)?)? {
                println!("removed {removed}");
            }
        }
        Verb::Prune => {
            let pruned = store.prune(&layers_in_use(data_dir)?)?;
            for removed in pruned.names {
                println!("removed {removed}");
            }
            println!("removed {} layers", pruned.layers);
        }
    }
    Ok(())
}

/// What containers run from stays, whatever its name.
fn layers_in_use(data_dir: &Path) -> Result<HashSet<PathBuf>> {
    let sandboxes = Instance::find(data_dir)?.runtime().root;
    runtime::oci::layers_in_use(&sandboxes).context("cannot tell which images are in use")
}

fn list(store: &std::sync::Arc<ImageStore>) -> Result<()> {
    println!("{:<60} {:<14} SIZE", "NAME", "ID");
    for image in store.list()? {
        for name in &image.names {
            println!("{name:<60} {:<14} {:.1} MB", short(&image.id), image.size as f64 / 1e6);
        }
    }
    Ok(())
}

fn short(id: &str) -> &str {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    hex.get(..12).unwrap_or(hex)
}
