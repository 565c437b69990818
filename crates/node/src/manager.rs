//! Which pods this node runs: starts a worker for each, and passes on what changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use k8s_openapi::api::core::v1::Pod;
use planner::{Change, Key, Object};
use runtime::SandboxStatus;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use crate::host::Host;
use crate::worker::{self, Handle};

/// The workers by pod uid.
pub(crate) struct Manager {
    host: Arc<Host>,
    workers: Mutex<HashMap<String, Arc<Handle>>>,
}

impl Manager {
    pub(crate) fn new(host: Arc<Host>) -> Arc<Self> {
        Arc::new(Self { host, workers: Mutex::default() })
    }

    /// The worker of a pod.
    pub(crate) fn find(&self, namespace: &str, name: &str, uid: &str) -> Option<Arc<Handle>> {
        let workers = self.lock();
        if let Some(handle) = workers.get(uid) {
            return Some(Arc::clone(handle));
        }
        let key = Key::new(namespace, name);
        workers.values().find(|handle| uid.is_empty() && handle.key == key).cloned()
    }

    /// Takes over what ran before, begins with the pods that the API has for this node, and follows changes.
    /// The informers must be synced: a pod that is only not heard of yet would be taken for a deleted one.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<(), runtime::Error> {
        let mut found: HashMap<String, SandboxStatus> = HashMap::new();
        for sandbox in self.host.runtime.list_pod_sandboxes().await? {
            found.insert(sandbox.config.id.clone(), sandbox);
        }
        let listener = Arc::downgrade(self);
        // Listening begins before looking: what comes twice is taken once.
        self.host.informers.on_change(move |_, change| {
            if let Some(manager) = listener.upgrade() {
                manager.changed(change);
            }
        });
        let pods: Vec<Arc<Pod>> = {
            let world = self.host.informers.world();
            world.pods.iter().filter(|pod| self.is_ours(pod)).cloned().collect()
        };
        for pod in pods {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            self.begin(pod, found.remove(&uid).map(|sandbox| sandbox.pid));
        }
        for sandbox in found.into_values() {
            tracing::info!(pod = %sandbox.config.name, "its pod is gone from the API: it is ended");
            let pod = former_pod(&self.host, &sandbox);
            if let Some(handle) = self.begin(Arc::new(pod), Some(sandbox.pid)) {
                handle.remove();
            }
        }
        Ok(())
    }

    /// Hands on what the runtime tells, for ever.
    pub(crate) async fn follow_runtime(self: Arc<Self>) {
        let mut events = self.host.runtime.events();
        loop {
            let concerned: Vec<Arc<Handle>> = match events.recv().await {
                Ok(event) => self.lock().get(&event.sandbox).cloned().into_iter().collect(),
                Err(RecvError::Lagged(_)) => self.lock().values().cloned().collect(),
                Err(RecvError::Closed) => return,
            };
            for handle in concerned {
                handle.runtime_changed();
            }
        }
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        node == Some(self.host.config.name.as_str())
    }

    fn changed(self: &Arc<Self>, change: &Change) {
        match (&change.old, &change.new) {
            (_, Some(Object::Pod(pod))) if self.is_ours(pod) => {
                // A successor of the same name may arrive as a change of the former pod.
                if let Some(Object::Pod(old)) = &change.old
                    && old.metadata.uid != pod.metadata.uid
                {
                    self.gone(old);
                }
                self.begin(Arc::clone(pod), None);
            }
            (Some(Object::Pod(pod)), None) => self.gone(pod),
            (old, new) => {
                let Some(object) = new.as_ref().or(old.as_ref()) else { return };
                self.wake_dependents(object);
            }
        }
    }

    fn gone(&self, pod: &Pod) {
        if let Some(handle) = self.lock().get(pod.metadata.uid.as_deref().unwrap_or_default()) {
            handle.remove();
        }
    }

    /// Secrets, maps, claims and volumes are what pods wait for; volumes have no namespace.
    fn wake_dependents(&self, object: &Object) {
        let matters = matches!(
            object,
            Object::Secret(_)
                | Object::ConfigMap(_)
                | Object::PersistentVolumeClaim(_)
                | Object::PersistentVolume(_)
        );
        if !matters {
            return;
        }
        let namespace = object.metadata().namespace.as_deref();
        let workers = self.lock();
        for handle in workers.values().filter(|h| namespace.is_none_or(|n| n == h.key.namespace)) {
            handle.dependency_changed();
        }
    }

    /// Passes the pod on to its worker, or starts one; answers the worker's handle when it was started.
    fn begin(self: &Arc<Self>, pod: Arc<Pod>, found: Option<Option<u32>>) -> Option<Arc<Handle>> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut workers = self.lock();
        if let Some(handle) = workers.get(&uid) {
            handle.update(pod);
            return None;
        }
        let handle = Handle::new(pod);
        if workers.values().any(|other| other.key == handle.key) {
            handle.set_predecessor(true);
        }
        workers.insert(uid, Arc::clone(&handle));
        drop(workers);
        let (manager, worker_handle) = (Arc::clone(self), Arc::clone(&handle));
        tokio::spawn(async move {
            worker::run(Arc::clone(&manager.host), Arc::clone(&worker_handle), found).await;
            manager.finished(&worker_handle);
        });
        Some(handle)
    }

    /// A pod has ended for good: its name is free for a successor.
    fn finished(&self, handle: &Handle) {
        let mut workers = self.lock();
        workers.remove(&handle.uid);
        let mut same = workers.values().filter(|other| other.key == handle.key);
        if let (Some(successor), None) = (same.next(), same.next()) {
            successor.set_predecessor(false);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Handle>>> {
        self.workers.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// What is known of a pod whose object is gone but whose sandbox is not.
fn former_pod(host: &Host, sandbox: &SandboxStatus) -> Pod {
    let config = &sandbox.config;
    let pod = json!({
        "metadata": {"name": config.name, "namespace": config.namespace, "uid": config.id},
        "spec": {"nodeName": host.config.name, "hostNetwork": config.host_network, "containers": []},
    });
    serde_json::from_value(pod).unwrap_or_default()
}
