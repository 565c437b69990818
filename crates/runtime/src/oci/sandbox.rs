//! One sandbox, as the daemon sees it: what it asked for, and a shim to talk to while there is one.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use super::client::{Client, Failure, Process, ask};
use super::dial;
use super::launch;
use crate::cgroup::Hierarchies;
use crate::record::{self, ContainerRecord, SandboxRecord, container_dir};
use crate::shim::protocol::{Reply, Request};
use crate::{
    AttachConfig, Attached, ContainerConfig, ContainerState, ContainerStatus, Error, ExecConfig, PodUsage,
    Resources, RuntimeEvent, SandboxStatus,
};

/// How long a shim that has closed a connection may take to be dead, if that is why.
const DYING: Duration = Duration::from_secs(2);

/// A sandbox.
pub(super) struct Sandbox {
    /// Its folder.
    pub(super) dir: PathBuf,
    /// What is on disk about it.
    pub(super) record: SandboxRecord,
    hierarchies: Hierarchies,
    /// True while the shim is listened to, and once it is buried. Held while it is being looked for.
    connected: tokio::sync::Mutex<bool>,
    /// The shim's process; nothing once its end is proven.
    shim: Mutex<Option<Process>>,
    /// Held while the shim's end is being proven; true once it is.
    burial: tokio::sync::Mutex<bool>,
    containers: Mutex<BTreeMap<String, ContainerRecord>>,
    events: broadcast::Sender<RuntimeEvent>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is replaced whole: a panic elsewhere leaves it as it was.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error of the machine.
#[expect(clippy::needless_pass_by_value, reason = "errors come by value, out of map_err")]
pub(super) fn system(doing: impl Into<String>, why: impl ToString) -> Error {
    Error::System { doing: doing.into(), why: why.to_string() }
}

/// Runs what waits for the disk or the kernel where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(system("running a blocking task", e)),
    }
}

impl Sandbox {
    /// A sandbox whose shim is not known yet.
    pub(super) fn new(
        dir: PathBuf,
        record: SandboxRecord,
        hierarchies: Hierarchies,
        events: broadcast::Sender<RuntimeEvent>,
    ) -> Self {
        Self {
            dir,
            record,
            hierarchies,
            connected: tokio::sync::Mutex::new(false),
            shim: Mutex::new(None),
            burial: tokio::sync::Mutex::new(false),
            containers: Mutex::new(BTreeMap::new()),
            events,
        }
    }

    /// Its id.
    pub(super) fn id(&self) -> &str {
        &self.record.config.id
    }

    /// As the caller is told.
    pub(super) fn status(&self) -> SandboxStatus {
        let pid = lock(&self.shim).as_ref().map(|shim| shim.pid);
        SandboxStatus { config: self.record.config.clone(), pid, created_at: self.record.created_at }
    }

