//! What can go wrong, in kubectl's words.

use std::fmt;
use std::io;

use serde_json::Value;

/// The exit code of a program whose reader went away (128 + SIGPIPE), as shells report it.
const READER_GONE: u8 = 141;

/// Why a command failed. Shown on stderr as it displays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server said no.
    #[error("{0}")]
    Server(Box<Refusal>),
    /// The command cannot be carried out as it was given.
    #[error("error: {0}")]
    Plain(String),
    /// No server: stead was not started, or not here.
    #[error("error: stead is not running: {why}; start it with `{start}`")]
    NotRunning {
        /// What was found instead.
        why: String,
        /// The command that helps.
        start: String,
    },
    /// The server could not be reached for another reason.
    #[error("Unable to connect to the server: {0}")]
    Unreachable(String),
    /// Everything was said already; only the exit code is left.
    #[error("exit code {0}")]
    Exit(u8),
}

/// A `Status` that the server answered with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// The HTTP code.
    pub(crate) code: u16,
    /// The machine's word: `NotFound`, `Conflict`, …
    pub(crate) reason: String,
    /// The sentence.
    pub(crate) message: String,
    /// `details`, or null.
    pub(crate) details: Value,
}

impl Error {
    /// A sentence of our own.
    pub(crate) fn plain(message: impl Into<String>) -> Self {
        Self::Plain(message.into())
    }

    /// A `Status` object, or whatever else came with an HTTP code that says no.
    pub(crate) fn from_status(code: u16, body: &[u8]) -> Self {
        let status: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
        let mut refusal = Refusal {
            code: status["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(code),
            reason: text("reason"),
            message: text("message"),
            details: status["details"].clone(),
        };
        if refusal.message.is_empty() {
            refusal.message = match String::from_utf8_lossy(body).trim() {
                "" => format!("the server answered with HTTP code {code}"),
                said => said.to_owned(),
            };
        }
        Self::Server(Box::new(refusal))
    }

    /// The same refusal, saying what was being done: `error when creating "web.yaml": …`.
    pub(crate) fn when(self, verb: &str, source: &str) -> Self {
        match self {
            Self::Server(mut refusal) => {
                refusal.message = format!("error when {verb} {source:?}: {}", refusal.message);
                Self::Server(refusal)
            }
            Self::Plain(message) => Self::Plain(format!("error when {verb} {source:?}: {message}")),
            other => other,
        }
    }

    /// The server's word for why, if it was the server.
    fn reason(&self) -> Option<&str> {
        match self {
            Self::Server(refusal) => Some(&refusal.reason),
            _ => None,
        }
    }

    /// Whether the object is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        self.reason() == Some("NotFound")
    }

    /// Whether a watch asked for a revision that is no longer known.
    pub(crate) fn is_expired(&self) -> bool {
        matches!(self, Self::Server(refusal) if refusal.code == 410)
    }

    /// The exit code that goes with it.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Exit(code) => *code,
            _ => 1,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Exit(READER_GONE),
            _ => Self::Plain(error.to_string()),
        }
    }
}

impl fmt::Display for Refusal {
    /// As kubectl says it (`k8s.io/kubectl/pkg/cmd/util.StandardErrorMessage`): broken rules name the object
    /// and list the fields.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = |field: &str| self.details[field].as_str().unwrap_or_default();
        let causes = self.details["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
        if self.reason != "Invalid" || causes.is_empty() {
            let reason = if self.reason.is_empty() { "Unknown" } else { &self.reason };
            return write!(f, "Error from server ({reason}): {}", self.message);
        }
        write!(f, "The {} {:?} is invalid: ", detail("kind"), detail("name"))?;
        let text = |cause: &Value, field: &str| cause[field].as_str().unwrap_or_default().to_owned();
        let line = |cause: &Value| match text(cause, "field") {
            field if field.is_empty() => text(cause, "message"),
            field => format!("{field}: {}", text(cause, "message")),
        };
        match causes {
            [one] => f.write_str(&line(one)),
            many => many.iter().try_for_each(|cause| write!(f, "\n* {}", line(cause))),
        }
    }
}

#[cfg(test)]
mod tests {
    use apimachinery::field::{FieldError, Path};
    use apimachinery::status::Status;

    use super::*;

    fn said(status: &Status) -> Error {
        Error::from_status(status.code, status.to_json().to_string().as_bytes())
    }

    #[test]
    fn refusals_read_as_kubectl_prints_them() {
        let missing = said(&Status::not_found("pods", "x"));
        assert!(missing.is_not_found());
        assert_eq!(missing.to_string(), "Error from server (NotFound): pods \"x\" not found");

        let strict = said(&Status::bad_request("strict decoding error: unknown field \"spec.replcas\""));
        assert_eq!(
            strict.when("creating", "web.yaml").to_string(),
            "Error from server (BadRequest): error when creating \"web.yaml\": strict decoding error: unknown field \"spec.replcas\""
        );
    }

    #[test]
    fn broken_rules_are_listed_by_field() {
        let spec = Path::new("spec");
        let one = [FieldError::required(&spec.child("a"), "say it")];
        let two = [one[0].clone(), FieldError::forbidden(&spec, "no")];
        assert_eq!(
            said(&Status::invalid("StatefulSet.apps", "web", &one)).to_string(),
            "The StatefulSet \"web\" is invalid: spec.a: Required value: say it"
        );
        assert_eq!(
            said(&Status::invalid("StatefulSet.apps", "web", &two)).to_string(),
            "The StatefulSet \"web\" is invalid: \n* spec.a: Required value: say it\n* spec: Forbidden: no"
        );
    }

    #[test]
    fn an_answer_that_is_no_status_is_still_told() {
        assert_eq!(
            Error::from_status(502, b"upstream is gone\n").to_string(),
            "Error from server (Unknown): upstream is gone"
        );
    }
}
