//! What nodes may do: upstream's Node authorizer (`plugin/pkg/auth/authorizer/node`) and its admission plugin
//! NodeRestriction (`plugin/pkg/admission/noderestriction`), as of 1.36, as pure functions.
//!
//! A node is a user `system:node:NAME` in the group `system:nodes`. It reads what pods that are bound to it need, and
//! writes what it says of itself and of them. [`Graph`] knows which pod needs what; the API server feeds it.
//! [`authorize`] looks at a request alone, [`admit`] at the object that it would write.

mod authorizer;
mod graph;
mod references;
mod restriction;

pub use authorizer::{Opinion, authorize, looks_at_pods};
pub use graph::{FOLLOWED, Graph};
pub use restriction::{Operation, Write, admit, audience, other_in_question};

use crate::rbac::{NODE_PREFIX, NODES, Subject};

/// Why the rules of a node cannot be told.
pub const UNRESOLVED: &str = "node authorizer does not support user rule resolution";

/// The name of the node that the user is, if it is one; it may be empty.
pub fn identify<'a>(who: Subject<'a>) -> Option<&'a str> {
    let name = who.name.strip_prefix(NODE_PREFIX)?;
    who.groups.iter().any(|group| group == NODES).then_some(name)
}

#[cfg(test)]
mod tests;
