//! The default seccomp profile: what containerd and Docker allow, by the container's capabilities.
//!
//! Source: containerd `contrib/seccomp/seccomp_default.go`, moby `profiles/seccomp/default.json`. It differs
//! in one thing: programs of another architecture than the machine's (32-bit ones) are not let in.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

mod profile;
mod syscalls;

pub(crate) use profile::profile;

/// Namespaces that `clone` may not make without CAP_SYS_ADMIN.
const CLONE_NAMESPACES: i32 = libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWCGROUP;

/// Which argument of `clone` holds its flags.
#[cfg(target_arch = "s390x")]
const CLONE_FLAGS: u8 = 1;
#[cfg(not(target_arch = "s390x"))]
const CLONE_FLAGS: u8 = 0;

/// `personality` values that are allowed: Linux, 32-bit uname, "tell me" and their combinations.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// How many system calls newer than this list are answered with "not implemented" instead of "not allowed":
/// programs try new calls first and fall back on ENOSYS only.
const FUTURE: c_long = 64;

/// The filters for a container with these capabilities (`CAP_…`), to be installed in this order.
///
/// # Errors
///
/// A sentence, on a machine whose architecture has no filter compiler.
pub(crate) fn default_profile(capabilities: &[String]) -> Result<Vec<BpfProgram>, String> {
    let arch = std::env::consts::ARCH.try_into().map_err(|e| format!("no seccomp filter here: {e}"))?;
    let compile = |rules, otherwise, matched| {
        SeccompFilter::new(rules, otherwise, matched, arch)
            .and_then(BpfProgram::try_from)
            .map_err(|e| format!("making the seccomp filter: {e}"))
    };
    let errno = |e: i32| SeccompAction::Errno(e.unsigned_abs());
    let allowed = allow_list(capabilities).map_err(|e| format!("making the seccomp filter: {e}"))?;
    // A filter knows two answers only, so a second one turns some of what the first lets pass into ENOSYS.
    let unknown = not_implemented(capabilities);
    Ok(vec![
        compile(allowed, errno(libc::EPERM), SeccompAction::Allow)?,
        compile(unknown, SeccompAction::Allow, errno(libc::ENOSYS))?,
    ])
}

fn allow_list(
    capabilities: &[String],
) -> Result<BTreeMap<c_long, Vec<SeccompRule>>, seccompiler::BackendError> {
    let has = |cap: &str| capabilities.iter().any(|c| c == cap);
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
    for call in syscalls::ALWAYS {
        rules.insert(*call, Vec::new());
    }
    for (capability, calls) in syscalls::BY_CAPABILITY {
        if has(capability) {
            rules.extend(calls.iter().map(|call| (*call, Vec::new())));
        }
    }
    for call in not_implemented(capabilities).keys() {
        rules.insert(*call, Vec::new());
    }
    let when = |arg, op, value| {
        SeccompRule::new(vec![SeccompCondition::new(arg, SeccompCmpArgLen::Dword, op, value)?])
    };
    let personalities =
        PERSONALITIES.into_iter().map(|value| when(0, SeccompCmpOp::Eq, value)).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_personality, personalities);
    let vsock = libc::AF_VSOCK.unsigned_abs().into();
    rules.insert(libc::SYS_socket, vec![when(0, SeccompCmpOp::Ne, vsock)?]);
    if !has("CAP_SYS_ADMIN") {
        let namespaces = SeccompCmpOp::MaskedEq(CLONE_NAMESPACES.unsigned_abs().into());
        rules.insert(libc::SYS_clone, vec![when(CLONE_FLAGS, namespaces, 0)?]);
    }
    Ok(rules)
}

/// `clone3` hides its flags from a filter: without CAP_SYS_ADMIN it is "not there", and C libraries use
/// `clone` instead.
fn not_implemented(capabilities: &[String]) -> BTreeMap<c_long, Vec<SeccompRule>> {
    let mut calls: Vec<c_long> = (syscalls::NEWEST + 1..=syscalls::NEWEST + FUTURE).collect();
    if !capabilities.iter().any(|c| c == "CAP_SYS_ADMIN") {
        calls.push(libc::SYS_clone3);
    }
    calls.into_iter().map(|call| (call, Vec::new())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_needs_sys_admin() {
        let without = allow_list(&["CAP_CHOWN".to_owned()]).unwrap();
        assert!(!without.contains_key(&libc::SYS_mount));
        assert_eq!(without[&libc::SYS_clone].len(), 1, "namespace flags are checked");
        let with = allow_list(&["CAP_SYS_ADMIN".to_owned()]).unwrap();
        assert!(with[&libc::SYS_mount].is_empty());
        assert!(with[&libc::SYS_clone].is_empty());
    }

    #[test]
    fn clone3_is_missing_rather_than_forbidden_without_sys_admin() {
        assert!(not_implemented(&[]).contains_key(&libc::SYS_clone3));
        assert!(allow_list(&[]).unwrap().contains_key(&libc::SYS_clone3));
        assert!(!not_implemented(&["CAP_SYS_ADMIN".to_owned()]).contains_key(&libc::SYS_clone3));
    }

    #[test]
    fn the_profile_compiles() {
        let filters = default_profile(&["CAP_SYS_ADMIN".to_owned(), "CAP_BPF".to_owned()]).unwrap();
        assert_eq!(filters.len(), 2);
        assert!(filters.iter().all(|f| f.len() < 4096), "the kernel takes 4096 instructions");
    }
}
