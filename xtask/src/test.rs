//! `cargo xtask test`: everything that CI checks, on a machine with nothing but Rust and apt.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::clients::{self, CLIENTS};
use crate::setup::{self, BUSYBOX, C_COMPILER, IPROUTE2, MMDEBSTRAP};
use crate::shell::{self, Runner};
use crate::sweep::{self, TEST_ROOT};
use crate::{cargo, demo, images, root, tidy};

/// Names the folder with images to the tests.
const IMAGES: &str = "STEAD_IMAGES";

/// Runs every step, whatever becomes of those before it, and fails if one of them failed.
pub(crate) fn run() -> Result<()> {
    setup::need_root("cargo xtask test")?;
    let runner = Runner::new()?;
    let mut report = Report::default();
    let places = Places::new()?;
    report.step(&runner, "setup", || {
        setup::ensure_components()?;
        setup::ensure(&[C_COMPILER, MMDEBSTRAP, BUSYBOX, IPROUTE2])
    });
    report.step(&runner, "format", || runner.run(cargo().args(["fmt", "--all", "--check"])));
    report.step(&runner, "tidy", || tidy::run(&root()));
    report.step(&runner, "lints", || {
        let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        runner.run(cargo().args(clippy))
    });
    match shell::on_path("cargo-deny") {
        Some(_) => report.step(&runner, "advisories", || runner.run(cargo().args(["deny", "check"]))),
        // Licences are tidy's, too.
        None => report.skip("advisories", "cargo-deny is not installed (cargo install cargo-deny)"),
    }
    report.step(&runner, "images", || images::ensure(&[], &places.images).map(drop));
    report.step(&runner, "clients", || clients::ensure(&places.tools).map(drop));
    report.step(&runner, "tests", || tests(&runner, &places));
    report.step(&runner, "demo", || {
        let mut commands = demo::rehearsal(&places.stead, &places.run.join("demo"))?;
        commands.iter_mut().try_for_each(|command| runner.run(command.env(TEST_ROOT, &places.run)))
    });
    // Also after an interrupt: what the tests started must not stay.
    report.begin("what tests left");
    report.end(sweep::sweep(&places.run, &places.stead));
    report.print()
}

struct Places {
    images: PathBuf,
    /// Where this run's tests have their data directories.
    run: PathBuf,
    /// The stead that tests run.
    stead: PathBuf,
    tools: PathBuf,
}

impl Places {
    fn new() -> Result<Self> {
        let target = root().join("target");
        let runs = target.join("e2e");
        let stead = target.join("debug/stead");
        sweep::sweep_older(&runs, &stead);
        let run = runs.join(format!("run-{}", std::process::id()));
        std::fs::create_dir_all(&run).with_context(|| format!("cannot make {}", run.display()))?;
        let run = run.canonicalize().with_context(|| format!("cannot look at {}", run.display()))?;
        Ok(Self { images: target.join("images"), run, stead, tools: target.join("tools") })
    }
}

fn tests(runner: &Runner, places: &Places) -> Result<()> {
    let mut cargo = cargo();
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    cargo.env(IMAGES, &places.images).env(TEST_ROOT, &places.run);
    let clients = clients::ensure(&places.tools)?;
    cargo.env(CLIENTS, &clients);
    let mut programs = vec![clients.join("bin")];
    if shell::on_path("docker-registry").is_none() {
        // Installed, it would be a service that runs from then on.
        programs.push(setup::unpack("docker-registry", "tests pull images from it", &places.tools)?);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    programs.extend(std::env::split_paths(&path));
    cargo.env("PATH", std::env::join_paths(programs).context("the PATH cannot be extended")?);
    runner.run(&mut cargo)
}

/// What became of the steps, and how long each took.
#[derive(Default)]
struct Report {
    begun: Option<(&'static str, Instant)>,
    steps: Vec<(&'static str, Duration, Outcome)>,
}

enum Outcome {
    Passed,
    Failed(anyhow::Error),
    LeftOut,
    /// It could not be done here, and that is no failure; why.
    Skipped(&'static str),
}

impl Report {
    fn step(&mut self, runner: &Runner, name: &'static str, work: impl FnOnce() -> Result<()>) {
        if runner.interrupted().is_some() {
            self.steps.push((name, Duration::ZERO, Outcome::LeftOut));
            return;
        }
        self.begin(name);
        self.end(work());
    }

    fn skip(&mut self, name: &'static str, why: &'static str) {
        self.steps.push((name, Duration::ZERO, Outcome::Skipped(why)));
    }

    fn begin(&mut self, name: &'static str) {
        println!("\n== {name}");
        self.begun = Some((name, Instant::now()));
    }

    fn end(&mut self, result: Result<()>) {
        let Some((name, start)) = self.begun.take() else { return };
        let outcome = match result {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                println!("{error:#}");
                Outcome::Failed(error)
            }
        };
        self.steps.push((name, start.elapsed(), outcome));
    }

    /// Prints a line for each step.
    ///
    /// # Errors
    ///
    /// When a step failed or was left out.
    fn print(&self) -> Result<()> {
        println!("\n== summary");
        for (name, duration, outcome) in &self.steps {
            let outcome = match outcome {
                Outcome::Passed => "passed".to_owned(),
                // Several lines are above already.
                Outcome::Failed(error) => {
                    format!("FAILED: {}", format!("{error:#}").lines().next().unwrap_or_default())
                }
                Outcome::LeftOut => "left out".to_owned(),
                Outcome::Skipped(why) => format!("skipped: {why}"),
            };
            println!("{name:<24} {:>7.1} s  {outcome}", duration.as_secs_f64());
        }
        let total: Duration = self.steps.iter().map(|(_, duration, _)| *duration).sum();
        println!("{:<24} {:>7.1} s", "", total.as_secs_f64());
        let passed =
            |(_, _, outcome): &&(_, _, Outcome)| matches!(outcome, Outcome::Passed | Outcome::Skipped(_));
        let failed = self.steps.iter().filter(|step| !passed(step)).map(|(name, ..)| *name);
        let failed: Vec<&str> = failed.collect();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("not passed: {}", failed.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_fails_does_not_keep_the_others_from_being_tried_and_fails_the_whole() {
        let runner = Runner::new().unwrap();
        let mut report = Report::default();
        let mut tried = Vec::new();
        report.step(&runner, "one", || bail!("broken\nin two lines"));
        report.step(&runner, "two", || {
            tried.push("two");
            Ok(())
        });
        report.skip("three", "not here");
        assert_eq!(tried, ["two"]);
        assert_eq!(report.print().unwrap_err().to_string(), "not passed: one");
    }
}
