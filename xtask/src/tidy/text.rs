//! What a file of any kind may not say: where somebody's machine keeps things, and which registry it used.

use super::Finding;
use super::house::File;

/// In pieces, so that this file may say them. A path counts when it begins there.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/main"), concat!("/wo", "rk/shared"), concat!("/ro", "ot/.")];
const HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("deb.debian", ".org"),
    concat!("security.debian", ".org"),
];
/// Written by cargo.
const EXEMPT: &[&str] = &["Cargo.lock"];

/// Every line that does.
pub(crate) fn check(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| !EXEMPT.contains(&file.path.as_str())) {
        for (number, line) in file.text.lines().enumerate() {
            let machine = MACHINE_PATHS.iter().find(|path| begins_in(line, path));
            let host = HOSTS.iter().find(|host| line.contains(**host));
            if let Some(path) = machine {
                let what = format!("{path} is a place on one machine: name it from the top of the tree");
                findings.push(Finding::new(&file.path, number + 1, what));
            }
            if let Some(host) = host {
                let what = format!("{host}: which registry is used is the machine's matter");
                findings.push(Finding::new(&file.path, number + 1, what));
            }
        }
    }
    findings
}

/// Whether a path begins in a line, and is not the middle of a longer one.
fn begins_in(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '~' | '$' | '}'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    #[test]
    fn places_and_hosts_are_found_in_any_file() {
        let text = format!("see {0}a\nsee x{0}a, a{0}b\nfrom {1}\n", MACHINE_PATHS[0], HOSTS[0]);
        let files =
            ["README.md", "Cargo.lock"].map(|path| File { path: path.to_owned(), text: text.clone() });
        assert_eq!(
            shown(&check(&files)),
            [
                format!(
                    "README.md:1: {} is a place on one machine: name it from the top of the tree",
                    MACHINE_PATHS[0]
                ),
                format!("README.md:3: {}: which registry is used is the machine's matter", HOSTS[0]),
            ]
        );
    }
}
