//! `completion`: what a shell needs to complete words.

/// Flags of `completion`.
#[derive(Clone, Debug, clap::Args)]
pub struct Completion {
    /// The shell
    shell: clap_complete::Shell,
}

impl Completion {
    /// The script that completes the words of `program`, all its subcommands' included.
    pub fn script(&self, mut program: clap::Command) -> Vec<u8> {
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        script
    }
}
