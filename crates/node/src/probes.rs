//! Startup, readiness and liveness probes (`pkg/kubelet/prober`).
//!
//! A probe that has not succeeded yet is tried again within milliseconds, growing to its period, so that a
//! pod is Ready when it is ready; failures count by the period, as upstream's do.

mod attempt;
mod grpc;
mod tls;

pub(crate) use attempt::http_get as http_hook;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use planner::pod_actions::ProbeState;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::hooks::ExecInContainer;

/// The first pause before a probe that has not succeeded yet is tried again; it doubles up to the period.
const FIRST_RETRY: Duration = Duration::from_millis(5);

/// What probes need to reach a container.
#[derive(Clone)]
pub(crate) struct Target {
    /// The pod's address.
    pub(crate) ip: IpAddr,
    /// Runs commands in the container.
    pub(crate) exec: Arc<dyn ExecInContainer>,
}

/// Something that a probe wants people to know.
pub(crate) type OnFailure = Arc<dyn Fn(String) + Send + Sync>;

/// The probes of one run of a container. Dropping it ends them.
pub(crate) struct Prober {
    state: Arc<Mutex<ProbeState>>,
    tasks: Vec<(Role, JoinHandle<()>)>,
}

impl Drop for Prober {
    fn drop(&mut self) {
        for (_, task) in &self.tasks {
            task.abort();
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Startup,
    Readiness,
    Liveness,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }
}

impl Prober {
    /// Starts the probes of a run that was started `age` ago. `known` is what was known before a restart of
    /// stead: it holds until a probe says otherwise. `changed` is notified of each change.
    pub(crate) fn start(
        container: &Container,
        target: &Target,
        age: Duration,
        known: Option<ProbeState>,
        changed: &Arc<Notify>,
        on_failure: &OnFailure,
    ) -> Self {
        let first = ProbeState {
            started: container.startup_probe.is_none(),
            ready: container.readiness_probe.is_none(),
            ..ProbeState::default()
        };
        let state = Arc::new(Mutex::new(known.unwrap_or(first)));
        let started = Arc::new(Notify::new());
        let roles = [
            (Role::Startup, &container.startup_probe),
            (Role::Readiness, &container.readiness_probe),
            (Role::Liveness, &container.liveness_probe),
        ];
        let ports = ports(container);
        let born = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let tasks = roles
            .into_iter()
            .filter_map(|(role, probe)| {
                let worker = Worker {
                    role,
                    probe: probe.clone()?,
                    ports: ports.clone(),
                    target: target.clone(),
                    state: Arc::clone(&state),
                    started: Arc::clone(&started),
                    changed: Arc::clone(changed),
                    on_failure: Arc::clone(on_failure),
                };
                Some((role, tokio::spawn(worker.run(born))))
            })
            .collect();
        Self { state, tasks }
    }

    /// The container is being ended: whether it lives is no question any more, whether it is Ready is
    /// (`StopLivenessAndStartup`).
    pub(crate) fn stop_liveness(&self) {
        for (_, task) in self.tasks.iter().filter(|(role, _)| *role != Role::Readiness) {
            task.abort();
        }
    }

    /// What the probes say now.
    pub(crate) fn state(&self) -> ProbeState {
        lock(&self.state).clone()
    }
}

fn lock(state: &Mutex<ProbeState>) -> std::sync::MutexGuard<'_, ProbeState> {
    state.lock().unwrap_or_else(|e| e.into_inner())
}

pub(crate) fn ports(container: &Container) -> HashMap<String, u16> {
    let named = container.ports.iter().flatten();
    named.filter_map(|p| Some((p.name.clone()?, u16::try_from(p.container_port).ok()?))).collect()
}

struct Worker {
    role: Role,
    probe: Probe,
    ports: HashMap<String, u16>,
    target: Target,
    state: Arc<Mutex<ProbeState>>,
    started: Arc<Notify>,
    changed: Arc<Notify>,
    on_failure: OnFailure,
}

