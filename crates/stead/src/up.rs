//! `stead up`: the API, the controllers, the node and DNS, in one process.

mod detach;
mod preflight;
mod spread;

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use apiserver::pki::Pki;
use apiserver::{ApiServer, UserInfo};
use client::Informers;
use images::{ImageStore, Mirror};
use kube::Client;
use network::{Ipv4Cidr, Network};
use node::Node;
use runtime::oci::Oci;
use store::{Embedded, Store};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use volumes::Volumes;

use crate::instance::Instance;
use crate::node_link::NodeLink;

/// The domain of services' names.
const CLUSTER_DOMAIN: &str = "cluster.local";
/// The most pods that a node takes (upstream's kubelet: 110).
const MAX_PODS: u32 = 250;
/// The port that pods ask for names at.
const DNS_PORT: u16 = 53;

/// Flags of `stead up`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Up {
    /// Apply these manifests once everything runs
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the API listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// The node's name; the host's name when not given
    #[arg(long, value_name = "NAME")]
    node_name: Option<String>,
    /// Only the control plane: nodes register themselves through the API
    #[arg(long)]
    no_node: bool,
    /// The range that pods get addresses from
    #[arg(long, value_name = "CIDR", default_value = "10.42.0.0/16")]
    pod_cidr: Ipv4Cidr,
    /// The range that services get addresses from
    #[arg(long, value_name = "CIDR", default_value = "10.43.0.0/16")]
    service_cidr: Ipv4Cidr,
    /// Where DNS listens besides the pods' gateway
    #[arg(long, value_name = "ADDR:PORT")]
    dns_listen: Option<SocketAddr>,
    /// Look here first for images of a registry
    #[arg(long, value_name = "HOST=URL")]
    registry_mirror: Vec<Mirror>,
    /// Return once stead is ready, and leave it running
    #[arg(long)]
    detach: bool,
}

/// Starts stead and runs it until it is told to end.
pub(crate) fn run(up: &Up, data_dir: &Path) -> Result<()> {
    if !up.no_node {
        preflight::check()?;
    }
    let instance = Instance::open(data_dir)?;
    if up.detach {
        return detach::run(&instance.dir);
    }
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("STEAD_LOG").unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .init();
    let _lock = instance.lock()?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?
        .block_on(serve(up, &instance))
}

async fn serve(up: &Up, instance: &Instance) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = apiserver::bind(up.listen).await?;
    let address = listener.local_addr()?;
    let store = Embedded::open(instance.dir.join("state.redb"))?;
    let link = NodeLink::default();
    let api = ApiServer::new(apiserver::Config {
        store: Arc::clone(&store) as Arc<dyn Store>,
        service_cidr: up.service_cidr.to_string(),
        streams: Arc::new(link.clone()),
    });
    api.bootstrap().await.map_err(|status| anyhow!("cannot make the first objects: {status}"))?;
    let stop = CancellationToken::new();
    let tasks = TaskTracker::new();

    let names = [address.ip().to_string()];
    let pki = Arc::new(Pki::load_or_create(&instance.dir.join("pki"), &names)?);
    let until = stop.clone().cancelled_owned();
    let (server, certificates) = (api.clone(), Arc::clone(&pki));
    tasks.spawn(async move { server.serve(listener, &certificates, until).await });
    let (forgetting, until) = (api.clone(), stop.clone());
    tasks.spawn(async move { until.run_until_cancelled(forgetting.expire()).await });
    start_controllers(up, &api, &stop, &tasks, instance, &link).await?;

    let kubeconfig = instance.kubeconfig();
    write_private(&kubeconfig, &pki.kubeconfig(&format!("https://{address}"), "stead"))?;
    apply_files(up, &kubeconfig).await?;
    println!("ready https://{address} (kubeconfig {})", kubeconfig.display());

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; pods run on");
    stop.cancel();
    api.end_streams();
    tasks.close();
    tasks.wait().await;
    store.close().await?;
    Ok(())
}

