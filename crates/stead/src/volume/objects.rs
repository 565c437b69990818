//! The objects of a stead that runs, as far as volumes have to do with them.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use planner::World;
use planner::volume_binder::adoption::Found;

use crate::instance::Instance;

/// Whose volumes are, and whose they may become.
const KINDS: [&str; 7] =
    ["Namespace", "Node", "PersistentVolume", "PersistentVolumeClaim", "Pod", "StatefulSet", "StorageClass"];

/// What the API knows, and the way to it.
pub(super) struct Objects {
    client: Client,
    /// As planners see it.
    pub(super) world: World,
}

impl Objects {
    /// Asks the stead of this data directory; `None` when it does not run.
    pub(super) async fn of(instance: &Instance) -> Result<Option<Self>> {
        if instance.holder().is_none() {
            return Ok(None);
        }
        let client = cli::client(&instance.kubeconfig()).await?;
        let mut world = World::default();
        for kind in World::KINDS.iter().filter(|(_, kind)| KINDS.contains(kind)) {
            let known = registry::by_gvk(kind.0, kind.1).context("a kind that there is")?;
            let resource = ApiResource::from_gvk_with_plural(
                &GroupVersionKind::gvk(known.group, known.version, known.kind),
                known.plural,
            );
            let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let list = all.list(&ListParams::default()).await;
            let list = list.with_context(|| format!("cannot list {}", known.plural))?;
            let objects = list.items.iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
            // What cannot be read here is no volume's.
            let _ = world.replace(*kind, objects, 0);
        }
        Ok(Some(Self { client, world }))
    }

    /// Makes the volume's own object.
    pub(super) async fn create_volume(&self, found: &Found, node: &Node) -> Result<()> {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let made = volumes.create(&PostParams::default(), &found.volume(node)).await;
        made.map(drop).with_context(|| format!("cannot make persistentvolume/{}", found.name))
    }

    /// Makes a claim that wants the volume.
    pub(super) async fn create_claim(&self, found: &Found) -> Result<()> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), &found.namespace);
        let made = claims.create(&PostParams::default(), &found.claim()).await;
        made.map(drop).with_context(|| format!("cannot make claim {}/{}", found.namespace, found.claim))
    }
}