impl Worker {
    async fn run(self, born: Instant) {
        let seconds = |value: Option<i32>, default: i32| {
            Duration::from_secs(u64::try_from(value.unwrap_or(default)).unwrap_or(0))
        };
        let period = seconds(self.probe.period_seconds, 10).max(Duration::from_secs(1));
        let timeout = seconds(self.probe.timeout_seconds, 1).max(Duration::from_secs(1));
        let failures_allowed = self.probe.failure_threshold.unwrap_or(3).max(1);
        let successes_needed = self.probe.success_threshold.unwrap_or(1).max(1);
        self.wait_for_startup().await;
        tokio::time::sleep_until(born + seconds(self.probe.initial_delay_seconds, 0)).await;

        let (mut successes, mut failures) = (0, 0);
        let mut retry = FIRST_RETRY;
        let mut counted_at: Option<Instant> = None;
        loop {
            let outcome = attempt::attempt(&self.probe, &self.ports, &self.target, timeout).await;
            let settled = self.succeeds();
            match outcome {
                Ok(()) => {
                    failures = 0;
                    successes += 1;
                    if successes >= successes_needed {
                        self.on_success();
                        if self.role == Role::Startup {
                            return;
                        }
                    }
                }
                Err(why) => {
                    successes = 0;
                    // Tries between two periods do not count: a threshold means periods.
                    if counted_at.is_none_or(|at| at.elapsed() >= period.mul_f32(0.9)) {
                        counted_at = Some(Instant::now());
                        failures += 1;
                        (self.on_failure)(format!("{} probe failed: {why}", self.role.word()));
                    }
                    self.note(&why);
                    if failures >= failures_allowed {
                        self.on_failed(&why);
                    }
                }
            }
            // A success on the way to its threshold counts by the period, too.
            let waiting = !settled && self.role != Role::Liveness && !self.succeeds() && successes == 0;
            let pause = if waiting { retry.min(period) } else { period };
            retry = if waiting { retry.saturating_mul(2) } else { FIRST_RETRY };
            tokio::time::sleep(pause).await;
        }
    }

    /// Readiness and liveness begin when the startup probe has succeeded.
    async fn wait_for_startup(&self) {
        if self.role == Role::Startup {
            return;
        }
        loop {
            let notified = self.started.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if lock(&self.state).started {
                return;
            }
            notified.await;
        }
    }

    fn succeeds(&self) -> bool {
        let state = lock(&self.state);
        match self.role {
            Role::Startup => state.started,
            Role::Readiness => state.ready,
            Role::Liveness => state.failed.is_none(),
        }
    }

    fn on_success(&self) {
        self.change(|state| match self.role {
            Role::Startup => state.started = true,
            Role::Readiness => {
                state.ready = true;
                state.not_ready_because = None;
            }
            Role::Liveness => {}
        });
        if self.role == Role::Startup {
            self.started.notify_waiters();
        }
    }

    fn note(&self, why: &str) {
        if self.role == Role::Readiness {
            lock(&self.state).not_ready_because = Some(why.to_owned());
        }
    }

