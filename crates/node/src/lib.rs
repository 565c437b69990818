//! The kubelet's job: runs the pods that are bound to this node.
//!
//! One worker for each pod looks at the pod, the runtime, the volumes and the probes, asks
//! `planner::pod_actions` what to do, writes the status and does it. It is not a scheduler and decides
//! nothing about sets. **Its one rule: a name is free for a successor only when the runtime has proved that
//! the former pod's processes are gone; claims' data is never removed with a pod.**

mod admission;
mod async_fd;
mod container_config;
mod downward;
mod env;
mod etc_files;
mod exec;
mod figures;
mod health_checks;
mod hooks;
mod host;
mod inotify;
mod logs;
mod manager;
mod pod_volumes;
mod probes;
mod provisioning;
mod pull_secrets;
mod records;
mod registration;
mod resources;
mod security;
mod services;
mod sub_path;
mod tokens;
mod tty;
mod volume_plan;
mod work;
mod worker;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Container;
use planner::pod_actions::{ContainerId, Record, RecordState};

pub use exec::{Exec, Input, Output, Streams};
pub use figures::Measured;
pub use host::{Config, Parts};
pub use logs::{LogQuery, LogStream};
pub use provisioning::KEEP_TRASH;
pub use worker::{stop_signal, termination_grace_period};

use crate::host::Host;
use crate::manager::Manager;

/// A container of a pod on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerName {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's uid; empty for any.
    pub uid: String,
    /// The container's name.
    pub container: String,
}

/// Why the node cannot do what was asked; one sentence.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused the node.
    #[error("node {name} cannot register: {source}")]
    Register {
        /// The node's name.
        name: String,
        /// What came back.
        source: kube::Error,
    },
    /// What ran before cannot be looked at.
    #[error("pods that ran before cannot be found: {0}")]
    Recover(#[source] runtime::Error),
    /// The addresses of former pods cannot be given back.
    #[error("addresses of former pods: {0}")]
    Leases(#[source] network::NetworkError),
    /// No such pod here.
    #[error("pod {namespace}/{name} is not on this node")]
    NoSuchPod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The container has not run (as often as asked).
    #[error("{0}")]
    NotStarted(String),
    /// The runtime refused; its sentence says what.
    #[error("{0}")]
    Runtime(runtime::Error),
    /// The machine refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What came back.
        source: std::io::Error,
    },
}

/// A node agent. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    host: Arc<Host>,
    manager: Arc<Manager>,
    samples: Arc<figures::Samples>,
}

impl Node {
    /// Registers the node and takes over what ran before. When this returns the node is Ready, and the API
    /// knows of each pod how it is now.
    ///
    /// # Errors
    /// When the API refuses the node or the runtime cannot be asked.
    pub async fn start(config: Config, parts: Parts) -> Result<Self, Error> {
        let host = Arc::new(Host::new(config, parts));
        host.informers.synced().await;
        let registered = registration::register(&host).await;
        registered.map_err(|source| Error::Register { name: host.config.name.clone(), source })?;
        let manager = Manager::new(Arc::clone(&host));
        manager.start().await?;
        Ok(Self { host, manager, samples: Arc::default() })
    }

