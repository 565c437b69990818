//! A command that goes on, and what it says line by line.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use super::PATIENCE;

/// A running command; dropping it ends it.
pub(crate) struct Followed {
    words: String,
    child: Child,
    lines: Receiver<String>,
}

impl Followed {
    /// Starts a command.
    pub(crate) fn new(words: &str, mut command: Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the client runs");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { words: words.to_owned(), child, lines }
    }

    /// The next line; waits for it.
    pub(crate) fn line(&self) -> String {
        self.next().unwrap_or_else(|| panic!("`{}` ended without another line", self.words))
    }

    /// What is left until the command ends by itself.
    pub(crate) fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn next(&self) -> Option<String> {
        match self.lines.recv_timeout(Duration::from_secs(PATIENCE)) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("`{}` says nothing more", self.words),
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
