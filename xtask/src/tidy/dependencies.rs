//! Every dependency has a line in ARCHITECTURE.md that says why, and every such line has a dependency.

use std::collections::BTreeSet;

use super::Finding;
use super::house::{Dependency, House};

const REASONS: &str = "ARCHITECTURE.md";
const TABLE: &str = "Cargo.toml";

/// Dependencies without a reason, reasons without a dependency, versions that no crate uses.
pub(crate) fn check(house: &House) -> Vec<Finding> {
    let all = || house.crates.iter().flat_map(|of| &of.dependencies);
    let used: BTreeSet<&str> = all().map(|dependency| dependency.name.as_str()).collect();
    let theirs: BTreeSet<&str> = all().filter(|d| !Dependency::is_ours(d)).map(|d| d.name.as_str()).collect();
    let unused = |name: &&String| !used.contains(name.as_str());

    let without_reason = theirs.iter().filter(|name| !house.reasons.contains(**name));
    let without_reason = without_reason
        .map(|name| Finding::new(REASONS, 0, format!("no line under Dependencies says why {name} is used")));
    let reason_only = house.reasons.iter().filter(unused);
    let reason_only = reason_only
        .map(|name| Finding::new(REASONS, 0, format!("says why {name} is used, but no crate uses it")));
    let version_only = house.workspace_dependencies.iter().filter(unused);
    let version_only = version_only
        .map(|name| Finding::new(TABLE, 0, format!("has a version of {name}, but no crate uses it")));
    without_reason.chain(reason_only).chain(version_only).collect()
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    #[test]
    fn dependencies_and_reasons_go_together() {
        let mut house = House::of(&[("a", "F1", &["b", "their serde", "dev their insta"]), ("b", "F0", &[])]);
        house.reasons = BTreeSet::from(["serde".to_owned(), "rand".to_owned()]);
        house.workspace_dependencies = ["b", "serde", "insta", "tar"].map(str::to_owned).into();
        assert_eq!(
            shown(&check(&house)),
            [
                "ARCHITECTURE.md: no line under Dependencies says why insta is used",
                "ARCHITECTURE.md: says why rand is used, but no crate uses it",
                "Cargo.toml: has a version of tar, but no crate uses it",
            ]
        );
    }
}
