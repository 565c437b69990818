//! What runs over connections of its own: commands, attached containers, forwarded ports, files copied, proxied
//! requests, ephemeral containers; in the words of stead, of kubectl over WebSockets and over SPDY, and of kube-rs.

#![expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]

mod attach;
mod debug;
mod exec;
mod port_forward;
mod proxy;

use std::io::Write;
use std::process::{Output, Stdio};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::{Client, Followed, Home, is_ready};

/// A client and how it speaks.
#[derive(Clone, Copy, Debug)]
struct Way {
    client: Client,
    /// What kubectl falls back to, and older ones know alone.
    spdy: bool,
}

impl Way {
    /// Those that this machine has.
    fn all() -> Vec<Self> {
        let of = |client| match client {
            Client::Stead => vec![Self { client, spdy: false }],
            Client::Kubectl => vec![Self { client, spdy: false }, Self { client, spdy: true }],
        };
        Client::all().into_iter().flat_map(of).collect()
    }

    fn command(self, home: &Home, line: &str) -> std::process::Command {
        let mut command = home.client_of(self.client, line);
        for name in ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS"] {
            command.env(name, if self.spdy { "false" } else { "true" });
        }
        command
    }

    /// Runs a command line with something to read, and answers with all that came of it.
    fn feed(self, home: &Home, line: &str, input: &[u8]) -> Output {
        let mut command = self.command(home, line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the client runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                // A command that does not read to the end is seen by what it says.
                let _ = stdin.write_all(input);
            });
            child.wait_with_output().expect("the client ends")
        })
    }

    fn follow(self, home: &Home, line: &str) -> Followed {
        Followed::new(line, self.command(home, line))
    }
}

/// A pod of one container, with more of its spec.
fn pod(name: &str, script: &str, more: Value) -> Value {
    let mut container = json!({"name": "main", "image": "busybox", "imagePullPolicy": "Never",
        "command": ["sh", "-c", script]});
    container.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "restartPolicy": "Never", "containers": [container]}})
}

/// A script that does nothing until it is ended.
const REST: &str = "while :; do sleep 1000; done";

fn start(home: &Home, pod: Value) {
    let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
    home.create::<Pod>(pod);
    home.until_one(&name, "it is ready", is_ready);
}

/// Bytes of every value, in no order that a mistake would keep.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..size).map(|_| next()).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
