//! Settings of the whole machine (or network namespace) that networks turn on, and off again when nobody may
//! need them any more.
//!
//! Which ones were off before is noted in a file that all instances share: the last of them to go turns them
//! off. That is seen by the bridges: as long as there is one, stead's or another program's, packets may be
//! passed on for it.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use crate::error::NetworkError;
use crate::netlink::route::Link;

/// Sets `name` to 1.
pub(crate) fn set(name: &str) -> Result<(), NetworkError> {
    turn(name, |path| {
        if !is_on(path)? {
            fs::write(path, "1")?;
            tracing::info!("set {name}=1");
        }
        Ok(())
    })
}

/// Sets `name` to 1, and notes that it was not.
pub(crate) fn turn_on(name: &str, notes: &Path) -> Result<(), NetworkError> {
    turn(name, |path| if is_on(path)? { Ok(()) } else { note(name, notes) })?;
    set(name)
}

/// Turns off what is noted, unless one of the machine's links is a bridge.
pub(crate) fn turn_off(notes: &Path, links: &[Link]) -> Result<(), NetworkError> {
    if links.iter().any(|link| link.kind == "bridge") {
        return Ok(());
    }
    let Ok(noted) = fs::read_to_string(notes) else { return Ok(()) };
    for name in noted.lines() {
        turn(name, |path| fs::write(path, "0"))?;
        tracing::info!("set {name}=0, as it was");
    }
    // Turning off twice does no harm.
    let _ = fs::remove_file(notes);
    Ok(())
}

fn note(name: &str, notes: &Path) -> io::Result<()> {
    if let Some(dir) = notes.parent() {
        fs::create_dir_all(dir)?;
    }
    writeln!(fs::File::options().create(true).append(true).open(notes)?, "{name}")
}

fn is_on(path: &str) -> io::Result<bool> {
    Ok(fs::read_to_string(path)?.trim() == "1")
}

fn turn(name: &str, how: impl FnOnce(&str) -> io::Result<()>) -> Result<(), NetworkError> {
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    how(&path).map_err(|error| NetworkError::Sysctl { name: name.to_owned(), error })
}

/// Whether the kernel has no such setting.
pub(crate) fn is_missing(error: &NetworkError) -> bool {
    matches!(error, NetworkError::Sysctl { error, .. } if error.kind() == ErrorKind::NotFound)
}
