//! The tests: built by cargo in one go, and run in two lanes. The end-to-end tests wait for containers most of the
//! time, and all others compute: beside each other they take little longer than either alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::Places;
use super::beside::Aside;
use crate::clients::CLIENTS;
use crate::shell::{self, Runner};
use crate::sweep::TEST_ROOT;
use crate::{cargo, root, setup};

/// Names the folder with images to the tests.
const IMAGES: &str = "STEAD_IMAGES";
/// The tests that wait more than they compute.
const WAITING: &str = "crates/stead/tests/e2e/main.rs";
/// The others give way to them (`nice`): a test that waits for something also looks at how long that takes.
const NICE: &str = "10";

/// A program full of tests, as cargo built it.
#[derive(Debug, PartialEq)]
pub(super) struct Program {
    /// The file it begins with, from the workspace's folder: `crates/store/src/lib.rs`.
    source: String,
    /// Its package's folder, in which cargo would run it.
    folder: PathBuf,
    path: PathBuf,
}

/// What compiling came to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Built {
    pub(super) programs: Vec<Program>,
    /// How often rustc and clippy warned.
    warnings: usize,
}

impl Built {
    /// # Errors
    ///
    /// When there was a warning.
    pub(super) fn refuse_warnings(&self) -> Result<()> {
        match self.warnings {
            0 => Ok(()),
            warnings => bail!("{warnings} warnings: see \"build\""),
        }
    }
}

/// A line of `--message-format=json`: what of it is needed here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
    message: Option<Diagnostic>,
}

/// What the compiler, or clippy, has to say.
#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
    /// Where; nowhere in what only sums up.
    spans: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Target {
    src_path: PathBuf,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// Builds all tests, and what they run, with clippy as the compiler of the workspace: it says what `cargo clippy` would
/// say, which compiles everything a second time for that.
///
/// # Errors
///
/// When something does not compile.
pub(super) fn build(runner: &Runner) -> Result<Built> {
    let file = tempfile::NamedTempFile::new().context("cannot make a file for what cargo says")?;
    let said: File = file.reopen().context("cannot share a file with cargo")?;
    let mut command = cargo_with_clippy();
    command.args(["test", "--workspace", "--locked", "--no-run", "--message-format=json"]);
    let outcome = runner.run(command.stdout(said));
    let said = fs::read_to_string(file.path()).context("cannot read what cargo says")?;
    let (built, words) = understand(&said, &root())?;
    print!("{words}");
    println!("{} programs with tests", built.programs.len());
    outcome.map(|()| built)
}

/// cargo with clippy in the place of rustc wherever it compiles the workspace itself. What is built in another way does
/// not fit what this builds.
fn cargo_with_clippy() -> Command {
    let mut command = cargo();
    let beside_cargo = PathBuf::from(command.get_program()).with_file_name("clippy-driver");
    command.env("RUSTC_WORKSPACE_WRAPPER", beside_cargo);
    command
}

/// What cargo tells of: the programs with tests, by source, and what the compiler said, to be read.
fn understand(messages: &str, root: &Path) -> Result<(Built, String)> {
    let (mut programs, mut warnings, mut words) = (Vec::new(), 0, String::new());
    for line in messages.lines() {
        let message: Message = serde_json::from_str(line).context("cargo's words are not understood")?;
        if let Some(said) = message.message {
            words.push_str(&said.rendered.unwrap_or_default());
            warnings += usize::from(said.level == "warning" && !said.spans.is_empty());
        }
        let is_test = message.profile.is_some_and(|profile| profile.test);
        let (Some(target), Some(path)) = (message.target, message.executable) else { continue };
        if message.reason != "compiler-artifact" || !is_test {
            continue;
        }
        let source = target.src_path.strip_prefix(root).unwrap_or(&target.src_path).display().to_string();
        let folder = message.manifest_path.parent().unwrap_or(root).to_owned();
        programs.push(Program { source, folder, path });
    }
    programs.sort_by(|one, other| one.source.cmp(&other.source));
    Ok((Built { programs, warnings }, words))
}

/// Runs all of them, whatever becomes of some, and then what documentation shows.
///
/// # Errors
///
/// When a program fails; all that did are named.
pub(super) fn run(runner: &Runner, places: &Places, programs: &[Program]) -> Result<()> {
    let surroundings = Surroundings::new(places)?;
    let (waiting, computing): (Vec<_>, Vec<_>) =
        programs.iter().partition(|program| program.source == WAITING);
    let failed = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let end_to_end = |program: &&Program| {
                let mut command = Command::new(&program.path);
                let command = surroundings.of(command.current_dir(&program.folder));
                Aside::run(runner, "end-to-end tests", &places.run, command)
            };
            waiting.iter().map(end_to_end).collect::<Vec<_>>()
        });
        let mut failed = compute(runner, &surroundings, &computing);
        for aside in waiting.join().expect("a lane does not panic") {
            println!("\n-- {WAITING} (beside the programs above)");
            failed.extend(aside.into_result().err().map(|error| format!("{WAITING}: {error}")));
        }
        failed
    });
    match failed.is_empty() {
        true if programs.is_empty() => bail!("there is nothing to run: the tests were not built"),
        true => Ok(()),
        false => bail!("{}", failed.join("\n")),
    }
}

