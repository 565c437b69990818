//! What others may ask of, and tell, a pod's worker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Pod;
use planner::Key;
use planner::pod_actions::{Record, is_terminal};
use tokio::sync::{Notify, watch};

use super::lock;

/// The outside of a worker. Whatever it is told, the worker looks at everything again.
pub(crate) struct Handle {
    pub(crate) uid: String,
    pub(crate) key: Key,
    pod: Mutex<Arc<Pod>>,
    removed: AtomicBool,
    predecessor: AtomicBool,
    pub(super) stale_records: AtomicBool,
    pub(super) stale_volumes: AtomicBool,
    pub(super) wake: Arc<Notify>,
    looked: watch::Sender<bool>,
    /// The runs as last seen; readers wait for changes of it.
    pub(super) records: watch::Sender<Vec<Record>>,
}

impl Handle {
    pub(crate) fn new(pod: Arc<Pod>) -> Arc<Self> {
        Arc::new(Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            key: Key::of(&pod.metadata),
            pod: Mutex::new(pod),
            removed: AtomicBool::new(false),
            predecessor: AtomicBool::new(false),
            stale_records: AtomicBool::new(true),
            stale_volumes: AtomicBool::new(false),
            wake: Arc::new(Notify::new()),
            looked: watch::channel(false).0,
            records: watch::channel(Vec::new()).0,
        })
    }

    /// The pod as the API has it.
    pub(crate) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&lock(&self.pod))
    }

    /// The API has a newer version.
    pub(crate) fn update(&self, pod: Arc<Pod>) {
        let mut held = lock(&self.pod);
        let (old, new) = (&held.metadata, &pod.metadata);
        // The downward API shows these in files.
        if old.labels != new.labels || old.annotations != new.annotations {
            self.stale_volumes.store(true, Ordering::Release);
        }
        *held = pod;
        drop(held);
        self.wake();
    }

    /// The API no longer has the pod.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether the API no longer has the pod.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// Whether the pod has Succeeded or Failed, and nothing of it runs any more.
    pub(crate) fn is_over(&self) -> bool {
        is_terminal(&self.pod()) && !self.records.borrow().iter().any(Record::is_alive)
    }

    /// Whether a former pod of the same name still has processes.
    pub(crate) fn set_predecessor(&self, present: bool) {
        self.predecessor.store(present, Ordering::Release);
        self.wake();
    }

    pub(super) fn has_predecessor(&self) -> bool {
        self.predecessor.load(Ordering::Acquire)
    }

    /// The runtime says that something happened.
    pub(crate) fn runtime_changed(&self) {
        self.stale_records.store(true, Ordering::Release);
        self.wake();
    }

    /// An object that the pod may wait for or show (a Secret, a claim, …) has changed.
    pub(crate) fn dependency_changed(&self) {
        self.stale_volumes.store(true, Ordering::Release);
        self.wake();
    }

    /// Makes the worker look at everything again.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Resolves when somebody has called [`Handle::wake`], or has since it resolved last.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The worker has looked at the pod, and has told the API what it saw where it could.
    pub(super) fn set_looked(&self) {
        self.looked.send_replace(true);
    }

    /// Resolves when the worker has looked at the pod once.
    pub(crate) async fn looked(&self) {
        // The sender lives as long as self: this cannot fail while we are borrowed.
        let _ = self.looked.subscribe().wait_for(|looked| *looked).await;
    }

    /// The runs of the pod's containers, with changes.
    pub(crate) fn records(&self) -> watch::Receiver<Vec<Record>> {
        self.records.subscribe()
    }
}
