//! Crates depend on lower floors only; their tests may also use neighbours.

use super::Finding;
use super::house::{Floor, House};
use super::purity::FORBIDDEN_CRATES;

const MAP: &str = "ARCHITECTURE.md";

/// Arrows that go up or sideways, crates that the map lacks, and the other way round.
pub(crate) fn check(house: &House) -> Vec<Finding> {
    let mut findings = Vec::new();
    for of in &house.crates {
        let Some(floor) = house.floors.get(&of.name) else {
            findings.push(Finding::new(MAP, 0, format!("the map has no line for crate {}", of.name)));
            continue;
        };
        for dependency in &of.dependencies {
            let wrong = if dependency.is_ours() {
                let below = house.floors.get(&dependency.name);
                below.is_some_and(|below| if dependency.is_dev() { below > floor } else { below >= floor })
            } else {
                let impure = FORBIDDEN_CRATES.contains(&dependency.name.as_str());
                *floor <= Floor::F(1) && impure && !dependency.is_dev()
            };
            if wrong {
                let what = match dependency.is_ours() {
                    true => format!("depends on {}, which is not on a lower floor", dependency.name),
                    false => format!("is pure and does not depend on {}", dependency.name),
                };
                findings.push(Finding::new(&of.name, 0, what));
            }
        }
    }
    for name in house.floors.keys().filter(|name| !house.crates.iter().any(|of| of.name == **name)) {
        findings.push(Finding::new(MAP, 0, format!("the map has a line for {name}, which is no crate")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    #[test]
    fn arrows_only_go_down() {
        let house = House::of(&[
            ("words", "F0", &[]),
            ("planner", "F1", &["words", "their serde"]),
            ("node", "F3", &["planner", "dev dns"]),
            ("dns", "F3", &["node", "their tokio"]),
            ("xtask", "T", &[]),
        ]);
        assert_eq!(shown(&check(&house)), ["dns: depends on node, which is not on a lower floor"]);
    }

    #[test]
    fn tests_may_use_neighbours_but_nothing_above() {
        let house = House::of(&[("a", "F1", &["dev b"]), ("b", "F2", &[])]);
        assert_eq!(shown(&check(&house)), ["a: depends on b, which is not on a lower floor"]);
    }

    #[test]
    fn pure_crates_do_not_depend_on_runtimes_save_in_tests() {
        let house = House::of(&[("a", "F1", &["their tokio", "dev their tempfile"])]);
        assert_eq!(shown(&check(&house)), ["a: is pure and does not depend on tokio"]);
    }

    #[test]
    fn the_map_and_the_workspace_agree() {
        let mut house = House::of(&[("a", "none", &[])]);
        house.floors.insert("b".to_owned(), Floor::T);
        assert_eq!(
            shown(&check(&house)),
            [
                "ARCHITECTURE.md: the map has no line for crate a",
                "ARCHITECTURE.md: the map has a line for b, which is no crate",
            ]
        );
    }
}
