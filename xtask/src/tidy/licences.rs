//! Every package in the program is there under a licence on deny.toml's list. cargo-deny checks this too, and more;
//! this needs nothing that has to be installed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::Finding;
use super::house::House;

const LIST: &str = "deny.toml";

/// Packages that say their licence in a file alone, which somebody has read.
const READ_BY_HAND: [(&str, &str); 1] = [("rust-criu", "MIT")];

/// A package of somebody else, as cargo describes it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    name: String,
    version: String,
    license: Option<String>,
    /// Where it comes from; nothing for our own.
    pub(crate) source: Option<String>,
}

/// What deny.toml allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    licences: BTreeSet<String>,
    /// More of them, for one package each.
    exceptions: BTreeMap<String, BTreeSet<String>>,
}

impl Allowed {
    /// Reads the section `[licenses]`.
    pub(crate) fn parse(deny: &str) -> Self {
        let section = deny.lines().skip_while(|line| *line != "[licenses]").skip(1);
        let section = section.take_while(|line| !line.starts_with('['));
        let mut allowed = Self::default();
        for line in section.filter(|line| !line.starts_with('#')) {
            let mut texts = line.split('"').skip(1).step_by(2).map(str::to_owned);
            if line.starts_with("exceptions") {
                let Some(name) = texts.next() else { continue };
                allowed.exceptions.insert(name, texts.collect());
            } else if line.starts_with([' ', '"']) || line.starts_with("allow") {
                allowed.licences.extend(texts);
            }
        }
        allowed
    }

    fn allows(&self, package: &Package) -> bool {
        let more = self.exceptions.get(&package.name);
        let is_listed = |licence: &str| {
            self.licences.contains(licence) || more.is_some_and(|more| more.contains(licence))
        };
        let by_hand =
            READ_BY_HAND.iter().find(|(name, _)| *name == package.name).map(|(_, licence)| *licence);
        let Some(expression) = package.license.as_deref().or(by_hand) else { return false };
        Expression::of(expression).holds(&is_listed)
    }
}

/// Packages whose licence is not on the list.
pub(crate) fn check(house: &House) -> Vec<Finding> {
    let refused = house.packages.iter().filter(|package| !house.allowed.allows(package));
    let finding = |package: &Package| {
        let licence = package.license.as_deref().unwrap_or("no licence that cargo knows of");
        let what = format!("{} {} has {licence}, which is not on the list", package.name, package.version);
        Finding::new(LIST, 0, what)
    };
    refused.map(finding).collect()
}

/// What is left of an SPDX expression (SPDX 2.3, annex D); older packages write `/` for `OR`.
struct Expression<'a> {
    words: Vec<&'a str>,
    at: usize,
}

impl<'a> Expression<'a> {
    fn of(text: &'a str) -> Self {
        let mut words = Vec::new();
        for part in text.split_inclusive(['(', ')', '/', ' ']) {
            let (word, mark) = match part.strip_suffix(['(', ')', '/', ' ']) {
                Some(word) => (word, &part[word.len()..]),
                None => (part, ""),
            };
            words.extend([word, if mark == "/" { "OR" } else { mark.trim() }]);
        }
        words.retain(|word| !word.is_empty());
        Self { words, at: 0 }
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.words.get(self.at) == Some(&word);
        self.at += usize::from(is_next);
        is_next
    }

    fn holds(&mut self, is_listed: &dyn Fn(&str) -> bool) -> bool {
        let mut holds = self.all(is_listed);
        while self.takes("OR") {
            holds |= self.all(is_listed);
        }
        holds
    }

    fn all(&mut self, is_listed: &dyn Fn(&str) -> bool) -> bool {
        let mut holds = self.one(is_listed);
        while self.takes("AND") {
            holds &= self.one(is_listed);
        }
        holds
    }

    fn one(&mut self, is_listed: &dyn Fn(&str) -> bool) -> bool {
        if self.takes("(") {
            let holds = self.holds(is_listed);
            return self.takes(")") && holds;
        }
        let Some(licence) = self.words.get(self.at).copied() else { return false };
        self.at += 1;
        if !self.takes("WITH") {
            return is_listed(licence);
        }
        let Some(exception) = self.words.get(self.at).copied() else { return false };
        self.at += 1;
        is_listed(&format!("{licence} WITH {exception}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::shown;
    use super::*;

    const DENY: &str = "\
[graph]
allow = [\"Never\"]
[licenses]
# \"Neither\"
allow = [
    \"MIT\",
    \"Apache-2.0\",
    \"Apache-2.0 WITH LLVM-exception\",
]
exceptions = [{ crate = \"paths\", allow = [\"MPL-2.0\"] }]
unused-allowed-license = \"allow\"
[bans]
x = \"Nor-this\"
";

    fn package(name: &str, license: Option<&str>) -> Package {
        let (name, license) = (name.to_owned(), license.map(str::to_owned));
        Package { id: String::new(), name, version: "1.0.0".into(), license, source: None }
    }

    #[test]
    fn the_list_is_read_from_its_section() {
        let allowed = Allowed::parse(DENY);
        let listed: Vec<_> = allowed.licences.iter().map(String::as_str).collect();
        assert_eq!(listed, ["Apache-2.0", "Apache-2.0 WITH LLVM-exception", "MIT"]);
        assert_eq!(allowed.exceptions["paths"], BTreeSet::from(["MPL-2.0".to_owned()]));
    }

    #[test]
    fn expressions_hold_when_what_they_ask_for_is_listed() {
        let allowed = Allowed::parse(DENY);
        for (expression, holds) in [
            ("MIT", true),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0/MIT", true),
            ("GPL-3.0 / MIT", true),
            ("MIT AND GPL-3.0", false),
            ("(GPL-3.0 OR MIT) AND Apache-2.0", true),
            ("GPL-3.0 OR (MIT AND Zlib)", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("MIT WITH LLVM-exception", false),
            ("(MIT", false),
            ("", false),
        ] {
            assert_eq!(allowed.allows(&package("a", Some(expression))), holds, "{expression}");
        }
        assert!(allowed.allows(&package("paths", Some("MPL-2.0 OR LGPL-3.0-or-later"))));
        assert!(!allowed.allows(&package("others", Some("MPL-2.0"))));
    }

    #[test]
    fn what_is_not_on_the_list_is_named() {
        let house = House {
            allowed: Allowed::parse(DENY),
            packages: vec![package("a", Some("MIT")), package("b", Some("GPL-3.0")), package("c", None)],
            ..House::default()
        };
        assert_eq!(
            shown(&check(&house)),
            [
                "deny.toml: b 1.0.0 has GPL-3.0, which is not on the list",
                "deny.toml: c 1.0.0 has no licence that cargo knows of, which is not on the list",
            ]
        );
    }
}
