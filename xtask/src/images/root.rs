//! The layers' content: what mmdebstrap installs, what a package holds, what a recipe's folder has.

use std::fs::{self, File};
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::layout::{append, append_link};
use super::recipe::{Debian, Recipe, Root, sorted};

/// Nothing in an image is younger than this (seconds since 1970), so that building it again gives the same.
pub(crate) const EPOCH: u64 = 1_700_000_000;

/// Left out of every image: nobody reads them there.
const EXCLUDED: [&str; 5] =
    ["/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/i18n/*", "/usr/share/doc/*"];
/// What installing leaves behind, some of it different every time.
const CLEAN_UP: &str = "rm -rf \"$1\"/var/cache/debconf/* \"$1\"/var/log/* \"$1\"/var/lib/apt/lists/* \
                        \"$1\"/var/cache/ldconfig/*";

/// Sees to it that the big layer of a recipe is there, as a tar archive. Recipes that share it build it once.
pub(crate) fn ensure(recipe: &Recipe, out: &Path) -> Result<PathBuf> {
    let roots = out.join("roots");
    fs::create_dir_all(&roots)?;
    let archive = roots.join(format!("{}-{}.tar", recipe.name, &recipe.root_key()[..16]));
    if archive.exists() {
        return Ok(archive);
    }
    remove_older(&roots, &recipe.name)?;
    let unfinished = roots.join(format!("{}.tar", recipe.name));
    match &recipe.root {
        Root::Debian(debian) => bootstrap(debian, &unfinished)?,
        Root::Busybox(package) => busybox(package, &unfinished)?,
        Root::From(base) => bail!("recipe {} has no layer of its own, but that of {base}", recipe.name),
    }
    fs::rename(&unfinished, &archive)?;
    Ok(archive)
}

fn remove_older(roots: &Path, name: &str) -> Result<()> {
    let key = |path: &Path| path.file_stem()?.to_str()?.strip_prefix(name)?.strip_prefix('-').map(str::len);
    for path in sorted(roots)?.iter().filter(|path| key(path) == Some(16)) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// The small layer: a recipe's `rootfs/`.
pub(crate) fn pack(rootfs: &Path) -> Result<Cursor<Vec<u8>>> {
    let mut tar = tar::Builder::new(Vec::new());
    pack_folder(&mut tar, rootfs, Path::new(""))?;
    Ok(Cursor::new(tar.into_inner()?))
}

fn pack_folder(tar: &mut tar::Builder<Vec<u8>>, folder: &Path, name: &Path) -> Result<()> {
    for path in sorted(folder)? {
        let name = name.join(path.file_name().unwrap_or_default());
        let executable = fs::metadata(&path)?.permissions().mode() & 0o100 != 0;
        append(tar, &path, &name, if executable { 0o755 } else { 0o644 })?;
        if path.is_dir() {
            pack_folder(tar, &path, &name)?;
        }
    }
    Ok(())
}

/// The machine's release of Debian (or of what descends from it): `bookworm`.
pub(crate) fn suite() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("cannot tell which Debian this is")?;
    let suite = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    suite
        .map(|suite| suite.trim_matches('"').to_owned())
        .context("images are built from Debian's packages, but this machine is not Debian: no VERSION_CODENAME in /etc/os-release")
}

fn bootstrap(debian: &Debian, archive: &Path) -> Result<()> {
    need_root()?;
    need_program("mmdebstrap", "mmdebstrap")?;
    let suite = suite()?;
    let scratch = tempfile::tempdir()?;
    let mut command = Command::new("mmdebstrap");
    command
        .env("SOURCE_DATE_EPOCH", EPOCH.to_string())
        .args(["--mode=root", "--quiet", "--variant=essential", "--skip=output/dev"])
        .arg(format!("--include={}", debian.packages.join(",")));
    for pattern in EXCLUDED.iter().copied().chain(debian.exclude.iter().map(String::as_str)) {
        command.arg(format!("--dpkgopt=path-exclude={pattern}"));
    }
    // The packages' licences stay with the packages.
    command.arg("--dpkgopt=path-include=/usr/share/doc/*/copyright");
    for (hook, text) in
        [("essential", &*debian.before), ("customize", &*debian.after), ("customize", CLEAN_UP)]
    {
        command.arg(format!("--{hook}-hook={}", script(scratch.path(), text)?.display()));
    }
    command.arg(&suite).arg(archive);
    for (name, text) in sources(&suite)? {
        let path = scratch.path().join(name);
        fs::write(&path, text)?;
        command.arg(path);
    }
    eprintln!("installing {} with mmdebstrap (half a minute)", debian.packages.join(", "));
    if run(&mut command).is_err() {
        // What it has not finished is of no use; its scratch folder it removes itself.
        let _absent_is_fine = fs::remove_file(archive);
        bail!("mmdebstrap failed: is a mirror of Debian in reach (apt-get update)?");
    }
    Ok(())
}

