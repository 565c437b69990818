//! Whether a node may do what it asks, in upstream's words (`node/node_authorizer.go`).

use std::sync::LazyLock;

use super::graph::{Graph, Vertex};
use crate::rbac::{Attributes, Rule, defaults};

/// What every node may do, whatever it is about.
static NODE_RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| defaults::rules_of("system:node"));
/// The namespace of nodes' leases.
pub(super) const NODE_LEASES: &str = "kube-node-lease";

/// What the Node authorizer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opinion {
    /// It may be done.
    Allow,
    /// Others may know why it may be done; from here it does not look so, and this is why. May be empty.
    None(String),
}

fn none(why: &str) -> Opinion {
    Opinion::None(why.to_owned())
}

/// Whether [`authorize`] looks at the graph for this; any other will do then.
pub fn looks_at_pods(asked: &Attributes<'_>) -> bool {
    match asked.resource {
        "pods" => matches!(asked.verb, "get" | "list" | "watch"),
        "nodes" | "leases" | "csinodes" => false,
        _ => asked.path.is_none() && !NODE_RULES_DECIDE.contains(&asked.resource),
    }
}

/// What nodes do most often, and no pod has a say in.
const NODE_RULES_DECIDE: [&str; 2] = ["events", "services"];

/// Whether the node may do what is asked, as the graph has it.
pub fn authorize(node: &str, graph: &Graph, asked: &Attributes<'_>) -> Opinion {
    if node.is_empty() {
        return Opinion::None(format!("unknown node for user {:?}", crate::rbac::NODE_PREFIX));
    }
    let ask = Ask { node, graph, asked };
    match (asked.path, asked.group, asked.resource) {
        (Some(_), ..) => by_rules(asked),
        (None, "", "secrets") => ask.read(Vertex::Secret),
        (None, "", "configmaps") => ask.read(Vertex::ConfigMap),
        (None, "", "persistentvolumeclaims") if asked.subresource == "status" => {
            ask.update_status(Vertex::Claim)
        }
        (None, "", "persistentvolumeclaims") => ask.get(Vertex::Claim),
        (None, "", "persistentvolumes") => ask.get(Vertex::Volume),
        (None, "resource.k8s.io", "resourceclaims") => ask.get(Vertex::ResourceClaim),
        (None, "storage.k8s.io", "volumeattachments") => ask.get(Vertex::Attachment),
        (None, "", "serviceaccounts") if asked.verb == "get" && asked.subresource.is_empty() => {
            ask.read(Vertex::ServiceAccount)
        }
        (None, "", "serviceaccounts") => ask.create_token(),
        (None, "coordination.k8s.io", "leases") => ask.lease(),
        (None, "storage.k8s.io", "csinodes") => ask.csi_node(),
        (None, "resource.k8s.io", "resourceslices") => ask.slice(),
        (None, "", "nodes") => ask.node(),
        (None, "", "pods") => ask.pod(),
        _ => by_rules(asked),
    }
}

fn by_rules(asked: &Attributes<'_>) -> Opinion {
    if NODE_RULES.iter().any(|rule| rule.allows(asked)) { Opinion::Allow } else { none("") }
}

struct Ask<'a> {
    node: &'a str,
    graph: &'a Graph,
    asked: &'a Attributes<'a>,
}

