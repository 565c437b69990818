//! `cargo xtask schema`: makes the table of field facts (`crates/apimachinery/data/fields.txt`) and the descriptions
//! beside it from public packages, and says where those that are checked in differ.
//!
//! Three sources are joined: the OpenAPI definitions in a Python wheel (fields, types, required, list and patch
//! facts, kinds), the field numbers in a crate, and a file kept by hand for what neither says. The next
//! Kubernetes release is a change of the versions below and of that file.

mod descriptions;
mod facts;
mod numbers;
mod openapi;
mod packages;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};

use facts::Facts;
use numbers::Numbers;
use openapi::{Definition, Definitions, Property};

/// The Kubernetes release that the table describes.
const RELEASE: &str = "1.36";
const TABLE: &str = "crates/apimachinery/data/fields.txt";
const FACTS: &str = "xtask/data/field-facts.txt";
const HEADER: &str = "\
# What is known about the fields of the Kubernetes API, made by `cargo xtask schema` from public packages (see NOTICE).
# crates/apimachinery/src/schema/table.rs says what each line means.
";

/// Makes the table anew and compares it with the one that is checked in.
pub(crate) fn run() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask stands in the workspace")?;
    let scratch = tempfile::tempdir()?;
    let sources = packages::fetch(scratch.path(), RELEASE)?;
    let facts = Facts::read(&root.join(FACTS))?;
    let definitions = openapi::read(&sources.definitions)?;
    let numbers = Numbers::read(&sources.k8s_pb)?;
    let maker = Maker { facts, definitions, numbers };
    let made = maker.table()?;
    descriptions::compare(root, &maker.definitions, &made)?;

    let checked_in = std::fs::read_to_string(root.join(TABLE)).context(TABLE)?;
    if made == checked_in {
        println!("{TABLE} is what the packages say about Kubernetes {RELEASE}");
        return Ok(());
    }
    let (gone, new) = (in_first_only(&checked_in, &made), in_first_only(&made, &checked_in));
    gone.iter().for_each(|line| println!("- {line}"));
    new.iter().for_each(|line| println!("+ {line}"));
    let target = root.join("target/fields.txt");
    std::fs::write(&target, made)?;
    bail!("{TABLE} is not what the packages say; if they are right, replace it with {}", target.display());
}

/// The lines that only the first table has, each with the type that it is about.
fn in_first_only(first: &str, second: &str) -> Vec<String> {
    let qualified = |text: &str| -> BTreeSet<String> {
        let mut about = String::new();
        let with_type = |line: &str| match line.strip_prefix("type ") {
            Some(name) => {
                name.clone_into(&mut about);
                line.to_owned()
            }
            None => format!("{about}: {line}"),
        };
        text.lines().map(with_type).collect()
    };
    qualified(first).difference(&qualified(second)).cloned().collect()
}

struct Maker {
    facts: Facts,
    definitions: Definitions,
    numbers: Numbers,
}

impl Maker {
    fn table(&self) -> anyhow::Result<String> {
        let mut table = format!("{HEADER}release {RELEASE}\n");
        for (kind, name) in self.kinds() {
            writeln!(table, "kind {kind} {name}")?;
        }
        let mut missing = Vec::new();
        for (name, lines) in self.types(&mut missing) {
            writeln!(table, "type {name}")?;
            for (_, line) in lines {
                writeln!(table, "{line}")?;
            }
        }
        if !missing.is_empty() {
            bail!(
                "no number is known for these fields; add `tags` lines to {FACTS}:\n{}",
                missing.join("\n")
            );
        }
        Ok(table)
    }

    fn kinds(&self) -> BTreeMap<&str, &str> {
        let all = self
            .definitions
            .iter()
            .flat_map(|(name, d)| d.kinds.iter().map(move |k| (k.as_str(), name.as_str())));
        all.filter(|(kind, _)| !self.facts.skips(kind.rsplit('/').next().unwrap_or(kind))).collect()
    }

    /// Every type's lines, by number.
    fn types(&self, missing: &mut Vec<String>) -> BTreeMap<String, Vec<(u32, String)>> {
        let mut types = self.facts.types.clone();
        for (name, definition) in &self.definitions {
            if self.facts.skips(name) || types.contains_key(name) {
                continue;
            }
            let mut own: BTreeMap<&str, &Property> = definition.own_properties().collect();
            let mut lines = Vec::new();
            for (number, inner) in self.facts.inlines(name) {
                lines.push((*number, format!("{number} . {inner} n")));
                let inlined = self.inlined(inner, definition);
                own.retain(|property, _| !inlined.contains_key(property));
                if !self.definitions.contains_key(inner) && !types.contains_key(inner) {
                    types.insert(inner.clone(), self.lines(inner, inlined, Vec::new(), missing));
                }
            }
            types.insert(name.clone(), self.lines(name, own, lines, missing));
        }
        types
    }

    /// Those of `outer`'s properties that its inlined struct `inner` has: OpenAPI does not tell them apart.
    fn inlined<'d>(&'d self, inner: &str, outer: &'d Definition) -> BTreeMap<&'d str, &'d Property> {
        let of_inner = |name: &str| match self.definitions.get(inner) {
            Some(definition) => definition.properties.contains_key(name),
            None => self.numbers.get(inner, name).is_some(),
        };
        outer.own_properties().filter(|(name, _)| of_inner(name)).collect()
    }

    fn lines(
        &self,
        type_name: &str,
        properties: BTreeMap<&str, &Property>,
        mut lines: Vec<(u32, String)>,
        missing: &mut Vec<String>,
    ) -> Vec<(u32, String)> {
        for (name, property) in properties {
            let number = self.facts.number(type_name, name).or_else(|| self.numbers.get(type_name, name));
            let Some(number) = number else {
                missing.push(format!("{type_name} {name}"));
                continue;
            };
            let shape = self.facts.shape(type_name, name).unwrap_or(&property.shape);
            let mut flags =
                self.facts.flags(type_name, name).unwrap_or(usual_flags(name, shape, property)).to_owned();
            if property.required {
                flags.push('r');
            }
            let words = [&number.to_string(), name, shape, &flags, &property.facts];
            let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
            lines.push((number, words.join(" ")));
        }
        lines.sort();
        lines
    }
}

/// What Go's declarations usually say: whether OpenAPI requires a field tells most of it.
fn usual_flags(name: &str, shape: &str, property: &Property) -> &'static str {
    let is_struct = shape.len() > 1 && !shape.starts_with(['[', '{']);
    match (property.required, is_struct && !matches!(name, "metadata" | "spec" | "status")) {
        (true, _) => "",
        (false, true) => "op",
        (false, false) => "o",
    }
}
