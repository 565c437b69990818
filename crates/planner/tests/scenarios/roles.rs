//! ClusterRoles that gather the rules of others.

use serde_json::{Value, json};

use crate::sim::Sim;

fn role(name: &str, labels: Value, verbs: &[&str]) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels},
        "rules": [{"apiGroups": [""], "resources": [name], "verbs": verbs}]})
}

fn gathering(name: &str, labels: Value, from: &str) -> Value {
    let mut role = role(name, labels, &[]);
    role["rules"] = json!([]);
    role["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {from: "true"}}]});
    role
}

/// What a role's rules are about.
fn told(sim: &Sim, name: &str) -> String {
    let rules = sim.get("ClusterRole", "", name).expect("the role")["rules"].clone();
    let about = |rule: &Value| rule["resources"][0].as_str().unwrap_or_default().to_owned();
    rules.as_array().into_iter().flatten().map(about).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_role_gathers_what_its_selectors_choose_and_lets_go_of_the_rest() {
    let mut sim = Sim::new();
    sim.make(gathering("admin", json!({}), "to-admin"));
    sim.make(gathering("edit", json!({"to-admin": "true"}), "to-edit"));
    sim.make(role("pods", json!({"to-edit": "true"}), &["get"]));
    sim.make(role("secrets", json!({"to-admin": "true"}), &["get"]));
    sim.make(role("nodes", json!({}), &["get"]));
    sim.settle();
    assert_eq!((told(&sim, "edit").as_str(), told(&sim, "admin").as_str()), ("pods", "pods secrets"));

    sim.edit("ClusterRole", "nodes", |role| role["metadata"]["labels"] = json!({"to-edit": "true"}));
    sim.settle();
    assert_eq!(
        (told(&sim, "edit").as_str(), told(&sim, "admin").as_str()),
        ("nodes pods", "nodes pods secrets")
    );

    sim.remove("ClusterRole", "pods", &[]);
    sim.edit("ClusterRole", "admin", |role| role["rules"] = json!([{"verbs": ["*"], "resources": ["all"]}]));
    sim.settle();
    assert_eq!((told(&sim, "edit").as_str(), told(&sim, "admin").as_str()), ("nodes", "nodes secrets"));
    assert_eq!(told(&sim, "nodes"), "nodes");
}
