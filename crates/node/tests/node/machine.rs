//! A machine whose stead can end and begin again, and whose runtime can fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use apimachinery::inject::{Clock, Random};
use apimachinery::status::Status;
use apiserver::node_streams::{ContainerRef, ExecOptions, ExecSession, LogOptions, LogStream, NodeStreams};
use apiserver::{ApiServer, UserInfo};
use async_trait::async_trait;
use client::{Clients, Informers};
use futures::TryStreamExt;
use images::ImageStore;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, Node as NodeObject, Pod};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, Resource};
use network::Network;
use node::Node;
use runtime::fake::Fake;
use runtime::{
    ContainerConfig, ContainerStatus, Error, ExecConfig, PodUsage, Resources, Runtime, RuntimeEvent,
    SandboxConfig, SandboxStatus,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{broadcast, oneshot, watch};
use volumes::Volumes;

/// The runtime's verbs that a test makes fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    RunPodSandbox,
    /// It takes until something else is asked for.
    SlowRunPodSandbox,
    /// Stead dies when the sandbox is there and it has not been told yet.
    AfterRunPodSandbox,
    /// Stead dies when the container is made and not started yet.
    StartContainer,
    Containers,
}

/// The fake runtime, with failures that a test asks for.
pub(crate) struct Flaky {
    pub(crate) fake: Arc<Fake>,
    failing: watch::Sender<Option<Verb>>,
    failed: watch::Sender<u32>,
}

impl Flaky {
    /// Makes a verb fail until this is called again.
    pub(crate) fn fail(&self, verb: Option<Verb>) {
        self.failing.send_replace(verb);
    }

    /// How often a verb was made to fail.
    pub(crate) fn failures(&self) -> u32 {
        *self.failed.borrow()
    }

    async fn survive(&self, verb: Verb) {
        if self.may(verb).is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn may(&self, verb: Verb) -> Result<(), Error> {
        if *self.failing.borrow() != Some(verb) {
            return Ok(());
        }
        self.failed.send_modify(|count| *count += 1);
        Err(Error::System { doing: format!("{verb:?}"), why: "the test says so".to_owned() })
    }
}

#[async_trait]
impl Runtime for Flaky {
    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<SandboxStatus, Error> {
        self.may(Verb::RunPodSandbox)?;
        if self.may(Verb::SlowRunPodSandbox).is_err() {
            let slow = |verb: &Option<Verb>| *verb == Some(Verb::SlowRunPodSandbox);
            self.failing.subscribe().wait_for(|verb| !slow(verb)).await.unwrap();
        }
        let made = self.fake.run_pod_sandbox(config).await;
        self.survive(Verb::AfterRunPodSandbox).await;
        made
    }

    async fn stop_pod_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        self.fake.stop_pod_sandbox(sandbox).await
    }

    async fn remove_pod_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        self.fake.remove_pod_sandbox(sandbox).await
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<SandboxStatus>, Error> {
        self.fake.list_pod_sandboxes().await
    }

    async fn create_container(&self, sandbox: &str, config: ContainerConfig) -> Result<(), Error> {
        self.fake.create_container(sandbox, config).await
    }

    async fn start_container(&self, sandbox: &str, container: &str) -> Result<(), Error> {
        self.survive(Verb::StartContainer).await;
        self.fake.start_container(sandbox, container).await
    }

    async fn signal_container(&self, sandbox: &str, container: &str, signal: i32) -> Result<(), Error> {
        self.fake.signal_container(sandbox, container, signal).await
    }

    async fn remove_container(&self, sandbox: &str, container: &str) -> Result<(), Error> {
        self.fake.remove_container(sandbox, container).await
    }

    async fn containers(&self, sandbox: &str) -> Result<Vec<ContainerStatus>, Error> {
        self.may(Verb::Containers)?;
        self.fake.containers(sandbox).await
    }

    async fn update_container_resources(
        &self,
        sandbox: &str,
        container: &str,
        resources: Resources,
        annotations: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.fake.update_container_resources(sandbox, container, resources, annotations).await
    }

    async fn update_pod_sandbox_resources(&self, sandbox: &str, resources: Resources) -> Result<(), Error> {
        self.fake.update_pod_sandbox_resources(sandbox, resources).await
    }

    async fn pod_sandbox_stats(&self, sandbox: &str) -> Result<PodUsage, Error> {
        self.fake.pod_sandbox_stats(sandbox).await
    }

