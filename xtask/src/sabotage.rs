//! `cargo xtask sabotage`: breaks the StatefulSet planner on purpose, one way at a time, in a copy of the tree, and
//! prints which check finds it out. A breakage that none finds is a hole in the tests, and an error.

mod breakages;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{cargo, root};
use breakages::{BREAKAGES, Breakage, Edit, NO_CHECKER};

/// A suite of tests that a broken planner must not pass.
struct Suite {
    name: &'static str,
    package: &'static str,
    /// The test's target.
    test: &'static str,
    /// Whether the suite is asked what the planner's own checker says.
    shows_checker: bool,
    /// Tests that are about the checker itself: they say nothing about a suite without it.
    of_checker: Option<&'static str>,
}

const SUITES: [Suite; 4] = [
    of_planner("scenarios", true),
    of_planner("exhaustive", true),
    of_planner("model", false),
    Suite {
        name: "simulator",
        package: "simulator",
        test: "seeds",
        shows_checker: false,
        of_checker: Some("a_plan_that_breaks_a_rule_is_seen_before_it_is_carried_out"),
    },
];

const fn of_planner(name: &'static str, shows_checker: bool) -> Suite {
    Suite { name, package: "planner", test: name, shows_checker, of_checker: None }
}

/// How the checker's assertion begins in a test's output: where it stands, and the first rule that is broken.
const CHECKER_SPEAKS: (&str, &str) = ("crates/planner/src/stateful_set/mod.rs", "left: [\"");

/// What the copy's packages have behind their version: what is built of them is never taken for the tree's own.
const VERSION_SUFFIX: &str = "-sabotage";

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these suites: scenarios, exhaustive, model, simulator
    #[arg(value_name = "SUITE", value_parser = SUITES.map(|suite| suite.name))]
    suites: Vec<String>,
}

/// Breaks the planner in every known way.
///
/// # Errors
///
/// When an edit does not apply any more or does not compile, a suite fails without a breakage, or nobody notices one.
pub(crate) fn run(args: &Args) -> Result<()> {
    let is_asked =
        |suite: &&Suite| args.suites.is_empty() || args.suites.iter().any(|name| name == suite.name);
    let suites: Vec<&Suite> = SUITES.iter().filter(is_asked).collect();
    let tree = Tree::copy(&root(), &root().join("target/sabotage"))?;
    for breakage in BREAKAGES {
        breakage.edits.iter().chain(&NO_CHECKER).try_for_each(|edit| tree.changed(edit).map(drop))?;
    }
    println!("copied the tree to {}; first without a breakage", tree.root.display());
    for (suite, program) in suites.iter().zip(tree.compile(&suites)?) {
        let output = tree.test(suite, &program)?;
        ensure!(output.status.success(), "{} fails without a breakage:\n{}", suite.name, said(&output));
    }
    let mut rows = Vec::new();
    for breakage in BREAKAGES {
        let start = Instant::now();
        let caught = tree.sabotage(breakage, &suites)?;
        println!("{} ({} s)", row(breakage, &caught), start.elapsed().as_secs());
        rows.push((breakage, caught));
    }
    print!("{}", table(&suites, &rows));
    let missed: Vec<&str> =
        rows.iter().filter(|(_, caught)| !caught.by_any()).map(|(breakage, _)| breakage.what).collect();
    ensure!(missed.is_empty(), "nobody notices: {}", missed.join("; "));
    Ok(())
}

/// Who noticed a breakage.
struct Caught {
    /// What the planner's own checker said first.
    checker: Option<String>,
    /// By suite, while the checker was switched off.
    suites: Vec<bool>,
}

impl Caught {
    fn by_any(&self) -> bool {
        self.checker.is_some() || self.suites.contains(&true)
    }
}

/// A copy of the tree that may be broken.
struct Tree {
    root: PathBuf,
    /// Where the original is built: what is not broken need not be built again.
    target: PathBuf,
}

