//! How a command ended, as its clients are told.

use apimachinery::status::Status;
use serde_json::{Value, json};

use crate::node_streams::{ExecSession, TerminalSize};
use futures::FutureExt;

/// What the error channel says in the end: always a `Status`
/// (upstream: kubelet's `remotecommand.ServeExec`).
pub(super) fn status(outcome: &Result<i32, Status>) -> Value {
    match outcome {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
        Err(status) => status.to_json(),
    }
}

/// The same for clients from before `v4.channel.k8s.io`: a sentence, and nothing for a success.
pub(super) fn sentence(outcome: &Result<i32, Status>) -> String {
    match outcome {
        Ok(0) => String::new(),
        _ => status(outcome)["message"].as_str().unwrap_or_default().to_owned(),
    }
}

/// A session that ends at once with the refusal.
pub(super) fn refused(status: Status) -> ExecSession {
    let exit = std::future::ready(Err(status)).boxed();
    ExecSession { stdin: None, stdout: None, stderr: None, resize: None, exit }
}

/// Reads a terminal's size as clients write it.
pub(super) fn terminal_size(json: &[u8]) -> Option<TerminalSize> {
    let size: Value = serde_json::from_slice(json).ok()?;
    let side = |name: &str| u16::try_from(size[name].as_u64()?).ok();
    Some(TerminalSize { width: side("Width")?, height: side("Height")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_travels_as_a_cause() {
        assert_eq!(status(&Ok(0))["status"], "Success");
        let failed = status(&Ok(137));
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0], json!({"reason": "ExitCode", "message": "137"}));
        let refused = status(&Err(Status::internal("no such container")));
        assert_eq!(refused["status"], "Failure");
        assert_eq!((sentence(&Ok(0)).as_str(), sentence(&Ok(3)).ends_with("exit status 3")), ("", true));
    }

    #[test]
    fn sizes_are_read_as_clients_write_them() {
        let size = terminal_size(br#"{"Width":80,"Height":24}"#);
        assert_eq!(size, Some(TerminalSize { width: 80, height: 24 }));
        assert_eq!(terminal_size(br#"{"Width":-1,"Height":24}"#), None);
    }
}
