//! The project's own commands, run as `cargo xtask COMMAND`.
//!
//! Each command is a file of its own; this one only names them. They need nothing but Rust, apt and root: what
//! else they use they install, and say so.

mod bench;
mod clients;
mod demo;
mod images;
mod instance;
mod sabotage;
mod schema;
mod setup;
mod shell;
mod simulate;
mod sweep;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
enum Command {
    /// Build stead, start it, and bring up three PostgreSQL servers with it
    Demo(demo::Args),
    /// Everything that CI checks: format, lints, tidiness, and all tests
    Test,
    /// Build container images from Debian packages, for when no registry is in reach
    Images(images::Args),
    /// Fetch the clients of others that the tests hold stead against
    Clients,
    /// Measure stead beside its goals and beside real Kubernetes
    Bench(bench::Args),
    /// Run whole clusters from seeds, with faults, in one thread each
    Simulate(simulate::Args),
    /// Check the rules of the house that a program can check
    Tidy,
    /// Break the StatefulSet planner on purpose, and show which check finds out
    Sabotage(sabotage::Args),
    /// Make the table of field facts anew from public packages, and compare
    Schema,
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Demo(args) => demo::run(&args),
        Command::Test => test::run(),
        Command::Images(args) => images::run(&args),
        Command::Clients => clients::ensure(&root().join("target/tools")).map(drop),
        Command::Bench(args) => bench::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Tidy => tidy::run(&root()),
        Command::Sabotage(args) => sabotage::run(&args),
        Command::Schema => schema::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// The cargo that runs this program.
fn cargo() -> std::process::Command {
    let mut command = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}
