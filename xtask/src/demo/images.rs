//! The demo's images: from their registry when it is in reach, else made here.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Stead;
use crate::setup::{self, MMDEBSTRAP};
use crate::{images, root, shell};

/// The smallest one comes first: it shows whether a registry is in reach.
const PUBLIC: [&str; 3] = ["busybox:latest", "postgres:14", "postgres:15"];
/// The user's own program in the example; no registry has it.
const OWN: &str = "myapp:latest";
/// How long the smallest image may take.
const SOON: Duration = Duration::from_secs(15);

/// Sees to it that stead has the images, and says where they come from.
pub(super) fn ensure(stead: &Stead, local: bool) -> Result<()> {
    // The first time there is no data directory to look into.
    let there = match stead.data.exists() {
        true => shell::output(&mut stead.command(&["image", "ls"]))?,
        false => String::new(),
    };
    let has = |image: &&str| there.lines().any(|line| is_named(line, image));
    if PUBLIC.iter().chain([&OWN]).all(has) {
        println!("images: all there");
        return Ok(());
    }
    if local || !is_in_reach(stead, PUBLIC[0])? {
        println!("images: made here from Debian's packages, under the names that the manifests use");
        return import(stead, &[&PUBLIC[..], &[OWN]].concat());
    }
    println!("images: pulled from their registry, except {OWN}, which is made here from Debian's packages");
    for image in PUBLIC {
        shell::run(&mut stead.command(&["image", "pull", image]))?;
    }
    import(stead, &[OWN])
}

/// Whether a line of `stead image ls` is about an image: names are shown in full.
fn is_named(line: &str, image: &str) -> bool {
    let name = line.split_whitespace().next().unwrap_or_default();
    name.strip_suffix(image).is_some_and(|before| before.is_empty() || before.ends_with('/'))
}

fn is_in_reach(stead: &Stead, image: &str) -> Result<bool> {
    println!("images: is a registry in reach?");
    let mut command = stead.command(&["image", "pull", image]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("cannot pull")?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        if wait.recv_timeout(SOON) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // Not waited for yet, so the number is still its own.
            let _ = kill(pid, Signal::SIGKILL);
        }
    });
    let status = child.wait();
    drop(done);
    // It has nothing to say.
    let _ = watchdog.join();
    Ok(status.context("cannot pull")?.success())
}

fn import(stead: &Stead, names: &[&str]) -> Result<()> {
    setup::ensure(&[MMDEBSTRAP])?;
    for archive in images::ensure(names, &root().join("target/images"))? {
        let archive = archive.to_string_lossy().into_owned();
        shell::run(&mut stead.command(&["image", "import", &archive]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_recognised_by_their_last_words() {
        let line = "docker.io/library/postgres:14    0123456789ab   90.1 MB";
        assert!(is_named(line, "postgres:14"));
        assert!(!is_named(line, "gres:14"));
        assert!(!is_named("NAME   ID   SIZE", "postgres:14"));
    }
}
