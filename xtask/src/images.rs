//! `cargo xtask images`: container images from the machine's own Debian packages, for when no registry is in
//! reach. See images/README.md.

mod layout;
mod recipe;
mod root;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use layout::Layout;
use recipe::Recipe;

/// Raised when what is built from an unchanged recipe changes.
const BUILDER: &str = "2";

/// The command line of `cargo xtask images`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Images (`postgres:14`) or recipes (`postgres`); all of them when none is named
    names: Vec<String>,
    /// Where the archives go
    #[arg(long, default_value = "target/images")]
    out: PathBuf,
    /// Build again what is there, with today's packages
    #[arg(long)]
    rebuild: bool,
}

/// Builds what is missing or out of date, and prints the archives.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.rebuild && args.out.exists() {
        fs::remove_dir_all(&args.out).with_context(|| format!("cannot clear {}", args.out.display()))?;
    }
    let names: Vec<&str> = args.names.iter().map(String::as_str).collect();
    for archive in ensure(&names, &args.out)? {
        println!("{}", archive.display());
    }
    Ok(())
}

/// Sees to it that the archives with these images (all images when none is named) are in a folder and up to
/// date; returns their paths, each fit for `stead image import`.
pub(crate) fn ensure(names: &[&str], out: &Path) -> Result<Vec<PathBuf>> {
    let recipes = recipe::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../images"))?;
    for name in names {
        if !recipes.iter().any(|recipe| recipe.makes(name)) {
            let known: Vec<_> = recipes.iter().flat_map(Recipe::names).collect();
            bail!("there is no recipe for image {name:?}; there are {}", known.join(", "));
        }
    }
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let wanted = |recipe: &&Recipe| names.is_empty() || names.iter().any(|name| recipe.makes(name));
    recipes.iter().filter(wanted).map(|recipe| build(recipe, &recipes, out)).collect()
}

fn build(recipe: &Recipe, all: &[Recipe], out: &Path) -> Result<PathBuf> {
    let archive = out.join(format!("{}.tar", recipe.name));
    let key_file = out.join(format!("{}.key", recipe.name));
    let base = recipe.base(all)?;
    let key = format!("{BUILDER} {} {} {}", recipe.key, base.root_key(), root::suite()?);
    if archive.exists() && fs::read_to_string(&key_file).is_ok_and(|built| built == key) {
        return Ok(archive);
    }
    eprintln!("building image {}", recipe.names().join(", "));
    let root = root::ensure(base, out).with_context(|| format!("cannot build image {}", recipe.name))?;
    let write = || -> Result<()> {
        let unfinished = out.join(format!("{}.tar.new", recipe.name));
        let mut layout = Layout::create(&unfinished)?;
        let mut layers = vec![layout.layer(fs::File::open(&root)?)?];
        if let Some(rootfs) = recipe.rootfs() {
            let files = root::pack(&rootfs)?;
            layers.push(layout.layer(files)?);
        }
        for (tag, env) in &recipe.tags {
            layout.image(&recipe.full_name(tag), &recipe.config(env), &recipe.note, &layers)?;
        }
        layout.finish()?;
        fs::rename(&unfinished, &archive)?;
        Ok(fs::write(&key_file, &key)?)
    };
    write().with_context(|| format!("cannot write {}", archive.display()))?;
    Ok(archive)
}
