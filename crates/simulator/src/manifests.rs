//! What the user writes.

use serde_json::{Value, json};

use crate::dice::Dice;

/// Images that run.
const GOOD: &[&str] = &["app:1", "app:2", "app:3"];
/// Images that cannot be had, or end at once.
const BAD: &[&str] = &["missing:1", "crashing:1"];

/// Which habits a user has in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Deletes claims, and lets policies delete them.
    pub(crate) parts_with_data: bool,
    /// Uses images that do not run.
    pub(crate) errs: bool,
    /// Deletes pods without grace, and makes pods that have none.
    pub(crate) forces: bool,
}

impl Habits {
    /// Forcing is safe only where one node knows of all processes.
    pub(crate) fn draw(dice: &Dice, nodes: u64) -> Self {
        Self { parts_with_data: dice.hits(500), errs: dice.hits(500), forces: nodes == 1 && dice.hits(300) }
    }
}

/// A new set.
pub(crate) fn set(dice: &Dice, habits: Habits, name: &str) -> Value {
    let policy = if dice.hits(600) { "OrderedReady" } else { "Parallel" };
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": dice.between(0, 4),
            "serviceName": name,
            "podManagementPolicy": policy,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "terminationGracePeriodSeconds": dice.between(u64::from(!habits.forces), 20),
                    "containers": containers(dice, good_image(dice)),
                },
            },
            "updateStrategy": strategy(dice),
            "minReadySeconds": if dice.hits(300) { dice.between(1, 15) } else { 0 },
        },
    });
    if dice.hits(600) {
        set["spec"]["volumeClaimTemplates"] = json!([{
            "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }]);
        set["spec"]["persistentVolumeClaimRetentionPolicy"] = retention(dice, habits);
    }
    set
}

/// The Service that names the pods.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80}]},
    })
}

/// A budget for a set's pods.
pub(crate) fn budget(dice: &Dice, name: &str) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "maxUnavailable": dice.between(0, 2)},
    })
}

fn good_image(dice: &Dice) -> &'static str {
    dice.pick(GOOD).copied().unwrap_or("app:1")
}

fn containers(dice: &Dice, image: &str) -> Value {
    let mut container = json!({"name": "app", "image": image});
    if dice.hits(500) {
        container["readinessProbe"] = json!({"tcpSocket": {"port": 80}});
    }
    json!([container])
}

fn strategy(dice: &Dice) -> Value {
    if dice.hits(150) {
        // In a merge patch, null takes the field away.
        return json!({"type": "OnDelete", "rollingUpdate": null});
    }
    let partition = if dice.hits(300) { dice.between(0, 4) } else { 0 };
    let max_unavailable = if dice.hits(300) { dice.between(1, 3) } else { 1 };
    json!({"type": "RollingUpdate",
        "rollingUpdate": {"partition": partition, "maxUnavailable": max_unavailable}})
}

fn retention(dice: &Dice, habits: Habits) -> Value {
    let word = || if habits.parts_with_data && dice.hits(500) { "Delete" } else { "Retain" };
    json!({"whenDeleted": word(), "whenScaled": word()})
}

/// A merge patch that changes what a set asks for; whether it may have made it one that cannot run.
pub(crate) fn change(dice: &Dice, habits: Habits) -> (Value, bool) {
    let patch = match dice.between(0, 8) {
        0..=1 => json!({"spec": {"replicas": dice.between(0, 5)}}),
        2..=3 => {
            let errs = habits.errs && dice.hits(400);
            let image = if errs { dice.pick(BAD).copied().unwrap_or("missing:1") } else { good_image(dice) };
            return (template(dice, image), errs);
        }
        4 => json!({"spec": {"updateStrategy": strategy(dice)}}),
        5 => json!({"spec": {"persistentVolumeClaimRetentionPolicy": retention(dice, habits)}}),
        6 => json!({"spec": {"ordinals": {"start": dice.between(0, 2)}}}),
        7 => {
            let reserved = if dice.hits(500) { json!(dice.between(0, 3).to_string()) } else { Value::Null };
            json!({"metadata": {"annotations": {"stead.dev/reserve-ordinals": reserved}}})
        }
        _ => {
            let paused = if dice.hits(500) { json!("true") } else { Value::Null };
            json!({"metadata": {"annotations": {"stead.dev/paused": paused}}})
        }
    };
    (patch, false)
}

fn template(dice: &Dice, image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": containers(dice, image)}}}})
}

/// A merge patch that makes a set one that can run, whatever was done to it.
pub(crate) fn repair(dice: &Dice) -> Value {
    let mut patch = template(dice, good_image(dice));
    patch["spec"]["updateStrategy"] =
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0, "maxUnavailable": 1}});
    patch["metadata"] = json!({"annotations": {"stead.dev/paused": null}});
    patch
}
