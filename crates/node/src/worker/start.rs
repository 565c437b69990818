//! Makes and starts containers, and the probes of those that run.

use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use planner::EventType;
use planner::pod_actions::{ContainerId, ProbeState, Record, RecordState, target_container};
use runtime::{ContainerConfig, Mount};

use super::actions::{RETRY, after};
use super::{Refusal, Surround, Worker, lock};
use crate::container_config::{ImageFacts, Parts, container_config, runtime_id};
use crate::env::environment;
use crate::hooks::run_hook;
use crate::host::now;
use crate::probes::Prober;
use crate::records::find;
use crate::{pod_volumes, resources, security};

/// The exit code of a container that could not be started (upstream's `ContainerCannotRun`).
const CANNOT_RUN: i32 = 128;

impl Worker {
    /// Makes and starts one run. A run that cannot be started counts as one that has failed; what cannot
    /// even be configured is no run, and is tried again.
    pub(super) async fn start(self: &Arc<Self>, id: &ContainerId, backoff_step: u32) -> Result<(), String> {
        let pod = self.handle.pod();
        let Some(container) = find(&pod, &id.name) else { return Ok(()) };
        let container = self.as_allocated(container);
        let Ok(_turn) = self.host.starting.acquire().await else { return Ok(()) };
        let config = match self.configure(&pod, &container, id, backoff_step) {
            Ok(config) => config,
            Err(why) => {
                let name = container.image.as_deref().unwrap_or_default();
                let image_is_gone = self.host.images.resolve(name).is_none();
                let mut state = lock(&self.state);
                if image_is_gone {
                    state.images.remove(&id.name);
                }
                state.refused.insert(id.name.clone(), Refusal { why, retry_at: after(RETRY) });
                return Ok(());
            }
        };
        lock(&self.state).refused.remove(&id.name);
        self.tell_image(&pod, &container);
        pod_volumes::forget_older_logs(&self.host, &self.handle.uid, id).await.map_err(|e| e.to_string())?;
        let hook = container.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
        if hook.is_some() {
            lock(&self.state).post_start.insert(id.clone());
        }
        if let Err(why) = self.launch(&pod, id, config).await {
            return self.not_launched(&pod, id, backoff_step, why).await;
        }
        tracing::info!(pod = %self.handle.key.name, container = %id.name, attempt = id.attempt, "started");
        self.handle.runtime_changed();
        if let Some(hook) = hook {
            self.post_start(&pod, &container, id, hook.clone());
        }
        Ok(())
    }

    async fn not_launched(
        &self,
        pod: &Pod,
        id: &ContainerId,
        backoff_step: u32,
        why: String,
    ) -> Result<(), String> {
        lock(&self.state).post_start.remove(id);
        if !self.is_sandbox_alive().await? {
            // It is not the container that failed.
            self.handle.runtime_changed();
            return Err(why);
        }
        // What was made of it goes: the record stands for the run.
        let removed = self.host.runtime.remove_container(&self.handle.uid, &runtime_id(id)).await;
        removed.unwrap_or_else(|error| tracing::debug!("after a failed start: {error}"));
        self.cannot_run(pod, id, backoff_step, &why);
        Ok(())
    }

