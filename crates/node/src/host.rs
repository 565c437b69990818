//! What all pod workers share: the node's settings and its hands.

use std::io::Read;
use std::net::Ipv4Addr;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use apimachinery::inject::Clock;
use client::{Clients, Executor, Informers, Recorder};
use images::{ImageStore, Mirror};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use network::Network;
use planner::EventType;
use planner::world::object_ref;
use runtime::Runtime;
use tokio::sync::Semaphore;
use volumes::Volumes;

use crate::admission::Admission;
use crate::env::Surroundings;
use crate::services::Told;
use crate::tokens::Tokens;
use crate::work::Work;

/// The node's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name on the API.
    pub name: String,
    /// Where pods' files are kept: `DIR/pods`.
    pub pods_dir: PathBuf,
    /// Where stead's own volumes are kept: `DIR/volumes`.
    pub volumes_dir: PathBuf,
    /// The node's address.
    pub host_ip: Ipv4Addr,
    /// Where pods ask for names.
    pub cluster_dns: Ipv4Addr,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// Where else to look for a registry's images.
    pub mirrors: Vec<Mirror>,
    /// The most pods that this node takes.
    pub max_pods: u32,
}

/// What the node works with.
pub struct Parts {
    /// The API.
    pub clients: Clients,
    /// The world, kept current by somebody.
    pub informers: Arc<Informers>,
    /// Containers.
    pub runtime: Arc<dyn Runtime>,
    /// Addresses.
    pub network: Arc<Network>,
    /// Claims' data.
    pub volumes: Arc<Volumes>,
    /// Images.
    pub images: Arc<ImageStore>,
}

/// Who makes local volumes: upstream, a provisioner outside of it.
const PROVISIONER: &str = "system:serviceaccount:kube-system:stead-provisioner";
/// Who says where services are reached.
const SERVICE_CONTROLLER: &str = "system:serviceaccount:kube-system:service-controller";

/// What writes as one user.
pub(crate) struct Hands {
    pub(crate) executor: Executor,
    pub(crate) recorder: Recorder,
}

impl Hands {
    fn new(client: Client, informers: &Arc<Informers>, component: &'static str, config: &Config) -> Self {
        let recorder = Recorder::new(client.clone(), component, &config.name, Clock::new(now));
        Self { executor: Executor::new(client, Arc::clone(informers), recorder.clone()), recorder }
    }
}

/// The most of a seccomp profile that is read, in bytes.
const MAX_PROFILE: u64 = 1 << 20;

/// Containers that are made at the same time on this node; more wait.
const STARTING_AT_ONCE: usize = 8;

/// The node's settings and hands, shared by all workers.
pub(crate) struct Host {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) informers: Arc<Informers>,
    pub(crate) executor: Executor,
    pub(crate) recorder: Recorder,
    /// Those of who makes and deletes volumes, which is no node's right.
    pub(crate) provisioner: Hands,
    /// Those of who writes where services are reached.
    pub(crate) balancer: Hands,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) network: Arc<Network>,
    pub(crate) volumes: Arc<Volumes>,
    pub(crate) images: Arc<ImageStore>,
    pub(crate) starting: Semaphore,
    pub(crate) admission: Admission,
    /// Services, as far as the kernel knows them.
    pub(crate) services: Told,
    /// Of the pods' service accounts.
    pub(crate) tokens: Tokens,
    /// The workers of pods, and what they do beside their loops.
    pub(crate) work: Work,
    /// The node's address, as text.
    pub(crate) host_ip: String,
    /// Bytes of memory of the machine.
    pub(crate) memory: i64,
    /// Thousandths of the machine's processors.
    pub(crate) cpu_millis: i64,
}

impl Host {
    pub(crate) fn new(config: Config, parts: Parts) -> Self {
        let client = parts.clients.of(&format!("system:node:{}", config.name));
        let Hands { executor, recorder } = Hands::new(client.clone(), &parts.informers, "kubelet", &config);
        let others =
            |user: &str, component| Hands::new(parts.clients.of(user), &parts.informers, component, &config);
        Self {
            provisioner: others(PROVISIONER, "volume-provisioner"),
            balancer: others(SERVICE_CONTROLLER, "service-controller"),
            host_ip: config.host_ip.to_string(),
            memory: crate::registration::machine_memory(),
            cpu_millis: crate::registration::machine_cpus() * 1000,
            config,
            client,
            informers: parts.informers,
            executor,
            recorder,
            runtime: parts.runtime,
            network: parts.network,
            volumes: parts.volumes,
            images: parts.images,
            starting: Semaphore::new(STARTING_AT_ONCE),
            admission: Admission::default(),
            services: Told::default(),
            tokens: Tokens::default(),
            work: Work::default(),
        }
    }

    /// The folder of one pod's files.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.pods_dir.join(uid)
    }

    /// A seccomp profile of this machine, by its path below the folder of them. What leads out of that folder is no
    /// such path.
    pub(crate) fn seccomp_profile(&self, file: &str) -> Result<String, String> {
        let state = self.config.pods_dir.parent().unwrap_or(&self.config.pods_dir);
        let (folder, path) = (state.join("seccomp"), Path::new(file));
        let why = |why: String| format!("cannot load seccomp profile {:?}: {why}", folder.join(file));
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(why("it must be a relative path without '..'".to_owned()));
        }
        let opened = std::fs::File::open(folder.join(path)).map_err(|e| why(e.to_string()))?;
        let mut text = String::new();
        let read = opened.take(MAX_PROFILE).read_to_string(&mut text);
        read.map(|_| text).map_err(|e| why(e.to_string()))
    }

    /// What a pod with this address may be told of where it is.
    pub(crate) fn surroundings<'a>(&'a self, pod_ip: &'a str) -> Surroundings<'a> {
        let (node_memory, node_cpu_millis) = (self.memory, self.cpu_millis);
        Surroundings { pod_ip, host_ip: &self.host_ip, node_memory, node_cpu_millis }
    }

    /// Tells people what happened to a pod.
    pub(crate) fn event(&self, pod: &Pod, event_type: EventType, reason: &str, message: &str) {
        self.recorder.record(&object_ref(pod), event_type, reason, message);
    }
}

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or_default()
}
