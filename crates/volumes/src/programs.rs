//! The machine's own programs for file systems. stead brings none of its own: what made a file system is what
//! repairs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::VolumeError;

/// Where programs of the administrator are, whatever the PATH of a service says.
const ALSO: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];
/// So much is kept of what a program says when it fails: its last line.
const WORDS_MOST: usize = 300;

/// A package of Debian, and most others.
pub(crate) struct Package(&'static str);

/// For ext4.
pub(crate) const E2FSPROGS: Package = Package("e2fsprogs");
/// For XFS.
pub(crate) const XFSPROGS: Package = Package("xfsprogs");

/// Runs a program of the package on a file or folder.
pub(crate) fn run(
    package: &Package,
    program: &'static str,
    args: &[&str],
    on: &Path,
) -> Result<(), VolumeError> {
    let Some(path) = find(program) else {
        return Err(VolumeError::NoProgram { program, package: package.0 });
    };
    let output = Command::new(path).args(args).arg(on).env("LC_ALL", "C").stdin(Stdio::null()).output();
    let output = output.map_err(|error| VolumeError::Io { doing: "run", path: program.into(), error })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let words = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it said nothing");
    let words = words.chars().take(WORDS_MOST).collect();
    Err(VolumeError::Program { program, path: on.to_owned(), words })
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(ALSO.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_missing_is_named_with_its_package() {
        let error = run(&XFSPROGS, "mkfs.nothing", &[], Path::new("/x")).unwrap_err().to_string();
        assert_eq!(error, "mkfs.nothing is not on this machine: install the package xfsprogs");
    }

    #[test]
    fn a_program_that_fails_has_the_last_word() {
        let error = run(&E2FSPROGS, "ls", &[], Path::new("/no/such/place")).unwrap_err().to_string();
        assert!(
            error.starts_with("ls /no/such/place failed: ") && error.ends_with("No such file or directory"),
            "{error}"
        );
    }
}
