//! One driver that runs every planner of [`planner::PLANNERS`].
//!
//! Informers tell what changed; the planner says which keys that concerns; the queue gives each key to one
//! worker at a time; the worker plans under the world's read lock and carries the plan out. It is not a
//! controller itself: it knows no kind and decides nothing. **Its one rule: keys in, plans out,
//! level-triggered; what was missed once is seen the next time, and nothing is retried blindly for longer
//! than [`LONGEST_RETRY`].**

mod driver;
mod figures;
mod queue;

pub use driver::{LONGEST_RETRY, run};
pub use figures::Figures;
