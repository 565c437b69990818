//! How far a pull is, in one line of a terminal.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use images::Progress;

/// A line that is written over and over; silent when nobody looks.
pub(super) struct Line {
    visible: bool,
    last: Mutex<String>,
}

impl Line {
    /// A line on standard error, if that is a terminal.
    pub(super) fn on_terminal() -> Arc<Self> {
        Arc::new(Self { visible: std::io::stderr().is_terminal(), last: Mutex::default() })
    }

    /// Shows how far it is, if that reads differently from before.
    pub(super) fn show(&self, progress: Progress) {
        if !self.visible {
            return;
        }
        let text = text(progress);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != text {
            // Nothing depends on it: a terminal that is gone needs no progress. "K" clears what was longer.
            let _ = write!(std::io::stderr(), "\r{text}\x1b[K");
            *last = text;
        }
    }

    /// Leaves the line clean.
    pub(super) fn end(&self) {
        if self.visible && !self.last.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn text(progress: Progress) -> String {
    let Progress { layers, layers_done, bytes, bytes_done } = progress;
    let megabytes = |bytes: u64| bytes / 1_000_000;
    format!("{layers_done} of {layers} layers, {} of {} MB", megabytes(bytes_done), megabytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_as_layers_and_megabytes() {
        let progress = Progress { layers: 5, layers_done: 2, bytes: 120_300_000, bytes_done: 34_900_000 };
        assert_eq!(text(progress), "2 of 5 layers, 34 of 120 MB");
    }
}
