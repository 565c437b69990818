//! All states that a set can come into, and what becomes of each when it is left in peace.

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::events::{Event, events, progress};
use crate::rules;
use crate::stage::{Planned, Stage};
use crate::state::{Config, State, current_state_matches};

/// How one state came from another.
#[derive(Clone, Copy, Debug)]
enum Step {
    Start,
    Happened(Event),
    /// The first `done` writes of the plan were carried out.
    Planned {
        done: usize,
    },
    /// `event` came after the first `before` writes; the plan, which had not heard of it, was carried out up to
    /// and with write `done`, where the API let it.
    Overtaken {
        before: usize,
        event: Event,
        done: usize,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => write!(f, "the set is made"),
            Self::Happened(event) => write!(f, "{event}"),
            Self::Planned { done } => write!(f, "the plan's first {done} writes"),
            Self::Overtaken { before, event, done } => {
                write!(f, "the plan's first {done} writes, but after {before} of them: {event}")
            }
        }
    }
}

/// Who goes first when nothing disturbs: whatever the order, the goal is reached.
#[derive(Clone, Copy, Debug)]
enum First {
    Planner,
    Node,
}

const FIRST: [First; 2] = [First::Planner, First::Node];

struct Node {
    state: State,
    parent: usize,
    step: Step,
    /// Where a run without disturbances goes from here, for each of [`FIRST`]; itself at its end.
    peaceful: [usize; 2],
}

/// What a search has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visited {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
}

struct Search {
    stage: Stage,
    nodes: Vec<Node>,
    index: HashMap<State, usize>,
    transitions: usize,
}

/// Whether a search has failed: one trace is enough, and the others need not go on.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Notes when a search panics, wherever.
struct Watch;

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            FAILED.store(true, Ordering::Relaxed);
        }
    }
}

/// Visits every state, and says how many there were; `None` when another search has failed meanwhile.
pub(crate) fn search(config: &Config) -> Option<Visited> {
    let _watch = Watch;
    let mut search =
        Search { stage: Stage::new(config), nodes: Vec::new(), index: HashMap::new(), transitions: 0 };
    search.visit(State::new(config), 0, Step::Start);
    let mut next = 0;
    while next < search.nodes.len() {
        if FAILED.load(Ordering::Relaxed) {
            return None;
        }
        search.expand(next);
        next += 1;
    }
    for first in 0..FIRST.len() {
        search.check_peace(first);
    }
    Some(Visited { states: search.nodes.len(), transitions: search.transitions })
}

impl Search {
    fn config(&self) -> &Config {
        self.stage.config()
    }

    fn visit(&mut self, state: State, parent: usize, step: Step) -> usize {
        self.transitions += 1;
        let next = self.nodes.len();
        let index = *self.index.entry(state).or_insert(next);
        if index == next {
            self.nodes.push(Node { state, parent, step, peaceful: [next; 2] });
        }
        index
    }

    fn expand(&mut self, at: usize) {
        let state = self.nodes[at].state;
        let planned = self.plan(at);
        if let Err(why) = rules::judge(self.config(), &state, &planned) {
            self.fail(at, &planned, &why);
        }
        let mut between = vec![state];
        for (index, write) in planned.writes.iter().enumerate() {
            match write.execute(&state, between[index], false) {
                Ok(after) => between.push(after),
                Err(_) => self.fail(at, &planned, &format!("refused though nothing was overlooked: {write}")),
            }
        }
        for (done, after) in between.iter().enumerate().skip(1) {
            self.visit(*after, at, Step::Planned { done });
        }
        self.overtake(at, &planned, &between);
        let after = between[planned.writes.len()];
        self.check_loss(at, &planned, &after);
        let event = progress(self.config(), &state);
        let after_event = event.map(|event| (event.apply(state), Step::Happened(event)));
        let after_plan = (after != state).then_some((after, Step::Planned { done: planned.writes.len() }));
        let peaceful = FIRST.map(|first| match first {
            First::Planner => after_plan.or(after_event),
            First::Node => after_event.or(after_plan),
        });
        let next = peaceful.map(|next| next.map_or(at, |(state, step)| self.visit(state, at, step)));
        self.nodes[at].peaceful = next;
    }

