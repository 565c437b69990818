//! What is not finished, what is left over from looking for an error, and tests that do not test.

use super::Finding;
use super::source::Source;

const UNFINISHED: &[(&[&str], &str)] = &[
    (&["todo", "!"], "todo! is not done: do it, or leave out what needs it"),
    (&["unimplemented", "!"], "unimplemented! is not done: do it, or leave out what needs it"),
    (&["dbg", "!"], "dbg! is for looking, not for keeping"),
    (&["#", "[", "ignore"], "an ignored test tests nothing: mend it or remove it"),
];

const SLEEPS: &[&[&str]] = &[&["thread", ":", ":", "sleep"], &["time", ":", ":", "sleep"]];

/// Helpers that wait for something that no event tells of, bounded, for all tests of their crate.
const POLLING_HELPERS: &[&str] = &["crates/runtime/tests/common/mod.rs"];

/// Every such place in a file.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (sequence, what) in UNFINISHED {
        findings.extend(source.find(sequence).map(|token| Finding::new(&source.path, token.line, *what)));
    }
    if source.is_test() && !POLLING_HELPERS.contains(&source.path.as_str()) {
        let what = "a test that sleeps is slow and fails on a busy machine: wait for the event";
        for sequence in SLEEPS {
            findings.extend(source.find(sequence).map(|token| Finding::new(&source.path, token.line, what)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::{parse, shown};
    use super::*;

    #[test]
    fn unfinished_code_is_found_and_talk_about_it_is_not() {
        let text = "// todo!()\nfn a() { todo!(); }\nfn b() { dbg!(1); f(\"todo!()\"); }\n\
                    #[test]\n#[ignore = \"slow\"]\nfn c() { unimplemented!() }\nfn todo() {}\n";
        assert_eq!(
            shown(&check(&parse("src/a.rs", text))),
            [
                "src/a.rs:2: todo! is not done: do it, or leave out what needs it",
                "src/a.rs:6: unimplemented! is not done: do it, or leave out what needs it",
                "src/a.rs:3: dbg! is for looking, not for keeping",
                "src/a.rs:5: an ignored test tests nothing: mend it or remove it",
            ]
        );
    }

    #[test]
    fn only_tests_may_not_sleep() {
        let text = "fn a() { std::thread::sleep(b); }\nasync fn c() { tokio::time::sleep(d).await; }";
        assert_eq!(check(&parse("crates/a/src/lib.rs", text)), []);
        for path in ["crates/a/tests/b.rs", "crates/a/src/queue/tests.rs"] {
            assert_eq!(check(&parse(path, text)).len(), 2, "{path}");
        }
    }
}
