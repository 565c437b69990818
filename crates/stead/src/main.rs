//! stead: StatefulSets without the cluster.
//!
//! This is the top of the house: it picks implementations and starts them, and nothing else.

mod down;
mod figures;
mod image;
mod instance;
mod node_link;
mod secrets;
mod up;
mod volume;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// StatefulSets without the cluster: runs stock Kubernetes manifests of stateful workloads on one machine.
#[derive(Parser)]
#[command(name = "stead", version, propagate_version = true, max_term_width = 110)]
struct Args {
    #[command(flatten)]
    connection: cli::Connection,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start stead: the API, the controllers, the node and DNS
    Up(up::Up),
    /// Stop stead and its pods; with --purge remove its state and volumes too
    Down(down::Down),
    /// Import, pull, list and remove images
    Image(image::Image),
    /// List volumes, bring deleted ones back, and adopt those that have no objects
    Volume(volume::Volume),
    /// Change the key that Secrets lie encrypted with
    Secrets(secrets::Secrets),
    #[command(flatten)]
    Client(cli::Command),
}

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    // A pod's shim is this program too. It must be alone in its process: no threads, no runtime, no TLS.
    if words.get(1).is_some_and(|word| word == "shim") {
        return runtime::shim::main(&words[2..]);
    }
    // Fails only when a provider is installed already: then there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    let data_dir = args.connection.data_dir();
    let result = match args.command {
        Command::Up(up) => up::run(&up, &data_dir),
        Command::Down(down) => down::run(&down, &data_dir),
        Command::Image(image) => image::run(image, &data_dir),
        Command::Volume(volume) => volume::run(&volume, &data_dir),
        Command::Secrets(secrets) => secrets::run(&secrets, &data_dir),
        Command::Client(command) => return cli::run(command, &args.connection, Args::command()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stead: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_knows_the_words_of_this_program_too() {
        let args = Args::parse_from(["stead", "completion", "bash"]);
        let Command::Client(cli::Command::Completion(completion)) = args.command else {
            panic!("not the completion")
        };
        let script = String::from_utf8(completion.script(Args::command())).expect("text");
        for word in ["stead,up)", "stead,down)", "stead__subcmd__image,import)", "stead,get)"] {
            assert!(script.contains(word), "{word} in\n{script}");
        }
    }

    #[test]
    fn an_address_without_its_port_is_refused_with_what_to_write() {
        for text in ["127.0.0.1", "localhost:6443"] {
            let error = Args::try_parse_from(["stead", "up", "--listen", text]).err().expect("no address");
            assert!(
                error.to_string().contains("write an IP address and a port, like 127.0.0.1:6443"),
                "{error}"
            );
        }
    }
}
