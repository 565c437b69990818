//! A node: its object, its pods, its volumes. It decides with the real `planner::pod_actions` and the real
//! provisioner, and acts on a machine that is made up.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::{Executor, Informers, Recorder, send_json};
use http::Method;
use kube::Client;
use planner::volume_binder::provisioner::{self, VolumeAction};
use planner::world::to_value;
use planner::{Action, Change, Key, Object};
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::faults::Fault;
use crate::process::Process;
use crate::sim::{Sim, lock};
use crate::worker::{self, Worker};

/// How often the lease is renewed.
const RENEW: Duration = Duration::from_secs(10);
/// The pause after a failure.
const RETRY: Duration = Duration::from_millis(500);
/// Whose eyes the node uses.
pub(crate) const LOOKING: &str = "system:kube-controller-manager";
/// Who makes volumes.
const PROVISIONER: &str = "system:serviceaccount:kube-system:stead-provisioner";
/// Where nodes renew their leases.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// A kubelet.
pub(crate) struct Kubelet {
    pub(crate) sim: Arc<Sim>,
    pub(crate) node: String,
    pub(crate) informers: Arc<Informers>,
    pub(crate) executor: Executor,
    provisioner: Executor,
    client: Client,
    /// By the pod's uid.
    workers: Mutex<BTreeMap<String, Arc<Worker>>>,
    begun: AtomicU64,
    storage_changed: Notify,
}

/// What a kubelet is told of.
enum News {
    Pod(Key),
    Storage,
}

/// Runs the node, through deaths and absences, for ever.
pub(crate) async fn run(sim: Arc<Sim>, node: String) {
    loop {
        let process = Arc::new(Process::new(&node, Some(Fault::KubeletKilled)));
        sim.note(&format!("{node} starts"));
        tokio::select! {
            biased;
            () = process.death() => sleep(sim.dice.millis(10, 5_000)).await,
            pause = absence(&sim) => {
                process.die();
                sleep(pause).await;
            }
            () = live(Arc::clone(&sim), &process, &node) => {}
        }
        if sim.strikes(Fault::NodeCrashed) {
            sim.note(&format!("the machine of {node} loses its power"));
            let now = sim.now();
            sim.machines().power_off(&node, now);
        }
    }
}

/// Resolves when the node is to be away, with how long.
async fn absence(sim: &Sim) -> Duration {
    loop {
        sleep(sim.dice.millis(5_000, 120_000)).await;
        if sim.strikes(Fault::NodeAway) {
            return sim.dice.millis(1_000, 600_000);
        }
    }
}