    /// The planner's plan. Its own assertions, and the checker's, are told with how it came to them.
    fn plan(&self, at: usize) -> Planned {
        let plan = || self.stage.plan(&self.nodes[at].state);
        std::panic::catch_unwind(AssertUnwindSafe(plan)).unwrap_or_else(|panic| {
            println!("{}: how it came to this:\n{}", self.config().name, self.path_to(at));
            std::panic::resume_unwind(panic)
        })
    }

    /// Everything that may happen, before the plan, after it, and between any two of its writes.
    fn overtake(&mut self, at: usize, planned: &Planned, between: &[State]) {
        let seen = between[0];
        for (before, held) in between.iter().enumerate() {
            for event in events(self.stage.config(), held) {
                let mut state = event.apply(*held);
                if before == 0 {
                    self.visit(state, at, Step::Happened(event));
                }
                for (index, write) in planned.writes.iter().enumerate().skip(before) {
                    match write.renamed(event).execute(&seen, state, event.touches_set()) {
                        Ok(after) => state = after,
                        Err(_) if planned.independent => continue,
                        Err(_) => break,
                    }
                    self.visit(state, at, Step::Overtaken { before, event, done: index + 1 });
                }
            }
        }
    }

    /// A plan that nobody disturbs makes no replica unavailable beyond what may be.
    fn check_loss(&self, at: usize, planned: &Planned, after: &State) {
        let config = self.config();
        let (before, lost) = (self.nodes[at].state.unavailable(config), after.unavailable(config));
        if lost > before.max(config.max_unavailable()) {
            self.fail(
                at,
                planned,
                &format!("{lost} replicas are unavailable after it, {before} were before"),
            );
        }
    }

    /// From every state, a run without disturbances ends, and at the goal.
    fn check_peace(&self, first: usize) {
        let mut good = vec![false; self.nodes.len()];
        for start in 0..self.nodes.len() {
            let mut path = Vec::new();
            let mut at = start;
            while !good[at] {
                path.push(at);
                if path.len() > self.nodes.len().min(200) {
                    self.fail_run(&path, first, "goes round and round");
                }
                let next = self.nodes[at].peaceful[first];
                if next == at {
                    let reached = current_state_matches(self.config(), &self.nodes[at].state);
                    if !reached {
                        self.fail_run(&path, first, "comes to rest before the goal");
                    }
                    break;
                }
                at = next;
            }
            path.into_iter().for_each(|passed| good[passed] = true);
        }
    }

    fn path_to(&self, mut at: usize) -> String {
        let mut path = Vec::new();
        loop {
            let node = &self.nodes[at];
            path.push(format!("  {}\n      {}\n", node.step, node.state));
            if at == node.parent {
                break;
            }
            at = node.parent;
        }
        path.into_iter().rev().collect()
    }

    fn fail(&self, at: usize, planned: &Planned, why: &str) -> ! {
        let writes: String = planned.writes.iter().map(|write| format!("  {write}\n")).collect();
        panic!(
            "{}: {why}\nhow it came to this:\n{}the plan (waits: {:?}):\n{writes}",
            self.config().name,
            self.path_to(at),
            planned.waits
        );
    }

    fn fail_run(&self, path: &[usize], first: usize, why: &str) -> ! {
        let run: String = path.iter().take(40).map(|at| format!("  {}\n", self.nodes[*at].state)).collect();
        let waits = path.last().map(|at| self.stage.plan(&self.nodes[*at].state).waits);
        panic!(
            "{}: left in peace ({:?} first) it {why}\nhow it came to this:\n{}the peaceful run:\n{run}waits: {waits:?}",
            self.config().name,
            FIRST[first],
            self.path_to(path[0])
        );
    }
}
