//! Real containers: libcontainer behind one [`crate::shim`] per pod.
//!
//! The daemon's part. It prepares folders and cgroups, starts shims, asks them, and keeps nothing that it
//! could not find again: a new [`Oci`] over the same folders finds all sandboxes, connects to their shims,
//! and proves of those without one that nothing of them runs.

mod client;
mod dial;
mod launch;
mod sandbox;

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::{Mutex, OnceCell, OwnedMutexGuard, RwLock, broadcast};

use crate::cgroup::Hierarchies;
use crate::mountpoints;
use crate::record::{self, SandboxRecord, is_safe_id, sandbox_file};
use crate::{
    AttachConfig, Attached, ContainerConfig, ContainerStatus, Error, ExecConfig, PodUsage, Resources,
    Runtime, RuntimeEvent, SandboxConfig, SandboxStatus,
};
use sandbox::{Sandbox, blocking, system};

/// How many events a slow receiver may be behind before it has to look at everything.
const EVENT_BACKLOG: usize = 1024;

/// How long the first look at what ran before waits for shims that do not answer.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// The longest path of a unix socket: `sun_path`, less its NUL (unix(7)).
const SOCKET_PATH_LIMIT: usize = 107;

/// Where things are.
#[derive(Clone, Debug)]
pub struct OciConfig {
    /// A folder per sandbox: `DIR/pods`.
    pub root: PathBuf,
    /// The shims' sockets: `/run/stead/<id>`. Short, see unix(7): with a pod's uid in it, under 108 bytes.
    pub run_dir: PathBuf,
    /// The cgroup above all others, absolute: `/stead-<id>`.
    pub cgroup_root: String,
    /// What runs [`crate::shim::main`] with the arguments that are added: `["/proc/self/exe", "shim"]`.
    pub shim_command: Vec<OsString>,
}

/// The OCI backend.
pub struct Oci {
    inner: Arc<Inner>,
}

struct Inner {
    config: OciConfig,
    sandboxes: Mutex<BTreeMap<String, Arc<Sandbox>>>,
    /// Held while a sandbox is made or removed, by its id.
    locks: Mutex<BTreeMap<String, Weak<Mutex<()>>>>,
    loaded: OnceCell<Hierarchies>,
    /// Read while a sandbox is being made, written while shared cgroups are taken away.
    cgroup_tree: RwLock<()>,
    events: broadcast::Sender<RuntimeEvent>,
}

impl Oci {
    /// A backend; it looks at the disk when it is first asked for something.
    #[must_use]
    pub fn new(config: OciConfig) -> Arc<Self> {
        let inner = Inner {
            config,
            sandboxes: Mutex::new(BTreeMap::new()),
            locks: Mutex::new(BTreeMap::new()),
            loaded: OnceCell::new(),
            cgroup_tree: RwLock::new(()),
            events: broadcast::Sender::new(EVENT_BACKLOG),
        };
        Arc::new(Self { inner: Arc::new(inner) })
    }

    /// Does what must not be left half done when the caller stops waiting for it.
    async fn to_the_end<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        match tokio::spawn(work(Arc::clone(&self.inner))).await {
            Ok(result) => result,
            Err(e) => Err(system("running a task", e)),
        }
    }
}

impl Inner {
    async fn ready(&self) -> Result<&Hierarchies, Error> {
        self.loaded.get_or_try_init(|| self.load()).await
    }

    async fn load(&self) -> Result<Hierarchies, Error> {
        let (root, run_dir) = (self.config.root.clone(), self.config.run_dir.clone());
        let (hierarchies, found) = blocking(move || {
            let find = || -> io::Result<_> {
                fs::create_dir_all(&run_dir)?;
                let found = find_sandboxes(&root)?;
                mountpoints::make(&root)?;
                Ok((Hierarchies::detect()?, found))
            };
            find().map_err(|e| system("looking for sandboxes", e))
        })
        .await?;
        let found = found.into_iter().map(|(dir, record)| {
            Arc::new(Sandbox::new(dir, record, hierarchies.clone(), self.events.clone()))
        });
        let found: BTreeMap<_, _> = found.map(|sandbox| (sandbox.id().to_owned(), sandbox)).collect();
        let connecting = found.values().cloned().map(|sandbox| {
            tokio::spawn(async move {
                if let Err(e) = sandbox.connect().await {
                    tracing::error!("{e}; its pod is left alone until that succeeds");
                }
            })
        });
        // One that does not answer must not hold up the others: whoever asks for it connects again.
        let _ = tokio::time::timeout(FIRST_LOOK, futures::future::join_all(connecting)).await;
        self.sandboxes.lock().await.extend(found);
        Ok(hierarchies)
    }

