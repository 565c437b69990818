//! Unsafe code lives in one small module per need, with its safety argument, and nowhere else.

use super::Finding;
use super::source::Source;

/// Each module with unsafe code.
const MODULES: &[&str] = &[
    "crates/node/src/async_fd.rs",
    "crates/runtime/src/cgroup/devices.rs",
    "crates/runtime/src/shim/executor.rs",
    "crates/runtime/src/shim/sys.rs",
    "crates/volumes/src/loop_device/sys.rs",
];

/// Unsafe code elsewhere, and modules without any.
pub(crate) fn check(sources: &[Source]) -> Vec<Finding> {
    check_with(sources, MODULES)
}

fn check_with(sources: &[Source], modules: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut listed: Vec<&str> = modules.to_vec();
    for source in sources {
        let first = source.tokens.iter().find(|t| matches!(&*t.text, "unsafe" | "unsafe_code"));
        let Some(first) = first else { continue };
        if modules.contains(&source.path.as_str()) {
            listed.retain(|module| *module != source.path);
        } else {
            let what = "unsafe code outside the modules that are for it (xtask/src/tidy/unsafety.rs)";
            findings.push(Finding::new(&source.path, first.line, what));
        }
    }
    let stale =
        listed.into_iter().map(|module| Finding::new(module, 0, "is listed for unsafe code, but has none"));
    findings.extend(stale);
    findings
}

#[cfg(test)]
mod tests {
    use super::super::{parse, shown};
    use super::*;

    #[test]
    fn unsafe_code_is_only_where_the_list_says_and_the_list_is_true() {
        let sources = [
            parse("sys.rs", "#![allow(unsafe_code)]\n"),
            parse("a.rs", "\nfn a() { unsafe { b() } }\n"),
            parse("b.rs", "// unsafe\n"),
        ];
        assert_eq!(
            shown(&check_with(&sources, &["sys.rs", "b.rs"])),
            [
                "a.rs:2: unsafe code outside the modules that are for it (xtask/src/tidy/unsafety.rs)",
                "b.rs: is listed for unsafe code, but has none",
            ]
        );
    }
}