impl Tree {
    fn copy(from: &Path, to: &Path) -> Result<Self> {
        if to.exists() {
            fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
        }
        copy(from, to, &|name| !["target", ".git"].contains(&name))?;
        let manifest = to.join("Cargo.toml");
        let text =
            fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        fs::write(&manifest, suffixed(&text).context("the workspace's manifest has no version")?)?;
        Ok(Self { root: to.to_owned(), target: from.join("target") })
    }

    fn path(&self, edit: &Edit) -> PathBuf {
        self.root.join("crates").join(edit.package).join("src").join(edit.file)
    }

    /// The file's text with the edit made.
    fn changed(&self, edit: &Edit) -> Result<String> {
        let path = self.path(edit);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let places = text.matches(edit.find).count();
        ensure!(
            places == 1,
            "{} has {places} places with {:?}, not one: mend the breakage",
            edit.file,
            edit.find
        );
        Ok(text.replace(edit.find, edit.put))
    }

    /// Makes the edits, does the work, and takes the edits back.
    fn with<T>(&self, edits: &[&Edit], work: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut before = Vec::new();
        for edit in edits {
            let path = self.path(edit);
            before.push((path.clone(), fs::read_to_string(&path)?));
            fs::write(&path, self.changed(edit)?)?;
        }
        let done = work();
        for (path, text) in before.into_iter().rev() {
            fs::write(path, text)?;
        }
        done
    }

    fn sabotage(&self, breakage: &Breakage, suites: &[&Suite]) -> Result<Caught> {
        let mut edits: Vec<&Edit> = breakage.edits.iter().collect();
        let checker = self.with(&edits, || {
            let asked: Vec<&Suite> = suites.iter().copied().filter(|suite| suite.shows_checker).collect();
            if asked.is_empty() {
                return Ok(None);
            }
            for (suite, program) in asked.iter().zip(self.compile(&asked).context(breakage.what)?) {
                if let Some(rule) = checker_in(&said(&self.test(suite, &program)?)) {
                    return Ok(Some(rule));
                }
            }
            Ok(None)
        })?;
        edits.extend(&NO_CHECKER);
        let suites = self.with(&edits, || {
            let programs = self.compile(suites).context(breakage.what)?;
            let noticed =
                |(suite, program): (&&Suite, &PathBuf)| Ok(!self.test(suite, program)?.status.success());
            suites.iter().zip(&programs).map(noticed).collect::<Result<Vec<bool>>>()
        })?;
        Ok(Caught { checker, suites })
    }

    /// Builds the suites' programs: all at once, for every cargo waits for all others.
    fn compile(&self, suites: &[&Suite]) -> Result<Vec<PathBuf>> {
        let mut cargo = cargo();
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        cargo.args(["test", "--no-run", "--quiet", "--offline", "--message-format=json-render-diagnostics"]);
        for suite in suites {
            cargo.args(["-p", suite.package, "--test", suite.test]);
        }
        let output = cargo.output().context("cannot start cargo")?;
        if !output.status.success() {
            bail!("it does not compile:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let messages: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let program = |suite: &&Suite| {
            let mut built = messages.iter().filter(|message| message["target"]["name"] == suite.test);
            let program = built.find_map(|message| message["executable"].as_str()).map(PathBuf::from);
            program.with_context(|| format!("cargo does not tell where the program of {} is", suite.name))
        };
        suites.iter().map(program).collect()
    }

    /// Runs a suite as cargo would.
    fn test(&self, suite: &Suite, program: &Path) -> Result<Output> {
        let mut test = Command::new(program);
        test.arg("--quiet").args(suite.of_checker.iter().flat_map(|test| ["--skip", test]));
        test.current_dir(self.root.join("crates").join(suite.package));
        test.env("RUST_BACKTRACE", "0").env("INSTA_WORKSPACE_ROOT", &self.root).env("INSTA_UPDATE", "no");
        test.output().with_context(|| format!("cannot start {}", program.display()))
    }
}

/// Copies a folder, but for what `is_wanted` does not want of its top.
fn copy(from: &Path, to: &Path, is_wanted: &dyn Fn(&str) -> bool) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if !is_wanted(&name.to_string_lossy()) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&path, &to.join(name), &|_| true)?;
        } else {
            fs::copy(&path, to.join(name)).with_context(|| format!("cannot copy {}", path.display()))?;
        }
    }
    Ok(())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The rule that the planner's own checker says is broken, if it says so.