    /// Runs until `shutdown` resolves. Pods run on after that; nobody here touches them any more when this
    /// returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(registration::heartbeat(Arc::clone(&self.host)));
        tasks.spawn(Arc::clone(&self.manager).follow_runtime());
        tasks.spawn(Arc::clone(&self.manager).follow_images());
        tasks.spawn(provisioning::run(Arc::clone(&self.host)));
        tasks.spawn(services::run(Arc::clone(&self.host)));
        shutdown.await;
        tasks.shutdown().await;
        self.host.work.end().await;
    }

    /// The log of a container: of its last run, or of the one before with `previous`.
    ///
    /// # Errors
    /// When the pod is not here or the container has not run.
    pub async fn logs(
        &self,
        name: &ContainerName,
        previous: bool,
        query: LogQuery,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, Error> {
        let handle = self.find(name)?;
        let mut records = handle.records();
        let logged = pod_volumes::logged_attempts(&self.host, &handle.uid, &name.container);
        let attempt = pick_attempt(&records.borrow(), &logged, name, previous)?;
        let id = ContainerId { name: name.container.clone(), attempt };
        let path = pod_volumes::log_path(&self.host, &handle.uid, &id);
        let ended = async move {
            // Without a worker there is no run either.
            let _ = records.wait_for(|all| !all.iter().any(|r| r.id == id && r.is_alive())).await;
        };
        Ok(logs::read(path, query, ended))
    }

    /// Runs a command in a container.
    ///
    /// # Errors
    /// When the pod is not here or the container does not run.
    pub async fn exec(
        &self,
        name: &ContainerName,
        command: Vec<String>,
        streams: Streams,
    ) -> Result<Exec, Error> {
        let handle = self.find(name)?;
        let run = running(&handle, name)?;
        let runtime = Arc::clone(&self.host.runtime);
        exec::start(runtime, handle.uid.clone(), container_config::runtime_id(&run), command, streams)
            .map_err(|source| Error::Io { doing: "exec", source })
    }

    /// Joins a container: its output from now on, and its input and terminal if it has them.
    ///
    /// # Errors
    /// When the pod is not here or the container does not run.
    pub async fn attach(&self, name: &ContainerName, streams: Streams) -> Result<Exec, Error> {
        let handle = self.find(name)?;
        let run = running(&handle, name)?;
        let pod = handle.pod();
        let container = records::find(&pod, &run.name);
        let made_with =
            |flag: fn(&Container) -> Option<bool>| container.as_deref().and_then(flag).unwrap_or(false);
        let made_with = (made_with(|c| c.tty), made_with(|c| c.stdin));
        let runtime = Arc::clone(&self.host.runtime);
        exec::attach(runtime, (&handle.uid, &container_config::runtime_id(&run)), made_with, streams).await
    }

    /// Connects to a port on a pod's loopback (the container's name means nothing here).
    ///
    /// # Errors
    /// When the pod is not here or nobody listens there.
    pub async fn port_forward(
        &self,
        name: &ContainerName,
        port: u16,
    ) -> Result<tokio::net::TcpStream, Error> {
        let handle = self.find(name)?;
        let connection = self.host.runtime.port_forward(&handle.uid, port).await.map_err(Error::Runtime)?;
        let io = |source| Error::Io { doing: "port-forward", source };
        connection.set_nonblocking(true).map_err(io)?;
        connection.set_nodelay(true).map_err(io)?;
        tokio::net::TcpStream::from_std(connection).map_err(io)
    }

    /// What the machine uses now; that takes a second when nobody has asked lately.
    pub async fn usage(&self) -> Measured {
        figures::node(&self.samples, &self.host, &self.manager).await
    }

    /// What its pods use now, by namespace and name; that takes a second when nobody has asked lately.
    pub async fn pods_usage(&self) -> BTreeMap<(String, String), Measured> {
        figures::pods(&self.samples, &self.host, &self.manager).await
    }

    /// All that it counts, in OpenMetrics text without the end mark.
    pub async fn figures(&self) -> String {
        figures::text(&self.host, &self.manager).await
    }

    fn find(&self, name: &ContainerName) -> Result<Arc<worker::Handle>, Error> {
        self.manager
            .find(&name.namespace, &name.pod, &name.uid)
            .ok_or_else(|| Error::NoSuchPod { namespace: name.namespace.clone(), name: name.pod.clone() })
    }
}

/// The run of a container that runs.
fn running(handle: &worker::Handle, name: &ContainerName) -> Result<ContainerId, Error> {
    let records = handle.records();
    let records = records.borrow();
    let running = records.iter().find(|r| r.id.name == name.container && is_running(r));
    running.map(|r| r.id.clone()).ok_or_else(|| {
        let (container, pod) = (&name.container, &name.pod);
        Error::NotStarted(format!("container \"{container}\" in pod \"{pod}\" is not running"))
    })
}

fn is_running(record: &Record) -> bool {
    matches!(record.state, RecordState::Running { .. })
}

/// Which run's log is asked for. The runs of a lost sandbox have no records any more, but they have logs.
fn pick_attempt(
    records: &[Record],
    logged: &[u32],
    name: &ContainerName,
    previous: bool,
) -> Result<u32, Error> {
    let recorded = records.iter().filter(|r| r.id.name == name.container).map(|r| r.id.attempt);
    let current = recorded.max().or_else(|| logged.iter().copied().max());
    let (container, pod) = (&name.container, &name.pod);
    if previous {
        let before =
            logged.iter().copied().filter(|attempt| current.is_some_and(|last| *attempt < last)).max();
        return before.ok_or_else(|| {
            Error::NotStarted(format!(
                "previous terminated container \"{container}\" in pod \"{pod}\" not found"
            ))
        });
    }
    match current {
        Some(attempt) if logged.contains(&attempt) => Ok(attempt),
        Some(_) => Err(Error::NotStarted(format!(
            "container \"{container}\" in pod \"{pod}\" has written no log: it could not be started"
        ))),
        None => {
            Err(Error::NotStarted(format!("container \"{container}\" in pod \"{pod}\" is waiting to start")))
        }
    }
}
