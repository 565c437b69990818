//! One set in a namespace of its own: brought up, rolled, robbed of a pod, removed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::shapes::Shape;

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long the kernel is left to take namespaces and cgroups of ended pods apart: that is no part of what is
/// measured next, and no event tells its end.
const BREATHER: Duration = Duration::from_millis(500);

/// A set that came up.
pub(crate) struct SetRun {
    namespace: String,
    namespaces: Api<Namespace>,
    sets: Api<StatefulSet>,
    pods: Api<Pod>,
    name: String,
    replicas: i32,
    grace: u32,
    /// From the request that created the set to the status that counts all replicas ready.
    pub(crate) ready_after: Duration,
}

impl SetRun {
    /// Creates the set (in a new namespace, unless it is `default`) and waits until all of it is Ready.
    pub(crate) async fn create(client: &Client, namespace: &str, shape: &Shape) -> Result<Self> {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        if namespace != "default" {
            let object = serde_json::from_value(json!({"metadata": {"name": namespace}}))?;
            namespaces.create(&PostParams::default(), &object).await?;
        }
        if let Some(service) = &shape.service {
            let services: Api<Service> = Api::namespaced(client.clone(), namespace);
            services.create(&PostParams::default(), service).await?;
        }
        let mut run = Self {
            namespace: namespace.to_owned(),
            namespaces,
            sets: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            name: shape.set.name_any(),
            replicas: shape.replicas(),
            grace: shape.grace(),
            ready_after: Duration::ZERO,
        };
        let start = Instant::now();
        run.sets.create(&PostParams::default(), &shape.set).await?;
        run.wait("all Ready", |set| {
            set.status.as_ref().is_some_and(|status| status.ready_replicas == Some(run.replicas))
        })
        .await?;
        run.ready_after = start.elapsed();
        Ok(run)
    }

    /// From the change of the template to the status that counts all replicas new and ready.
    pub(crate) async fn roll(&self) -> Result<Duration> {
        let start = Instant::now();
        self.patch(&json!({"spec": {"template": {"metadata": {"annotations": {"roll": "1"}}}}})).await?;
        self.wait("rolled", |set| {
            set.status.as_ref().is_some_and(|status| {
                status.observed_generation == set.metadata.generation
                    && status.updated_replicas == Some(self.replicas)
                    && status.ready_replicas == Some(self.replicas)
                    && status.current_revision == status.update_revision
            })
        })
        .await?;
        Ok(start.elapsed())
    }

    /// From the deletion of the second pod to a Ready pod of the same name and another uid.
    pub(crate) async fn replace(&self) -> Result<Duration> {
        let victim = format!("{}-1", self.name);
        let uid = self.pods.get(&victim).await?.uid();
        let list = self.pods.list(&ListParams::default()).await?;
        let from = list.metadata.resource_version.unwrap_or_default();
        let start = Instant::now();
        self.pods.delete(&victim, &DeleteParams::default()).await?;
        let succeeded = |pod: &Pod| pod.name_any() == victim && pod.uid() != uid && is_ready(pod);
        watch_until(&self.pods, from, "a successor", |event| match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => succeeded(pod),
            _ => false,
        })
        .await?;
        let took = start.elapsed();
        self.wait("all Ready again", |set| {
            set.status.as_ref().is_some_and(|status| status.ready_replicas == Some(self.replicas))
        })
        .await?;
        Ok(took)
    }

    /// Deletes the set and its pods without grace, and its namespace; waits until no pod is left, so that what
    /// is measured next is undisturbed.
    pub(crate) async fn remove(self) -> Result<()> {
        self.sets.delete(&self.name, &DeleteParams::default()).await?;
        // Never 0 where the pods have some grace: that would only take them off the API.
        let at_once =
            DeleteParams { grace_period_seconds: Some(self.grace.min(1)), ..DeleteParams::default() };
        let list = self.pods.list(&ListParams::default()).await?;
        for pod in &list.items {
            match self.pods.delete(&pod.name_any(), &at_once).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                other => drop(other?),
            }
        }
        let mut left: Vec<String> = list.items.iter().map(ResourceExt::name_any).collect();
        if !left.is_empty() {
            let from = list.metadata.resource_version.unwrap_or_default();
            watch_until(&self.pods, from, "no pods", |event| {
                if let WatchEvent::Deleted(pod) = event {
                    left.retain(|name| *name != pod.name_any());
                }
                left.is_empty()
            })
            .await?;
        }
        if self.namespace != "default" {
            self.namespaces.delete(&self.namespace, &DeleteParams::default()).await?;
        }
        tokio::time::sleep(BREATHER).await;
        Ok(())
    }

    async fn patch(&self, patch: &serde_json::Value) -> Result<()> {
        self.sets.patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    async fn wait(&self, what: &str, done: impl Fn(&StatefulSet) -> bool) -> Result<()> {
        let list = self.sets.list(&ListParams::default()).await?;
        if list.items.iter().any(&done) {
            return Ok(());
        }
        let from = list.metadata.resource_version.unwrap_or_default();
        watch_until(&self.sets, from, what, |event| match event {
            WatchEvent::Added(set) | WatchEvent::Modified(set) => done(set),
            _ => false,
        })
        .await
        .with_context(|| format!("set {}/{}", self.namespace, self.name))
    }
}

/// Whether the pod's condition Ready is true.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn watch_until<K>(
    api: &Api<K>,
    from: String,
    what: &str,
    mut done: impl FnMut(&WatchEvent<K>) -> bool,
) -> Result<()>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let watching = async {
        let mut events = api.watch(&WatchParams::default().timeout(290), &from).await?.boxed();
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Error(error) = &event {
                bail!("the watch ended: {error:?}");
            }
            if done(&event) {
                return Ok(());
            }
        }
        bail!("the watch ended")
    };
    tokio::time::timeout(PATIENCE, watching)
        .await
        .with_context(|| format!("waited {} s for {what}", PATIENCE.as_secs()))?
        .with_context(|| format!("waiting for {what}"))
}