fn checker_in(said: &str) -> Option<String> {
    let mut lines = said.lines().skip_while(|line| !line.contains(CHECKER_SPEAKS.0));
    let rules = lines.find_map(|line| line.split_once(CHECKER_SPEAKS.1))?.1;
    let rule = rules.split("\", \"").next().unwrap_or(rules);
    Some(rule.trim_end_matches("\"]").trim_end_matches("\"],").replace("\\\"", "\""))
}

/// The manifest with another version of the workspace's packages.
fn suffixed(manifest: &str) -> Option<String> {
    let start = manifest.find("\nversion = \"")? + "\nversion = \"".len();
    let end = start + manifest[start..].find('"')?;
    Some(format!("{}{VERSION_SUFFIX}{}", &manifest[..end], &manifest[end..]))
}

fn row(breakage: &Breakage, caught: &Caught) -> String {
    let suites: String =
        caught.suites.iter().map(|caught| if *caught { " caught |" } else { " – |" }).collect();
    format!("| {} | {} |{suites}", breakage.what, caught.checker.as_deref().unwrap_or("–"))
}

fn table(suites: &[&Suite], rows: &[(&Breakage, Caught)]) -> String {
    let names: String = suites.iter().map(|suite| format!(" {} |", suite.name)).collect();
    let rule = "---|".repeat(suites.len());
    let rows: String = rows.iter().map(|(breakage, caught)| row(breakage, caught) + "\n").collect();
    format!("\n| what is broken | checker |{names}\n|---|---|{rule}\n{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_breakage_still_has_its_place() {
        let tree = Tree { root: root(), target: PathBuf::new() };
        for breakage in BREAKAGES {
            for edit in breakage.edits.iter().chain(&NO_CHECKER) {
                assert!(tree.changed(edit).unwrap().contains(edit.put), "{}", breakage.what);
            }
        }
    }

    #[test]
    fn tests_of_the_checker_are_left_out_by_their_names() {
        for suite in SUITES {
            let Some(test) = suite.of_checker else { continue };
            let file = root().join("crates").join(suite.package).join(format!("tests/{}.rs", suite.test));
            assert!(fs::read_to_string(file).unwrap().contains(&format!("fn {test}()")), "{test}");
        }
    }

    #[test]
    fn the_copy_has_packages_of_its_own() {
        let manifest = "[workspace.package]\nversion = \"0.1.0\"\nedition = \"2024\"\n";
        let wanted = "[workspace.package]\nversion = \"0.1.0-sabotage\"\nedition = \"2024\"\n";
        assert_eq!(suffixed(manifest).as_deref(), Some(wanted));
    }

    #[test]
    fn what_the_checker_says_is_told_from_what_a_test_says() {
        let checker = "thread 'x' panicked at crates/planner/src/stateful_set/mod.rs:108:9:\n\
                       assertion `left == right` failed\n  left: [\"makes web-0 of \\\"x\\\" again\", \"more\"]\n right: []\n";
        assert_eq!(checker_in(checker).as_deref(), Some("makes web-0 of \"x\" again"));
        let single = checker.replace(", \"more\"", "");
        assert_eq!(checker_in(&single), checker_in(checker));
        let test = "thread 'x' panicked at crates/planner/tests/model/main.rs:50:1:\n  left: [\"another\"]\n";
        assert_eq!(checker_in(test), None);
    }
}
