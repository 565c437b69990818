//! `completion`: what a shell needs to complete words.

use std::io::Write;
use std::process::ExitCode;

/// Flags of `completion`.
#[derive(Clone, Debug, clap::Args)]
pub struct Completion {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completion {
    /// Prints the script that completes the words of `program`, all its subcommands' included.
    pub fn print(&self, program: &mut clap::Command) -> ExitCode {
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, program, name, &mut script);
        match std::io::stdout().write_all(&script) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }
}