async fn live(sim: Arc<Sim>, process: &Arc<Process>, node: &str) {
    let client = sim.client(process, &format!("system:node:{node}"));
    // As in stead: what the node looks at is the process's, and what it writes is its own.
    let informers = Informers::new(sim.client(process, LOOKING), sim.clock());
    let recorder = Recorder::new(client.clone(), "kubelet", node, sim.clock());
    let (sender, mut news) = mpsc::unbounded_channel();
    informers.on_change(move |_, change| {
        if let Some(news) = tell(change) {
            let _ = sender.send(news);
        }
    });
    let kubelet = Arc::new(Kubelet {
        provisioner: Executor::new(
            sim.client(process, PROVISIONER),
            Arc::clone(&informers),
            recorder.clone(),
        ),
        executor: Executor::new(client.clone(), Arc::clone(&informers), recorder),
        sim,
        node: node.to_owned(),
        informers: Arc::clone(&informers),
        client,
        workers: Mutex::default(),
        begun: AtomicU64::default(),
        storage_changed: Notify::new(),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(Arc::clone(&informers).run(pending()));
    kubelet.register().await;
    informers.synced().await;
    let (heart, provisioner, ear) = (Arc::clone(&kubelet), Arc::clone(&kubelet), Arc::clone(&kubelet));
    tasks.spawn(async move { ear.listen_to_machine().await });
    tasks.spawn(async move { heart.beat().await });
    tasks.spawn(async move { provisioner.provision().await });
    // Former pods come first: a successor of the same name must know of them before it begins.
    let sandboxes = kubelet.sim.machines().sandboxes_of(node);
    for (uid, key) in sandboxes.iter().filter(|(uid, key)| !kubelet.is_current(uid, key)) {
        kubelet.begin(uid, key, &mut tasks);
    }
    let known: Vec<Key> = informers.world().pods.iter().map(|pod| Key::of(&pod.metadata)).collect();
    for key in known {
        kubelet.look_at(&key, &mut tasks);
    }
    while let Some(news) = news.recv().await {
        match news {
            News::Pod(key) => kubelet.look_at(&key, &mut tasks),
            News::Storage => {
                kubelet.storage_changed.notify_one();
                lock(&kubelet.workers).values().for_each(|worker| worker.storage_changed());
            }
        }
    }
}

fn tell(change: &Change) -> Option<News> {
    match change.new.as_ref().or(change.old.as_ref())? {
        Object::Pod(pod) => Some(News::Pod(Key::of(&pod.metadata))),
        Object::PersistentVolumeClaim(_)
        | Object::PersistentVolume(_)
        | Object::StorageClass(_)
        | Object::Node(_) => Some(News::Storage),
        _ => None,
    }
}

impl Kubelet {
    /// Wakes whoever works on a pod of this name, and begins with one that is new.
    fn look_at(self: &Arc<Self>, key: &Key, tasks: &mut JoinSet<()>) {
        let ours = {
            let world = self.informers.world();
            let held = world.pods.get(&key.namespace, &key.name);
            let ours = held.filter(|pod| {
                pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(self.node.as_str())
            });
            ours.and_then(|pod| pod.metadata.uid.clone())
        };
        lock(&self.workers).values().filter(|worker| worker.key == *key).for_each(|worker| worker.wake());
        if let Some(uid) = ours {
            self.begin(&uid, key, tasks);
        }
        // A change of a pod may free a volume that is to be deleted.
        self.storage_changed.notify_one();
    }

    /// Whether the API has this very pod.
    fn is_current(&self, uid: &str, key: &Key) -> bool {
        let world = self.informers.world();
        let held = world.pods.get(&key.namespace, &key.name);
        held.is_some_and(|pod| pod.metadata.uid.as_deref() == Some(uid))
    }

    fn begin(self: &Arc<Self>, uid: &str, key: &Key, tasks: &mut JoinSet<()>) {
        let mut workers = lock(&self.workers);
        if workers.contains_key(uid) {
            return;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        let worker = Arc::new(Worker::new(uid, key, number));
        workers.insert(uid.to_owned(), Arc::clone(&worker));
        drop(workers);
        let this = Arc::clone(self);
        tasks.spawn(async move {
            worker::run(&this, &worker).await;
            let mut workers = lock(&this.workers);
            workers.remove(&worker.uid);
            workers.values().filter(|other| other.key == worker.key).for_each(|other| other.wake());
        });
    }

    /// Whether a former pod of this name is still worked on.
    pub(crate) fn has_predecessor(&self, worker: &Worker) -> bool {
        let workers = lock(&self.workers);
        workers.values().any(|other| other.key == worker.key && other.number < worker.number)
    }

    async fn listen_to_machine(&self) {
        loop {
            self.sim.struck.notified().await;
            lock(&self.workers).values().for_each(|worker| worker.wake());
        }
    }

    async fn register(&self) {
        let name = &self.node;
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
            "spec": {},
        });
        let resources = json!({"cpu": "8", "memory": "16Gi", "pods": "110", "ephemeral-storage": "100Gi"});
        let status = json!({"status": {"capacity": resources, "allocatable": resources}});
        self.insist(Method::POST, "/api/v1/nodes", &node).await;
        self.insist(Method::PATCH, &format!("/api/v1/nodes/{name}/status"), &status).await;
        self.insist(Method::PATCH, &format!("/api/v1/nodes/{name}/status"), &self.well()).await;
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": {"holderIdentity": name}});
        self.insist(Method::POST, LEASES, &lease).await;
    }

    /// Sends until it is done, or was done before.
    async fn insist(&self, method: Method, path: &str, body: &serde_json::Value) {
        loop {
            match send_json(&self.client, method.clone(), path, body).await {
                Ok(_) => return,
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => return,
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    /// What the node says of itself.
    fn well(&self) -> serde_json::Value {
        json!({"status": {"conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the simulated kubelet is well",
            "lastHeartbeatTime": apimachinery::time::format_seconds(self.sim.now()),
        }]}})
    }

    /// Whether it is written of the node that it is not well.
    fn is_doubted(&self) -> bool {
        self.informers.world().nodes.get("", &self.node).is_some_and(|node| planner::nodes::is_doubted(node))
    }

    async fn beat(&self) {
        loop {
            sleep(RENEW).await;
            if self.is_doubted() {
                let path = format!("/api/v1/nodes/{}/status", self.node);
                let _ = send_json(&self.client, Method::PATCH, &path, &self.well()).await;
            }
            let at = apimachinery::time::format_micros(self.sim.now());
            let path = format!("{LEASES}/{}", self.node);
            // A beat that fails is made up for by the next.
            let _ = send_json(&self.client, Method::PATCH, &path, &json!({"spec": {"renewTime": at}})).await;
        }
    }

    async fn provision(&self) {
        loop {
            let actions = provisioner::plan(&self.informers.world(), &self.node, "/volumes");
            let mut is_done = true;
            for action in actions {
                is_done &= self.act_on_volume(action).await;
            }
            if is_done {
                self.storage_changed.notified().await;
            } else {
                sleep(RETRY).await;
            }
        }
    }

    /// Whether it needs not be tried again.
    async fn act_on_volume(&self, action: VolumeAction) -> bool {
        let writes = match action {
            VolumeAction::ProvisionVolume { volume, .. } => {
                let name = volume.metadata.name.clone().unwrap_or_default();
                self.sim.machines().make_directory(&name);
                vec![Action::Create(to_value(&*volume))]
            }
            VolumeAction::DeleteVolume { volume, .. } => {
                let now = self.sim.now();
                // A pod that was forced off the API may still write.
                if self.sim.machines().user_of(&volume.name, now).is_some() {
                    return false;
                }
                let deleted = self.sim.machines().delete_directory(&volume.name, now);
                deleted.unwrap_or_else(|wrong| self.sim.fail(wrong));
                vec![Action::Delete { target: volume, resource_version: None, grace_period: None }]
            }
            // Directories have room for anything.
            VolumeAction::Grow(growth) => growth.then,
        };
        for write in &writes {
            match self.provisioner.act(write).await {
                Ok(()) => {}
                Err(error) => return error.is_stale(),
            }
        }
        true
    }
}
