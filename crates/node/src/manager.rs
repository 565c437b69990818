//! Which pods this node runs: starts a worker for each, and passes on what changes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use planner::pod_actions::is_terminal;
use planner::{Change, Key, Object, World};
use runtime::SandboxStatus;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use crate::host::Host;
use crate::inotify::{Watch, WatchFlags};
use crate::worker::{self, Ended, Handle};
use crate::{Error, pod_volumes};

/// How long the first look at all pods may take.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// The workers by pod uid.
pub(crate) struct Manager {
    host: Arc<Host>,
    workers: Mutex<HashMap<String, Arc<Handle>>>,
    /// Sandboxes that ran before this stead did, and wait for the workers of their pods.
    found: Mutex<HashMap<String, SandboxStatus>>,
}

impl Manager {
    pub(crate) fn new(host: Arc<Host>) -> Arc<Self> {
        Arc::new(Self { host, workers: Mutex::default(), found: Mutex::default() })
    }

    /// The worker of a pod.
    pub(crate) fn find(&self, namespace: &str, name: &str, uid: &str) -> Option<Arc<Handle>> {
        let workers = lock(&self.workers);
        if let Some(handle) = workers.get(uid) {
            return Some(Arc::clone(handle));
        }
        let key = Key::new(namespace, name);
        workers.values().find(|handle| uid.is_empty() && handle.key == key).cloned()
    }

