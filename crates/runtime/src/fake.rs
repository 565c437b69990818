//! Containers in memory, for tests of what stands above: nothing runs, and all goes as the test says.
//!
//! A started container runs until it is signalled or [`Fake::exit`] ends it. [`Fake::script`] makes
//! containers end by themselves, refuse to start, or ignore SIGTERM.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::broadcast;

use crate::{
    ContainerConfig, ContainerState, ContainerStatus, Error, ExecConfig, PodUsage, Resources, Runtime,
    RuntimeEvent, SandboxConfig, SandboxStatus,
};

/// How many events a slow receiver may be behind.
const EVENT_BACKLOG: usize = 1024;

/// What a container does when it is started or signalled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Cannot be started, for this reason ([`Error::BadCommand`]).
    pub bad_command: Option<String>,
    /// Ends with this code as soon as it is started.
    pub exits_with: Option<i32>,
    /// Does not end on SIGTERM; SIGKILL ends everything.
    pub ignores_sigterm: bool,
}

/// What a command inside a container does: its exit code. It may write to the descriptors it is given.
pub type ExecHandler = dyn Fn(&ContainerConfig, &ExecConfig) -> i32 + Send + Sync;

/// What a container does, by its configuration.
pub type ScriptHandler = dyn Fn(&ContainerConfig) -> Script + Send + Sync;

/// The fake backend.
pub struct Fake {
    inner: Mutex<Inner>,
    events: broadcast::Sender<RuntimeEvent>,
}

struct Inner {
    sandboxes: BTreeMap<String, FakeSandbox>,
    next_pid: u32,
    script: Arc<ScriptHandler>,
    exec: Arc<ExecHandler>,
    /// Why limits of containers cannot be changed, when they cannot.
    refuse_limits: Option<String>,
    /// What pods use, by sandbox; nothing where it is not said.
    usage: BTreeMap<String, PodUsage>,
    /// (sandbox, container, signal), in order.
    signals: Vec<(String, String, i32)>,
}

struct FakeSandbox {
    status: SandboxStatus,
    containers: BTreeMap<String, ContainerStatus>,
}

impl Fake {
    /// A machine with nothing on it, whose containers run until they are signalled and whose commands
    /// succeed.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                sandboxes: BTreeMap::new(),
                next_pid: 1000,
                script: Arc::new(|_| Script::default()),
                exec: Arc::new(|_, _| 0),
                refuse_limits: None,
                usage: BTreeMap::new(),
                signals: Vec::new(),
            }),
            events: broadcast::Sender::new(EVENT_BACKLOG),
        })
    }

    /// Says what containers do from now on.
    pub fn script(&self, script: impl Fn(&ContainerConfig) -> Script + Send + Sync + 'static) {
        self.lock().script = Arc::new(script);
    }

    /// Says what commands inside containers do from now on.
    pub fn on_exec(&self, exec: impl Fn(&ContainerConfig, &ExecConfig) -> i32 + Send + Sync + 'static) {
        self.lock().exec = Arc::new(exec);
    }

    /// Says from now on why limits of containers cannot be changed, or that they can.
    pub fn refuse_limits(&self, why: Option<&str>) {
        self.lock().refuse_limits = why.map(str::to_owned);
    }

    /// Says what a pod uses from now on.
    pub fn uses(&self, sandbox: &str, usage: PodUsage) {
        self.lock().usage.insert(sandbox.to_owned(), usage);
    }

    /// Ends a running container.
    ///
    /// # Errors
    ///
    /// When there is no such container, or it does not run.
    pub fn exit(&self, sandbox: &str, container: &str, exit_code: i32) -> Result<(), Error> {
        self.change(sandbox, container, |status| match status.state {
            ContainerState::Running { started_at, .. } => {
                status.state = exited(started_at, exit_code, None, String::new());
                Ok(())
            }
            _ => Err(wrong_state(status)),
        })
    }

    /// Ends a sandbox as if its holder had been killed.
    pub fn kill_sandbox(&self, sandbox: &str) {
        if let Some(found) = self.lock().sandboxes.get_mut(sandbox) {
            end_all(found);
        }
        self.announce(sandbox);
    }

    /// All signals sent so far, in order: sandbox, container, number.
    #[must_use]
    pub fn signals(&self) -> Vec<(String, String, i32)> {
        self.lock().signals.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self, sandbox: &str) {
        // Nobody may be listening.
        let _ = self.events.send(RuntimeEvent { sandbox: sandbox.to_owned() });
    }

    fn change(
        &self,
        sandbox: &str,
        container: &str,
        change: impl FnOnce(&mut ContainerStatus) -> Result<(), Error>,
    ) -> Result<(), Error> {
        change(self.lock().container(sandbox, container)?)?;
        self.announce(sandbox);
        Ok(())
    }
}

