//! The page for users lists every reason that programs see, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where a table of reasons begins: the module's file, from `src`.
const MARK: &str = "<!-- reasons: ";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Modules that hold what programs see.
const MODULES: &[&str] = &["pub mod reasons {", "pub mod waits {"];

/// The constants of each such module, by its file.
fn defined() -> BTreeSet<(String, String)> {
    let src = root().join("src");
    let mut found = BTreeSet::new();
    for file in rust_files(&src) {
        let text = fs::read_to_string(&file).expect("a source file");
        let place = file.strip_prefix(&src).expect("below src").display().to_string();
        for (_, module) in MODULES.iter().filter_map(|begin| text.split_once(begin)) {
            let module = module.split_once("\n}").expect("its end").0;
            let constants = module.lines().filter_map(|line| line.trim().strip_prefix("pub const "));
            for constant in constants {
                let value = constant.split('"').nth(1).expect("a text");
                found.insert((place.clone(), value.to_owned()));
            }
        }
    }
    found
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The reasons in the first column of the page's marked tables, by the file that each mark names.
fn documented() -> BTreeSet<(String, String)> {
    let page = fs::read_to_string(root().join("../../docs/why.md")).expect("the page");
    let mut found = BTreeSet::new();
    for part in page.split(MARK).skip(1) {
        let (place, rest) = part.split_once(" -->").expect("the mark's end");
        let table = rest.trim_start().lines().take_while(|line| line.starts_with('|'));
        let first = table.filter_map(|row| row.strip_prefix("| `")?.split('`').next());
        found.extend(first.map(|reason| (place.to_owned(), reason.to_owned())));
    }
    found
}

#[test]
fn every_reason_stands_in_the_page_and_every_one_in_the_page_exists() {
    let (defined, documented) = (defined(), documented());
    assert!(defined.len() > 40, "the modules were not found: {defined:?}");
    let missing: Vec<_> = defined.difference(&documented).collect();
    let unknown: Vec<_> = documented.difference(&defined).collect();
    assert!(missing.is_empty(), "docs/why.md lacks {missing:?}");
    assert!(unknown.is_empty(), "docs/why.md has what no planner says: {unknown:?}");
}

#[test]
fn the_page_names_every_condition_of_a_set() {
    use planner::stateful_set::conditions::{AVAILABLE, PROGRESSING, STALLED};
    let page = fs::read_to_string(root().join("../../docs/why.md")).expect("the page");
    for condition in [AVAILABLE, PROGRESSING, STALLED] {
        assert!(page.contains(&format!("| `{condition}` |")), "{condition}");
    }
}