/// Runs the programs that compute, one after the other: each has threads of its own.
fn compute(runner: &Runner, surroundings: &Surroundings, programs: &[&Program]) -> Vec<String> {
    let mut failed = Vec::new();
    let mut one = |name: &str, command: &mut Command| {
        println!("\n-- {name}");
        let start = Instant::now();
        if let Err(error) = runner.run(command) {
            failed.push(format!("{name}: {error}"));
        }
        println!("-- {name}: {:.1} s", start.elapsed().as_secs_f64());
    };
    for program in programs {
        let mut command = Command::new("nice");
        command.args(["-n", NICE]).arg(&program.path).current_dir(&program.folder);
        one(&program.source, surroundings.of(&mut command));
    }
    let mut documentation = cargo_with_clippy();
    documentation.args(["test", "--workspace", "--locked", "--no-fail-fast", "--doc"]);
    one("what documentation shows", surroundings.of(&mut documentation));
    failed
}

/// What tests find in their environment.
struct Surroundings<'a> {
    places: &'a Places,
    clients: PathBuf,
    path: std::ffi::OsString,
}

impl<'a> Surroundings<'a> {
    fn new(places: &'a Places) -> Result<Self> {
        let clients = places.tools.join("clients");
        let mut programs = vec![clients.join("bin")];
        if shell::on_path("docker-registry").is_none() {
            // Installed, it would be a service that runs from then on.
            programs.push(setup::unpack("docker-registry", "tests pull images from it", &places.tools)?);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        programs.extend(std::env::split_paths(&path));
        let path = std::env::join_paths(programs).context("the PATH cannot be extended")?;
        Ok(Self { places, clients, path })
    }

    fn of<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env(IMAGES, &self.places.images).env(TEST_ROOT, &self.places.run);
        command.env(CLIENTS, &self.clients).env("PATH", &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_cargo_builds_only_programs_with_tests_are_run_each_in_its_package() {
        let line = |reason: &str, source: &str, test: bool, executable: &str| {
            format!(
                r#"{{"reason":"{reason}","package_id":"x","manifest_path":"/w/crates/store/Cargo.toml","target":{{"kind":["test"],"src_path":"/w/crates/store/{source}"}},"profile":{{"opt_level":"0","test":{test}}},"executable":{executable}}}"#
            )
        };
        let said = [
            line("compiler-artifact", "tests/contract.rs", true, r#""/w/target/debug/deps/contract-1""#),
            line("compiler-artifact", "src/lib.rs", true, r#""/w/target/debug/deps/store-2""#),
            line("compiler-artifact", "src/lib.rs", false, "null"),
            line("compiler-artifact", "src/main.rs", false, r#""/w/target/debug/store""#),
            r#"{"reason":"build-script-executed","package_id":"y","out_dir":"/w/target"}"#.to_owned(),
            r#"{"reason":"compiler-message","message":{"level":"warning","rendered":"warning: odd\n","spans":[{}]}}"#.to_owned(),
            r#"{"reason":"compiler-message","message":{"level":"warning","rendered":"1 warning emitted\n","spans":[]}}"#
                .to_owned(),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let program = |source: &str, path: &str| Program {
            source: source.to_owned(),
            folder: PathBuf::from("/w/crates/store"),
            path: PathBuf::from(path),
        };
        let (built, words) = understand(&said.join("\n"), Path::new("/w")).unwrap();
        assert_eq!(
            built.programs,
            [
                program("crates/store/src/lib.rs", "/w/target/debug/deps/store-2"),
                program("crates/store/tests/contract.rs", "/w/target/debug/deps/contract-1"),
            ]
        );
        assert_eq!((built.warnings, words.as_str()), (1, "warning: odd\n1 warning emitted\n"));
        assert!(built.refuse_warnings().is_err() && Built::default().refuse_warnings().is_ok());
        assert!(understand("warning: words", Path::new("/w")).is_err());
    }
}
