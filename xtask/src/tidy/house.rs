//! What the tree consists of: files, crates, and what ARCHITECTURE.md says of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::licences::{Allowed, Package};
use crate::{cargo, shell};

/// A file that belongs to the project.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// From the top folder.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Everything that rules look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct House {
    /// Files of text.
    pub(crate) files: Vec<File>,
    pub(crate) crates: Vec<Crate>,
    /// The floor of each crate, by ARCHITECTURE.md.
    pub(crate) floors: BTreeMap<String, Floor>,
    /// Dependencies with a reason, by ARCHITECTURE.md.
    pub(crate) reasons: BTreeSet<String>,
    /// The names in the workspace's table of dependencies.
    pub(crate) workspace_dependencies: BTreeSet<String>,
    /// Everything of others that goes into the program or its tests on this kind of machine.
    pub(crate) packages: Vec<Package>,
    /// Their licences, by deny.toml.
    pub(crate) allowed: Allowed,
}

/// A crate of the workspace, as cargo describes it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
}

/// One line of a crate's dependencies.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    kind: Option<String>,
    path: Option<String>,
}

impl Dependency {
    /// Whether only tests need it.
    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }

    /// Whether it is a crate of the workspace.
    pub(crate) fn is_ours(&self) -> bool {
        self.path.is_some()
    }
}

/// Higher ones stand on lower ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Floor {
    /// F0 to F4.
    F(u32),
    /// Tools, which nothing stands on.
    T,
}

impl Floor {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "T" => Some(Self::T),
            _ => text.strip_prefix('F')?.parse().ok().map(Self::F),
        }
    }
}

impl House {
    /// Reads the tree whose top folder this is.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let architecture =
            fs::read_to_string(root.join("ARCHITECTURE.md")).context("cannot read ARCHITECTURE.md")?;
        let manifest = fs::read_to_string(root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
        let deny = fs::read_to_string(root.join("deny.toml")).context("cannot read deny.toml")?;
        Ok(Self {
            files: files(root)?,
            crates: crates()?,
            floors: floors(&architecture),
            reasons: reasons(&architecture),
            workspace_dependencies: workspace_dependencies(&manifest),
            packages: packages()?,
            allowed: Allowed::parse(&deny),
        })
    }

    /// Whether a file is the source of a crate on the lowest floors.
    pub(crate) fn is_pure(&self, path: &str) -> bool {
        let name = path.strip_prefix("crates/").and_then(|rest| rest.split_once("/src/"));
        name.is_some_and(|(name, _)| self.floors.get(name).is_some_and(|floor| *floor <= Floor::F(1)))
    }
}

/// The files that git knows or would add, without those that are not text.
fn files(root: &Path) -> Result<Vec<File>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let list = shell::output(&mut git).context("tidy asks git for the project's files")?;
    let mut files = Vec::new();
    for path in list.split_terminator('\0') {
        // Not UTF-8, or removed and not yet committed.
        let Ok(text) = fs::read_to_string(root.join(path)) else { continue };
        files.push(File { path: path.to_owned(), text });
    }
    Ok(files)
}

fn crates() -> Result<Vec<Crate>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Crate>,
    }
    let text = shell::output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cannot read what cargo metadata says")?;
    Ok(metadata.packages)
}

fn packages() -> Result<Vec<Package>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
        resolve: Resolve,
    }
    #[derive(Deserialize)]
    struct Resolve {
        nodes: Vec<Node>,
    }
    #[derive(Deserialize)]
    struct Node {
        id: String,
    }
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let words = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &target];
    let text = shell::output(cargo().args(words))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cannot read what cargo metadata says")?;
    let used: BTreeSet<String> = metadata.resolve.nodes.into_iter().map(|node| node.id).collect();
    let is_theirs = |package: &Package| package.source.is_some() && used.contains(&package.id);
    Ok(metadata.packages.into_iter().filter(is_theirs).collect())
}

/// The cells of a table's row: `| F0 | `apimachinery` | … |`.
pub(crate) fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    inner.map(|inner| inner.split('|').map(str::trim).collect()).unwrap_or_default()
}

pub(crate) fn in_backticks(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

fn floors(architecture: &str) -> BTreeMap<String, Floor> {
    let row = |line: &str| match cells(line)[..] {
        [floor, name, _] => Some((in_backticks(name)?.to_owned(), Floor::parse(floor)?)),
        _ => None,
    };
    architecture.lines().filter_map(row).collect()
}

/// The first cells of the table under `## Dependencies` that has anything in the second.
fn reasons(architecture: &str) -> BTreeSet<String> {
    let section = architecture.lines().skip_while(|line| *line != "## Dependencies").skip(1);
    let section = section.take_while(|line| !line.starts_with("## "));
    let row = |line: &str| match cells(line)[..] {
        [name, reason] if !reason.is_empty() => in_backticks(name).map(str::to_owned),
        _ => None,
    };
    section.filter_map(row).collect()
}

fn workspace_dependencies(manifest: &str) -> BTreeSet<String> {
    let section = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    let section = section.take_while(|line| !line.starts_with('['));
    section.filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned())).collect()
}

#[cfg(test)]
impl House {
    /// A house of crates, each with its floor and its dependencies: `("a", "F1", &["b", "dev c", "their d"])`.
    pub(crate) fn of(crates: &[(&str, &str, &[&str])]) -> Self {
        let mut house = Self::default();
        for (name, floor, dependencies) in crates {
            house.floors.extend(Floor::parse(floor).map(|floor| ((*name).to_owned(), floor)));
            let dependencies = dependencies.iter().map(|words| {
                let (kind, name) = words.rsplit_once(' ').unwrap_or_default();
                Dependency {
                    name: if name.is_empty() { (*words).to_owned() } else { name.to_owned() },
                    kind: kind.contains("dev").then(|| "dev".to_owned()),
                    path: (!kind.contains("their")).then(String::new),
                }
            });
            house.crates.push(Crate { name: (*name).to_owned(), dependencies: dependencies.collect() });
        }
        house
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHITECTURE: &str = "\
# Architecture
| floor | crate | what it is |
|---|---|---|
| F0 | `words` | none |
| T | `xtask` | tools |

## Dependencies

| crate | why |
|---|---|
| `serde` | JSON |
| `tokio` | |

## More

| `other` | thing |
";

    #[test]
    fn floors_and_reasons_are_read_from_the_tables() {
        let floors = floors(ARCHITECTURE);
        assert_eq!(floors, BTreeMap::from([("words".into(), Floor::F(0)), ("xtask".into(), Floor::T)]));
        assert_eq!(reasons(ARCHITECTURE), BTreeSet::from(["serde".to_owned()]));
    }

    #[test]
    fn only_sources_of_the_lowest_floors_are_pure() {
        let house = House::of(&[("a", "F0", &[]), ("b", "F2", &[])]);
        assert!(house.is_pure("crates/a/src/deep/er.rs"));
        assert!(!house.is_pure("crates/a/tests/t.rs"));
        assert!(!house.is_pure("crates/b/src/lib.rs"));
        assert!(!house.is_pure("xtask/src/main.rs"));
    }

    #[test]
    fn the_workspace_s_table_is_read_to_its_end() {
        let manifest = "[workspace]\na = 1\n[workspace.dependencies]\nb = \"1\"\n\nc = { version = \"1\" }\n[profile.dev]\nd = 1\n";
        assert_eq!(workspace_dependencies(manifest), BTreeSet::from(["b".to_owned(), "c".to_owned()]));
    }
}
