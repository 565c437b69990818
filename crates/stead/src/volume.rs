//! `stead volume`: the volumes of this machine, those that were deleted and those that have no objects.
//!
//! What lies on the disk is moved here, by whoever may write the data directory; objects are made by the API, as
//! everybody's are. So a volume comes out of the trash while stead is stopped, too, and only its objects wait. Each
//! step leaves something that the next `ls` shows: a volume that was brought back and has no objects yet is one to
//! adopt.

mod objects;
mod rows;

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use planner::volume_binder::adoption::Found;
use volumes::{Backing, VolumeSpec, Volumes};

use crate::instance::Instance;
use objects::Objects;

/// Flags of `stead volume`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Volume {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Verb {
    /// List volumes: whose they are, how much they hold, and those that are in the trash or have no objects
    Ls {
        /// How to show them
        #[arg(short, long, value_name = "FORMAT", value_enum)]
        output: Option<rows::Format>,
    },
    /// Bring a deleted volume back from the trash, with its claim
    Undelete {
        /// The volume
        name: String,
    },
    /// Give a volume that is on the disk without objects back to its claim
    Adopt {
        /// The volume
        name: String,
        /// The claim to give it to, when it is to be another than before
        #[arg(long, value_name = "NAMESPACE/NAME")]
        claim: Option<String>,
        /// How much it holds, when that is not written down
        #[arg(long, value_name = "QUANTITY")]
        size: Option<String>,
    },
}

/// Carries out `stead volume …`.
pub(crate) fn run(volume: &Volume, data_dir: &Path) -> Result<()> {
    let instance = Instance::find(data_dir)?;
    let volumes = Volumes::open(&instance.dir.join("volumes"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let objects = Objects::of(&instance).await?;
        match &volume.verb {
            Verb::Ls { output } => ls(&volumes, objects.as_ref(), *output),
            Verb::Undelete { name } => undelete(&instance, &volumes, objects.as_ref(), name).await,
            Verb::Adopt { name, claim, size } => {
                let Some(objects) = &objects else {
                    bail!(
                        "stead does not run: a volume is adopted by making its objects; start it with `stead up` first"
                    );
                };
                let spec = described(&volumes, name, claim.as_deref(), size.as_deref())?;
                adopt(&instance, &volumes, objects, &spec).await
            }
        }
    })
}

fn ls(volumes: &Volumes, objects: Option<&Objects>, format: Option<rows::Format>) -> Result<()> {
    let rows = rows::rows(volumes, objects.map(|objects| &objects.world))?;
    print!("{}", rows::show(&rows, format, SystemTime::now()));
    if objects.is_none() {
        eprintln!("stead does not run: whose the volumes are is what was written down beside them");
    }
    Ok(())
}

async fn undelete(
    instance: &Instance,
    volumes: &Volumes,
    objects: Option<&Objects>,
    name: &str,
) -> Result<()> {
    if let Some(objects) = objects
        && objects.world.volumes.get("", name).is_some()
    {
        bail!(
            "there is a PersistentVolume {name}: delete it first, and what is in the trash under that name can come back"
        );
    }
    volumes.undelete(name)?;
    println!("volume {name} is out of the trash");
    let Some(objects) = objects else {
        println!(
            "stead does not run: give it back to its claim with `stead volume adopt {name}` once it does"
        );
        return Ok(());
    };
    let spec = described(volumes, name, None, None)?;
    adopt(instance, volumes, objects, &spec).await
}

/// What is written down about a volume that is on the disk, as far as the user does not say otherwise.
fn described(volumes: &Volumes, name: &str, claim: Option<&str>, size: Option<&str>) -> Result<VolumeSpec> {
    let found = volumes.list()?.into_iter().find(|volume| volume.name == name);
    let found = found.with_context(|| {
        format!("there is no volume {name} on the disk: `stead volume ls` lists those that there are")
    })?;
    let mut spec = found.spec.unwrap_or_default();
    name.clone_into(&mut spec.name);
    if let Some(claim) = claim {
        let (namespace, claim) =
            claim.split_once('/').context("write the claim as NAMESPACE/NAME, like default/data-db-0")?;
        namespace.clone_into(&mut spec.namespace);
        claim.clone_into(&mut spec.claim);
    }
    if spec.claim.is_empty() {
        bail!("nothing is written down about volume {name}: say whose it is with --claim NAMESPACE/NAME");
    }
    if let Some(size) = size {
        let size = apimachinery::quantity::Quantity::parse(size)
            .map_err(|error| anyhow::anyhow!("--size {size:?}: {error}; write it like 10Gi"))?;
        spec.capacity_bytes = u64::try_from(size.value()).unwrap_or(0);
    }
    if spec.capacity_bytes == 0 {
        bail!("nothing is written down about the size of volume {name}: say it with --size, like 10Gi");
    }
    Ok(spec)
}

/// Makes the objects of a volume: its own, and those of its claim where that is missing.
async fn adopt(instance: &Instance, volumes: &Volumes, objects: &Objects, spec: &VolumeSpec) -> Result<()> {
    let (name, claim) = (&spec.name, format!("{}/{}", spec.namespace, spec.claim));
    if objects.world.volumes.get("", name).is_some() {
        bail!("volume {name} has a PersistentVolume already: `stead why pv/{name}` says what it waits for");
    }
    let node = instance.node_name()?.unwrap_or_default();
    let node = objects.world.nodes.get("", &node).with_context(|| {
        format!("there is no node {node:?}: volumes are of the node that runs in this data directory")
    })?;
    volumes.reassign(spec)?;
    let found = Found {
        name: name.clone(),
        path: volumes.place(name)?.display().to_string(),
        capacity_bytes: spec.capacity_bytes,
        namespace: spec.namespace.clone(),
        claim: spec.claim.clone(),
        storage_class: spec.storage_class.clone(),
        access_modes: spec.access_modes.clone(),
        is_image: spec.backing == Backing::Image,
        fs_type: spec.fs_type.map(|fs_type| fs_type.name().to_owned()),
        mount_options: spec.mount_options.clone(),
    };
    objects.create_volume(&found, node).await?;
    println!("persistentvolume/{name} is made and kept for claim {claim}");
    let held = objects.world.claims.get(&spec.namespace, &spec.claim);
    match held
        .map(|claim| claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default())
    {
        Some("") => println!("claim {claim} is there and gets it"),
        Some(other) => println!(
            "claim {claim} has volume {other}: to get this one instead, delete the claim, and make it anew"
        ),
        None if objects.world.namespaces.get("", &spec.namespace).is_none() => println!(
            "namespace {} is not there: make it, and a claim {claim} in it that gets the volume",
            spec.namespace
        ),
        None => {
            objects.create_claim(&found).await?;
            println!("claim {claim} is made and gets it");
        }
    }
    Ok(())
}
