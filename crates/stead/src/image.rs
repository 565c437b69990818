//! `stead image`: the images of this machine.

mod progress;
mod rows;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
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
    Ls {
        /// How to show them
        #[arg(short, long, value_name = "FORMAT", value_enum)]
        output: Option<rows::Format>,
    },
    /// Remove names of images, and the images that have no other name; what containers run from stays
    Rm {
        /// Names or ids of images
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Remove all images that no container runs from
    Prune,
}

/// Carries out `stead image …`.
pub(crate) fn run(image: Image, data_dir: &Path) -> Result<()> {
    // Only what brings images in makes a data directory.
    let instance = match image.verb {
        Verb::Import { .. } | Verb::Pull { .. } => Instance::open(data_dir)?,
        _ => Instance::find(data_dir)?,
    };
    let store = ImageStore::open(&instance.dir.join("images"))?;
    match image.verb {
        Verb::Import { file, names } => import(&store, &file, &names),
        Verb::Pull { reference, registry_mirror } => pull(&store, &reference, registry_mirror),
        Verb::Ls { output } => {
            print!("{}", rows::show(&store.list()?, output));
            Ok(())
        }
        Verb::Rm { names } => remove(&store, &names, &in_use(&instance)?),
        Verb::Prune => prune(&store, &in_use(&instance)?),
    }
}

/// What containers run from stays, whatever its name.
fn in_use(instance: &Instance) -> Result<HashSet<PathBuf>> {
    runtime::oci::layers_in_use(&instance.runtime().root).context("cannot tell which images are in use")
}

fn import(store: &ImageStore, file: &Path, names: &[String]) -> Result<()> {
    for image in store.import(file, names)? {
        println!("imported {} ({})", image.names.join(", "), rows::short(&image.id));
    }
    Ok(())
}

fn pull(store: &Arc<ImageStore>, reference: &str, mirrors: Vec<Mirror>) -> Result<()> {
    let options = PullOptions { mirrors, ..PullOptions::default() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let line = progress::Line::on_terminal();
    let pulled = runtime.block_on(async {
        let shown = Arc::clone(&line);
        let pulling = store.pull(reference, &options, move |progress| shown.show(progress));
        tokio::select! {
            pulled = pulling => pulled.map_err(anyhow::Error::from),
            _ = tokio::signal::ctrl_c() => bail!("interrupted: layers that are complete are kept"),
        }
    });
    line.end();
    let pulled = pulled?;
    println!("pulled {} ({})", pulled.names.join(", "), rows::short(&pulled.id));
    Ok(())
}

fn remove(store: &ImageStore, names: &[String], in_use: &HashSet<PathBuf>) -> Result<()> {
    for name in names {
        let removed = store.remove(name, in_use).map_err(|error| match error {
            images::StoreError::NotFound(name) => {
                anyhow::anyhow!("there is no image {name}: `stead image ls` lists them")
            }
            other => other.into(),
        });
        for removed in removed? {
            println!("removed {removed}");
        }
    }
    Ok(())
}

fn prune(store: &ImageStore, in_use: &HashSet<PathBuf>) -> Result<()> {
    let pruned = store.prune(in_use)?;
    for name in &pruned.names {
        println!("removed {name}");
    }
    println!("removed {} names and {} layers", pruned.names.len(), pruned.layers);
    Ok(())
}
