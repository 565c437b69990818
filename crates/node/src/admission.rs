//! Which pods the node takes: its own check of what was bound to it, by whomever
//! (`pkg/kubelet/lifecycle/predicate.go`).
//!
//! A pod that is not taken fails, and who made it makes it again. Upstream's kubelet lets the two go round as
//! fast as they can; here a name that was refused lately waits a little before it is refused again, and is
//! taken at once when what it wants becomes free meanwhile.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use planner::Key;
use planner::scheduler::{Rejection, ResizeRefusal, admit, admit_resize};

use crate::worker::Handle;

/// The pause before the second refusal of a name; it doubles with each refusal in a row.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_millis(50);
/// The longest pause before a refusal.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// A refusal this long ago is forgotten.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(1);
/// Refused names that are remembered at most.
const REMEMBERED: usize = 1000;

/// What the node says to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It runs here.
    Taken,
    /// It fails.
    Refused(Rejection),
    /// It would be refused now; ask again after this long, or when woken.
    Later(SignedDuration),
}

/// The pods that the node has taken, and the names that it has refused lately.
#[derive(Default)]
pub(crate) struct Admission {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By uid, until nothing of them runs.
    taken: HashMap<String, Arc<Handle>>,
    /// Those that ask again later, by uid.
    waiting: HashMap<String, Arc<Handle>>,
    refused: HashMap<Key, Refusals>,
}

struct Refusals {
    in_a_row: u32,
    last: Timestamp,
}

impl Admission {
    /// Takes a pod without a question: it runs here already.
    pub(crate) fn take(&self, handle: &Arc<Handle>) {
        self.lock().taken.insert(handle.uid.clone(), Arc::clone(handle));
    }

    /// Decides on the pod of a worker. A node of which nothing is known takes all.
    pub(crate) fn decide(&self, handle: &Arc<Handle>, node: Option<&Node>, now: Timestamp) -> Verdict {
        let pod = handle.pod();
        let mut state = self.lock();
        if state.taken.contains_key(&handle.uid) {
            return Verdict::Taken;
        }
        let others: Vec<_> = state.taken.values().filter(|o| !o.is_over()).map(|o| o.pod()).collect();
        let answer = node.map_or(Ok(()), |node| admit(node, others.iter().map(|o| &**o), &pod));
        let Err(rejection) = answer else {
            state.waiting.remove(&handle.uid);
            state.refused.remove(&handle.key);
            state.taken.insert(handle.uid.clone(), Arc::clone(handle));
            return Verdict::Taken;
        };
        let rest = state.pause(&handle.key, now);
        if rest.is_positive() {
            state.waiting.insert(handle.uid.clone(), Arc::clone(handle));
            return Verdict::Later(rest);
        }
        state.waiting.remove(&handle.uid);
        state.note_refusal(&handle.key, now);
        Verdict::Refused(rejection)
    }

    /// Whether the pod, which is here, may have the resources that its spec asks for now. When it may not, it is woken
    /// as soon as that may be different.
    pub(crate) fn decide_on_resize(
        &self,
        handle: &Arc<Handle>,
        node: Option<&Node>,
    ) -> Result<(), ResizeRefusal> {
        let mut state = self.lock();
        let others = state.taken.values().filter(|other| other.uid != handle.uid && !other.is_over());
        let others: Vec<_> = others.map(|other| other.pod()).collect();
        let pod = handle.pod();
        let answer =
            node.map_or(Ok(()), |node| admit_resize(node, others.iter().map(|other| &**other), &pod));
        match answer {
            Ok(()) => state.waiting.remove(&handle.uid),
            Err(_) => state.waiting.insert(handle.uid.clone(), Arc::clone(handle)),
        };
        answer
    }

    /// Somebody has let go of something: who waits may ask again.
    pub(crate) fn wake(&self) {
        self.lock().wake();
    }

