//! ClusterRoles that gather the rules of others (upstream: `pkg/controller/clusterroleaggregation`).

use jiff::Timestamp;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use serde_json::json;

use crate::Planner;
use crate::objects::{guarded_patch, is_terminating, name, selector};
use crate::plan::Plan;
use crate::world::{Key, Object, World};

/// The ClusterRole aggregation controller.
pub struct ClusterRoleAggregation;

impl Planner for ClusterRoleAggregation {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn user(&self) -> &'static str {
        "system:serviceaccount:kube-system:clusterrole-aggregation-controller"
    }

    /// Any ClusterRole may be among those that another one gathers, or has been.
    fn keys(&self, world: &World, object: &Object) -> Vec<Key> {
        if !matches!(object, Object::ClusterRole(_)) {
            return Vec::new();
        }
        let gathering = world.cluster_roles.iter().filter(|role| role.aggregation_rule.is_some());
        gathering.map(|role| Key::of(&role.metadata)).collect()
    }

    fn plan(&self, world: &World, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        let Some(role) = world.cluster_roles.get("", &key.name) else { return plan };
        if role.aggregation_rule.is_none() || is_terminating(&role.metadata) {
            return plan;
        }
        let rules = gathered(world, role);
        if rules != role.rules.as_deref().unwrap_or_default() {
            plan.actions.push(guarded_patch(&**role, json!({"rules": rules})));
        }
        plan
    }
}

/// The rules of all roles that the role's selectors choose, by selector and name, each once.
fn gathered(world: &World, role: &ClusterRole) -> Vec<PolicyRule> {
    let selectors =
        role.aggregation_rule.iter().flat_map(|rule| rule.cluster_role_selectors.iter().flatten());
    let mut rules: Vec<PolicyRule> = Vec::new();
    for chosen in selectors.map(selector) {
        for other in world.cluster_roles.iter() {
            if name(&other.metadata) == name(&role.metadata) || !chosen.matches(&other.metadata.labels) {
                continue;
            }
            for rule in other.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}
