//! Installs what the other commands need, with apt-get, and says what and why. Nothing is touched that is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cargo, shell};

/// A program, and where it comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) program: &'static str,
    pub(crate) packages: &'static [&'static str],
    pub(crate) why: &'static str,
}

/// For building stead.
pub(crate) const C_COMPILER: Need = Need {
    program: "cc",
    packages: &["gcc", "libc6-dev"],
    why: "a dependency, ring, is partly written in C",
};
/// For building images.
pub(crate) const MMDEBSTRAP: Need = Need {
    program: "mmdebstrap",
    packages: &["mmdebstrap"],
    why: "it builds container images from Debian packages",
};
/// For tests that run containers.
pub(crate) const BUSYBOX: Need = Need {
    program: "busybox",
    packages: &["busybox-static"],
    why: "tests of the runtime run it in containers",
};
/// For tests that look at links and addresses.
pub(crate) const IPROUTE2: Need =
    Need { program: "ip", packages: &["iproute2"], why: "tests of the network look at it with ip" };

/// For tests of volumes with a file system of their own.
pub(crate) const MKFS_EXT4: Need =
    Need { program: "mkfs.ext4", packages: &["e2fsprogs"], why: "tests make volumes with ext4" };
/// The same, of the other file system.
pub(crate) const MKFS_XFS: Need =
    Need { program: "mkfs.xfs", packages: &["xfsprogs"], why: "tests make volumes with XFS" };

/// Containers, mounts and apt-get are root's.
pub(crate) fn need_root(command: &str) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("{command} runs real containers and installs packages, which is root's to do: run it as root");
}

/// Installs what is missing, after a fresh look at what the package sources have.
///
/// # Errors
///
/// When something is missing and this is not a Debian, or apt-get fails.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| shell::on_path(need.program).is_none()).collect();
    let apt = shell::on_path("apt-get").is_some();
    if missing.is_empty() && (!apt || knows_packages()) {
        return Ok(());
    }
    if !apt {
        let programs: Vec<_> = missing.iter().map(|need| need.program).collect();
        bail!(
            "there is no apt-get here to install what is missing: install {} yourself",
            programs.join(", ")
        );
    }
    println!("apt-get update, to know today's packages");
    apt_get(&["update", "-qq"], Path::new("/"))?;
    missing.into_iter().try_for_each(install)
}

/// Installs the packages of a need, whether its program is there or not.
///
/// # Errors
///
/// When apt-get fails.
pub(crate) fn install(need: &Need) -> Result<()> {
    println!("apt-get install {} ({})", need.packages.join(" "), need.why);
    let mut words = vec!["install", "-qq", "--yes", "--no-install-recommends"];
    words.extend(need.packages);
    apt_get(&words, Path::new("/"))
}

/// Unpacks a package into a folder without installing it, so that no service of it is started; returns the
/// folder with its programs, for the PATH.
pub(crate) fn unpack(package: &str, why: &str, tools: &Path) -> Result<PathBuf> {
    let folder = tools.join(package);
    let programs = folder.join("usr/bin");
    if programs.is_dir() {
        return Ok(programs);
    }
    println!("unpacking the package {package} into {} ({why})", folder.display());
    let unfinished = tools.join(format!("{package}.new"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).with_context(|| format!("cannot clear {}", unfinished.display()))?;
    }
    fs::create_dir_all(&unfinished).with_context(|| format!("cannot make {}", unfinished.display()))?;
    // Left to itself, apt would download as a user of its own, who may not write here.
    apt_get(&["download", "-qq", "-o", "APT::Sandbox::User=root", package], &unfinished)?;
    let deb = fs::read_dir(&unfinished)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("apt-get download left no package {package}"))?;
    shell::run(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(&unfinished))?;
    fs::rename(&unfinished, &folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(programs)
}

/// Adds cargo's own helpers, which a minimal Rust lacks.
pub(crate) fn ensure_components() -> Result<()> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        let there = cargo().args([command, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if there.is_ok_and(|status| status.success()) {
            continue;
        }
        println!("rustup component add {component} (cargo {command} is missing)");
        shell::run(Command::new("rustup").args(["component", "add", component]))
            .with_context(|| format!("cargo {command} is missing: install Rust's component {component}"))?;
    }
    Ok(())
}

/// Whether apt has lists of packages at all: images of Debian come without.
fn knows_packages() -> bool {
    let lists = fs::read_dir("/var/lib/apt/lists").into_iter().flatten().flatten();
    lists.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().contains("_Packages"))
}

fn apt_get(args: &[&str], folder: &Path) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.args(args).current_dir(folder).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    shell::run(&mut command).with_context(|| format!("apt-get {} failed", args[0]))
}
