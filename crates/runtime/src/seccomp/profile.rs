//! Profiles from files (`seccompProfile.type: Localhost`), in OCI's format: `LinuxSeccomp` of the runtime
//! specification, as libseccomp reads it.
//!
//! A filter of ours knows two answers, a profile any number of them. The kernel asks all filters and takes the
//! strictest answer, so a profile becomes one filter that lets pass what any rule speaks of, and one more for each
//! answer that is no permission.

use std::collections::{BTreeMap, BTreeSet};

use libcontainer::oci_spec::runtime::{
    LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator, LinuxSyscall,
};
use seccompiler::{BpfProgram, TargetArch, compile_from_json};
use serde_json::{Value, json};

/// The filters that do what the profile says, in the order of their installation.
///
/// # Errors
///
/// A sentence that says what is wrong with the profile.
pub(crate) fn profile(text: &str) -> Result<Vec<BpfProgram>, String> {
    let profile: LinuxSeccomp =
        serde_json::from_str(text).map_err(|e| format!("the seccomp profile is not in OCI's format: {e}"))?;
    let arch = std::env::consts::ARCH.try_into().map_err(|e| format!("no seccomp filter here: {e}"))?;
    let otherwise = action(profile.default_action(), profile.default_errno_ret())?;
    let mut known = Known { arch, names: BTreeMap::new() };
    let mut spoken_of = Rules::default();
    let mut by_answer: BTreeMap<String, (Value, Rules)> = BTreeMap::new();
    for rule in profile.syscalls().iter().flatten() {
        let answer = action(rule.action(), rule.errno_ret())?;
        let (_, rules) = by_answer.entry(answer.to_string()).or_insert_with(|| (answer, Rules::default()));
        for name in rule.names().iter().filter(|name| known.knows(name)) {
            rules.add(name, rule);
            spoken_of.add(name, rule);
        }
    }
    let mut filters = Vec::new();
    let allow = json!("allow");
    if otherwise != allow {
        filters.push(compile(arch, &otherwise, &allow, &spoken_of)?);
    }
    for (answer, rules) in by_answer.into_values().filter(|(answer, _)| *answer != allow) {
        filters.push(compile(arch, &allow, &answer, &rules)?);
    }
    Ok(filters)
}

/// Which names are system calls of this machine: libseccomp passes over the others, and so do we.
struct Known {
    arch: TargetArch,
    names: BTreeMap<String, bool>,
}

impl Known {
    fn knows(&mut self, name: &str) -> bool {
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        let only = json!({"only": {"mismatch_action": "allow", "match_action": "log", "filter": [{"syscall": name}]}});
        let known = compile_from_json(only.to_string().as_bytes(), self.arch).is_ok();
        self.names.insert(name.to_owned(), known);
        known
    }
}

/// What a filter matches: by system call, the conditions of which one must hold; none at all means always.
#[derive(Default)]
struct Rules {
    always: BTreeSet<String>,
    sometimes: Vec<(String, Vec<Value>)>,
}

impl Rules {
    fn add(&mut self, name: &str, rule: &LinuxSyscall) {
        let conditions = rule.args().as_deref().unwrap_or_default();
        if conditions.is_empty() {
            self.always.insert(name.to_owned());
            return;
        }
        let indices: BTreeSet<usize> = conditions.iter().map(LinuxSeccompArg::index).collect();
        // Conditions on one argument that stand twice are alternatives (runc's `matchCall`).
        if indices.len() < conditions.len() {
            let each = conditions.iter().map(|c| (name.to_owned(), vec![condition(c)]));
            self.sometimes.extend(each);
        } else {
            self.sometimes.push((name.to_owned(), conditions.iter().map(condition).collect()));
        }
    }

    fn to_json(&self) -> Vec<Value> {
        let always = self.always.iter().map(|name| json!({"syscall": name}));
        let sometimes = self.sometimes.iter().filter(|(name, _)| !self.always.contains(name));
        always.chain(sometimes.map(|(name, args)| json!({"syscall": name, "args": args}))).collect()
    }
}

fn compile(
    arch: TargetArch,
    otherwise: &Value,
    matched: &Value,
    rules: &Rules,
) -> Result<BpfProgram, String> {
    let one =
        json!({"one": {"mismatch_action": otherwise, "match_action": matched, "filter": rules.to_json()}});
    let made = compile_from_json(one.to_string().as_bytes(), arch);
    let mut made = made.map_err(|e| format!("making the seccomp filter: {e}"))?;
    made.remove("one").ok_or_else(|| "making the seccomp filter: none came out".to_owned())
}

fn condition(arg: &LinuxSeccompArg) -> Value {
    let op = match arg.op() {
        LinuxSeccompOperator::ScmpCmpNe => json!("ne"),
        LinuxSeccompOperator::ScmpCmpLt => json!("lt"),
        LinuxSeccompOperator::ScmpCmpLe => json!("le"),
        LinuxSeccompOperator::ScmpCmpEq => json!("eq"),
        LinuxSeccompOperator::ScmpCmpGe => json!("ge"),
        LinuxSeccompOperator::ScmpCmpGt => json!("gt"),
        // The first value is the mask.
        LinuxSeccompOperator::ScmpCmpMaskedEq => json!({"masked_eq": arg.value()}),
    };
    let masked = arg.op() == LinuxSeccompOperator::ScmpCmpMaskedEq;
    let value = if masked { arg.value_two().unwrap_or(0) } else { arg.value() };
    json!({"index": arg.index(), "type": "qword", "op": op, "val": value})
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<Value, String> {
    Ok(match action {
        LinuxSeccompAction::ScmpActAllow => json!("allow"),
        LinuxSeccompAction::ScmpActErrno => json!({"errno": errno.unwrap_or(libc::EPERM.unsigned_abs())}),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => json!("kill_thread"),
        LinuxSeccompAction::ScmpActKillProcess => json!("kill_process"),
        LinuxSeccompAction::ScmpActLog => json!("log"),
        LinuxSeccompAction::ScmpActTrap => json!("trap"),
        LinuxSeccompAction::ScmpActTrace => json!({"trace": errno.unwrap_or(0)}),
        LinuxSeccompAction::ScmpActNotify => {
            return Err("the seccomp profile asks for SCMP_ACT_NOTIFY: nobody listens here".to_owned());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_is_a_filter_and_unknown_calls_are_passed_over() {
        let text = json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
            {"names": ["read", "write", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 2_114_060_288_u64, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}, {"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]});
        assert_eq!(profile(&text.to_string()).unwrap().len(), 2, "what is allowed, and what is not there");
        let open = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]});
        assert_eq!(profile(&open.to_string()).unwrap().len(), 1);
    }

    #[test]
    fn what_is_no_profile_is_said() {
        assert!(profile("{").unwrap_err().starts_with("the seccomp profile is not in OCI's format: "));
        let listens = json!({"defaultAction": "SCMP_ACT_NOTIFY"});
        assert!(profile(&listens.to_string()).unwrap_err().contains("SCMP_ACT_NOTIFY"));
    }
}
