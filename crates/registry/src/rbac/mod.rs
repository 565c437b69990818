//! Who may do what: upstream's RBAC as pure functions (`plugin/pkg/auth/authorizer/rbac`, `pkg/registry/rbac`).
//!
//! [`Policy`] is an index over Roles, ClusterRoles and their bindings that is told of each change; asked about a
//! [`Subject`] and [`Attributes`], it answers with a [`Decision`]. It reads no store and keeps no clock: the API
//! server feeds it. What exists from the first start on stands in [`defaults`], and [`reconcile`] says how an older
//! object is brought up to that.

mod covers;
pub mod defaults;
pub mod escalation;
mod policy;
pub mod reconcile;
mod rule;

pub use covers::uncovered;
pub use policy::{Decision, Policy, Resolved};
pub use rule::{Attributes, Rule};

/// The group of Roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";
/// The group whose members may do everything (upstream: `user.SystemPrivilegedGroup`).
pub const SYSTEM_MASTERS: &str = "system:masters";
/// The user name that a service account has: this, the namespace, a colon, the name.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// The group of all service accounts.
pub const SERVICE_ACCOUNTS: &str = "system:serviceaccounts";

/// The group of all nodes (upstream: `user.NodesGroup`).
pub const NODES: &str = "system:nodes";
/// The user name that a node has: this, then the node's name.
pub const NODE_PREFIX: &str = "system:node:";

/// Who asks, as far as rules look at it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The user's groups.
    pub groups: &'a [String],
}

impl Subject<'_> {
    /// Whether nobody may refuse this user anything.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == SYSTEM_MASTERS)
    }
}

/// The user name of a service account.
pub fn service_account_user(namespace: &str, name: &str) -> String {
    format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}")
}

/// The groups that a service account of this namespace is in, besides `system:authenticated`.
pub fn service_account_groups(namespace: &str) -> [String; 2] {
    [SERVICE_ACCOUNTS.to_owned(), format!("{SERVICE_ACCOUNTS}:{namespace}")]
}

/// The namespace and the name of the service account that a user is, if it is one.
pub fn split_service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}
