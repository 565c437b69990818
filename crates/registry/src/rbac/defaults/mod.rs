//! The roles and bindings that every cluster has, read from tables in upstream's order: those of Kubernetes 1.36 with its
//! default feature gates (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy`), and stead's own (`additions.txt`).
//!
//! Source: controller_roles.txt and roles.txt are as `testdata` has them on the branch of 1.36; of cluster_roles.txt the
//! last that could be read in full is of 1.35, with what 1.36 is known to add for nodes and the scheduler.

use apimachinery::meta::ObjectExt;
use serde_json::{Value, json};

use super::reconcile::AUTOUPDATE;
use super::{GROUP, Rule};

const CLUSTER_ROLES: &str = include_str!("cluster_roles.txt");
const CONTROLLER_ROLES: &str = include_str!("controller_roles.txt");
const ADDITIONS: &str = include_str!("additions.txt");
const ROLES: &str = include_str!("roles.txt");
const BINDINGS: &str = include_str!("cluster_role_bindings.txt");
/// Before the name of a controller's role.
const CONTROLLER: &str = "system:controller:";
/// Where controllers' service accounts live.
const CONTROLLERS_NAMESPACE: &str = "kube-system";
/// The label of everything that is here.
const BOOTSTRAPPING: &str = "kubernetes.io/bootstrapping";

/// All of them, roles before the bindings that speak of them.
pub fn objects() -> Vec<Value> {
    let roles = read_roles(CLUSTER_ROLES, "");
    let controllers = read_roles(CONTROLLER_ROLES, CONTROLLER);
    let bound = controllers.iter().map(|role| {
        let name = role.name();
        let account = name.strip_prefix(CONTROLLER).unwrap_or(name);
        binding(("ClusterRole", name), name, &[&format!("account:{CONTROLLERS_NAMESPACE}/{account}")])
    });
    let bound: Vec<Value> = bound.collect();
    let roles = roles.into_iter().chain(controllers);
    let roles = roles.chain(read_roles(ADDITIONS, "")).chain(read_roles(ROLES, ""));
    let bindings = read_bindings().into_iter().chain(bound);
    roles.chain(bindings).chain(bindings_of_heads(ADDITIONS)).chain(bindings_of_heads(ROLES)).collect()
}

/// The bindings that a table of roles names beside them.
fn bindings_of_heads(table: &str) -> impl Iterator<Item = Value> {
    lines(table).filter(|line| !line.starts_with(' ')).filter_map(|head| {
        let mut words = head.split_whitespace();
        let (namespace, role) = split_place(words.next().unwrap_or_default());
        let (mut name, mut subjects) = (role, Vec::new());
        for word in words {
            name = word.strip_prefix("as:").unwrap_or(name);
            subjects.extend(word.strip_prefix("to:"));
        }
        let kind = if namespace.is_empty() { "ClusterRole" } else { "Role" };
        let mut binding = binding((kind, role), name, &subjects);
        place(&mut binding, namespace);
        (!subjects.is_empty()).then_some(binding)
    })
}

/// Namespace and name of a role as tables write them: cluster-scoped ones have no namespace.
fn split_place(head: &str) -> (&str, &str) {
    head.split_once('/').unwrap_or(("", head))
}

/// Puts an object into a namespace, if it has any.
fn place(object: &mut Value, namespace: &str) {
    if !namespace.is_empty() {
        object["metadata"]["namespace"] = namespace.into();
    }
}

/// The rules of one of the ClusterRoles; none when there is no such role.
pub fn rules_of(name: &str) -> Vec<Rule> {
    let roles = read_roles(CLUSTER_ROLES, "");
    roles.iter().filter(|role| role["metadata"]["name"] == name).flat_map(Rule::all_of).collect()
}

/// The lines of a table that say something.
fn lines(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
}

fn read_roles(table: &str, prefix: &str) -> Vec<Value> {
    let mut roles: Vec<Value> = Vec::new();
    for line in lines(table) {
        match (line.starts_with(' '), roles.last_mut()) {
            (true, Some(role)) => {
                if let Some(rules) = role["rules"].as_array_mut() {
                    rules.push(read_rule(line).to_value());
                }
            }
            _ => roles.push(read_head(line, prefix)),
        }
    }
    roles
}

fn read_head(line: &str, prefix: &str) -> Value {
    let mut words = line.split_whitespace();
    let (namespace, name) = split_place(words.next().unwrap_or_default());
    let kind = if namespace.is_empty() { "ClusterRole" } else { "Role" };
    let mut role = object(kind, &format!("{prefix}{name}"));
    place(&mut role, namespace);
    role["rules"] = json!([]);
    for word in words {
        if let Some(to) = word.strip_prefix("in:") {
            role["metadata"]["labels"][aggregate_to(to)] = "true".into();
        } else if let Some(from) = word.strip_prefix("from:") {
            role["aggregationRule"] =
                json!({"clusterRoleSelectors": [{"matchLabels": {aggregate_to(from): "true"}}]});
        }
    }
    role
}

fn aggregate_to(role: &str) -> String {
    format!("{GROUP}/aggregate-to-{role}")
}

fn read_rule(line: &str) -> Rule {
    let list = |column: &str| column.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let columns: Vec<&str> = line.split('|').collect();
    let mut verbs: Vec<String> = list(columns[0]).iter().flat_map(|word| verbs_of(word)).collect();
    verbs.sort();
    match columns.as_slice() {
        [_, urls] => Rule { verbs, non_resource_urls: list(urls), ..Rule::default() },
        [_, groups, resources, names @ ..] => Rule {
            verbs,
            api_groups: list(groups)
                .into_iter()
                .map(|g| if g == "core" { String::new() } else { g })
                .collect(),
            resources: list(resources),
            resource_names: names.first().map(|names| list(names)).unwrap_or_default(),
            ..Rule::default()
        },
        _ => Rule::default(),
    }
}

fn verbs_of(word: &str) -> Vec<String> {
    let all: &[&str] = match word {
        "read" => &["get", "list", "watch"],
        "write" => &["create", "delete", "deletecollection", "patch", "update"],
        one => &[one],
    };
    all.iter().map(|verb| (*verb).to_owned()).collect()
}

fn read_bindings() -> Vec<Value> {
    let read = |line: &str| {
        let (name, subjects) = line.split_once('|').unwrap_or((line, ""));
        let name = name.trim();
        binding(("ClusterRole", name), name, &subjects.split_whitespace().collect::<Vec<_>>())
    };
    lines(BINDINGS).map(read).collect()
}

/// Binds a role, by its kind and name.
fn binding((kind, role): (&str, &str), name: &str, subjects: &[&str]) -> Value {
    let subjects = subjects.iter().map(|subject| {
        let (kind, who) = subject.split_once(':').unwrap_or(("user", subject));
        let kind = match kind {
            "account" => {
                let (namespace, name) = who.split_once('/').unwrap_or(("", who));
                return json!({"kind": "ServiceAccount", "name": name, "namespace": namespace});
            }
            "group" => "Group",
            _ => "User",
        };
        json!({"apiGroup": GROUP, "kind": kind, "name": who})
    });
    let subjects: Vec<Value> = subjects.collect();
    let mut binding = object(&format!("{kind}Binding"), name);
    binding["roleRef"] = json!({"apiGroup": GROUP, "kind": kind, "name": role});
    if !subjects.is_empty() {
        binding["subjects"] = subjects.into();
    }
    binding
}

fn object(kind: &str, name: &str) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {
        "name": name,
        "labels": {BOOTSTRAPPING: "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    }})
}
