//! From the lines of `stead get pods --watch` to what happened.

use std::collections::BTreeMap;

/// What is known of each pod.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Whether it is ready, by name.
    pods: BTreeMap<String, bool>,
}

impl Progress {
    /// Takes in one line (name, ready/all, status, …) and returns what is new in it.
    pub(super) fn read(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, ready, status, ..] = words[..] else { return Vec::new() };
        let Some((ready, all)) = ready.split_once('/') else { return Vec::new() };
        let is_ready = ready == all && status != "Terminating";
        let before = self.pods.insert(name.to_owned(), is_ready);
        match (before, is_ready) {
            (None, false) => vec![format!("{name} is created")],
            (None, true) => vec![format!("{name} is ready already")],
            (Some(false), true) => vec![format!("{name} is ready")],
            (Some(true), false) => vec![format!("{name} is not ready any more ({status})")],
            (Some(true), true) | (Some(false), false) => Vec::new(),
        }
    }

    /// How many pods are ready.
    pub(super) fn ready(&self) -> usize {
        self.pods.values().filter(|ready| **ready).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str]) -> (Vec<String>, usize) {
        let mut progress = Progress::default();
        let events = lines.iter().flat_map(|line| progress.read(line)).collect();
        (events, progress.ready())
    }

    #[test]
    fn a_pod_is_told_when_it_is_created_and_when_it_is_ready() {
        let (events, ready) = told(&[
            "postgres-0   0/1   Pending             0     0s",
            "postgres-0   0/1   ContainerCreating   0     0s",
            "postgres-0   1/1   Running             0     1s",
            "postgres-1   0/1   Pending             0     0s",
        ]);
        assert_eq!(events, ["postgres-0 is created", "postgres-0 is ready", "postgres-1 is created"]);
        assert_eq!(ready, 1);
    }

    #[test]
    fn a_pod_that_ends_is_not_ready() {
        let (events, ready) = told(&["postgres-0 1/1 Running 0 9s", "postgres-0 1/1 Terminating 0 9s"]);
        assert_eq!(events, ["postgres-0 is ready already", "postgres-0 is not ready any more (Terminating)"]);
        assert_eq!(ready, 0);
    }
}
