//! Fetches the packages, with the clients of their registries, into a folder that goes again.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

/// `kubernetes-validate`, Apache-2.0: the OpenAPI definitions of several releases.
const WHEEL: &str = "kubernetes-validate==1.37.0";
/// `k8s-pb`, Apache-2.0: protobuf messages, one release behind.
const CRATE_VERSION: &str = "0.9.0";

/// Where the sources lie.
pub(super) struct Sources {
    /// OpenAPI definitions, a JSON file.
    pub(super) definitions: PathBuf,
    /// The `src` folder of `k8s-pb`.
    pub(super) k8s_pb: PathBuf,
}

pub(super) fn fetch(folder: &Path, release: &str) -> anyhow::Result<Sources> {
    let wheels = folder.join("wheels");
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", WHEEL, "--dest"])
        .arg(&wheels))
    .context("this needs python3 and its pip (Debian: python3-pip)")?;
    let wheel = std::fs::read_dir(&wheels)?.next().context("pip downloaded nothing")??.path();
    let unpacked = folder.join("wheel");
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).args([&wheel, &unpacked]))?;
    let definitions = unpacked
        .join("kubernetes_validate/kubernetes-json-schema")
        .join(format!("v{release}.0-local/_definitions.json"));

    let project = folder.join("project");
    std::fs::create_dir_all(project.join("src"))?;
    std::fs::write(project.join("src/lib.rs"), "")?;
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\nk8s-pb = \"={CRATE_VERSION}\"\n\n[workspace]\n"
    );
    std::fs::write(project.join("Cargo.toml"), manifest)?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    run(Command::new(cargo).args(["vendor", "--quiet", "vendor"]).current_dir(&project))?;
    Ok(Sources { definitions, k8s_pb: project.join("vendor/k8s-pb/src") })
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
