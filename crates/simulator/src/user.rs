//! A user: applies sets, changes them, deletes pods, evicts, deletes sets and makes them anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use apimachinery::meta::ObjectExt;
use client::{collection_path, send_json};
use http::Method;
use kube::Client;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::manifests::{self, Habits};
use crate::process::Process;
use crate::run::Extent;
use crate::sim::Sim;

/// The sets of a run.
const NAMES: &[&str] = &["web", "db"];

/// A user.
pub(crate) struct User {
    sim: Arc<Sim>,
    client: Client,
    habits: Habits,
    steps: u64,
    /// Sets that may have been given an image that does not run.
    spoilt: BTreeSet<&'static str>,
}

impl User {
    pub(crate) fn new(sim: &Arc<Sim>, extent: Extent, nodes: u64) -> Self {
        let process = Arc::new(Process::person("user"));
        let habits = Habits::draw(&sim.dice, nodes);
        let (least, most) = extent.steps();
        let steps = sim.dice.between(least, most);
        Self { sim: Arc::clone(sim), client: sim.admin(&process), habits, steps, spoilt: BTreeSet::new() }
    }

    /// Does what users do, until it has done enough or something is wrong.
    pub(crate) async fn work(&mut self) {
        for name in NAMES {
            self.post("v1", "Service", &manifests::service(name)).await;
        }
        for _ in 0..self.steps {
            if self.sim.has_failed() {
                return;
            }
            self.step().await;
            sleep(self.pause()).await;
        }
    }

    /// Leaves sets behind that can run.
    pub(crate) async fn repair(&mut self) {
        for name in std::mem::take(&mut self.spoilt) {
            self.patch(name, &manifests::repair(&self.sim.dice)).await;
        }
        // Pods that lost their set may run such an image, too, and nobody replaces them.
        for pod in self.list("Pod").await.iter().filter(|pod| pod.owner_references().is_empty()) {
            self.ask(Method::DELETE, &pod_path(pod.name()), &deletion_of(pod)).await;
        }
    }

    fn pause(&self) -> Duration {
        match self.sim.dice.between(0, 3) {
            0 => self.sim.dice.millis(0, 50),
            1 => self.sim.dice.millis(0, 2_000),
            2 => self.sim.dice.millis(0, 20_000),
            _ => self.sim.dice.millis(0, 180_000),
        }
    }

    async fn step(&mut self) {
        let dice = self.sim.dice.clone();
        let name = dice.pick(NAMES).copied().unwrap_or("web");
        if !self.exists(name).await {
            self.post("apps/v1", "StatefulSet", &manifests::set(&dice, self.habits, name)).await;
            return;
        }
        match dice.between(0, 19) {
            0 => self.delete_set(name).await,
            1..=3 => self.delete_pod().await,
            4 => self.evict().await,
            5 => self.delete_claim().await,
            6 => self.scale(name).await,
            7 => {
                self.post("policy/v1", "PodDisruptionBudget", &manifests::budget(&dice, name)).await;
            }
            _ => {
                let (change, spoils) = manifests::change(&dice, self.habits);
                if spoils {
                    self.spoilt.insert(name);
                }
                self.patch(name, &change).await;
            }
        }
    }

    async fn delete_set(&self, name: &str) {
        let policy =
            self.sim.dice.pick(&["Background", "Foreground", "Orphan"]).copied().unwrap_or("Background");
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy});
        self.ask(Method::DELETE, &set_path(name), &options).await;
    }

    async fn delete_pod(&self) {
        let Some(pod) = self.any("Pod").await else { return };
        let mut options = deletion_of(&pod);
        if self.habits.forces && self.sim.dice.hits(300) {
            self.sim.judge().forced.insert(pod.uid().to_owned());
            options["gracePeriodSeconds"] = 0.into();
        } else if self.sim.dice.hits(300) {
            options["gracePeriodSeconds"] = self.sim.dice.between(1, 30).into();
        }
        self.ask(Method::DELETE, &pod_path(pod.name()), &options).await;
    }

    async fn evict(&self) {
        let Some(pod) = self.any("Pod").await else { return };
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod.name(), "namespace": "default"}});
        let path = format!("{}/eviction", pod_path(pod.name()));
        self.ask(Method::POST, &path, &eviction).await;
    }

    async fn delete_claim(&self) {
        if !self.habits.parts_with_data {
            return;
        }
        let Some(claim) = self.any("PersistentVolumeClaim").await else { return };
        self.sim.judge().claims_of_user.insert(claim.uid().to_owned());
        let path = format!("/api/v1/namespaces/default/persistentvolumeclaims/{}", claim.name());
        self.ask(Method::DELETE, &path, &deletion_of(&claim)).await;
    }

    async fn scale(&self, name: &str) {
        let replicas = self.sim.dice.between(0, 5);
        let path = format!("{}/scale", set_path(name));
        self.ask(Method::PATCH, &path, &json!({"spec": {"replicas": replicas}})).await;
    }

    async fn patch(&self, name: &str, change: &Value) {
        self.ask(Method::PATCH, &set_path(name), change).await;
    }

    async fn post(&self, api_version: &str, kind: &str, object: &Value) {
        let path = collection_path(api_version, kind, "default").unwrap_or_default();
        self.ask(Method::POST, &path, object).await;
    }

    async fn exists(&self, name: &str) -> bool {
        send_json(&self.client, Method::GET, &set_path(name), &Value::Null).await.is_ok()
    }

    /// One of the objects of a kind.
    async fn any(&self, kind: &str) -> Option<Value> {
        let items = self.list(kind).await;
        self.sim.dice.pick(&items).cloned()
    }

    async fn list(&self, kind: &str) -> Vec<Value> {
        let path = collection_path("v1", kind, "default").unwrap_or_default();
        let list = send_json(&self.client, Method::GET, &path, &Value::Null).await.unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Sends. What a user must put up with is that something is gone, there already, has changed, or has no
    /// budget.
    async fn ask(&self, method: Method, path: &str, body: &Value) {
        self.sim.note(&format!("the user: {method} {path} {body}"));
        match send_json(&self.client, method, path, body).await {
            Ok(answer) => {
                if let Ok(revision) = answer.resource_version().parse() {
                    self.sim.judge().user_wrote(revision);
                }
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 429) => {}
            Err(error) => self.sim.fail(format!("the user asks {path} and is told: {error}")),
        }
    }
}

fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/default/pods/{name}")
}

/// Options for the deletion of this very object: what the judge lets pass because the user asked for it must be what
/// the user saw, and not a successor of that name.
fn deletion_of(object: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": object.uid()}})
}

fn set_path(name: &str) -> String {
    format!("/apis/apps/v1/namespaces/default/statefulsets/{name}")
}