/// Starts what works through the API: informers, controllers, and the node with DNS.
async fn start_controllers(
    up: &Up,
    api: &ApiServer,
    stop: &CancellationToken,
    tasks: &TaskTracker,
    instance: &Instance,
    link: &NodeLink,
) -> Result<()> {
    let client = |user: &str| Client::new(api.service(UserInfo::internal(user)), "default");
    let informers = Informers::new(client("system:kube-controller-manager"));
    let node_name = node_name(up);
    tasks.spawn(Arc::clone(&informers).run(stop.clone().cancelled_owned()));
    let controllers = {
        let (client, informers, stop) =
            (client("system:kube-controller-manager"), Arc::clone(&informers), stop.clone());
        let host = node_name.clone();
        async move { controllers::run(planner::PLANNERS, client, informers, &host, stop.cancelled()).await }
    };
    tasks.spawn(controllers);
    let mut dns_at: Vec<SocketAddr> = up.dns_listen.into_iter().collect();
    if !up.no_node {
        let user = format!("system:node:{node_name}");
        let (node, gateway) = start_node(up, instance, client(&user), informers, node_name).await?;
        link.connect(node.clone());
        tasks.spawn(node.run(stop.clone().cancelled_owned()));
        dns_at.push(SocketAddr::from((gateway, DNS_PORT)));
    }
    if !dns_at.is_empty() {
        start_dns(dns_at, client("system:coredns"), stop, tasks).await?;
    }
    Ok(())
}

async fn start_node(
    up: &Up,
    instance: &Instance,
    client: Client,
    informers: Arc<Informers>,
    name: String,
) -> Result<(Node, Ipv4Addr)> {
    instance.remember_pod_cidr(up.pod_cidr)?;
    spread::spread(&instance.dir).with_context(|| format!("cannot write {}", instance.dir.display()))?;
    let network = Network::open(&instance.network(up.pod_cidr))?;
    let runtime = Oci::new(instance.runtime());
    let gateway = network.gateway();
    let volumes_dir = instance.dir.join("volumes");
    let config = node::Config {
        name,
        pods_dir: instance.dir.join("pods"),
        volumes_dir: volumes_dir.clone(),
        host_ip: gateway,
        cluster_dns: gateway,
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        mirrors: up.registry_mirror.clone(),
        max_pods: MAX_PODS,
    };
    let parts = node::Parts {
        client,
        informers,
        runtime,
        network,
        volumes: Arc::new(Volumes::open(&volumes_dir)?),
        images: ImageStore::open(&instance.dir.join("images"))?,
    };
    Ok((Node::start(config, parts).await?, gateway))
}

async fn start_dns(
    listen: Vec<SocketAddr>,
    client: Client,
    stop: &CancellationToken,
    tasks: &TaskTracker,
) -> Result<()> {
    let config = dns::Config {
        listen,
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        upstreams: dns::Upstreams::ResolvConf(PathBuf::from("/etc/resolv.conf")),
    };
    let dns = dns::Dns::bind(config).await?;
    let until = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        if let Err(error) = dns.run(client, until).await {
            tracing::error!("DNS ended: {error}");
        }
    });
    Ok(())
}

fn node_name(up: &Up) -> String {
    let host = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    up.node_name.clone().or_else(host).unwrap_or_else(|| "stead".to_owned()).to_lowercase()
}

/// Writes a file that only its owner may read, in place of the old one.
fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let next = path.with_extension("next");
    let mut file = std::fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&next)
        .with_context(|| format!("cannot write {}", next.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&next, path).with_context(|| format!("cannot write {}", path.display()))
}

/// Applies the manifests that `-f` names, as `stead apply` does.
async fn apply_files(up: &Up, kubeconfig: &Path) -> Result<()> {
    if up.files.is_empty() {
        return Ok(());
    }
    let (files, kubeconfig) = (up.files.clone(), kubeconfig.to_owned());
    cli::apply_files(&files, &kubeconfig).await.context("cannot apply the manifests given with -f")
}