/// A program for mmdebstrap to run; it gives the root as the one argument.
fn script(folder: &Path, text: &str) -> Result<PathBuf> {
    let (mut file, path) = tempfile::NamedTempFile::new_in(folder)?.keep()?;
    write!(file, "#!/bin/sh\nset -eu\n{text}")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// The machine's own apt sources for its release, without those of third parties: by file format.
fn sources(suite: &str) -> Result<Vec<(&'static str, String)>> {
    let mut lines = String::new();
    let mut stanzas = String::new();
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    files.extend(sorted(Path::new("/etc/apt/sources.list.d")).unwrap_or_default());
    for file in files {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => stanzas.push_str(&stanzas_of(&text, suite)),
            Some("list") => lines.push_str(&lines_of(&text, suite)),
            _ => {}
        }
    }
    if lines.is_empty() && stanzas.is_empty() {
        bail!("no apt source for {suite} in /etc/apt: images are built from Debian's packages");
    }
    let both = [("apt.list", lines), ("apt.sources", stanzas)];
    Ok(both.into_iter().filter(|(_, text)| !text.is_empty()).collect())
}

/// `bookworm`, `bookworm-updates`, `bookworm-security`, `bookworm/updates`.
fn is_suite(word: &str, suite: &str) -> bool {
    word.strip_prefix(suite).is_some_and(|rest| matches!(rest, "" | "-updates" | "-security" | "/updates"))
}

/// Lines of `sources.list` for binary packages of the suite.
fn lines_of(text: &str, suite: &str) -> String {
    let wanted = |line: &&str| {
        line.trim_start().starts_with("deb ") && line.split_whitespace().any(|word| is_suite(word, suite))
    };
    text.lines().filter(wanted).map(|line| format!("{line}\n")).collect()
}

/// Stanzas of deb822's format for the suite.
fn stanzas_of(text: &str, suite: &str) -> String {
    let text = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let field = |stanza: &str, name: &str| {
        let values = stanza.lines().filter_map(|line| line.strip_prefix(name).map(str::to_owned));
        values.collect::<Vec<_>>().join(" ")
    };
    let wanted = |stanza: &&str| {
        field(stanza, "Types:").split_whitespace().any(|kind| kind == "deb")
            && field(stanza, "Suites:").split_whitespace().any(|word| is_suite(word, suite))
    };
    text.split("\n\n").filter(wanted).map(|stanza| format!("{}\n\n", stanza.trim())).collect()
}

/// One static program and a link for each of its applets.
fn busybox(package: &str, archive: &Path) -> Result<()> {
    let scratch = tempfile::tempdir()?;
    // Left to itself, apt would download as a user of its own, who cannot get in here.
    let download = ["download", "-qq", "-o", "APT::Sandbox::User=root", package];
    run(Command::new("apt-get").args(download).current_dir(scratch.path()))
        .with_context(|| format!("cannot download package {package}: try apt-get update"))?;
    let deb = sorted(scratch.path())?.into_iter().find(|path| path.extension().is_some_and(|e| e == "deb"));
    let deb = deb.with_context(|| format!("apt-get download left no package {package}"))?;
    let unpacked = scratch.path().join("unpacked");
    run(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(&unpacked))?;
    let program = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path));
    let program = program.iter().find(|path| path.exists()).context("the package has no busybox")?;
    let applets = Command::new(program).arg("--list").output()?;
    let applets = String::from_utf8(applets.stdout)?;

    let mut tar = tar::Builder::new(File::create(archive)?);
    let empty = scratch.path().join("empty");
    fs::create_dir(&empty)?;
    for (folder, mode) in
        [("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("usr", 0o755), ("var", 0o755)]
    {
        append(&mut tar, &empty, Path::new(folder), mode)?;
    }
    append(&mut tar, program, Path::new("bin/busybox"), 0o755)?;
    for folder in ["sbin", "usr/bin", "usr/sbin"] {
        append_link(&mut tar, folder, "/bin")?;
    }
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        append_link(&mut tar, &format!("bin/{applet}"), "busybox")?;
    }
    Ok(tar.into_inner()?.sync_all()?)
}

fn need_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("images are installed with mmdebstrap, which needs root here: run it as root");
}

/// Installs a Debian package when a program is missing, and says so.
fn need_program(program: &str, package: &str) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).exists()) {
        return Ok(());
    }
    eprintln!("installing {package} with apt-get, to build images");
    run(Command::new("apt-get").args(["install", "-qq", "--yes", "--no-install-recommends", package]))
        .with_context(|| format!("cannot install {package}: try apt-get update"))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    // Standard output is for the archives' names.
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("{program} failed: {status}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_machines_own_release_is_taken_from_its_sources() {
        let text = "Types: deb\n# a note\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\n\
                    Types: deb\nURIs: https://deb.example\nSuites: nodistro\n\n\
                    Types: deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm\n";
        assert_eq!(
            stanzas_of(text, "bookworm"),
            "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\n"
        );
        let text = "deb http://mirror.example/debian bookworm main\ndeb-src http://mirror.example/debian bookworm main\n\
                    # deb http://x bookworm main\ndeb https://packages.example/apt cloud-sdk-bookworm main\n\
                    deb [arch=amd64] http://security.example bookworm-security main\n";
        assert_eq!(
            lines_of(text, "bookworm"),
            "deb http://mirror.example/debian bookworm main\n\
             deb [arch=amd64] http://security.example bookworm-security main\n"
        );
    }
}
