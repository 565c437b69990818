//! The roles and bindings that every cluster has, read from tables in upstream's order.

use serde_json::{Value, json};

use super::reconcile::AUTOUPDATE;
use super::{GROUP, Rule};

const CLUSTER_ROLES: &str = include_str!("cluster_roles.txt");
const CONTROLLER_ROLES: &str = include_str!("controller_roles.txt");
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
        let name = role["metadata"]["name"].as_str().unwrap_or_default();
        let account = name.strip_prefix(CONTROLLER).unwrap_or(name);
        binding(name, &[&format!("account:{CONTROLLERS_NAMESPACE}/{account}")])
    });
    let bound: Vec<Value> = bound.collect();
    roles.into_iter().chain(controllers).chain(read_bindings()).chain(bound).collect()
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
    let mut role = object("ClusterRole", &format!("{prefix}{}", words.next().unwrap_or_default()));
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
        binding(name.trim(), &subjects.split_whitespace().collect::<Vec<_>>())
    };
    lines(BINDINGS).map(read).collect()
}

fn binding(name: &str, subjects: &[&str]) -> Value {
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
    let mut binding = object("ClusterRoleBinding", name);
    binding["roleRef"] = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": name});
    binding["subjects"] = subjects.into();
    binding
}

fn object(kind: &str, name: &str) -> Value {
    json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": {
        "name": name,
        "labels": {BOOTSTRAPPING: "rbac-defaults"},
        "annotations": {AUTOUPDATE: "true"},
    }})
}
