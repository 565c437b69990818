//! The whole cluster in one thread, on a fake clock, from a seed, with faults.
//!
//! The API, the store, the informers, the executor and all planners are the real ones. What stands around them
//! is made up: a wire between every client and the API that refuses, delays, loses and cuts; kubelets whose
//! machines know the truth about processes; a user who does what users do; and a judge who sees every write.
//! It is not a test of containers. **Its one rule: everything follows from the seed**, so that a run that
//! failed can be run again, with all that led to it told in words.
//!
//! ```
//! use simulator::{Extent, simulate};
//!
//! let outcome = simulate(7, Extent::Brief);
//! assert!(outcome.failure.is_none(), "{outcome}");
//! assert_eq!(outcome.trace_hash, simulate(7, Extent::Brief).trace_hash);
//! ```

mod chaos;
mod dice;
mod faults;
mod goal;
mod judge;
mod judged;
mod kubelet;
mod log;
mod machine;
mod manifests;
mod process;
mod run;
mod sabotage;
mod sim;
mod user;
mod watch;
mod wire;
mod worker;

pub use log::{Failure, Outcome};
pub use run::{Extent, simulate, simulate_aloud, simulate_broken};
pub use sabotage::Sabotage;