    fn on_failed(&self, why: &str) {
        let word = self.role.word().to_lowercase();
        self.change(|state| match self.role {
            Role::Readiness => state.ready = false,
            Role::Startup | Role::Liveness => {
                state.failed = Some(format!("failed {word} probe, will be restarted: {why}"));
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut ProbeState)) {
        let mut state = lock(&self.state);
        let before = state.clone();
        change(&mut state);
        let changed = *state != before;
        drop(state);
        if changed {
            self.changed.notify_one();
        }
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]
mod tests {
    use async_trait::async_trait;
    use serde_json::json;

    use super::*;
    use crate::hooks::Output;

    /// A container that succeeds or fails by the time since its start.
    struct ByTime {
        born: Instant,
        succeeds: fn(Duration) -> bool,
        asked: Mutex<Vec<Duration>>,
    }

    #[async_trait]
    impl ExecInContainer for ByTime {
        async fn exec(&self, _: Vec<String>) -> Result<Output, String> {
            let age = self.born.elapsed();
            self.asked.lock().unwrap().push(age);
            Ok(Output { exit_code: i32::from(!(self.succeeds)(age)), text: "no".to_owned() })
        }
    }

    struct Probed {
        container: Arc<ByTime>,
        prober: Prober,
        changed: Arc<Notify>,
        told: Arc<Mutex<Vec<String>>>,
    }

    impl Probed {
        fn start(probes: serde_json::Value, succeeds: fn(Duration) -> bool) -> Self {
            let container: Container = serde_json::from_value(probes).unwrap();
            let by_time = Arc::new(ByTime { born: Instant::now(), succeeds, asked: Mutex::default() });
            let target = Target { ip: [127, 0, 0, 1].into(), exec: Arc::clone(&by_time) as _ };
            let (changed, told) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
            let tells = Arc::clone(&told);
            let on_failure: OnFailure = Arc::new(move |message| tells.lock().unwrap().push(message));
            let prober = Prober::start(&container, &target, Duration::ZERO, None, &changed, &on_failure);
            Self { container: by_time, prober, changed, told }
        }

        /// Waits until the probes say so; answers with the time since the start, in milliseconds.
        async fn until(&self, is_so: impl Fn(&ProbeState) -> bool) -> u128 {
            while !is_so(&self.prober.state()) {
                self.changed.notified().await;
            }
            self.container.born.elapsed().as_millis()
        }
    }

    fn probe(more: serde_json::Value) -> serde_json::Value {
        let mut probe = json!({"exec": {"command": ["x"]}, "periodSeconds": 10, "failureThreshold": 3});
        for (key, value) in more.as_object().unwrap() {
            probe[key] = value.clone();
        }
        probe
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_is_ready_when_it_is_and_not_a_period_later() {
        let probes = json!({"name": "c", "readinessProbe": probe(json!({}))});
        let probed = Probed::start(probes, |age| age >= Duration::from_millis(100));
        let at = probed.until(|state| state.ready).await;
        assert!((100..=200).contains(&at), "ready after {at} ms");
        assert_eq!(*probed.told.lock().unwrap(), ["Readiness probe failed: command exited with 1: no"]);
    }

    #[tokio::test(start_paused = true)]
    async fn thresholds_count_periods_and_not_tries() {
        let liveness = json!({"name": "c", "livenessProbe": probe(json!({}))});
        let probed = Probed::start(liveness, |_| false);
        assert_eq!(probed.until(|state| state.failed.is_some()).await, 20_000, "at 0, 10 and 20 s");

        let startup = json!({"name": "c", "startupProbe": probe(json!({"failureThreshold": 2}))});
        let probed = Probed::start(startup, |_| false);
        let at = probed.until(|state| state.failed.is_some()).await;
        assert!((9_000..=11_000).contains(&at), "failed after {at} ms");

        let twice = json!({"name": "c", "readinessProbe": probe(json!({"successThreshold": 2}))});
        let probed = Probed::start(twice, |_| true);
        assert_eq!(probed.until(|state| state.ready).await, 10_000, "at 0 and 10 s");
    }

    #[tokio::test(start_paused = true)]
    async fn one_failure_does_not_end_readiness_but_a_threshold_of_them_does() {
        let probes = json!({"name": "c", "readinessProbe": probe(json!({}))});
        let probed = Probed::start(probes, |age| age < Duration::from_secs(5));
        probed.until(|state| state.ready).await;
        assert_eq!(probed.until(|state| !state.ready).await, 30_000, "failed at 10, 20 and 30 s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_that_is_being_ended_is_asked_whether_it_is_ready_and_not_whether_it_lives() {
        let all = json!({"name": "c", "readinessProbe": probe(json!({})),
            "livenessProbe": probe(json!({"failureThreshold": 1}))});
        let probed = Probed::start(all, |age| age < Duration::from_secs(5));
        probed.until(|state| state.ready).await;
        probed.prober.stop_liveness();
        probed.until(|state| !state.ready).await;
        assert_eq!(probed.prober.state().failed, None);
        assert!(probed.told.lock().unwrap().iter().all(|message| message.starts_with("Readiness")));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_asked_before_the_startup_probe_and_the_initial_delay() {
        let probes = json!({"name": "c",
            "startupProbe": probe(json!({"periodSeconds": 1, "failureThreshold": 100})),
            "livenessProbe": probe(json!({"failureThreshold": 1})),
            "readinessProbe": probe(json!({"initialDelaySeconds": 7}))});
        let probed = Probed::start(probes, |age| age >= Duration::from_secs(3));
        probed.until(|state| state.started).await;
        assert_eq!(probed.until(|state| state.ready).await, 7_000);
        assert_eq!(probed.prober.state().failed, None, "liveness failed while it was starting");
        assert!(probed.container.asked.lock().unwrap().len() < 25, "tries grow apart");
    }
}
