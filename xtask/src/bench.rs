//! `cargo xtask bench`: measures stead as it ships.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::setup::{self, C_COMPILER, MMDEBSTRAP};
use crate::shell::Runner;
use crate::{cargo, images, root};

/// The command line of `cargo xtask bench`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Flags of the bench itself: see `cargo xtask bench -- --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    flags: Vec<OsString>,
}

/// Builds stead and the bench, sees to the image that it runs, and runs it.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::need_root("cargo xtask bench")?;
    setup::ensure(&[C_COMPILER, MMDEBSTRAP])?;
    let runner = Runner::new()?;
    // One after the other: together, the bench's wishes would become part of stead.
    for package in ["stead", "bench"] {
        runner.run(cargo().args(["build", "--release", "--locked", "--package", package]))?;
    }
    images::ensure(&["busybox:latest"], &root().join("target/images"))?;
    let mut bench = Command::new(root().join("target/release/bench"));
    runner.run(bench.args(&args.flags).current_dir(root()))
}