impl Ask<'_> {
    fn related(&self, vertex: Vertex) -> Opinion {
        let Attributes { namespace, name, .. } = *self.asked;
        if name.is_empty() {
            return none("No Object name found");
        }
        if self.graph.leads(vertex, namespace, name, self.node) {
            return Opinion::Allow;
        }
        Opinion::None(format!("no relationship found between node '{}' and this object", self.node))
    }

    fn get(&self, vertex: Vertex) -> Opinion {
        if self.asked.verb != "get" {
            return none("can only get individual resources of this type");
        }
        if !self.asked.subresource.is_empty() {
            return none("cannot get subresource");
        }
        self.related(vertex)
    }

    fn read(&self, vertex: Vertex) -> Opinion {
        if !matches!(self.asked.verb, "get" | "list" | "watch") {
            return none("can only read resources of this type");
        }
        if !self.asked.subresource.is_empty() {
            return none("cannot read subresource");
        }
        if self.asked.namespace.is_empty() {
            return none("can only read namespaced object of this type");
        }
        self.related(vertex)
    }

    fn update_status(&self, vertex: Vertex) -> Opinion {
        if !matches!(self.asked.verb, "update" | "patch") {
            return none("can only get/update/patch this type");
        }
        self.related(vertex)
    }

    fn create_token(&self) -> Opinion {
        if self.asked.verb != "create" || self.asked.name.is_empty() {
            return none("can only create tokens for individual service accounts");
        }
        if self.asked.subresource != "token" {
            return none("can only create token subresource of serviceaccount");
        }
        self.related(Vertex::ServiceAccount)
    }

    fn lease(&self) -> Opinion {
        let Attributes { verb, namespace, name, .. } = *self.asked;
        if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
            return none("can only get, create, update, patch, or delete a node lease");
        }
        if namespace != NODE_LEASES {
            return Opinion::None(format!("can only access leases in the {NODE_LEASES:?} system namespace"));
        }
        // Which one is made, admission sees.
        if verb != "create" && name != self.node {
            return none("can only access node lease with the same name as the requesting node");
        }
        Opinion::Allow
    }

    fn csi_node(&self) -> Opinion {
        let Attributes { verb, subresource, name, .. } = *self.asked;
        if !matches!(verb, "get" | "create" | "update" | "patch" | "delete") {
            return none("can only get, create, update, patch, or delete a CSINode");
        }
        if !subresource.is_empty() {
            return none("cannot authorize CSINode subresources");
        }
        if verb != "create" && name != self.node {
            return none("can only access CSINode with the same name as the requesting node");
        }
        Opinion::Allow
    }

    fn slice(&self) -> Opinion {
        if !self.asked.subresource.is_empty() {
            return none("cannot authorize ResourceSlice subresources");
        }
        match self.asked.verb {
            "create" => Opinion::Allow,
            "get" | "update" | "patch" | "delete" => self.related(Vertex::Slice),
            "watch" | "list" | "deletecollection" if self.selects("spec.nodeName") => Opinion::Allow,
            "watch" | "list" | "deletecollection" => {
                none("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => none(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, \
                 delete, deletecollection",
            ),
        }
    }

    fn node(&self) -> Opinion {
        let Attributes { verb, subresource, name, .. } = *self.asked;
        match (subresource, verb) {
            // Of which node, admission sees.
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Opinion::Allow,
            ("", "get" | "list" | "watch") if name == self.node => Opinion::Allow,
            ("", "get" | "list" | "watch") if name.is_empty() => {
                Opinion::None(format!("node '{}' cannot read all nodes, only its own Node object", self.node))
            }
            ("", "get" | "list" | "watch") => {
                Opinion::None(format!("node '{}' cannot read '{name}', only its own Node object", self.node))
            }
            _ => none(""),
        }
    }

    fn pod(&self) -> Opinion {
        let Attributes { verb, subresource, name, .. } = *self.asked;
        match (subresource, verb) {
            ("", "get") => self.get(Vertex::Pod),
            ("", "list" | "watch") if self.selects("spec.nodeName") => Opinion::Allow,
            ("", "list" | "watch") if !name.is_empty() => self.related(Vertex::Pod),
            ("", "list" | "watch") => none("can only list/watch pods with spec.nodeName field selector"),
            // Of which pod, admission sees.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Opinion::Allow
            }
            _ => none(""),
        }
    }

    /// Whether the request's field selector demands this node in the field.
    fn selects(&self, field: &str) -> bool {
        self.asked.fields.iter().any(|(asked, value)| asked == field && value == self.node)
    }
}
