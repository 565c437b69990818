//! Whole clusters from seeds, with faults: builds the simulator with optimisations and all assertions, and runs it.

use anyhow::Result;

use crate::shell;

/// Arguments of `cargo xtask simulate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments of the simulator: --seeds N, --from S, --seed S, --brief
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs the simulator.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut command = super::cargo();
    command.args(["run", "--quiet", "--profile", "simulate", "-p", "simulator", "--"]).args(&args.rest);
    shell::run(&mut command)
}
