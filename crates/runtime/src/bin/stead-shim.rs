//! The shim alone, as this crate's tests start it. stead itself starts its own binary again.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    runtime::shim::main(&args)
}
