//! What daemon and shim say to each other: one request per connection, as JSON after its length (four bytes,
//! little endian), answered by one reply; `Subscribe` is answered by `Changed` for as long as it lasts.
//! Descriptors of `Exec` and `Attach` travel with the first byte (SCM_RIGHTS).

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{ContainerState, Error};

/// The longest message, in bytes.
pub(crate) const MESSAGE_LIMIT: usize = 4 << 20;

/// Standard streams of an exec.
pub(crate) const STDIO: usize = 3;

/// What is asked of a shim.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Make the container whose `container.json` is written.
    Create {
        /// Its id.
        id: String,
        /// Where its output goes.
        log_path: PathBuf,
        /// Whether it gets a terminal.
        tty: bool,
        /// Whether it gets an input.
        #[serde(default)]
        stdin: bool,
        /// Whether that ends with the first who attaches to it.
        #[serde(default)]
        stdin_once: bool,
        /// The container whose process namespace it joins.
        #[serde(default)]
        joins: Option<String>,
    },
    /// Start it.
    Start {
        /// Its id.
        id: String,
    },
    /// Send its first process a signal.
    Signal {
        /// Its id.
        id: String,
        /// The number.
        signal: i32,
    },
    /// Forget it.
    Remove {
        /// Its id.
        id: String,
    },
    /// Run a command in it. Closing the connection kills the command.
    Exec {
        /// Its id.
        id: String,
        /// The command.
        argv: Vec<String>,
        /// The streams are a terminal.
        tty: bool,
        /// Which of the three streams travel with this message, in their order.
        stdio: [bool; STDIO],
    },
    /// Join it. Answered by `Attached`, with the input's descriptor if there is one, and by `Done` when the
    /// container has ended. Closing the connection leaves the container.
    Attach {
        /// Its id.
        id: String,
        /// Whether the input is wanted.
        stdin: bool,
        /// Which of the three streams travel with this message, in their order.
        stdio: [bool; STDIO],
    },
    /// Tell the state of all containers.
    State,
    /// Say `Changed` whenever one of them changes.
    Subscribe,
    /// Kill all containers and end.
    Stop,
}

/// What a shim answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// It is done.
    Done,
    /// To `State`.
    State(BTreeMap<String, ContainerState>),
    /// To `Exec`: how the command ended.
    Exited(i32),
    /// To `Subscribe`.
    Changed,
    /// To `Attach`: the streams are joined.
    Attached,
    /// It is not done.
    Failed(Fault),
}

/// [`Error`], as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// No such container.
    NotFound(String),
    /// The container is not in the state that the request needs.
    WrongState {
        /// Its id.
        id: String,
        /// The state in words.
        state: String,
    },
    /// The command is at fault.
    BadCommand(String),
    /// The machine is.
    System {
        /// What was being done.
        doing: String,
        /// What went wrong.
        why: String,
    },
}

impl Fault {
    /// A fault of the machine.
    #[expect(clippy::needless_pass_by_value, reason = "errors come by value, out of map_err")]
    pub(crate) fn system(doing: impl Into<String>, why: impl ToString) -> Self {
        Self::System { doing: doing.into(), why: why.to_string() }
    }

    /// The sentence for humans.
    pub(crate) fn message(self) -> String {
        Error::from(self).to_string()
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotFound(id) => Self::NotFound { what: "container", id },
            Fault::WrongState { id, state } => Self::WrongState { id, state },
            Fault::BadCommand(why) => Self::BadCommand(why),
            Fault::System { doing, why } => Self::System { doing, why },
        }
    }
}

/// A message with its length in front.
pub(crate) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).map_err(io::Error::other)?;
    let len = bytes.len() - 4;
    if len > MESSAGE_LIMIT {
        return Err(io::Error::other(format!("a message of {len} bytes is too long")));
    }
    bytes[..4].copy_from_slice(&u32::try_from(len).map_err(io::Error::other)?.to_le_bytes());
    Ok(bytes)
}

/// Takes the first message out of `buffer`; `None` while it is not complete.
pub(crate) fn decode<T: DeserializeOwned>(buffer: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(head) = buffer.first_chunk::<4>() else { return Ok(None) };
    let len = usize::try_from(u32::from_le_bytes(*head)).map_err(io::Error::other)?;
    if len > MESSAGE_LIMIT {
        return Err(io::Error::other(format!("a message of {len} bytes is too long")));
    }
    let Some(body) = buffer.get(4..4 + len) else { return Ok(None) };
    let message = serde_json::from_slice(body)?;
    buffer.drain(..4 + len);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_any_pieces() {
        let mut wire = encode(&Reply::Exited(7)).unwrap();
        wire.extend(encode(&Reply::Changed).unwrap());
        let mut buffer = Vec::new();
        let mut seen = Vec::new();
        for byte in wire {
            buffer.push(byte);
            while let Some(reply) = decode::<Reply>(&mut buffer).unwrap() {
                seen.push(format!("{reply:?}"));
            }
        }
        assert_eq!(seen, ["Exited(7)", "Changed"]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_length_out_of_bounds_is_refused_before_it_is_waited_for() {
        let mut buffer = u32::MAX.to_le_bytes().to_vec();
        assert!(decode::<Reply>(&mut buffer).is_err());
    }
}