    /// Finds the shim and listens to it; or finds that there is none, and makes sure that nothing runs. To be
    /// called before anything is asked: what failed before is tried again.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<(), Error> {
        let mut connected = self.connected.lock().await;
        if *connected {
            return Ok(());
        }
        self.load_containers();
        match self.subscribe().await {
            Ok(client) => {
                self.forget_unknown().await?;
                self.listen(client);
            }
            Err(Failure::NoListener) => self.bury().await?,
            Err(e) if self.has_ended().await? => {
                tracing::debug!(sandbox = self.id(), "{e}");
                self.bury().await?;
            }
            Err(e) => return Err(system(format!("connecting to pod {}", self.pod()), e)),
        }
        *connected = true;
        Ok(())
    }

    /// Whether the shim is dead, where it did not answer: a connection that failed proves nothing.
    async fn has_ended(&self) -> Result<bool, Error> {
        if !self.is_alive() {
            let (hierarchies, cgroup) = (self.hierarchies.clone(), self.record.shim_cgroup());
            let found = blocking(move || {
                let found = hierarchies.processes(&cgroup).and_then(|pids| Process::leader(&pids));
                found.map_err(|e| system("looking for a shim", e))
            });
            *lock(&self.shim) = found.await?;
        }
        Ok(self.is_dead().await)
    }

    async fn subscribe(&self) -> Result<Client, Failure> {
        let mut client = Client::connect(&self.record.socket).await?;
        *lock(&self.shim) = Some(client.process()?);
        client.send(&Request::Subscribe, &[]).await?;
        Ok(client)
    }

    /// Passes on what the shim tells, until it dies.
    fn listen(self: &Arc<Self>, mut client: Client) {
        let sandbox = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                let heard = client.receive().await;
                let Some(sandbox) = sandbox.upgrade() else { return };
                if heard.is_ok() {
                    sandbox.announce();
                    continue;
                }
                match sandbox.listen_again().await {
                    Ok(Some(again)) => client = again,
                    Ok(None) => return,
                    Err(e) => {
                        tracing::error!(sandbox = sandbox.id(), "{e}");
                        *sandbox.connected.lock().await = false;
                        // Who hears it asks, and that connects again.
                        return sandbox.announce();
                    }
                }
            }
        });
    }

    /// The subscription has ended: the shim is dead and buried (`None`), or there is another one.
    async fn listen_again(&self) -> Result<Option<Client>, Error> {
        if self.is_dead().await {
            return self.bury().await.map(|()| None);
        }
        let again = self.subscribe().await;
        // Something may have changed between the two.
        self.announce();
        again.map(Some).map_err(|e| system(format!("listening to pod {}", self.pod()), e))
    }

    /// Whether the shim's process is dead, or about to be.
    async fn is_dead(&self) -> bool {
        let shim = lock(&self.shim).clone();
        match shim {
            Some(shim) => shim.dies_within(DYING).await,
            None => true,
        }
    }

    fn pod(&self) -> String {
        format!("{}/{}", self.record.config.namespace, self.record.config.name)
    }

    fn announce(&self) {
        // Nobody may be listening.
        let _ = self.events.send(RuntimeEvent { sandbox: self.id().to_owned() });
    }

    fn load_containers(&self) {
        let ids = launch::container_ids(&self.dir);
        let records =
            ids.into_iter().filter_map(|id| Some((id.clone(), launch::container_record(&self.dir, &id)?)));
        *lock(&self.containers) = records.collect();
    }

    /// Drops containers that the shim was never told of: a daemon died in the middle of making them.
    async fn forget_unknown(&self) -> Result<(), Error> {
        let known = self.states().await?;
        let unknown: Vec<String> =
            lock(&self.containers).keys().filter(|id| !known.contains_key(*id)).cloned().collect();
        for id in unknown {
            self.discard(&id).await?;
        }
        Ok(())
    }

    /// Proves that nothing of the sandbox runs, records it, and tells.
    async fn bury(&self) -> Result<(), Error> {
        let mut buried = self.burial.lock().await;
        if *buried {
            // What is on disk may be being removed already.
            return Ok(());
        }
        let (hierarchies, dir, record) = (self.hierarchies.clone(), self.dir.clone(), self.record.clone());
        blocking(move || launch::bury(&hierarchies, &dir, &record)).await?;
        *buried = true;
        *lock(&self.shim) = None;
        self.announce();
        Ok(())
    }

    fn is_alive(&self) -> bool {
        lock(&self.shim).is_some()
    }

    /// Asks the shim; `None` when there is none any more.
    async fn ask(&self, request: &Request) -> Result<Option<Reply>, Error> {
        if !self.is_alive() {
            return Ok(None);
        }
        match ask(&self.record.socket, request).await {
            Ok(Reply::Failed(fault)) => Err(fault.into()),
            Ok(reply) => Ok(Some(reply)),
            Err(Failure::NoListener | Failure::Closed) if self.is_dead().await => {
                self.bury().await?;
                Ok(None)
            }
            Err(e) => Err(system(format!("asking the shim of pod {}", self.pod()), e)),
        }
    }

    fn ended(&self) -> Error {
        system(format!("using the sandbox of pod {}", self.pod()), "it has ended")
    }

    /// Ends the sandbox and returns when nothing of it runs.
    pub(super) async fn stop(&self) -> Result<(), Error> {
        if let Err(e) = self.ask(&Request::Stop).await {
            // It is killed, then.
            tracing::warn!(sandbox = self.id(), "{e}");
        }
        match self.bury().await {
            // How its containers ended can wait for room on the disk; that they are gone is what was asked for.
            Err(e) if self.runs_nothing().await? => {
                tracing::warn!(sandbox = self.id(), "{e}");
                Ok(())
            }
            buried => buried,
        }
    }

    /// Whether there is no process of it, nor of its shim.
    async fn runs_nothing(&self) -> Result<bool, Error> {
        let (hierarchies, record) = (self.hierarchies.clone(), self.record.clone());
        blocking(move || {
            let count = |cgroup: &str| {
                let processes = hierarchies.processes(cgroup);
                processes.map(|pids| pids.len()).map_err(|e| system("looking for processes", e))
            };
            Ok(count(&record.pod_cgroup())? + count(&record.shim_cgroup())? == 0)
        })
        .await
    }

    /// Makes a container.
    pub(super) async fn create(&self, config: ContainerConfig) -> Result<(), Error> {
        let id = config.id.clone();
        let there = lock(&self.containers).get(&id).map(|record| record.config == config);
        match there {
            Some(true) if self.states().await?.contains_key(&id) => return Ok(()),
            Some(false) => {
                return Err(system(format!("making container {id}"), "another one with this id is there"));
            }
            _ => {}
        }
        if !self.is_alive() {
            return Err(self.ended());
        }
        let record = ContainerRecord { config, created_at: jiff::Timestamp::now() };
        let request = Request::Create {
            id: id.clone(),
            log_path: record.config.log_path.clone(),
            tty: record.config.tty,
            stdin: record.config.stdin,
            stdin_once: record.config.stdin_once,
            joins: record.config.joins_processes_of.clone(),
        };
        lock(&self.containers).insert(id.clone(), record.clone());
        let (hierarchies, cgroup) = (self.hierarchies.clone(), self.record.container_cgroup(&id));
        let folder = container_dir(&self.dir, &id);
        let made = blocking(move || prepare(&hierarchies, &cgroup, &folder, &record)).await;
        let made = match made {
            Ok(()) => self.ask(&request).await.and_then(|reply| reply.map(drop).ok_or_else(|| self.ended())),
            Err(e) => Err(e),
        };
        if made.is_err() {
            self.discard(&id).await?;
        }
        made
    }

    /// Starts a container.
    pub(super) async fn start(&self, id: &str) -> Result<(), Error> {
        self.known(id)?;
        match self.ask(&Request::Start { id: id.to_owned() }).await? {
            Some(_) => Ok(()),
            None => Err(Error::WrongState { id: id.to_owned(), state: "exited".to_owned() }),
        }
    }

    /// Signals a container.
    pub(super) async fn signal(&self, id: &str, signal: i32) -> Result<(), Error> {
        self.known(id)?;
        self.ask(&Request::Signal { id: id.to_owned(), signal }).await.map(drop)
    }

    /// Removes a container.
    pub(super) async fn remove(&self, id: &str) -> Result<(), Error> {
        if self.known(id).is_err() {
            return Ok(());
        }
        self.ask(&Request::Remove { id: id.to_owned() }).await?;
        self.discard(id).await
    }

    /// Gives a container other limits, and remembers them.
    pub(super) async fn update(
        &self,
        id: &str,
        resources: Resources,
        annotations: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.known(id)?;
        let (hierarchies, cgroup) = (self.hierarchies.clone(), self.record.container_cgroup(id));
        let file = container_dir(&self.dir, id).join("container.json");
        let Some(mut record) = lock(&self.containers).get(id).cloned() else { return self.known(id) };
        record.config.update(&resources, annotations);
        let doing = format!("resizing container {id}");
        let record = blocking(move || {
            let limits = &record.config.resources;
            let done = hierarchies.update(&cgroup, limits).and_then(|()| record::write(&file, &record));
            done.map(|()| record).map_err(|e| system(doing, e))
        })
        .await?;
        lock(&self.containers).insert(id.to_owned(), record);
        self.announce();
        Ok(())
    }

    /// Gives the whole pod other limits.
    pub(super) async fn update_all(&self, resources: Resources) -> Result<(), Error> {
        let (hierarchies, cgroup) = (self.hierarchies.clone(), self.record.pod_cgroup());
        let doing = format!("resizing pod {}", self.pod());
        blocking(move || hierarchies.update(&cgroup, &resources).map_err(|e| system(doing, e))).await
    }

    /// What it and its running containers use.
    pub(super) async fn usage(&self) -> Result<PodUsage, Error> {
        let states = self.states().await?;
        let running = states.into_iter().filter(|(_, s)| matches!(s, ContainerState::Running { .. }));
        let cgroups: Vec<_> = running.map(|(id, _)| (self.record.container_cgroup(&id), id)).collect();
        let (hierarchies, all) = (self.hierarchies.clone(), self.record.pod_cgroup());
        let doing = format!("counting what pod {} uses", self.pod());
        blocking(move || {
            let pod = hierarchies.usage(&all).map_err(|e| system(doing, e))?;
            // One that has ended since has no figures any more.
            let each =
                cgroups.into_iter().filter_map(|(path, id)| Some((id, hierarchies.usage(&path).ok()?)));
            Ok(PodUsage { pod, containers: each.collect() })
        })
        .await
    }

    /// Runs a command in a container.
    pub(super) async fn exec(&self, id: &str, config: ExecConfig) -> Result<i32, Error> {
        self.known(id)?;
        let not_running = || Error::WrongState { id: id.to_owned(), state: "exited".to_owned() };
        if !self.is_alive() {
            return Err(not_running());
        }
        let ExecConfig { argv, stdin, stdout, stderr, tty } = config;
        let streams = [stdin, stdout, stderr];
        let stdio = [0, 1, 2].map(|i: usize| streams[i].is_some());
        let fds: Vec<_> = streams.into_iter().flatten().collect();
        let request = Request::Exec { id: id.to_owned(), argv, tty, stdio };
        let asked = async {
            let mut client = Client::connect(&self.record.socket).await?;
            client.send(&request, &fds).await?;
            // Ours must be closed for the other ends to see the end.
            drop(fds);
            client.receive().await
        };
        match asked.await {
            Ok(Reply::Exited(code)) => Ok(code),
            Ok(Reply::Failed(fault)) => Err(fault.into()),
            Ok(reply) => Err(system("running a command", format!("the shim has said {reply:?}"))),
            Err(Failure::NoListener | Failure::Closed) if self.is_dead().await => {
                self.bury().await?;
                Err(not_running())
            }
            Err(e) => Err(system(format!("running a command in pod {}", self.pod()), e)),
        }
    }

    /// Joins a running container.
    pub(super) async fn attach(&self, id: &str, config: AttachConfig) -> Result<Attached, Error> {
        self.known(id)?;
        let doing = || format!("attaching to container {id} of pod {}", self.pod());
        let AttachConfig { stdin, stdout, stderr } = config;
        let stdio = [false, stdout.is_some(), stderr.is_some()];
        let fds: Vec<_> = [stdout, stderr].into_iter().flatten().collect();
        let request = Request::Attach { id: id.to_owned(), stdin, stdio };
        let asked = async {
            let mut client = Client::connect(&self.record.socket).await?;
            client.send(&request, &fds).await?;
            drop(fds);
            let (reply, input) = client.receive_with_fd().await?;
            Ok::<_, Failure>((client, reply, input))
        };
        match asked.await.map_err(|e| system(doing(), e))? {
            (mut client, Reply::Attached, input) => {
                // However it ends, the streams have ended.
                let ended = Box::pin(async move { drop(client.receive().await) });
                Ok(Attached { input, ended })
            }
            (_, Reply::Failed(fault), _) => Err(fault.into()),
            (_, reply, _) => Err(system(doing(), format!("the shim has said {reply:?}"))),
        }
    }

    /// Connects to a port on its loopback.
    pub(super) async fn port_forward(&self, port: u16) -> Result<std::net::TcpStream, Error> {
        let shim = lock(&self.shim).clone();
        let shim =
            shim.ok_or_else(|| Error::WrongState { id: self.id().to_owned(), state: "exited".to_owned() })?;
        dial::loopback(shim.fd, port).await
    }

    /// All containers.
    pub(super) async fn statuses(&self) -> Result<Vec<ContainerStatus>, Error> {
        let states = self.states().await?;
        let containers = lock(&self.containers);
        let known = containers.iter().filter_map(|(id, record)| {
            Some(ContainerStatus {
                config: record.config.clone(),
                created_at: record.created_at,
                state: states.get(id)?.clone(),
            })
        });
        Ok(known.collect())
    }

    /// What the shim says, or, when it is gone, what is on disk.
    async fn states(&self) -> Result<BTreeMap<String, ContainerState>, Error> {
        if let Some(Reply::State(states)) = self.ask(&Request::State).await? {
            return Ok(states);
        }
        let ids: Vec<String> = lock(&self.containers).keys().cloned().collect();
        let mut states = BTreeMap::new();
        for id in ids {
            let exit = launch::exit_record(&self.dir, &id);
            let exit = exit.map_err(|e| system(format!("reading how container {id} ended"), e))?;
            states.extend(exit.map(|state| (id, state)));
        }
        Ok(states)
    }

    fn known(&self, id: &str) -> Result<(), Error> {
        match lock(&self.containers).contains_key(id) {
            true => Ok(()),
            false => Err(Error::NotFound { what: "container", id: id.to_owned() }),
        }
    }

    /// Removes what is on disk and in cgroups of a container of which nothing runs.
    async fn discard(&self, id: &str) -> Result<(), Error> {
        let (hierarchies, cgroup) = (self.hierarchies.clone(), self.record.container_cgroup(id));
        let folder = container_dir(&self.dir, id);
        let doing = format!("removing container {id}");
        blocking(move || {
            hierarchies
                .kill_and_wait(&cgroup, launch::DEATH_PATIENCE)
                .and_then(|()| hierarchies.remove(&cgroup))
                .and_then(|()| remove_folder(&folder))
                .map_err(|e| system(doing, e))
        })
        .await?;
        lock(&self.containers).remove(id);
        Ok(())
    }
}

/// Makes what a container needs before the shim hears of it.
fn prepare(
    hierarchies: &Hierarchies,
    cgroup: &str,
    folder: &std::path::Path,
    record: &ContainerRecord,
) -> Result<(), Error> {
    let config = &record.config;
    let make = || -> io::Result<()> {
        for part in ["upper", "work", "rootfs"] {
            fs::create_dir_all(folder.join(part))?;
        }
        // The root folder of the container: everybody may look into it.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder.join("upper"), open)?;
        if let Some(logs) = config.log_path.parent() {
            fs::create_dir_all(logs)?;
        }
        record::write(&folder.join("container.json"), record)?;
        hierarchies.create(cgroup)?;
        if !config.security.privileged {
            hierarchies.restrict_devices(cgroup, &config.devices)?;
        }
        hierarchies.apply(cgroup, &config.resources)
    };
    make().map_err(|e| system(format!("preparing container {}", config.id), e))
}

fn remove_folder(folder: &std::path::Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
