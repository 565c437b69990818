//! The parts that work through the API: controllers, the node, DNS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use apimachinery::inject::Clock;
use apiserver::{ApiServer, UserInfo};
use client::{Clients, Informers};
use dns::Dns;
use images::ImageStore;
use jiff::Timestamp;
use kube::Client;
use network::Network;
use node::Node;
use runtime::oci::Oci;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use volumes::Volumes;

use super::{Running, Up, spread};
use crate::figures::Figures;
use crate::instance::Instance;
use crate::node_link::NodeLink;

/// The domain of services' names.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// The most pods that a node takes (upstream's kubelet: 110).
const MAX_PODS: u32 = 250;
/// The port that pods ask for names at.
const DNS_PORT: u16 = 53;

/// Tasks that are told to end together.
#[derive(Default)]
pub(super) struct Group {
    /// Tells them.
    pub(super) stop: CancellationToken,
    tasks: TaskTracker,
}

impl Group {
    /// Adds a task; it must end when [`Group::stop`] is cancelled.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Tells all tasks to end, and waits until they have.
    pub(super) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Starts controllers, and the node with DNS. The node is Ready when this returns. What can be refused
/// because of the machine (ranges, ports) comes before the node is anybody's to see.
pub(super) async fn start(
    up: &Up,
    instance: &Instance,
    api: &ApiServer,
    running: &Running,
    link: &NodeLink,
) -> Result<()> {
    let handlers = api.clone();
    let clients =
        Clients::new(move |user| Client::new(handlers.service(UserInfo::component(user)), "default"));
    let node_name = node_name(up, instance)?;
    let mut dns_at: Vec<SocketAddr> = up.dns_listen.into_iter().collect();
    if !up.no_node {
        // Set once: there is one start in a process.
        let _ = running.network.set(open_network(up, instance)?);
    }
    let network = running.network.get();
    let gateway = network.map(|network| SocketAddr::from((network.gateway(), DNS_PORT)));
    dns_at.extend(gateway);
    let dns = bind_dns(dns_at, gateway).await?;

    let group = &running.clients;
    let clock = Clock::new(Timestamp::now);
    let informers = Informers::new(clients.of("system:kube-controller-manager"), clock.clone());
    group.spawn(Arc::clone(&informers).run(group.stop.clone().cancelled_owned()));
    let mut here = None;
    if let Some(network) = network {
        let (network, informers) = (Arc::clone(network), Arc::clone(&informers));
        let node = start_node(up, instance, clients.clone(), informers, network, &node_name).await?;
        instance.remember_node_name(&node_name)?;
        link.connect(node.clone());
        here = Some((node_name.clone(), node.clone()));
        group.spawn(node.run(group.stop.clone().cancelled_owned()));
    }
    let figures: Arc<controllers::Figures> = Arc::default();
    api.show_figures(Arc::new(Figures {
        informers: Arc::clone(&informers),
        controllers: Arc::clone(&figures),
        dns: dns.as_ref().map(Dns::figures),
        node: here,
    }));
    // After the node: nobody is to plan on what the API was told of pods before stead ended.
    start_controllers(clients.clone(), informers, node_name, (clock, figures), group);
    if let Some(dns) = dns {
        start_dns(dns, clients.of("system:serviceaccount:kube-system:coredns"), group);
    }
    Ok(())
}

fn start_controllers(
    clients: Clients,
    informers: Arc<Informers>,
    host: String,
    (clock, figures): (Clock, Arc<controllers::Figures>),
    group: &Group,
) {
    let stop = group.stop.clone();
    group.spawn(async move {
        let all = planner::PLANNERS;
        controllers::run(all, &clients, informers, &host, clock, &figures, stop.cancelled()).await;
    });
}

/// The pods' network. Running pods keep their addresses, so their range must stay what it was.
fn open_network(up: &Up, instance: &Instance) -> Result<Arc<Network>> {
    if let Some(before) = instance.pod_cidr()?
        && before != up.pod_cidr
        && instance.has_sandboxes()
    {
        bail!(
            "pods run with addresses of {before}: start with --pod-cidr {before}, or end them first with \
             `stead down`"
        );
    }
    let network = Network::open(&instance.network(up.pod_cidr))?;
    instance.remember_pod_cidr(up.pod_cidr)?;
    Ok(network)
}

async fn start_node(
    up: &Up,
    instance: &Instance,
    clients: Clients,
    informers: Arc<Informers>,
    network: Arc<Network>,
    name: &str,
) -> Result<Node> {
    spread::spread(&instance.dir).with_context(|| format!("cannot write {}", instance.dir.display()))?;
    let gateway = network.gateway();
    let volumes_dir = instance.dir.join("volumes");
    let config = node::Config {
        name: name.to_owned(),
        pods_dir: instance.dir.join("pods"),
        volumes_dir: volumes_dir.clone(),
        host_ip: gateway,
        cluster_dns: gateway,
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        mirrors: up.registry_mirror.clone(),
        max_pods: MAX_PODS,
    };
    let parts = node::Parts {
        clients,
        informers,
        runtime: Oci::new(instance.runtime()),
        network,
        volumes: Arc::new(Volumes::open(&volumes_dir)?),
        images: ImageStore::open(&instance.dir.join("images"))?,
    };
    Ok(Node::start(config, parts).await?)
}

/// Opens DNS's sockets, if there is anywhere to `listen`. `gateway` is the one address among these that the
/// user did not choose.
async fn bind_dns(listen: Vec<SocketAddr>, gateway: Option<SocketAddr>) -> Result<Option<Dns>> {
    if listen.is_empty() {
        return Ok(None);
    }
    let config = dns::Config {
        listen,
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        upstreams: dns::Upstreams::ResolvConf(PathBuf::from("/etc/resolv.conf")),
    };
    let bound = Dns::bind(config).await.map_err(|error| match error {
        dns::Error::Listen { address, reason } if Some(address) == gateway => anyhow!(
            "pods are to ask for names at {address}, where stead cannot listen ({reason}): stop the DNS \
             server that has port {DNS_PORT} of all addresses, or make it listen on single ones"
        ),
        other => other.into(),
    });
    bound.map(Some)
}

fn start_dns(dns: Dns, client: Client, group: &Group) {
    let stop = group.stop.clone();
    group.spawn(async move {
        if let Err(error) = dns.run(client, stop.cancelled()).await {
            tracing::error!("DNS ended: {error}");
        }
    });
}

/// The node's name. Pods and volumes are bound to it, so it stays the one of the first start: the host's
/// then, if none was asked for.
fn node_name(up: &Up, instance: &Instance) -> Result<String> {
    let host = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let name = match (&up.node_name, instance.node_name()?) {
        (Some(asked), Some(before)) if *asked != before => bail!(
            "the node of {} is called {before}, and its pods and volumes are bound to that name: start it \
             with --node-name {before}",
            instance.dir.display()
        ),
        (Some(asked), _) => asked.clone(),
        (None, Some(before)) => before,
        (None, None) => host().unwrap_or_else(|| "stead".to_owned()).to_lowercase(),
    };
    apimachinery::names::dns1123_subdomain(&name).map_err(|why| {
        anyhow!("{name:?} cannot be the node's name: choose another with --node-name ({why})")
    })?;
    Ok(name)
}
