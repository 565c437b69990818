//! Service addresses: what `planner::service_proxy` says, as rules of the pods' network (kube-proxy's job).
//!
//! One loop asks for the whole, claims the host's ports, tells the kernel, and writes what came of it into the
//! services' statuses. It wakes when something changes that matters, when others change the firewall, and
//! while a port is taken.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use network::{Frontend, NetworkError, Protocol, RuleWatch, ServiceRule};
use planner::service_proxy::{self, HostAddresses, Place, Proxy, Purpose};
use planner::{Change, EventType, Object};
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::async_fd;
use crate::health_checks::HealthChecks;
use crate::host::{Host, now};

/// The pause after the kernel or the API refused; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How soon a port that somebody has is asked for again: nobody tells when it is free.
const TAKEN_PAUSE: Duration = Duration::from_secs(1);
/// How long a container's end waits until no new connection is led to its pod. It takes a millisecond; a node
/// that cannot reach its kernel must still be able to end pods.
const WITHDRAWN_WITHIN: Duration = Duration::from_secs(1);

/// How others learn what the kernel has been told.
pub(crate) struct Told {
    wake: Arc<Notify>,
    asked: AtomicU64,
    done: watch::Sender<u64>,
}

impl Default for Told {
    fn default() -> Self {
        Self { wake: Arc::default(), asked: AtomicU64::new(0), done: watch::Sender::new(0) }
    }
}

impl Told {
    /// Waits until the kernel knows what the world is like now: a pod that is terminating by now gets no new
    /// connections when this returns.
    pub(crate) async fn settled(&self) {
        let turn = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut done = self.done.subscribe();
        self.wake.notify_one();
        if timeout(WITHDRAWN_WITHIN, done.wait_for(|done| *done >= turn)).await.is_err() {
            tracing::warn!("the kernel's services are behind");
        }
    }
}

