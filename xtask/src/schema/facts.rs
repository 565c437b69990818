//! The facts that are kept by hand; the file's own head tells its form.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context as _, bail};

#[derive(Default)]
pub(super) struct Facts {
    /// Whole types: their lines by number.
    pub(super) types: BTreeMap<String, Vec<(u32, String)>>,
    skipped: BTreeSet<String>,
    inlines: BTreeMap<String, Vec<(u32, String)>>,
    /// By `shape`, `tags` or `flags`, then by type and field.
    of_fields: BTreeMap<(String, String, String), String>,
}

impl Facts {
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut facts = Self::default();
        let mut current = String::new();
        for (at, line) in text.lines().enumerate() {
            facts.line(line, &mut current).with_context(|| format!("{}:{}", path.display(), at + 1))?;
        }
        Ok(facts)
    }

    fn line(&mut self, line: &str, current: &mut String) -> anyhow::Result<()> {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let mut word = || words.next().map(str::to_owned).context("a word is missing");
        match verb {
            "" | "#" => {}
            "skip" => {
                self.skipped.insert(word()?);
            }
            "inline" => {
                let (name, number, inner) = (word()?, word()?.parse()?, word()?);
                self.inlines.entry(name).or_default().push((number, inner));
            }
            "type" => {
                *current = word()?;
                self.types.insert(current.clone(), Vec::new());
            }
            "shape" | "tags" | "flags" => {
                let name = word()?;
                for fact in words {
                    let (field, value) = fact.split_once('=').context("a field needs =")?;
                    self.of_fields
                        .insert((verb.to_owned(), name.clone(), field.to_owned()), value.to_owned());
                }
            }
            number => match self.types.get_mut(current) {
                Some(lines) => lines.push((number.parse()?, line.to_owned())),
                None => bail!("a field before any type"),
            },
        }
        Ok(())
    }

    pub(super) fn skips(&self, name: &str) -> bool {
        self.skipped.contains(name)
    }

    pub(super) fn inlines(&self, type_name: &str) -> &[(u32, String)] {
        self.inlines.get(type_name).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn shape(&self, type_name: &str, field: &str) -> Option<&str> {
        self.of_field("shape", type_name, field)
    }

    pub(super) fn number(&self, type_name: &str, field: &str) -> Option<u32> {
        self.of_field("tags", type_name, field)?.parse().ok()
    }

    /// Empty when the facts say that there are none.
    pub(super) fn flags(&self, type_name: &str, field: &str) -> Option<&str> {
        self.of_field("flags", type_name, field).map(|flags| if flags == "-" { "" } else { flags })
    }

    fn of_field(&self, verb: &str, type_name: &str, field: &str) -> Option<&str> {
        let key = (verb.to_owned(), type_name.to_owned(), field.to_owned());
        self.of_fields.get(&key).map(String::as_str)
    }
}