impl Inner {
    fn sandbox(&mut self, id: &str) -> Result<&mut FakeSandbox, Error> {
        self.sandboxes.get_mut(id).ok_or_else(|| Error::NotFound { what: "sandbox", id: id.to_owned() })
    }

    fn container(&mut self, sandbox: &str, id: &str) -> Result<&mut ContainerStatus, Error> {
        let found = self.sandbox(sandbox)?.containers.get_mut(id);
        found.ok_or_else(|| Error::NotFound { what: "container", id: id.to_owned() })
    }

    fn pid(&mut self) -> u32 {
        self.next_pid += 1;
        self.next_pid
    }
}

fn exited(started_at: Timestamp, exit_code: i32, signal: Option<i32>, message: String) -> ContainerState {
    ContainerState::Exited {
        started_at,
        finished_at: Timestamp::now(),
        exit_code,
        signal,
        oom_killed: false,
        message,
    }
}

fn wrong_state(status: &ContainerStatus) -> Error {
    let state = match status.state {
        ContainerState::Created => "created",
        ContainerState::Running { .. } => "running",
        ContainerState::Exited { .. } => "exited",
    };
    Error::WrongState { id: status.config.id.clone(), state: state.to_owned() }
}

fn end_all(sandbox: &mut FakeSandbox) {
    sandbox.status.pid = None;
    for status in sandbox.containers.values_mut() {
        let started_at = match status.state {
            ContainerState::Exited { .. } => continue,
            ContainerState::Created => Timestamp::now(),
            ContainerState::Running { started_at, .. } => started_at,
        };
        status.state = exited(started_at, 128 + libc::SIGKILL, Some(libc::SIGKILL), String::new());
    }
}

#[async_trait]
impl Runtime for Fake {
    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<SandboxStatus, Error> {
        let id = config.id.clone();
        let status = {
            let mut inner = self.lock();
            let pid = inner.pid();
            let made = || FakeSandbox {
                status: SandboxStatus { config, pid: Some(pid), created_at: Timestamp::now() },
                containers: BTreeMap::new(),
            };
            inner.sandboxes.entry(id.clone()).or_insert_with(made).status.clone()
        };
        if status.pid.is_none() {
            let why = "one that has ended is to be removed first".to_owned();
            return Err(Error::System { doing: format!("making sandbox {id}"), why });
        }
        self.announce(&id);
        Ok(status)
    }

