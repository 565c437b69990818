//! `stead secrets`: the keys that Secrets lie encrypted with.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail};
use store::{Embedded, Sealed, Store};

use crate::instance::Instance;

/// Flags of `stead secrets`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Secrets {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// Encrypt all Secrets with a new key, then forget the old one; stop stead first, pods run on
    RotateKey,
}

/// Carries out `stead secrets …`.
pub(crate) fn run(secrets: &Secrets, data_dir: &Path) -> Result<()> {
    let Verb::RotateKey = secrets.verb;
    let instance = Instance::find(data_dir)?;
    if let Some(pid) = instance.holder() {
        bail!(
            "stead (process {pid}) uses {}: stop it with SIGTERM (its pods run on), rotate, and start it again",
            instance.dir.display()
        );
    }
    let _lock = instance.lock()?;
    if !instance.state().exists() {
        bail!("{} holds no Secrets yet: there is nothing to rotate", instance.dir.display());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let count = runtime.block_on(rotate(&instance))?;
    println!(
        "{count} Secrets are encrypted with a new key; keep a copy of {} apart from backups of the data directory",
        instance.encryption_keys().display()
    );
    Ok(())
}

async fn rotate(instance: &Instance) -> Result<usize> {
    let database = Embedded::open(instance.state())?;
    let below = Arc::clone(&database) as Arc<dyn Store>;
    let count = Sealed::rotate(below, registry::sealed_prefixes(), &instance.encryption_keys()).await?;
    database.close().await?;
    Ok(count)
}
