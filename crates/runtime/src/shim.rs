//! The shim: one small process per pod that holds its namespaces, makes its containers, takes their output,
//! waits for them and writes down how they ended. It outlives the daemon and serves the next one.
//!
//! One thread, one loop over poll(2), no runtime. It never calls libcontainer itself: [`worker`]s do.
//! What it says about a container is written to disk first.

mod attach;
pub(crate) mod channel;
mod connection;
mod container;
mod devices;
mod environment;
mod exec;
mod executor;
mod log;
mod pause;
pub(crate) mod protocol;
mod reaper;
mod requests;
mod rootfs;
mod server;
mod setup;
mod sys;
mod worker;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

pub use log::moved_aside;

/// The life of a shim, for the arguments that [`crate::oci`] gives it after `shim_command`: the sandbox's
/// folder, and `<namespace>/<name>` of the pod for the readers of process lists.
///
/// Call it before anything else in `main`: the process must have one thread.
#[must_use]
pub fn main(args: &[OsString]) -> ExitCode {
    let Some(dir) = args.first() else {
        eprintln!("the shim is started by stead, with the folder of a sandbox");
        return ExitCode::from(2);
    };
    let dir = Path::new(dir);
    let surroundings = setup::set_up(dir);
    let reported = setup::report(surroundings.as_ref().map(|_| ()));
    let (Ok(surroundings), Ok(())) = (surroundings, reported) else { return ExitCode::FAILURE };
    match server::Shim::new(dir, surroundings).serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            say(&e.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Writes a line into the shim's log. `eprintln` would panic when the disk is full, and take the pod along.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