    async fn exec(&self, sandbox: &str, container: &str, config: ExecConfig) -> Result<i32, Error> {
        self.fake.exec(sandbox, container, config).await
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.fake.events()
    }
}

/// Nobody asks for logs here.
struct NoStreams;

#[async_trait]
impl NodeStreams for NoStreams {
    async fn logs(&self, _: &ContainerRef, _: LogOptions) -> Result<LogStream, Status> {
        Err(Status::internal("no streams"))
    }

    async fn exec(&self, _: &ContainerRef, _: ExecOptions) -> Result<ExecSession, Status> {
        Err(Status::internal("no streams"))
    }
}

/// A machine: what outlives a stead, and one stead at a time.
pub(crate) struct Machine {
    pub(crate) runtime: Arc<Flaky>,
    api: ApiServer,
    network: Arc<Network>,
    dir: tempfile::TempDir,
    stead: Option<tokio::runtime::Runtime>,
    node: Option<(oneshot::Sender<()>, tokio::task::JoinHandle<()>)>,
    test: tokio::runtime::Runtime,
}

impl Machine {
    /// A machine with stead running, and an image named `app`.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let test = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let api = ApiServer::new(apiserver::Config {
            store: Arc::new(store::Memory::new()),
            service_cidr: "10.43.0.0/16".to_owned(),
            streams: Arc::new(NoStreams),
            tokens: Arc::new(apiserver::TokenKey::generate().expect("a key")),
            clock: Clock::new(jiff::Timestamp::now),
            random: Random::seeded(1),
        });
        test.block_on(api.bootstrap()).unwrap();
        import_app(dir.path());
        let runtime =
            Flaky { fake: Fake::new(), failing: watch::Sender::new(None), failed: watch::Sender::new(0) };
        let network = network_of_its_own(dir.path());
        let mut this = Self { runtime: Arc::new(runtime), api, network, dir, stead: None, node: None, test };
        this.furnish();
        this.up();
        this
    }

    /// Makes what the namespace controller makes in `default`: what pods reach the API by.
    fn furnish(&self) {
        let account = json!({"metadata": {"name": "default"}});
        let root_ca = json!({"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "a certificate"}});
        for (plural, object) in [("serviceaccounts", account), ("configmaps", root_ca)] {
            let path = format!("/api/v1/namespaces/default/{plural}");
            let made =
                async { client::send_json(&self.client("test"), http::Method::POST, &path, &object).await };
            self.test.block_on(made).unwrap();
        }
    }

    /// Starts stead's node.
    pub(crate) fn up(&mut self) {
        let stead =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = node::Config {
            name: "n".to_owned(),
            pods_dir: self.dir.path().join("pods"),
            volumes_dir: self.dir.path().join("volumes"),
            host_ip: self.network.gateway(),
            cluster_dns: self.network.gateway(),
            cluster_domain: "cluster.local".to_owned(),
            mirrors: Vec::new(),
            max_pods: 110,
        };
        stead.block_on(async {
            let api = self.api.clone();
            let clients =
                Clients::new(move |user| Client::new(api.service(UserInfo::component(user)), "default"));
            let looking = clients.of("system:kube-controller-manager");
            let informers = Informers::new(looking, Clock::new(Timestamp::now));
            tokio::spawn(Arc::clone(&informers).run(std::future::pending()));
            let parts = node::Parts {
                clients,
                informers,
                runtime: Arc::clone(&self.runtime) as Arc<dyn Runtime>,
                network: Arc::clone(&self.network),
                volumes: Arc::new(Volumes::open(&self.dir.path().join("volumes")).unwrap()),
                images: ImageStore::open(&self.dir.path().join("images")).unwrap(),
            };
            let node = Node::start(config, parts).await.unwrap();
            let (end, ended) = oneshot::channel::<()>();
            let running = tokio::spawn(node.run(async move {
                // A crash drops the other side, and this with it.
                let _ = ended.await;
            }));
            self.node = Some((end, running));
        });
        self.stead = Some(stead);
    }

    /// Tells the node to end; call what is answered to wait until it has.
    pub(crate) fn stop(&mut self) -> impl FnOnce(&Self) + use<> {
        let (end, running) = self.node.take().expect("stead runs");
        end.send(()).unwrap();
        move |this| this.test.block_on(running).unwrap()
    }

    /// Ends it, wherever it is: all its tasks are dropped.
    pub(crate) fn crash(&mut self) {
        self.stead.take().expect("stead runs").shutdown_timeout(std::time::Duration::from_secs(5));
        self.node = None;
    }

    fn client(&self, user: &str) -> Client {
        Client::new(self.api.service(UserInfo::internal(user)), "default")
    }

    fn all<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + DeserializeOwned,
        K: std::fmt::Debug,
    {
        let _inside = self.test.enter();
        Api::default_namespaced(self.client("test"))
    }

    /// Makes a pod with one container, `main`, on this node; answers with its uid.
    pub(crate) fn create(&self, name: &str, spec: &Value) -> String {
        let mut pod = json!({
            "metadata": {"name": name},
            "spec": {"nodeName": "n", "hostNetwork": true,
                "containers": [{"name": "main", "image": "app", "command": ["run"]}]},
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            pod["spec"][key] = value.clone();
        }
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let made = self.test.block_on(self.all::<Pod>().create(&PostParams::default(), &pod)).unwrap();
        made.metadata.uid.unwrap()
    }

    pub(crate) fn delete(&self, name: &str, grace: u32) {
        let params = DeleteParams { grace_period_seconds: Some(grace), ..DeleteParams::default() };
        self.test.block_on(self.all::<Pod>().delete(name, &params)).unwrap();
    }

    /// Deletes the node's object, and waits until there is another that is Ready; answers with both uids.
    pub(crate) fn delete_node(&self) -> [Option<String>; 2] {
        self.test.block_on(async {
            let nodes: Api<NodeObject> = Api::all(self.client("test"));
            let former = nodes.get("n").await.unwrap().metadata.uid;
            nodes.delete("n", &DeleteParams::default()).await.unwrap();
            let is_next =
                |node: &NodeObject, gone: bool| !gone && node.metadata.uid != former && is_well(node);
            let next = follow(&nodes, is_next).await.metadata.uid;
            [former, next]
        })
    }

    /// Somebody writes that the node is not heard of any more; waits until it is well again.
    pub(crate) fn doubt_node(&self) {
        self.test.block_on(async {
            let nodes: Api<NodeObject> = Api::all(self.client("test"));
            let doubt = json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}});
            let params = PatchParams::default();
            let doubted = nodes.patch_status("n", &params, &Patch::Merge(&doubt)).await.unwrap();
            assert!(!is_well(&doubted));
            follow(&nodes, |node: &NodeObject, gone: bool| !gone && is_well(node)).await;
        });
    }

    pub(crate) fn pod(&self, name: &str) -> Pod {
        self.test.block_on(self.all::<Pod>().get(name)).unwrap()
    }

    /// Waits until a pod is as it should be.
    pub(crate) fn pod_until(&self, name: &str, is_so: impl Fn(&Pod) -> bool) -> Pod {
        self.until(name, |pod: Option<&Pod>| pod.is_some_and(&is_so)).unwrap()
    }

    pub(crate) fn ready(&self, name: &str) -> Pod {
        self.pod_until(name, is_ready)
    }

    /// Waits until the API has no such pod (or one with another uid).
    pub(crate) fn gone(&self, name: &str, uid: &str) {
        let gone = |pod: Option<&Pod>| pod.is_none_or(|p| p.metadata.uid.as_deref() != Some(uid));
        self.until::<Pod>(name, gone);
    }

    /// Waits for an event of a pod, and answers with what it says.
    pub(crate) fn event(&self, pod: &str, reason: &str) -> String {
        let told = |event: &Event| {
            event.involved_object.name.as_deref() == Some(pod) && event.reason.as_deref() == Some(reason)
        };
        let found = self.test.block_on(follow(&self.all::<Event>(), |event, _| told(event)));
        found.message.unwrap_or_default()
    }

    fn until<K>(&self, name: &str, is_so: impl Fn(Option<&K>) -> bool) -> Option<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope> + Clone + DeserializeOwned,
        K: std::fmt::Debug + Send + 'static,
    {
        self.test.block_on(async {
            let api = self.all::<K>();
            let held = api.get_opt(name).await.unwrap();
            if is_so(held.as_ref()) {
                return held;
            }
            let of_it = |object: &K, gone: bool| {
                object.meta().name.as_deref() == Some(name) && is_so((!gone).then_some(object))
            };
            let found = follow(&api, of_it).await;
            is_so(Some(&found)).then_some(found)
        })
    }

    /// Waits until the runtime is as it should be.
    pub(crate) fn runtime_until(&self, is_so: impl Fn(&Flaky) -> bool) {
        self.test.block_on(async {
            let (mut events, mut failures) = (self.runtime.events(), self.runtime.failed.subscribe());
            while !is_so(&self.runtime) {
                tokio::select! {
                    event = events.recv() => drop(event.unwrap()),
                    failure = failures.changed() => failure.unwrap(),
                }
            }
        });
    }

    /// The runs of a sandbox's containers, by the runtime's names.
    pub(crate) fn containers(&self, sandbox: &str) -> Vec<String> {
        let all = self.test.block_on(self.runtime.fake.containers(sandbox)).unwrap_or_default();
        all.into_iter().map(|container| container.config.id).collect()
    }

    /// The uids of the sandboxes there are.
    pub(crate) fn sandboxes(&self) -> Vec<String> {
        let all = self.test.block_on(self.runtime.fake.list_pod_sandboxes()).unwrap();
        all.into_iter().map(|sandbox| sandbox.config.id).collect()
    }

    /// Whether there is something at a path of a pod's folder; with an empty path, whether there is one.
    pub(crate) fn has_files(&self, uid: &str, path: &str) -> bool {
        self.dir.path().join("pods").join(uid).join(path).exists()
    }

    /// Leaves a folder as a crash between the end of a pod and the end of its files would.
    pub(crate) fn leave_files(&self, uid: &str) {
        std::fs::create_dir_all(self.dir.path().join("pods").join(uid).join("logs")).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(stead) = self.stead.take() {
            stead.shutdown_timeout(std::time::Duration::from_secs(5));
        }
        // In the namespace of its own nothing else is, but volumes may be mounted in ours.
        let torn = volumes::tear_down(&self.dir.path().join("pods"));
        assert!(torn.is_ok() || std::thread::panicking(), "{torn:?}");
    }
}