    /// A sandbox that can be asked.
    async fn connected(&self, id: &str) -> Result<Arc<Sandbox>, Error> {
        let sandbox = self.sandbox(id).await?;
        sandbox.connect().await?;
        Ok(sandbox)
    }

    /// A sandbox, whether or not its shim can be reached.
    async fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>, Error> {
        self.ready().await?;
        let found = self.sandboxes.lock().await.get(id).cloned();
        found.ok_or_else(|| Error::NotFound { what: "sandbox", id: id.to_owned() })
    }

    /// One at a time per sandbox.
    async fn lock(&self, id: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.locks.lock().await;
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(id).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                locks.insert(id.to_owned(), Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }

    async fn run(&self, config: SandboxConfig) -> Result<SandboxStatus, Error> {
        let _one_at_a_time = self.lock(&config.id).await;
        if let Ok(there) = self.sandbox(&config.id).await {
            let status = there.status();
            let refuse = |why| Err(system(format!("making sandbox {}", config.id), why));
            return match status.pid {
                Some(_) if status.config == config => Ok(status),
                Some(_) => refuse("another one with this id is there"),
                None => refuse("one that has ended is to be removed first"),
            };
        }
        let hierarchies = self.ready().await?.clone();
        let record = self.record(config)?;
        let dir = self.config.root.join(&record.config.id);
        let sandbox = Sandbox::new(dir, record, hierarchies.clone(), self.events.clone());
        let sandbox = Arc::new(sandbox);
        let made = {
            let _keep_shared_cgroups = self.cgroup_tree.read().await;
            let (command, tree) = (self.config.shim_command.clone(), hierarchies.clone());
            let (dir, record) = (sandbox.dir.clone(), sandbox.record.clone());
            match blocking(move || make(&tree, &command, &dir, &record)).await {
                Ok(()) => sandbox.connect().await,
                Err(e) => Err(e),
            }
        };
        if let Err(e) = made {
            self.dismantle(&sandbox).await?;
            return Err(e);
        }
        let status = sandbox.status();
        self.sandboxes.lock().await.insert(sandbox.id().to_owned(), sandbox);
        Ok(status)
    }

    async fn stop(&self, id: &str) -> Result<(), Error> {
        match self.sandbox(id).await {
            Ok(sandbox) => sandbox.stop().await,
            Err(Error::NotFound { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn remove(&self, id: &str) -> Result<(), Error> {
        let _one_at_a_time = self.lock(id).await;
        let sandbox = match self.sandbox(id).await {
            Ok(sandbox) => sandbox,
            Err(Error::NotFound { .. }) => return Ok(()),
            Err(e) => return Err(e),
        };
        sandbox.stop().await?;
        self.dismantle(&sandbox).await
    }

    /// Ends whatever runs of a sandbox, removes all traces of it and forgets it.
    async fn dismantle(&self, sandbox: &Sandbox) -> Result<(), Error> {
        let hierarchies = self.ready().await?.clone();
        let (tree, dir, record) = (hierarchies.clone(), sandbox.dir.clone(), sandbox.record.clone());
        blocking(move || {
            launch::end_processes(&tree, &record)?;
            unmake(&tree, &dir, &record)
        })
        .await?;
        self.sandboxes.lock().await.remove(sandbox.id());
        self.remove_shared_cgroups(hierarchies).await
    }

    /// The last sandbox to go takes along what all have shared.
    async fn remove_shared_cgroups(&self, hierarchies: Hierarchies) -> Result<(), Error> {
        if !self.sandboxes.lock().await.is_empty() {
            return Ok(());
        }
        let _nobody_makes_one = self.cgroup_tree.write().await;
        if !self.sandboxes.lock().await.is_empty() {
            return Ok(());
        }
        let root = self.config.cgroup_root.clone();
        blocking(move || hierarchies.remove(&root).map_err(|e| system("removing the runtime's cgroup", e)))
            .await
    }

    fn record(&self, config: SandboxConfig) -> Result<SandboxRecord, Error> {
        let doing = || format!("making the sandbox of pod {}/{}", config.namespace, config.name);
        let inside = |path: &str| {
            !path.is_empty()
                && Path::new(path).components().all(|c| matches!(c, std::path::Component::Normal(_)))
        };
        if !is_safe_id(&config.id) {
            return Err(system(doing(), format!("{:?} cannot be an id", config.id)));
        }
        if !inside(&config.cgroup_parent) {
            return Err(system(doing(), format!("{:?} cannot be a cgroup", config.cgroup_parent)));
        }
        let socket = self.config.run_dir.join(format!("{}.sock", config.id));
        if socket.as_os_str().len() > SOCKET_PATH_LIMIT {
            let why = format!("the path of its socket is too long: {}", socket.display());
            return Err(system(doing(), why));
        }
        let boot_id = launch::boot_id().map_err(|e| system("reading the boot's id", e))?;
        let (created_at, cgroup_root) = (Timestamp::now(), self.config.cgroup_root.clone());
        Ok(SandboxRecord { config, created_at, boot_id, cgroup_root, socket })
    }
}

/// All sandboxes on disk. A record that cannot be read is of one whose making was cut short by a failure of
/// the machine: nothing of it runs.
fn find_sandboxes(root: &Path) -> io::Result<Vec<(PathBuf, SandboxRecord)>> {
    fs::create_dir_all(root)?;
    let mut found = Vec::new();
    for entry in fs::read_dir(root)? {
        let dir = entry?.path();
        match record::read(&sandbox_file(&dir)) {
            Ok(Some(record)) => found.push((dir, record)),
            Ok(None) => {}
            Err(e) => tracing::warn!("passing over a sandbox: {e}"),
        }
    }
    Ok(found)
}

/// The layers of all containers that there are below an [`OciConfig::root`], ended ones included: what must
/// stay when images are removed. Reads the disk alone, so it may be asked beside a running stead.
///
/// # Errors
/// When a folder or a container's record cannot be read.
pub fn layers_in_use(root: &Path) -> io::Result<HashSet<PathBuf>> {
    let mut layers = HashSet::new();
    let sandboxes = match fs::read_dir(root) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(layers),
        entries => entries?,
    };
    for sandbox in sandboxes {
        let sandbox = sandbox?.path();
        for id in launch::container_ids(&sandbox) {
            let file = record::container_dir(&sandbox, &id).join("container.json");
            let container: Option<record::ContainerRecord> = record::read(&file)?;
            layers.extend(container.into_iter().flat_map(|container| container.config.layers));
        }
    }
    Ok(layers)
}

/// Whether there is any sandbox below an [`OciConfig::root`], running or ended: what the next start finds. Reads
/// the disk alone, as [`layers_in_use`] does.
pub fn has_sandboxes(root: &Path) -> bool {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|entry| sandbox_file(&entry.path())).any(|file| file.exists())
}

/// Makes folders, cgroups and the shim.
fn make(
    hierarchies: &Hierarchies,
    command: &[OsString],
    dir: &Path,
    record: &SandboxRecord,
) -> Result<(), Error> {
    let doing = || format!("making the sandbox of pod {}/{}", record.config.namespace, record.config.name);
    let prepare = || -> io::Result<()> {
        fs::create_dir_all(dir.join("containers"))?;
        record::write(&sandbox_file(dir), record)?;
        hierarchies.create(&record.pod_cgroup())?;
        hierarchies.apply(&record.pod_cgroup(), &record.config.resources)?;
        hierarchies.create(&record.shim_cgroup())
    };
    prepare().map_err(|e| system(doing(), e))?;
    launch::launch(command, dir, record)
}

/// Removes all traces of a sandbox of which nothing runs. The record goes last: what is left of it is found
/// again.
fn unmake(hierarchies: &Hierarchies, dir: &Path, record: &SandboxRecord) -> Result<(), Error> {
    let gone = |result: io::Result<()>| match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    let remove = || -> io::Result<()> {
        hierarchies.remove(&record.pod_cgroup())?;
        hierarchies.remove(&record.shim_cgroup())?;
        gone(fs::remove_file(&record.socket))?;
        gone(fs::remove_dir_all(dir.join("containers")))?;
        gone(fs::remove_file(dir.join("shim.log")))?;
        gone(fs::remove_file(sandbox_file(dir)))
    };
    let doing = || format!("removing the sandbox of pod {}/{}", record.config.namespace, record.config.name);
    remove().map_err(|e| system(doing(), e))?;
    // Logs and volumes beside ours are the caller's, and keep the folder.
    let _ = fs::remove_dir(dir);
    Ok(())
}

#[async_trait]
impl Runtime for Oci {
    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<SandboxStatus, Error> {
        self.to_the_end(|inner| async move { inner.run(config).await }).await
    }

    async fn stop_pod_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        let id = sandbox.to_owned();
        self.to_the_end(|inner| async move { inner.stop(&id).await }).await
    }

    async fn remove_pod_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        let id = sandbox.to_owned();
        self.to_the_end(|inner| async move { inner.remove(&id).await }).await
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<SandboxStatus>, Error> {
        self.inner.ready().await?;
        Ok(self.inner.sandboxes.lock().await.values().map(|sandbox| sandbox.status()).collect())
    }

    async fn create_container(&self, sandbox: &str, config: ContainerConfig) -> Result<(), Error> {
        if !is_safe_id(&config.id) {
            return Err(system("making a container", format!("{:?} cannot be an id", config.id)));
        }
        let id = sandbox.to_owned();
        self.to_the_end(|inner| async move { inner.connected(&id).await?.create(config).await }).await
    }

    async fn start_container(&self, sandbox: &str, container: &str) -> Result<(), Error> {
        self.inner.connected(sandbox).await?.start(container).await
    }

    async fn signal_container(&self, sandbox: &str, container: &str, signal: i32) -> Result<(), Error> {
        self.inner.connected(sandbox).await?.signal(container, signal).await
    }

    async fn remove_container(&self, sandbox: &str, container: &str) -> Result<(), Error> {
        let (id, container) = (sandbox.to_owned(), container.to_owned());
        self.to_the_end(|inner| async move {
            match inner.connected(&id).await {
                Ok(sandbox) => sandbox.remove(&container).await,
                Err(Error::NotFound { .. }) => Ok(()),
                Err(e) => Err(e),
            }
        })
        .await
    }

    async fn containers(&self, sandbox: &str) -> Result<Vec<ContainerStatus>, Error> {
        self.inner.connected(sandbox).await?.statuses().await
    }

    async fn update_container_resources(
        &self,
        sandbox: &str,
        container: &str,
        resources: Resources,
        annotations: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let (id, container) = (sandbox.to_owned(), container.to_owned());
        self.to_the_end(|inner| async move {
            inner.connected(&id).await?.update(&container, resources, annotations).await
        })
        .await
    }

    async fn update_pod_sandbox_resources(&self, sandbox: &str, resources: Resources) -> Result<(), Error> {
        self.inner.connected(sandbox).await?.update_all(resources).await
    }

    async fn pod_sandbox_stats(&self, sandbox: &str) -> Result<PodUsage, Error> {
        self.inner.connected(sandbox).await?.usage().await
    }

    async fn exec(&self, sandbox: &str, container: &str, config: ExecConfig) -> Result<i32, Error> {
        self.inner.connected(sandbox).await?.exec(container, config).await
    }

    async fn attach(&self, sandbox: &str, container: &str, config: AttachConfig) -> Result<Attached, Error> {
        self.inner.connected(sandbox).await?.attach(container, config).await
    }

    async fn port_forward(&self, sandbox: &str, port: u16) -> Result<TcpStream, Error> {
        self.inner.connected(sandbox).await?.port_forward(port).await
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.inner.events.subscribe()
    }
}