/// Keeps the rules current, for ever.
pub(crate) async fn run(host: Arc<Host>) {
    let waker = Arc::clone(&host.services.wake);
    host.informers.on_change(move |_, change| {
        if matters(change) {
            waker.notify_one();
        }
    });
    let mut news = News::open(&host);
    let mut loop_ = Loop {
        host,
        set: None,
        refused: Vec::new(),
        health_checks: HealthChecks::default(),
        unanswered: BTreeSet::new(),
        pause: FIRST_PAUSE,
    };
    loop {
        let again = loop_.turn().await;
        let again = async {
            match again {
                Some(after) => sleep_until(Instant::now() + after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = loop_.host.services.wake.notified() => {}
            () = again => {}
            () = news.next() => loop_.restore().await,
        }
    }
}

/// Whether rules may follow from the change.
fn matters(change: &Change) -> bool {
    match change.new.as_ref().or(change.old.as_ref()) {
        Some(Object::Service(_) | Object::EndpointSlice(_)) => true,
        Some(Object::Pod(_)) => standing(change.old.as_ref()) != standing(change.new.as_ref()),
        _ => false,
    }
}

/// What of a pod decides whether it gets connections.
fn standing(pod: Option<&Object>) -> Option<(bool, bool, bool, Option<String>)> {
    let Some(Object::Pod(pod)) = pod else { return None };
    let pod: &Pod = pod;
    let status = pod.status.as_ref();
    let mut conditions = status.and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    let ready = conditions.any(|c| c.type_ == "Ready" && c.status == "True");
    let going = pod.metadata.deletion_timestamp.is_some();
    Some((ready, going, planner::pod_actions::is_terminal(pod), status.and_then(|s| s.pod_ip.clone())))
}

/// What is so as far as the loop knows.
struct Loop {
    host: Arc<Host>,
    /// What the kernel has; `None` when that is not known.
    set: Option<Vec<ServiceRule>>,
    /// Places of the host that somebody else had when they were asked for last.
    refused: Vec<Place>,
    health_checks: HealthChecks,
    /// Ports of health checks that somebody else had when they were tried last.
    unanswered: BTreeSet<u16>,
    /// Before the next try, should this one fail.
    pause: Duration,
}

impl Loop {
    /// Brings everything up to date once. Answers with when to try again, if nothing wakes the loop before.
    async fn turn(&mut self) -> Option<Duration> {
        let turn = self.host.services.asked.load(Ordering::Acquire);
        let addresses = host_addresses(&self.host);
        let proxy = service_proxy::plan(&self.host.informers.world(), &self.host.config.name, &addresses);
        let taken = self.claim(&proxy, &addresses).await;
        let proxy = proxy.without(&taken);
        let told = self.tell_kernel(&proxy).await;
        if told.is_ok() {
            self.host.services.done.send_replace(turn);
        }
        self.answer_health_checks(&proxy, told.is_ok()).await;
        let written = self.tell_people(&proxy, &taken).await;
        match told.map_err(|error| error.to_string()).and(written) {
            Ok(()) => {
                self.pause = FIRST_PAUSE;
                let retries = !self.refused.is_empty() || !taken.is_empty() || !self.unanswered.is_empty();
                retries.then_some(TAKEN_PAUSE)
            }
            Err(error) => {
                tracing::warn!("service addresses: {error}");
                let pause = self.pause;
                self.pause = (pause * 2).min(LONGEST_PAUSE);
                Some(pause)
            }
        }
    }

    /// Holds the host's ports, and answers with those that somebody has.
    async fn claim(&self, proxy: &Proxy, addresses: &HostAddresses) -> Vec<Place> {
        let wanted = proxy.claims(addresses);
        let frontends = wanted.iter().map(|at| frontend(*at)).collect();
        let refused = self.host.network.claim_ports(frontends).await;
        wanted.into_iter().filter(|at| refused.contains_key(&frontend(*at))).collect()
    }

    async fn tell_kernel(&mut self, proxy: &Proxy) -> Result<(), NetworkError> {
        let rules: Vec<ServiceRule> = proxy.rules.values().map(service_rule).collect();
        if self.set.as_ref() != Some(&rules) {
            self.set = None;
            self.host.network.set_services(rules.clone()).await?;
            self.set = Some(rules);
        }
        Ok(())
    }

    /// Opens and closes the ports of health checks. Of one that somebody has, an event tells, once.
    async fn answer_health_checks(&mut self, proxy: &Proxy, is_healthy: bool) {
        let closed = self.health_checks.set(&proxy.health_checks, is_healthy).await;
        for (port, error) in &closed {
            if let Some(check) = proxy.health_checks.get(port).filter(|_| !self.unanswered.contains(port)) {
                let reason = "FailedToStartServiceHealthcheck";
                let node = &self.host.config.name;
                let message = format!(
                    "node {node} failed to start healthcheck {:?} on port {port}: {error}",
                    format!("{}/{}", check.owner.namespace, check.owner.name)
                );
                self.host.recorder.record(&check.owner, EventType::Warning, reason, &message);
            }
        }
        self.unanswered = closed.into_keys().collect();
    }

    /// Writes the services' statuses. Of a pod whose host port is taken, an event tells.
    async fn tell_people(&mut self, proxy: &Proxy, taken: &[Place]) -> Result<(), String> {
        let plan = service_proxy::statuses(&self.host.informers.world(), proxy, now());
        let before = std::mem::replace(&mut self.refused, taken.to_vec());
        for refusal in proxy.refusals.iter().filter(|refusal| refusal.purpose == Purpose::HostPort) {
            if taken.contains(&refusal.at) && !before.contains(&refusal.at) {
                self.host.recorder.record(
                    &refusal.owner,
                    EventType::Warning,
                    refusal.reason,
                    &refusal.message,
                );
            }
        }
        match self.host.balancer.executor.execute(&plan).await {
            Err(error) if !error.is_stale() => Err(error.to_string()),
            // The change that it is stale by wakes the loop.
            _ => Ok(()),
        }
    }

    /// Puts everything back after somebody changed the firewall.
    async fn restore(&mut self) {
        tracing::info!("others changed the firewall: putting the network's rules back");
        match self.host.network.restore_rules().await {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!("rules of the network: {error}");
                // The next turn sets everything, and begins with what is missing.
                self.set = None;
            }
        }
    }
}

/// News of the firewall.
struct News {
    watch: Option<(RuleWatch, AsyncFd<OwnedFd>)>,
    /// When the change that was read last is to be told.
    due: Option<Instant>,
    last: Option<Instant>,
    pause: Duration,
}

impl News {
    fn open(host: &Host) -> Self {
        let open = || {
            let watch = host.network.watch_rules().map_err(|error| error.to_string())?;
            let fd = watch.as_fd().try_clone_to_owned().and_then(async_fd::watch);
            Ok::<_, String>((watch, fd.map_err(|error| error.to_string())?))
        };
        let watch = open().inspect_err(|error| tracing::warn!("changes of the firewall go unseen: {error}"));
        Self { watch: watch.ok(), due: None, last: None, pause: Duration::ZERO }
    }

    /// Waits until others have changed something that the rules depend on. Changes soon after each other are
    /// told ever later: who flushes again and again is not raced. May be dropped and called again.
    async fn next(&mut self) {
        let due = match self.due {
            Some(due) => due,
            None => {
                self.read().await;
                let now = Instant::now();
                let soon = self.last.is_some_and(|last| now.duration_since(last) < LONGEST_PAUSE);
                self.pause =
                    if soon { (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE) } else { Duration::ZERO };
                *self.due.insert(now + self.pause)
            }
        };
        sleep_until(due).await;
        self.due = None;
        self.last = Some(Instant::now());
    }

    async fn read(&mut self) {
        loop {
            let Some((watch, fd)) = &mut self.watch else { return std::future::pending().await };
            let Ok(mut ready) = fd.readable().await else { return std::future::pending().await };
            ready.clear_ready();
            match watch.changed_by_others() {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!("changes of the firewall go unseen: {error}");
                    self.watch = None;
                }
            }
        }
    }
}

fn frontend(at: Place) -> Frontend {
    let protocol = match at.protocol {
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    Frontend { address: at.address, protocol, port: at.port }
}

fn service_rule(rule: &service_proxy::Rule) -> ServiceRule {
    ServiceRule {
        at: frontend(rule.at),
        endpoints: rule.endpoints.clone(),
        drops_when_empty: rule.drops_when_empty,
        affinity: rule.affinity,
        sources: rule.sources.clone(),
    }
}

/// The host's addresses as they are now; others know it by the one that its default route begins with.
fn host_addresses(host: &Host) -> HostAddresses {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let all = interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip())).collect();
    HostAddresses { main: outward_address().unwrap_or(host.config.host_ip), all }
}

/// Connecting a datagram socket sends nothing, and chooses an address.
fn outward_address() -> Option<Ipv4Addr> {
    /// An address that is nobody's (RFC 5737), by way of the default route.
    const ELSEWHERE: (Ipv4Addr, u16) = (Ipv4Addr::new(198, 51, 100, 1), 9);
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() => Some(ip),
        _ => None,
    }
}