/// Watches from the beginning until an object is as it should be; `true` stands for its deletion.
async fn follow<K>(api: &Api<K>, is_so: impl Fn(&K, bool) -> bool) -> K
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    loop {
        let list = api.list(&ListParams::default()).await.unwrap();
        if let Some(found) = list.items.into_iter().find(|object| is_so(object, false)) {
            return found;
        }
        let from = list.metadata.resource_version.unwrap_or_default();
        let events = api.watch(&WatchParams::default(), &from).await.unwrap();
        futures::pin_mut!(events);
        while let Some(event) = events.try_next().await.unwrap() {
            let (object, gone) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
                WatchEvent::Deleted(object) => (object, true),
                WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
            };
            if is_so(&object, gone) {
                return object;
            }
        }
    }
}

fn is_well(node: &NodeObject) -> bool {
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// The restart count of the first container.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    statuses.map_or(0, |all| all[0].restart_count)
}

/// A network in a namespace of its own: it ends with its sockets.
fn network_of_its_own(dir: &std::path::Path) -> Arc<Network> {
    let config = network::Config {
        dir: dir.join("network"),
        pod_cidr: "10.42.0.0/24".parse().unwrap(),
        instance: "nodetest".to_owned(),
        mtu: Some(1500),
        notes: dir.join("sysctls"),
    };
    let open = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("tests of the node need root");
        Network::open(&config).unwrap()
    };
    std::thread::spawn(open).join().unwrap()
}

/// Imports an image with one empty layer, as `docker save` would have written it.
fn import_app(dir: &std::path::Path) {
    let archive = dir.join("archive");
    std::fs::create_dir(&archive).unwrap();
    // Two blocks of zeros are an empty tar file, and this is their digest.
    std::fs::write(archive.join("layer.tar"), [0; 1024]).unwrap();
    let layer = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    });
    std::fs::write(archive.join("config.json"), config.to_string()).unwrap();
    let manifest = json!([{"Config": "config.json", "RepoTags": ["app:latest"], "Layers": ["layer.tar"]}]);
    std::fs::write(archive.join("manifest.json"), manifest.to_string()).unwrap();
    let store = ImageStore::open(&dir.join("images")).unwrap();
    store.import(&archive, &[]).unwrap();
}
