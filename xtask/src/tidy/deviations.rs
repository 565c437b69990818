//! docs/COMPATIBILITY.md: a deviation that no test holds stead to may be gone, or have grown.

use super::Finding;
use super::house::{File, cells, in_backticks};

const PAGE: &str = "docs/COMPATIBILITY.md";

/// Every deviation without its reason, or without a test that there is.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let lines = files.iter().filter(|file| file.path == PAGE).flat_map(|file| file.text.lines());
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(lines) {
        let is_heading = line.starts_with("| what differs |") || line.starts_with("|---");
        let cells = cells(line);
        if is_heading || cells.is_empty() {
            continue;
        }
        let wrong = match cells[..] {
            [what, why, _] if what.is_empty() || why.is_empty() => {
                Some("say what differs, and why it does".to_owned())
            }
            [.., test] => missing(test, files),
            [] => None,
        };
        findings.extend(wrong.map(|wrong| Finding::new(PAGE, number, wrong)));
    }
    findings
}

/// What a cell lacks that names a test as `` `path` `function` ``.
fn missing(test: &str, files: &[File]) -> Option<String> {
    let words: Vec<&str> = test.split_whitespace().filter_map(in_backticks).collect();
    let [path, function] = words[..] else {
        return Some(format!("name the test as `file` `function`, not {test:?}"));
    };
    let Some(file) = files.iter().find(|file| file.path == path) else {
        return Some(format!("there is no file {path}"));
    };
    let found = file.text.contains(&format!("fn {function}("));
    (!found).then(|| format!("there is no test {function} in {path}"))
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    #[test]
    fn each_deviation_needs_a_reason_and_a_test_that_there_is() {
        let page = "# Page\n\n| what differs | why | test |\n|---|---|---|\n\
            | a | because | `t.rs` `holds` |\n\
            | b | | `t.rs` `holds` |\n\
            | c | because | `t.rs` `lost` |\n\
            | d | because | `gone.rs` `holds` |\n\
            | e | because | by hand |\n";
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let files = [file(PAGE, page), file("t.rs", "#[test]\nfn holds() {}\n")];
        assert_eq!(
            shown(&check(&files)),
            [
                "docs/COMPATIBILITY.md:6: say what differs, and why it does",
                "docs/COMPATIBILITY.md:7: there is no test lost in t.rs",
                "docs/COMPATIBILITY.md:8: there is no file gone.rs",
                "docs/COMPATIBILITY.md:9: name the test as `file` `function`, not \"by hand\"",
            ]
        );
    }
}
