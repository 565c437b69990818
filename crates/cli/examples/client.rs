//! The client alone, without a server in the same program: `cargo run -p cli --example client -- get pods -A`.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

#[derive(Parser)]
struct Args {
    #[command(flatten)]
    connection: cli::Connection,
    #[command(subcommand)]
    command: cli::Command,
}

fn main() -> ExitCode {
    // Fails only when a provider is installed already: then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    cli::run(args.command, &args.connection, Args::command())
}
