//! Nobody grants what they do not have, unless they may `escalate` roles or `bind` them (upstream:
//! `pkg/registry/rbac/*/policybased`, `pkg/registry/rbac/validation`).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use serde_json::Value;

use super::policy::aggregate;
use super::{Attributes, GROUP, Policy, Rule, Subject, uncovered};
use crate::kind::{Kind, Scope};
use crate::value::{same, text};

/// Refuses a Role or binding, as it is about to be written over `old`, that grants more than its author has. Objects
/// of other kinds pass.
///
/// # Errors
/// 403 with what is missing; 404 when the author would have to have the rules of a role that is not there.
pub fn check(
    policy: &Policy,
    who: Subject<'_>,
    kind: &Kind,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    if kind.group != GROUP || who.is_master() {
        return Ok(());
    }
    let unchanged = |fields: &[&str]| old.is_some_and(|old| fields.iter().all(|f| same(&old[*f], &new[*f])));
    if kind.plural.ends_with("bindings") {
        if unchanged(&["roleRef", "subjects"]) {
            return Ok(());
        }
        return check_binding(policy, who, kind, new);
    }
    if unchanged(&["rules", "aggregationRule"]) {
        return Ok(());
    }
    check_role(policy, who, kind, new)
}

fn check_role(policy: &Policy, who: Subject<'_>, kind: &Kind, role: &Value) -> Result<(), Status> {
    let (name, namespace) = (role.name(), place_of(kind, role));
    let asked = Attributes {
        verb: "escalate",
        group: GROUP,
        resource: kind.plural,
        namespace,
        name,
        ..Attributes::default()
    };
    if policy.decide(who, &asked).allowed {
        return Ok(());
    }
    let refuse = |why: &str| Status::forbidden(&kind.resource(), name, why);
    confirm(policy, who, namespace, &Rule::all_of(role)).map_err(|why| refuse(&why))?;
    if role["aggregationRule"].is_object() {
        // It gathers whatever will ever be labelled so.
        let all = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let everything = [
            Rule { verbs: all(&["*"]), api_groups: all(&["*"]), resources: all(&["*"]), ..Rule::default() },
            Rule { verbs: all(&["*"]), non_resource_urls: all(&["*"]), ..Rule::default() },
        ];
        confirm(policy, who, namespace, &everything)
            .map_err(|_| refuse("must have cluster-admin privileges to use the aggregationRule"))?;
    }
    Ok(())
}

fn check_binding(policy: &Policy, who: Subject<'_>, kind: &Kind, binding: &Value) -> Result<(), Status> {
    let (role_ref, namespace) = (&binding["roleRef"], place_of(kind, binding));
    let asked = Attributes {
        verb: "bind",
        group: text(&role_ref["apiGroup"]),
        resource: if text(&role_ref["kind"]) == "ClusterRole" { "clusterroles" } else { "roles" },
        namespace,
        name: text(&role_ref["name"]),
        ..Attributes::default()
    };
    if policy.decide(who, &asked).allowed {
        return Ok(());
    }
    let rules = policy.referenced(role_ref, namespace);
    let rules = rules.map_err(|(resource, name)| Status::not_found(&resource, &name))?;
    confirm(policy, who, namespace, rules)
        .map_err(|why| Status::forbidden(&kind.resource(), binding.name(), &why))
}

fn place_of<'a>(kind: &Kind, object: &'a Value) -> &'a str {
    if kind.scope == Scope::Namespaced { object.namespace() } else { "" }
}

/// Whether the user has all of these rules in the namespace; the sentence of the refusal otherwise.
fn confirm(policy: &Policy, who: Subject<'_>, namespace: &str, wanted: &[Rule]) -> Result<(), String> {
    let held = policy.rules_for(who, namespace);
    let missing = uncovered(&held.rules, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: BTreeSet<String> = missing.iter().map(describe).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        who.name,
        quoted(who.groups),
        lines.join("\n")
    );
    if let Some(errors) = aggregate(&held.errors) {
        let _ = write!(why, "; resolution errors: {errors}");
    }
    Err(why)
}

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}`.
fn describe(rule: &Rule) -> String {
    let words = rule.fields().into_iter().filter(|(_, list)| !list.is_empty()).map(|(field, list)| {
        let name = match field {
            "apiGroups" => "APIGroups",
            "resources" => "Resources",
            "nonResourceURLs" => "NonResourceURLs",
            "resourceNames" => "ResourceNames",
            _ => "Verbs",
        };
        format!("{name}:{}", quoted(list))
    });
    format!("{{{}}}", words.collect::<Vec<_>>().join(", "))
}

/// A list as Go's `%q` writes it.
fn quoted(list: &[String]) -> String {
    let words: Vec<String> = list.iter().map(|word| format!("{word:?}")).collect();
    format!("[{}]", words.join(" "))
}