    async fn stop_pod_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        self.kill_sandbox(sandbox);
        Ok(())
    }

    async fn remove_pod_sandbox(&self, sandbox: &str) -> Result<(), Error> {
        self.lock().sandboxes.remove(sandbox);
        self.announce(sandbox);
        Ok(())
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<SandboxStatus>, Error> {
        Ok(self.lock().sandboxes.values().map(|sandbox| sandbox.status.clone()).collect())
    }

    async fn create_container(&self, sandbox: &str, config: ContainerConfig) -> Result<(), Error> {
        {
            let mut inner = self.lock();
            let found = inner.sandbox(sandbox)?;
            if found.status.pid.is_none() {
                let doing = format!("using the sandbox of pod {sandbox}");
                return Err(Error::System { doing, why: "it has ended".to_owned() });
            }
            let id = config.id.clone();
            let made =
                || ContainerStatus { config, created_at: Timestamp::now(), state: ContainerState::Created };
            found.containers.entry(id).or_insert_with(made);
        }
        self.announce(sandbox);
        Ok(())
    }

    async fn start_container(&self, sandbox: &str, container: &str) -> Result<(), Error> {
        let (script, pid) = {
            let mut inner = self.lock();
            let script = Arc::clone(&inner.script);
            (script(&inner.container(sandbox, container)?.config.clone()), inner.pid())
        };
        let refused = script.bad_command.clone();
        self.change(sandbox, container, |status| {
            match status.state {
                ContainerState::Created => {}
                ContainerState::Running { .. } => return Ok(()),
                ContainerState::Exited { .. } => return Err(wrong_state(status)),
            }
            let started_at = Timestamp::now();
            status.state = match (script.bad_command, script.exits_with) {
                (Some(why), _) => exited(started_at, 128, None, why),
                (None, Some(code)) => exited(started_at, code, None, String::new()),
                (None, None) => ContainerState::Running { started_at, pid },
            };
            Ok(())
        })?;
        refused.map_or(Ok(()), |why| Err(Error::BadCommand(why)))
    }

    async fn signal_container(&self, sandbox: &str, container: &str, signal: i32) -> Result<(), Error> {
        let script = {
            let mut inner = self.lock();
            let script = Arc::clone(&inner.script);
            let script = script(&inner.container(sandbox, container)?.config.clone());
            inner.signals.push((sandbox.to_owned(), container.to_owned(), signal));
            script
        };
        let ends = signal == libc::SIGKILL || (signal == libc::SIGTERM && !script.ignores_sigterm);
        self.change(sandbox, container, |status| {
            if let ContainerState::Running { started_at, .. } = status.state
                && ends
            {
                status.state = exited(started_at, 128 + signal, Some(signal), String::new());
            }
            Ok(())
        })
    }

    async fn remove_container(&self, sandbox: &str, container: &str) -> Result<(), Error> {
        {
            let mut inner = self.lock();
            let Ok(found) = inner.sandbox(sandbox) else { return Ok(()) };
            match found.containers.get(container) {
                Some(status) if matches!(status.state, ContainerState::Running { .. }) => {
                    return Err(wrong_state(status));
                }
                _ => found.containers.remove(container),
            };
        }
        self.announce(sandbox);
        Ok(())
    }

    async fn containers(&self, sandbox: &str) -> Result<Vec<ContainerStatus>, Error> {
        Ok(self.lock().sandbox(sandbox)?.containers.values().cloned().collect())
    }

    async fn update_container_resources(
        &self,
        sandbox: &str,
        container: &str,
        resources: Resources,
        annotations: BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let refused = self.lock().refuse_limits.clone();
        self.change(sandbox, container, |status| {
            if let Some(why) = refused {
                let doing = format!("resizing container {}", status.config.id);
                return Err(Error::System { doing, why });
            }
            status.config.update(&resources, annotations);
            Ok(())
        })
    }

    async fn update_pod_sandbox_resources(&self, sandbox: &str, resources: Resources) -> Result<(), Error> {
        self.lock().sandbox(sandbox)?.status.config.resources.update(&resources);
        Ok(())
    }

    async fn pod_sandbox_stats(&self, sandbox: &str) -> Result<PodUsage, Error> {
        let mut inner = self.lock();
        let usage = inner.usage.get(sandbox).cloned();
        inner.sandbox(sandbox).map(|_| usage.unwrap_or_default())
    }

    async fn exec(&self, sandbox: &str, container: &str, config: ExecConfig) -> Result<i32, Error> {
        let (handler, status) = {
            let mut inner = self.lock();
            let handler = Arc::clone(&inner.exec);
            (handler, inner.container(sandbox, container)?.clone())
        };
        match status.state {
            ContainerState::Running { .. } => Ok(handler(&status.config, &config)),
            _ => Err(wrong_state(&status)),
        }
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.events.subscribe()
    }
}