    /// Takes over what ran before, begins with the pods that the API has for this node, and follows changes.
    /// The informers must be synced: a pod that is only not heard of yet would be taken for a deleted one.
    /// When this returns, the API knows of each of them how it is now: nobody takes what it was told before
    /// stead ended for the present.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<(), Error> {
        let sandboxes = self.host.runtime.list_pod_sandboxes().await.map_err(Error::Recover)?;
        let found = sandboxes.into_iter().map(|sandbox| (sandbox.config.id.clone(), sandbox));
        *lock(&self.found) = found.collect();
        self.forget_strangers().await?;
        // Former pods come first: a successor of the same name must know of them before it begins.
        let ours: HashSet<String> = self.our_pods().iter().map(|pod| uid_of(pod).to_owned()).collect();
        self.end_former(|uid| !ours.contains(uid));
        let listener = Arc::downgrade(self);
        // Listening begins before looking: what comes twice is taken once.
        self.host.informers.on_change(move |world, change| {
            if let Some(manager) = listener.upgrade() {
                manager.changed(world, change);
            }
        });
        // Those that ran before come first: what they have is theirs.
        let mut pods = self.our_pods();
        pods.sort_by_key(|pod| !has_begun(pod));
        for pod in pods {
            self.begin(pod);
        }
        self.end_former(|_| true);
        let looks = futures::future::join_all(self.all().into_iter().map(|handle| async move {
            handle.looked().await;
        }));
        if tokio::time::timeout(FIRST_LOOK, looks).await.is_err() {
            tracing::warn!("some pods could not be looked at yet");
        }
        Ok(())
    }

    fn our_pods(&self) -> Vec<Arc<Pod>> {
        let world = self.host.informers.world();
        world.pods.iter().filter(|pod| self.is_ours(pod)).cloned().collect()
    }

    /// Gives back the addresses, and removes the files, of pods of which there is neither an object nor a
    /// sandbox: stead died between the end of their processes and the end of the rest.
    async fn forget_strangers(&self) -> Result<(), Error> {
        let mut known: HashSet<String> = lock(&self.found).keys().cloned().collect();
        known.extend(self.our_pods().iter().map(|pod| uid_of(pod).to_owned()));
        let given_back = self.host.network.retain(known.clone()).await.map_err(Error::Leases)?;
        for lease in given_back {
            tracing::info!(pod = %lease.pod.name, ip = %lease.ip, "address of a former pod given back");
        }
        pod_volumes::forget_strangers(&self.host, &known).await;
        Ok(())
    }

    /// Ends the sandboxes found whose pods are gone from the API.
    fn end_former(self: &Arc<Self>, is_former: impl Fn(&str) -> bool) {
        let former: Vec<SandboxStatus> =
            lock(&self.found).values().filter(|sandbox| is_former(&sandbox.config.id)).cloned().collect();
        for sandbox in former {
            tracing::info!(pod = %sandbox.config.name, "its pod is gone from the API: it is ended");
            let pod = former_pod(&self.host, &sandbox);
            self.begin(Arc::new(pod)).remove();
        }
    }

    /// Hands on what the runtime tells, for ever.
    pub(crate) async fn follow_runtime(self: Arc<Self>) {
        let mut events = self.host.runtime.events();
        // What happened before anybody listened.
        for handle in self.all() {
            handle.runtime_changed();
        }
        loop {
            let concerned: Vec<Arc<Handle>> = match events.recv().await {
                Ok(event) => lock(&self.workers).get(&event.sandbox).cloned().into_iter().collect(),
                Err(RecvError::Lagged(_)) => self.all(),
                Err(RecvError::Closed) => return,
            };
            for handle in concerned {
                handle.runtime_changed();
            }
        }
    }

    /// Wakes the pods whenever the images have changed: one of them may wait for one.
    pub(crate) async fn follow_images(self: Arc<Self>) {
        // Names change by a new file in the place of the old one, whichever process did it.
        let watch = match Watch::of(self.host.images.dir(), WatchFlags::MOVED_TO) {
            Ok(watch) => watch,
            Err(error) => return tracing::warn!("images cannot be watched: {error}"),
        };
        while watch.changed().await.is_ok() {
            for handle in self.all() {
                handle.wake();
            }
        }
    }

    /// The workers of all pods.
    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        lock(&self.workers).values().cloned().collect()
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        node == Some(self.host.config.name.as_str())
    }

    /// Changes may be told in another order than they came: what counts is what the world has now.
    fn changed(self: &Arc<Self>, world: &World, change: &Change) {
        let Some(object) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let Object::Pod(pod) = object else { return self.wake_dependents(object) };
        let key = Key::of(&pod.metadata);
        let current = world.pods.get(&key.namespace, &key.name).filter(|pod| self.is_ours(pod));
        let uid = current.map_or("", |pod| uid_of(pod));
        for former in self.all().iter().filter(|handle| handle.key == key && handle.uid != uid) {
            former.remove();
        }
        if let Some(pod) = current {
            self.begin(Arc::clone(pod));
        }
    }

    /// Secrets, maps, claims and volumes are what pods wait for; volumes have no namespace. A node's labels and
    /// taints are what they are refused for.
    fn wake_dependents(&self, object: &Object) {
        if matches!(object, Object::Node(_)) {
            return self.host.admission.wake();
        }
        let matters = matches!(
            object,
            Object::Secret(_)
                | Object::ConfigMap(_)
                | Object::ServiceAccount(_)
                | Object::PersistentVolumeClaim(_)
                | Object::PersistentVolume(_)
        );
        if !matters {
            return;
        }
        let namespace = object.metadata().namespace.as_deref();
        let workers = lock(&self.workers);
        for handle in workers.values().filter(|h| namespace.is_none_or(|n| n == h.key.namespace)) {
            handle.dependency_changed();
        }
    }

    /// Passes the pod on to its worker, or starts one.
    fn begin(self: &Arc<Self>, pod: Arc<Pod>) -> Arc<Handle> {
        let uid = uid_of(&pod).to_owned();
        let mut workers = lock(&self.workers);
        if let Some(handle) = workers.get(&uid) {
            handle.update(pod);
            return Arc::clone(handle);
        }
        let found = lock(&self.found).remove(&uid).map(|sandbox| sandbox.pid);
        let ran_before = found.is_some() || has_begun(&pod);
        let handle = Handle::new(pod);
        if ran_before {
            self.host.admission.take(&handle);
        }
        if workers.values().any(|other| other.key == handle.key) {
            handle.set_predecessor(true);
        }
        workers.insert(uid, Arc::clone(&handle));
        drop(workers);
        let (manager, worker_handle) = (Arc::clone(self), Arc::clone(&handle));
        self.host.work.spawn(async move {
            if worker::run(Arc::clone(&manager.host), Arc::clone(&worker_handle), found).await == Ended::Gone
            {
                manager.finished(&worker_handle);
            }
        });
        handle
    }

    /// A pod has ended for good: its name is free for a successor.
    fn finished(&self, handle: &Handle) {
        let mut workers = lock(&self.workers);
        workers.remove(&handle.uid);
        let mut same = workers.values().filter(|other| other.key == handle.key);
        if let (Some(successor), None) = (same.next(), same.next()) {
            successor.set_predecessor(false);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

fn uid_of(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Whether a node has taken the pod, and has not ended it.
fn has_begun(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.start_time.is_some()) && !is_terminal(pod)
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
