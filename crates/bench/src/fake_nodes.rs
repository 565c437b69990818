//! Nodes that answer at once: they do a kubelet's job on the API and run nothing, so that what is measured is
//! the control plane.
//!
//! A node registers itself, renews its lease, and watches the pods that are bound to it. A new one is Running and
//! Ready at once, one that is being deleted is gone at once. All nodes live in one thread of their own, so that
//! their work does not delay the clock of who measures.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use jiff::Timestamp;
use kube::core::WatchEvent;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

use crate::ask::ask;
use crate::daemon::Daemon;
use crate::seen::{Seen, watch_pods};

/// Answers under way at once, of all nodes together.
const ANSWERS: usize = 32;
/// How often a node renews its lease (upstream's kubelet: a quarter of 40 s).
const RENEW: Duration = Duration::from_secs(10);
/// The label by which sets ask for these nodes.
pub(crate) const LABEL: (&str, &str) = ("bench.stead.dev/node", "fake");

/// Nodes that are there for as long as this lives.
pub(crate) struct FakeNodes {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeNodes {
    /// Registers `count` nodes; they watch their pods when this returns.
    pub(crate) async fn register(daemon: &Daemon, count: usize) -> Result<Self> {
        let config = daemon.config().await?;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("fake-nodes".to_owned()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    biased;
                    _ = stopped => {}
                    ended = serve(config, count, ready) => {
                        if let Err(error) = ended {
                            eprintln!("bench: the fake nodes ended: {error:#}");
                        }
                    }
                }
            });
        })?;
        let nodes = Self { stop: Some(stop), thread: Some(thread) };
        is_ready.await.context("the fake nodes did not come up")?;
        Ok(nodes)
    }

    /// The name of the node with this number.
    pub(crate) fn name(index: usize) -> String {
        format!("fake-{index}")
    }
}

impl Drop for FakeNodes {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has said why, if it panicked.
            let _ = thread.join();
        }
    }
}

/// What all nodes share.
struct Nodes {
    client: Client,
    room: Arc<Semaphore>,
    /// How many addresses have been given out.
    addresses: AtomicU32,
}

async fn serve(config: Config, count: usize, ready: oneshot::Sender<()>) -> Result<()> {
    let nodes = Arc::new(Nodes {
        client: Client::try_from(config)?,
        room: Arc::new(Semaphore::new(ANSWERS)),
        addresses: AtomicU32::new(0),
    });
    let mut watches = Vec::new();
    for name in (0..count).map(FakeNodes::name) {
        nodes.register(&name).await?;
        let query = format!("fieldSelector=spec.nodeName%3D{name}");
        watches.push(watch_pods(&nodes.client, &query).await?);
    }
    // Who measures may have given up meanwhile.
    let _ = ready.send(());
    let mut pods = futures::stream::select_all(watches);
    let mut tick = tokio::time::interval(RENEW);
    loop {
        tokio::select! {
            event = pods.try_next() => match event?.context("a watch ended")? {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) => Arc::clone(&nodes).hear(pod).await?,
                WatchEvent::Error(error) => anyhow::bail!("a watch ended: {error:?}"),
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
            },
            _ = tick.tick() => {
                for name in (0..count).map(FakeNodes::name) {
                    let renewed = json!({"spec": {"renewTime": micros()}});
                    nodes.send("PATCH", &format!("{LEASES}/{name}"), &renewed).await?;
                }
            }
        }
    }
}

/// Where the leases of nodes are.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

impl Nodes {
    async fn register(&self, name: &str) -> Result<()> {
        let labels = json!({"kubernetes.io/hostname": name, LABEL.0: LABEL.1});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
        self.send("POST", "/api/v1/nodes", &node).await?;
        let room = json!({"cpu": "1000", "memory": "1000Gi", "pods": "10000"});
        let now = seconds();
        let status = json!({"status": {
            "capacity": room, "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "it answers at once", "lastHeartbeatTime": now, "lastTransitionTime": now}],
        }});
        self.send("PATCH", &format!("/api/v1/nodes/{name}/status"), &status).await?;
        let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micros()}});
        self.send("POST", LEASES, &lease).await
    }

    /// Does what a pod's node does about it, unless there is nothing to do. Waits while too much is under way.
    async fn hear(self: Arc<Self>, pod: Seen) -> Result<()> {
        if pod.metadata.deletion_timestamp.is_none() && pod.is_running() {
            return Ok(());
        }
        let permit = Arc::clone(&self.room).acquire_owned().await?;
        tokio::spawn(async move {
            let _permit = permit;
            let Seen { metadata, .. } = &pod;
            if let Err(error) = self.answer(&pod).await {
                eprintln!("bench: a fake node over pod {}/{}: {error:#}", metadata.namespace, metadata.name);
            }
        });
        Ok(())
    }

    async fn answer(&self, pod: &Seen) -> Result<()> {
        let Seen { metadata, spec, .. } = pod;
        let path = format!("/api/v1/namespaces/{}/pods/{}", metadata.namespace, metadata.name);
        if metadata.deletion_timestamp.is_some() {
            let at_once = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": metadata.uid}});
            return self.send("DELETE", &path, &at_once).await;
        }
        let now = seconds();
        let holds = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": now});
        let conditions =
            ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
                .map(holds);
        let container = |c: &crate::seen::Container| {
            json!({"name": c.name, "image": c.image, "imageID": c.image, "containerID": "fake://1",
                "ready": true, "started": true, "restartCount": 0, "state": {"running": {"startedAt": now}}})
        };
        let number = self.addresses.fetch_add(1, Ordering::Relaxed) % (1 << 22);
        let ip = Ipv4Addr::from_bits(Ipv4Addr::new(10, 64, 0, 1).to_bits() + number);
        let status = json!({"metadata": {"uid": metadata.uid}, "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.63.0.1", "startTime": now,
            "conditions": conditions,
            "containerStatuses": spec.containers.iter().map(container).collect::<Vec<_>>(),
        }});
        self.send("PATCH", &format!("{path}/status"), &status).await
    }

    /// Asks the API for something. What is gone, or has been replaced, needs no answer any more.
    async fn send(&self, verb: &str, path: &str, body: &Value) -> Result<()> {
        match ask(&self.client, verb, path, body).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            other => other.with_context(|| format!("{verb} {path}")),
        }
    }
}

fn seconds() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn micros() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
