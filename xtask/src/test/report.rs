//! What became of the steps of `cargo xtask test`, and how long each took.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::shell::Runner;

/// The steps so far.
pub(super) struct Report {
    start: Instant,
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
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), begun: None, steps: Vec::new() }
    }

    /// Does a step, unless somebody has asked to end.
    pub(super) fn step(&mut self, runner: &Runner, name: &'static str, work: impl FnOnce() -> Result<()>) {
        if runner.interrupted().is_some() {
            self.steps.push((name, Duration::ZERO, Outcome::LeftOut));
            return;
        }
        self.begin(name);
        self.end(work());
    }

    /// Notes a step that cannot be done here, and why that is no failure.
    pub(super) fn skip(&mut self, name: &'static str, why: &'static str) {
        self.steps.push((name, Duration::ZERO, Outcome::Skipped(why)));
    }

    pub(super) fn begin(&mut self, name: &'static str) {
        println!("\n== {name}");
        self.begun = Some((name, Instant::now()));
    }

    pub(super) fn end(&mut self, result: Result<()>) {
        if let Some((name, start)) = self.begun.take() {
            self.note(name, start.elapsed(), result);
        }
    }

    /// Notes a step that was done beside others.
    pub(super) fn note(&mut self, name: &'static str, took: Duration, result: Result<()>) {
        let outcome = match result {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                println!("{error:#}");
                Outcome::Failed(error)
            }
        };
        self.steps.push((name, took, outcome));
    }

    /// Prints a line for each step.
    ///
    /// # Errors
    ///
    /// When a step failed or was left out.
    pub(super) fn print(&self) -> Result<()> {
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
        // Less than the sum: some were done beside others.
        println!("{:<24} {:>7.1} s", "", self.start.elapsed().as_secs_f64());
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
        let mut report = Report::new();
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
