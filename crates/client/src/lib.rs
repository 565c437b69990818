//! Eyes and hands on a Kubernetes API: [`Informers`] keep a [`planner::World`] current, [`Executor`] carries
//! out a plan's actions, and [`Recorder`] writes events, counting what repeats. [`Clients`] says as whom.
//!
//! It decides nothing and knows no kind: paths come from `registry::KINDS`. **Its one rule: everything it
//! does goes through a [`kube::Client`]**, so that it works the same inside stead (over the handlers, with no
//! socket) and against somebody else's cluster.

mod clients;
mod execute;
mod head;
mod informers;
mod paths;
mod recorder;
mod request;

pub use clients::Clients;
pub use execute::{ExecuteError, Executor};
pub use informers::Informers;
pub use paths::{Part, collection_path, object_path};
pub use recorder::Recorder;
pub use request::send_json;
