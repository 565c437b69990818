//! Fields that a configuration would take from their owners, in upstream's words
//! (`managedfields/internal/conflict.go`).

use super::managed::{Manager, Operation};

/// A field that belongs to somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Whose it is.
    pub manager: Manager,
    /// The field: `.spec.replicas`.
    pub path: String,
}

impl Conflict {
    /// `conflict with "kubectl-edit" using apps/v1`.
    pub fn cause(&self) -> String {
        format!("conflict with {}", shown(&self.manager))
    }
}

/// What all conflicts come to, in one text.
pub fn message(conflicts: &[Conflict]) -> String {
    if let [conflict] = conflicts {
        return format!("Apply failed with 1 conflict: {}: {}", conflict.cause(), conflict.path);
    }
    let mut lines = Vec::new();
    let mut last = None;
    for conflict in conflicts {
        if last != Some(&conflict.manager) {
            lines.push(format!("conflicts with {}:", shown(&conflict.manager)));
            last = Some(&conflict.manager);
        }
        lines.push(format!("- {}", conflict.path));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}

fn shown(manager: &Manager) -> String {
    let mut out = format!("{:?}", manager.name);
    if !manager.subresource.is_empty() {
        out += &format!(" with subresource {:?}", manager.subresource);
    }
    if manager.operation == Operation::Update {
        out += &format!(" using {}", manager.api_version);
    }
    out
}
