//! `cargo xtask tidy`: the rules of the house that a program can check. ARCHITECTURE.md says them; its tables of
//! floors and of dependencies are read from there, so that they stay true.
//!
//! Rules look at Rust's tokens, so that a word in a comment or in a text is not taken for code.

mod dependencies;
mod deviations;
mod floors;
mod house;
mod lengths;
mod licences;
mod purity;
mod source;
mod text;
mod unsafety;
mod words;

use std::fmt;
use std::path::Path;

use anyhow::{Result, bail};

use house::House;
use source::Source;

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    /// From 1; 0 when it is about the whole file.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Checks the tree whose top folder this is.
///
/// # Errors
///
/// When a rule is broken; each place is printed.
pub(crate) fn run(root: &Path) -> Result<()> {
    let house = House::read(root)?;
    let mut findings = text::check(&house.files);
    let mut sources = Vec::new();
    for file in house.files.iter().filter(|file| file.path.ends_with(".rs")) {
        match Source::parse(&file.path, &file.text) {
            Ok(source) => sources.push(source),
            Err(finding) => findings.push(finding),
        }
    }
    for source in &sources {
        findings.extend(words::check(source));
        if house.is_pure(&source.path) {
            findings.extend(purity::check(source));
        }
    }
    findings.extend(lengths::check(&sources));
    findings.extend(unsafety::check(&sources));
    findings.extend(floors::check(&house));
    findings.extend(dependencies::check(&house));
    findings.extend(licences::check(&house));
    findings.extend(deviations::check(&house.files));
    findings.sort();
    findings.iter().for_each(|finding| println!("{finding}"));
    println!("{}", lengths::summary(&sources));
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{} places break a rule of the house", findings.len())
}

#[cfg(test)]
fn parse(path: &str, text: &str) -> Source {
    Source::parse(path, text).unwrap()
}

#[cfg(test)]
fn shown(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(Finding::to_string).collect()
}
