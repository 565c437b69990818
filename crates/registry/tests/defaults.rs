//! What is filled in, as data: each file of `defaults/` holds pairs of documents, an object as it is sent and
//! the same as it is stored. `UPDATE_GOLDEN=1` writes the second of each pair anew; read the difference.

mod common;

use std::fmt::Write as _;
use std::{env, fs};

use common::{created, documents, files};
use serde_json::Value;
use similar::TextDiff;

fn yaml(value: &Value) -> String {
    serde_yaml_ng::to_string(value).expect("JSON is YAML")
}

#[test]
fn objects_are_stored_with_upstreams_defaults() {
    let mut differences = String::new();
    for file in files("defaults") {
        let pairs: Vec<Value> = documents(&format!("defaults/{file}.yaml"));
        let mut golden = Vec::new();
        for pair in pairs.chunks(2) {
            let (version, kind) = (pair[0]["apiVersion"].as_str(), pair[0]["kind"].as_str());
            let kind = registry::by_gvk(version.expect("a version"), kind.expect("a kind")).expect("known");
            let stored = yaml(&created(kind, pair[0].clone()));
            let expected = pair.get(1).map(yaml).unwrap_or_default();
            if stored != expected {
                let diff = TextDiff::from_lines(&expected, &stored);
                let diff = diff.unified_diff().context_radius(4).to_string();
                writeln!(differences, "{file}:\n{diff}").expect("a string");
            }
            golden.push(format!("{}---\n{stored}", yaml(&pair[0])));
        }
        if env::var_os("UPDATE_GOLDEN").is_some() {
            let path = format!("{}/tests/defaults/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
            fs::write(path, golden.join("---\n")).expect("a writable folder");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
