//! Streams inside WebSocket messages: the first byte says which (`v5.channel.k8s.io`, KEP-4006).

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::error::Error;
use crate::session::Session;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// What a message carries.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming<'a> {
    Stdout(&'a [u8]),
    Stderr(&'a [u8]),
    /// How the command ended, as a `Status`.
    Status(&'a [u8]),
}

/// Reads a message; `None` for channels that mean nothing to a client.
pub(super) fn read(message: &[u8]) -> Option<Incoming<'_>> {
    let (channel, data) = message.split_first()?;
    match *channel {
        STDOUT => Some(Incoming::Stdout(data)),
        STDERR => Some(Incoming::Stderr(data)),
        STATUS => Some(Incoming::Status(data)),
        _ => None,
    }
}

/// Input for the command.
pub(super) fn stdin(data: &[u8]) -> Message {
    Message::binary([&[STDIN], data].concat())
}

/// There is no more input.
pub(super) fn close_stdin() -> Message {
    Message::binary(vec![CLOSE, STDIN])
}

/// The terminal has this many columns and rows.
pub(super) fn size((columns, rows): (u16, u16)) -> Message {
    let size = json!({"Width": columns, "Height": rows}).to_string();
    Message::binary([&[RESIZE], size.as_bytes()].concat())
}

/// How a command ended.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Success,
    ExitCode(u8),
    /// It did not run, or was cut off.
    Failed(Vec<u8>),
}

impl Outcome {
    pub(super) fn from_status(status: &[u8]) -> Self {
        let parsed: Value = serde_json::from_slice(status).unwrap_or_default();
        if parsed["status"] == "Success" {
            return Self::Success;
        }
        let causes = parsed["details"]["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let code =
            causes.iter().find(|cause| cause["reason"] == "ExitCode").and_then(|c| c["message"].as_str());
        match code.and_then(|code| code.parse::<u8>().ok()) {
            Some(code) if parsed["reason"] == "NonZeroExitCode" => Self::ExitCode(code),
            _ => Self::Failed(status.to_vec()),
        }
    }

    pub(super) fn into_result(self, session: &Session) -> Result<(), Error> {
        match self {
            Self::Success => Ok(()),
            Self::ExitCode(code) => {
                session.note(format!("command terminated with exit code {code}"))?;
                Err(Error::Exit(code))
            }
            Self::Failed(status) => Err(Error::from_status(500, &status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_their_stream_first() {
        assert_eq!(read(b"\x01out"), Some(Incoming::Stdout(b"out")));
        assert_eq!(read(b"\x02err"), Some(Incoming::Stderr(b"err")));
        assert_eq!(read(b"\x03{}"), Some(Incoming::Status(b"{}")));
        assert_eq!(read(b"\xff\x00"), None);
        assert_eq!(read(b""), None);
        assert_eq!(stdin(b"in"), Message::binary(b"\x00in".to_vec()));
        assert_eq!(size((80, 24)), Message::binary(b"\x04{\"Height\":24,\"Width\":80}".to_vec()));
    }

    #[test]
    fn exit_codes_come_out_of_the_status() {
        assert_eq!(Outcome::from_status(br#"{"status":"Success"}"#), Outcome::Success);
        let failed = json!({"status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}});
        assert_eq!(Outcome::from_status(failed.to_string().as_bytes()), Outcome::ExitCode(3));
        let broken = br#"{"status":"Failure","reason":"InternalError","message":"no such file"}"#;
        assert_eq!(Outcome::from_status(broken), Outcome::Failed(broken.to_vec()));
    }
}