    async fn launch(&self, pod: &Pod, id: &ContainerId, config: ContainerConfig) -> Result<(), String> {
        let (sandbox, name) = (&self.handle.uid, runtime_id(id));
        if let Some(dir) = config.log_path.parent() {
            tokio::fs::create_dir_all(dir).await.map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        self.host.runtime.create_container(sandbox, config).await.map_err(|e| e.to_string())?;
        self.host.event(pod, EventType::Normal, "Created", &format!("Created container: {}", id.name));
        self.host.runtime.start_container(sandbox, &name).await.map_err(|e| e.to_string())?;
        self.host.event(pod, EventType::Normal, "Started", &format!("Started container {}", id.name));
        Ok(())
    }

    fn cannot_run(&self, pod: &Pod, id: &ContainerId, backoff_step: u32, why: &str) {
        self.host.event(pod, EventType::Warning, "Failed", &format!("Error: {why}"));
        let container = find(pod, &id.name).map(|container| self.as_allocated(container).into_owned());
        let Container { image, resources, .. } = container.unwrap_or_default();
        let record = Record {
            id: id.clone(),
            state: RecordState::Exited {
                started_at: now(),
                finished_at: now(),
                exit_code: CANNOT_RUN,
                signal: None,
                reason: "StartError".to_owned(),
                message: why.to_owned(),
            },
            backoff_step,
            container_id: format!("stead://{}/{}", self.handle.uid, runtime_id(id)),
            image: image.unwrap_or_default(),
            image_id: String::new(),
            resources: resources.unwrap_or_default(),
        };
        lock(&self.state).unstarted.insert(id.clone(), record);
        self.handle.runtime_changed();
    }

    fn configure(
        &self,
        pod: &Pod,
        container: &Container,
        id: &ContainerId,
        backoff_step: u32,
    ) -> Result<ContainerConfig, String> {
        let name = container.image.as_deref().unwrap_or_default();
        let image =
            self.host.images.resolve(name).ok_or_else(|| format!("image {name} is no longer here"))?;
        let user = security::user_to_resolve(pod, container, &image.config.user);
        let ids = images::resolve_user(&image, &user)
            .map_err(|e| format!("user {user:?} of container {}: {e}", container.name))?;
        let user = security::ImageUser { uid: ids.uid, gid: ids.gid, additional_gids: ids.additional_gids };
        let (ip, mounts) = {
            let state = lock(&self.state);
            let Surround::Alive { ip } = state.sandbox else { return Err("the sandbox is gone".to_owned()) };
            (ip.to_string(), state.mounts.clone())
        };
        let around = self.host.surroundings(&ip);
        let env =
            environment(pod, container, &self.host.informers.world(), around).map_err(|e| e.to_string())?;
        let message_file = pod_volumes::termination_message(&self.host, &self.handle.uid, id)
            .map_err(|e| format!("termination message: {e}"))?;
        let mut all = pod_volumes::container_mounts(&self.host, &self.handle.uid, container, &mounts, &env)?;
        let devices = pod_volumes::container_devices(container, &mounts)?;
        all.extend(pod_volumes::etc_mounts(&self.host, pod, container));
        let path = container.termination_message_path.as_deref().unwrap_or("/dev/termination-log");
        all.push(Mount { source: message_file.clone(), destination: PathBuf::from(path), read_only: false });
        let joined = target_container(pod, &id.name).and_then(|target| {
            let records = self.handle.records.borrow();
            let running = |r: &&Record| r.id.name == target && matches!(r.state, RecordState::Running { .. });
            records.iter().find(running).map(|r| runtime_id(&r.id))
        });
        let mut security = security::security(pod, container, user)?;
        if let Some(file) = security::localhost_profile(pod, container) {
            security.seccomp_profile = Some(self.host.seccomp_profile(file)?);
        }
        container_config(Parts {
            devices,
            joins_processes_of: joined,
            pod,
            container,
            id,
            backoff_step,
            image: ImageFacts {
                name: name.to_owned(),
                id: image.id.clone(),
                entrypoint: image.config.entrypoint.clone(),
                cmd: image.config.cmd.clone(),
                env: image.config.env.clone(),
                working_dir: image.config.working_dir.clone(),
                stop_signal: image.config.stop_signal.clone().unwrap_or_default(),
                layers: image.layers.clone(),
            },
            env,
            mounts: all,
            security,
            resources: resources::container_resources(pod, container, self.host.memory),
            log_path: pod_volumes::log_path(&self.host, &self.handle.uid, id),
            termination_message: &message_file,
        })
    }

    /// Runs the postStart hook; the container is not ready before it has succeeded.
    fn post_start(
        self: &Arc<Self>,
        pod: &Arc<Pod>,
        container: &Container,
        id: &ContainerId,
        hook: LifecycleHandler,
    ) {
        let Some(target) = self.target(id) else { return };
        let (this, pod, container, id) = (Arc::clone(self), Arc::clone(pod), container.clone(), id.clone());
        self.host.work.spawn_until_stop(async move {
            match run_hook(&hook, &container, &target).await {
                Ok(()) => {
                    lock(&this.state).post_start.remove(&id);
                    this.handle.wake();
                }
                Err(error) => {
                    let message = format!("PostStartHook failed: container {}: {error}", id.name);
                    this.host.event(&pod, EventType::Warning, "FailedPostStartHook", &message);
                    let grace = pod.spec.as_ref().and_then(|s| s.termination_grace_period_seconds);
                    this.kill(&id, grace.unwrap_or(30), "failed its postStart hook, will be restarted");
                }
            }
        });
    }

    /// Starts the probes of containers that run and have none yet. Of a pod that is to end, also of the sidecars
    /// that end last, nobody asks whether it lives.
    pub(super) fn start_probers(&self, pod: &Arc<Pod>) {
        self.start_missing_probers(pod);
        if self.is_going(pod) {
            lock(&self.state).probers.values().for_each(Prober::stop_liveness);
        }
    }

    fn start_missing_probers(&self, pod: &Arc<Pod>) {
        let running: Vec<(ContainerId, jiff::Timestamp, String)> = {
            let records = self.handle.records.borrow();
            let alive = records.iter().filter_map(|r| match r.state {
                RecordState::Running { started_at } => {
                    Some((r.id.clone(), started_at, r.container_id.clone()))
                }
                _ => None,
            });
            alive.collect()
        };
        for (id, started_at, container_id) in running {
            let has_to_wait = {
                let state = lock(&self.state);
                state.probers.contains_key(&id) || state.post_start.contains(&id)
            };
            if has_to_wait {
                continue;
            }
            let (Some(container), Some(target)) = (find(pod, &id.name), self.target(&id)) else { continue };
            let age = now().duration_since(started_at).unsigned_abs();
            let (host, about, name) = (Arc::clone(&self.host), Arc::clone(pod), id.name.clone());
            let on_failure = Arc::new(move |message: String| {
                let message = format!("{message} (container {name})");
                host.event(&about, EventType::Warning, "Unhealthy", &message);
            });
            let known = known_before(pod, &container, &container_id);
            let changed = Arc::clone(&self.handle.wake);
            let prober = Prober::start(&container, &target, age, known, &changed, &(on_failure as _));
            lock(&self.state).probers.insert(id, prober);
        }
    }
}

/// What the API was told of this very run before stead was restarted.
fn known_before(pod: &Pod, container: &Container, container_id: &str) -> Option<ProbeState> {
    let status = pod.status.as_ref()?;
    let told = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let told = told.into_iter().find(|c| c.container_id.as_deref() == Some(container_id))?;
    Some(ProbeState {
        started: told.started.unwrap_or(false) || container.startup_probe.is_none(),
        ready: told.ready || container.readiness_probe.is_none(),
        ..ProbeState::default()
    })
}
