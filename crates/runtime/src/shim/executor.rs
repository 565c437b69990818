//! The last steps inside the container before its program runs: what libcontainer calls an executor.
//!
//! The order matters: a seccomp filter without no_new_privs needs CAP_SYS_ADMIN, so filters come before
//! capabilities are dropped (as runc does it), and capabilities are therefore dropped here and not by
//! libcontainer. Signals are reset because the shim's mask and Rust's SIGPIPE would be inherited.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};
use seccompiler::BpfProgram;

use super::protocol::Fault;
use super::sys;
use crate::Security;

/// Starts the program of a container or of an exec.
#[derive(Clone)]
pub(super) struct Launcher {
    /// What the program may do.
    pub(super) security: Security,
    /// Its seccomp filters.
    pub(super) filters: Vec<BpfProgram>,
    /// Readable when the program is to start; ended without a byte when it is never to. `None`: at once.
    pub(super) gate: Option<RawFd>,
    /// Takes the [`Fault`] when the program cannot be started. It closes when it has been.
    pub(super) status: RawFd,
    /// Standard input is a terminal that becomes the controlling one.
    pub(super) controlling_terminal: bool,
}

impl Executor for Launcher {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        if !self.gate_opens() {
            return Err(ExecutorError::Other("never started".to_owned()));
        }
        let fault = self.launch(spec);
        if let Ok(bytes) = serde_json::to_vec(&fault) {
            // Whoever reads this may be gone; the exit code still tells.
            let _ = borrow(self.status).write_all(&bytes);
        }
        Err(ExecutorError::Other(fault.message()))
    }

    fn validate(&self, _: &Spec) -> Result<(), ExecutorValidationError> {
        // A command that does not exist is the start's error, not the creation's.
        Ok(())
    }

    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        // The environment is handed to execve as the specification has it, in its order.
        Ok(())
    }
}

impl Launcher {
    fn gate_opens(&self) -> bool {
        let Some(gate) = self.gate else { return true };
        borrow(gate).read_exact(&mut [0]).is_ok()
    }

    /// Comes back only when the program cannot be started.
    fn launch(&self, spec: &Spec) -> Fault {
        let Some(process) = spec.process() else { return Fault::system("exec", "no process is specified") };
        let argv = process.args().as_deref().unwrap_or_default();
        let env = process.env().as_deref().unwrap_or_default();
        let path = env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or_default();
        let program = match argv.first() {
            Some(name) => match look_up(name, path) {
                Ok(program) => program,
                Err(why) => return Fault::BadCommand(why),
            },
            None => return Fault::BadCommand("exec: no command is given".to_owned()),
        };
        if self.controlling_terminal
            && let Err(e) = rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
        {
            return Fault::system("making the terminal the controlling one", e);
        }
        let strings =
            |list: &[String]| list.iter().map(|s| CString::new(s.as_bytes())).collect::<Result<Vec<_>, _>>();
        let (Ok(file), Ok(args), Ok(env)) = (CString::new(program.as_bytes()), strings(argv), strings(env))
        else {
            return Fault::BadCommand("exec: the command or its environment contains a NUL".to_owned());
        };
        sys::reset_signals();
        if let Err(e) = self.confine() {
            return Fault::system("giving up privileges", e);
        }
        let error = sys::exec(&file, &args, &env);
        Fault::BadCommand(format!("exec: {:?}: {}", argv[0], words(&error)))
    }

    fn confine(&self) -> io::Result<()> {
        self.filters.iter().try_for_each(sys::install_filter)?;
        if self.security.privileged {
            return Ok(());
        }
        let wanted = capability_set(&self.security.capabilities);
        for number in 0..u64::BITS {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            if wanted.contains(capability) {
                continue;
            }
            match remove_capability_from_bounding_set(capability) {
                Ok(()) => {}
                // Past the last capability that this kernel knows.
                Err(rustix::io::Errno::INVAL) => break,
                Err(e) => return Err(e.into()),
            }
        }
        clear_ambient_capability_set()?;
        let held = capabilities(None)?.permitted & wanted;
        // Inheritable stays empty: CVE-2022-24769.
        let sets = CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
        Ok(set_capabilities(None, sets)?)
    }
}

/// `CAP_CHOWN`, … as a set; what this machine does not know cannot be had.
fn capability_set(names: &[String]) -> CapabilitySet {
    names
        .iter()
        .filter_map(|name| CapabilitySet::from_name(name.strip_prefix("CAP_").unwrap_or(name)))
        .collect()
}

/// A descriptor that lives as long as this process: libcontainer's executors are cloned, files are not.
#[allow(unsafe_code)]
fn borrow(fd: RawFd) -> ManuallyDrop<File> {
    // SAFETY: the worker that made this executor keeps the descriptor open and passes it on over every fork
    // until exec; ManuallyDrop leaves it open.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd) })
}

/// Finds the program as runc does (Go's `exec.LookPath`), with its sentences.
fn look_up(name: &str, path: &str) -> Result<String, String> {
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(name.to_owned()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(format!("exec: {name:?}: stat {name}: {}", words(&e)))
            }
            Err(e) => Err(format!("exec: {name:?}: {}", words(&e))),
        };
    }
    let mut refused = None;
    for dir in path.split(':') {
        let file = if dir.is_empty() { format!("./{name}") } else { format!("{dir}/{name}") };
        match executable(Path::new(&file)) {
            Ok(()) => return Ok(file),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => refused = Some(e),
            Err(_) => {}
        }
    }
    match refused {
        Some(e) => Err(format!("exec: {name:?}: {}", words(&e))),
        None => Err(format!("exec: {name:?}: executable file not found in $PATH")),
    }
}

fn executable(file: &Path) -> io::Result<()> {
    let meta = file.metadata()?;
    if meta.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    Ok(())
}

/// The C library's words for an error, in lower case as Go has them and without Rust's number.
fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_lowercase(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_looked_up_as_runc_does() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let make = |name: &str, mode| {
            std::fs::write(at(name), "").unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        make("good", 0o755);
        make("data", 0o644);
        let path = format!("/nowhere:{}", dir.path().display());
        assert_eq!(look_up("good", &path), Ok(at("good")));
        assert_eq!(look_up("foo", &path).unwrap_err(), r#"exec: "foo": executable file not found in $PATH"#);
        assert_eq!(look_up("data", &path).unwrap_err(), r#"exec: "data": permission denied"#);
        assert_eq!(
            look_up("/no/such", &path).unwrap_err(),
            r#"exec: "/no/such": stat /no/such: no such file or directory"#
        );
        assert_eq!(look_up("/", &path).unwrap_err(), r#"exec: "/": is a directory"#);
    }

    #[test]
    fn capability_names_are_upstreams() {
        let names = ["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_MADE_UP"].map(str::to_owned);
        assert_eq!(capability_set(&names), CapabilitySet::CHOWN | CapabilitySet::NET_BIND_SERVICE);
    }
}