    /// Nothing of the pod runs any more, and what it had is free: who waits may ask again.
    pub(crate) fn release(&self, uid: &str) {
        let mut state = self.lock();
        state.waiting.remove(uid);
        if state.taken.remove(uid).is_some() {
            state.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl State {
    fn wake(&self) {
        self.waiting.values().for_each(|handle| handle.wake());
    }

    /// How much longer a name is not refused again.
    fn pause(&self, key: &Key, now: Timestamp) -> SignedDuration {
        let Some(refusals) = self.refused.get(key) else { return SignedDuration::ZERO };
        let doubled = FIRST_PAUSE.saturating_mul(1 << (refusals.in_a_row.max(1) - 1).min(10));
        doubled.min(LONGEST_PAUSE) - now.duration_since(refusals.last)
    }

    fn note_refusal(&mut self, key: &Key, now: Timestamp) {
        self.refused.retain(|_, refusals| now.duration_since(refusals.last) < FORGOTTEN_AFTER);
        if self.refused.len() >= REMEMBERED {
            self.refused.clear();
        }
        let refusals = self.refused.entry(key.clone()).or_insert(Refusals { in_a_row: 0, last: now });
        refusals.in_a_row = refusals.in_a_row.saturating_add(1);
        refusals.last = now;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn handle(name: &str, uid: &str) -> Arc<Handle> {
        let port = json!({"containerPort": 80, "hostPort": 8080});
        let pod = json!({"metadata": {"namespace": "default", "name": name, "uid": uid},
            "spec": {"containers": [{"name": "main", "ports": [port]}]}});
        Handle::new(Arc::new(serde_json::from_value(pod).unwrap()))
    }

    struct Asked {
        admission: Admission,
        node: Node,
        now: Timestamp,
    }

    impl Asked {
        fn new() -> Self {
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            Self { admission: Admission::default(), node: Node::default(), now }
        }

        fn ask(&self, handle: &Arc<Handle>) -> Verdict {
            self.admission.decide(handle, Some(&self.node), self.now)
        }

        fn is_refused(&self, handle: &Arc<Handle>) -> bool {
            matches!(self.ask(handle), Verdict::Refused(why) if why.reason == "NodePorts")
        }
    }

    #[test]
    fn a_port_is_one_pod_s_until_nothing_of_it_runs() {
        let asked = Asked::new();
        let (first, second) = (handle("first", "1"), handle("second", "2"));
        assert_eq!(asked.ask(&first), Verdict::Taken);
        assert_eq!(asked.ask(&first), Verdict::Taken, "it does not stand in its own way");
        assert!(asked.is_refused(&second));
        asked.admission.release("1");
        assert_eq!(asked.ask(&handle("second", "3")), Verdict::Taken);
    }

    #[test]
    fn a_pod_that_has_ended_has_nothing_any_more() {
        let asked = Asked::new();
        let first = handle("first", "1");
        asked.admission.take(&first);
        let mut ended = (*first.pod()).clone();
        let phase = Some("Succeeded".to_owned());
        ended.status = Some(k8s_openapi::api::core::v1::PodStatus { phase, ..Default::default() });
        first.update(Arc::new(ended));
        assert_eq!(asked.ask(&handle("second", "2")), Verdict::Taken);
    }

    #[test]
    fn a_name_is_refused_again_only_after_a_pause_that_grows() {
        let mut asked = Asked::new();
        asked.admission.take(&handle("first", "1"));
        let mut pauses = Vec::new();
        assert!(asked.is_refused(&handle("second", "2")), "the first time at once");
        for uid in 3..12 {
            let again = handle("second", &uid.to_string());
            let Verdict::Later(pause) = asked.ask(&again) else { panic!("refused at once") };
            pauses.push(pause.as_millis());
            asked.now += pause;
            assert!(asked.is_refused(&again));
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000]);
        asked.now += FORGOTTEN_AFTER;
        assert!(asked.is_refused(&handle("second", "new")), "at once: that was long ago");
        assert_eq!(asked.ask(&handle("second", "newer")), Verdict::Later(FIRST_PAUSE), "it begins anew");
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_taken_when_the_port_becomes_free() {
        let asked = Asked::new();
        asked.admission.take(&handle("first", "1"));
        assert!(asked.is_refused(&handle("second", "2")));
        let again = handle("second", "3");
        assert!(matches!(asked.ask(&again), Verdict::Later(_)));
        asked.admission.release("1");
        again.woken().await;
        assert_eq!(asked.ask(&again), Verdict::Taken);
    }
}
