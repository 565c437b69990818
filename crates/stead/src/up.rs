//! `stead up`: the API, the controllers, the node and DNS, in one process.

mod detach;
mod parts;
mod preflight;
mod spread;

use std::convert::Infallible;
use std::fs::Permissions;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use apimachinery::inject::{Clock, Random};
use apiserver::ApiServer;
use apiserver::pki::Pki;
use images::Mirror;
use jiff::Timestamp;
use network::{Ipv4Cidr, Network};
use nix::sys::stat::{Mode, umask};
use store::{Embedded, Sealed, Store};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::parts::Group;
use crate::instance::Instance;
use crate::node_link::NodeLink;

/// How long work that cannot be interrupted may go on when all else has ended.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Flags of `stead up`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Up {
    /// Apply these manifests once everything runs
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where the API listens
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:6443", value_parser = address)]
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
    #[arg(long, value_name = "ADDR:PORT", value_parser = address)]
    dns_listen: Option<SocketAddr>,
    /// Look here first for images of a registry
    #[arg(long, value_name = "HOST=URL")]
    registry_mirror: Vec<Mirror>,
    /// Return once stead is ready, and leave it running; it logs to DIR/stead.log
    #[arg(long)]
    detach: bool,
    /// What `--detach` starts
    #[arg(long, hide = true, conflicts_with = "detach")]
    in_background: bool,
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "write an IP address and a port, like 127.0.0.1:6443")
}

/// Starts stead and runs it until it is told to end.
pub(crate) fn run(up: &Up, data_dir: &Path) -> Result<()> {
    if up.in_background {
        detach::leave_terminal()?;
    }
    check(up)?;
    // What others must be able to read (a container's /etc/hosts) does not depend on who starts stead.
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let is_new = !data_dir.exists();
    let instance = Instance::open(data_dir)?;
    if up.detach {
        return detach::run(&instance);
    }
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("STEAD_LOG").unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        // On a full disk the log cannot be written, and to say so there, too, would panic: not being heard is no
        // reason to end.
        .log_internal_errors(false)
        .init();
    let _lock = instance.lock()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let outcome = runtime.block_on(serve(up, &instance));
    // A thread may be unpacking an image, or reading a terminal: what it does survives a crash, too.
    runtime.shutdown_timeout(LAST_PATIENCE);
    if outcome.is_err() && is_new {
        instance.remove_if_unused();
    }
    outcome
}

/// What can be seen to be wrong before anything is made.
fn check(up: &Up) -> Result<()> {
    if !up.no_node {
        preflight::check()?;
    }
    let (pods, services) = (up.pod_cidr, up.service_cidr);
    if pods.overlaps(services.network(), services.prefix_len()) {
        bail!(
            "pod range {pods} overlaps service range {services}: choose others with --pod-cidr and \
             --service-cidr"
        );
    }
    for file in up.files.iter().filter(|file| file.as_os_str() != "-") {
        std::fs::metadata(file)
            .with_context(|| format!("cannot read the manifests in {}", file.display()))?;
    }
    Ok(())
}

/// What runs, in the order in which it is ended.
#[derive(Default)]
struct Running {
    /// Controllers, node and DNS.
    clients: Group,
    /// The API on its socket, and its housekeeping.
    server: Group,
    api: OnceLock<(ApiServer, Arc<Embedded>)>,
    /// The pods' network, which stays.
    network: OnceLock<Arc<Network>>,
}

/// Runs stead until a signal comes or the start fails.
async fn serve(up: &Up, instance: &Instance) -> Result<()> {
    let mut ends = Ends::listen()?;
    let running = Running::default();
    let run = async {
        start(up, instance, &running).await?;
        std::future::pending::<Result<Infallible>>().await
    };
    let outcome = tokio::select! {
        outcome = run => outcome.map(|never| match never {}),
        () = ends.asked() => Ok(()),
    };
    if outcome.is_ok() {
        tracing::info!("stopping; pods run on");
    }
    let closed = tokio::select! {
        closed = running.end() => closed,
        () = ends.asked() => Err(anyhow!("told to end twice: what was under way was cut off")),
    };
    // Of a failed start nothing stays that nobody uses.
    if let (Err(_), false, Some(network)) = (&outcome, instance.has_sandboxes(), running.network.get()) {
        network.teardown().unwrap_or_else(|error| tracing::warn!("{error}"));
    }
    outcome.and(closed)
}

impl Running {
    /// Ends those who ask before the one who answers, and closes the store last.
    async fn end(&self) -> Result<()> {
        self.clients.end().await;
        let Some((api, store)) = self.api.get() else { return Ok(()) };
        api.end_streams();
        self.server.end().await;
        Ok(store.close().await?)
    }
}

/// The signals that end stead.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen to signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Starts everything, and says so.
async fn start(up: &Up, instance: &Instance, running: &Running) -> Result<()> {
    let listener = apiserver::bind(up.listen).await?;
    let address = listener.local_addr()?;
    let database = Embedded::open(instance.state())?;
    let below = Arc::clone(&database) as Arc<dyn Store>;
    let store = Sealed::open(below, registry::sealed_prefixes(), &instance.encryption_keys()).await?;
    let pki = Arc::new(Pki::load_or_create(&instance.dir.join("pki"), &server_names(up, address.ip())?)?);
    let link = NodeLink::default();
    let api = ApiServer::new(apiserver::Config {
        store: Arc::new(store),
        service_cidr: up.service_cidr.to_string(),
        streams: Arc::new(link.clone()),
        tokens: pki.tokens(),
        clock: Clock::new(Timestamp::now),
        random: Random::new(rand::random),
    });
    let _ = running.api.set((api.clone(), database));
    api.bootstrap().await.map_err(|status| anyhow!("cannot make the first objects: {status}"))?;

    let published = api.publish_root_ca(pki.ca_pem()).await;
    published.map_err(|status| anyhow!("cannot publish the root certificate: {status}"))?;
    let (housekeeper, stop) = (api.clone(), running.server.stop.clone());
    running.server.spawn(async move {
        stop.run_until_cancelled(housekeeper.expire()).await;
    });
    parts::start(up, instance, &api, running, &link).await?;
    // Clients come in when what they see is so: pods that were ended with stead are no longer Ready.
    let inner = listen_to_pods(&api, running.network.get(), address).await?;
    for listener in std::iter::once(listener).chain(inner) {
        let (server, certificates, stop) = (api.clone(), Arc::clone(&pki), running.server.stop.clone());
        running.server.spawn(async move { server.serve(listener, &certificates, stop.cancelled()).await });
    }

    let url = format!("https://{}", reachable(address));
    let kubeconfig = instance.kubeconfig();
    write_private(&kubeconfig, &pki.kubeconfig(&url, "stead"))?;
    apply_files(up, &kubeconfig).await?;
    // Whoever does not want to read it (any more) does not keep stead from running.
    let _ = writeln!(std::io::stdout(), "ready {url} (kubeconfig {})", kubeconfig.display());
    Ok(())
}

/// Leads the Service `kubernetes` to this API, and listens on the pods' gateway too when pods do not reach
/// `address`, because it is the machine's own.
async fn listen_to_pods(
    api: &ApiServer,
    network: Option<&Arc<Network>>,
    address: SocketAddr,
) -> Result<Option<TcpListener>> {
    let published = api.publish_port(address.port()).await;
    published.map_err(|status| anyhow!("cannot publish where the API is: {status}"))?;
    let gateway = network.map(|network| network.gateway());
    let (reached, inner) = match (address.ip(), gateway) {
        (IpAddr::V4(ip), _) if !ip.is_loopback() && !ip.is_unspecified() => (ip, None),
        (ip, Some(gateway)) if ip.is_loopback() => {
            (gateway, Some(apiserver::bind((gateway, address.port()).into()).await?))
        }
        (ip, Some(gateway)) if ip.is_unspecified() => (gateway, None),
        _ => return Ok(None),
    };
    let published = api.publish_endpoints(reached, address.port()).await;
    published.map_err(|status| anyhow!("cannot publish where the API is: {status}"))?;
    Ok(inner)
}

/// An address at which a client on this machine finds a server that listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What clients may call the server by: the address that it listens on, or all of the machine's when it
/// listens on all; and what pods call it.
fn server_names(up: &Up, ip: IpAddr) -> Result<Vec<String>> {
    let mut names = vec![up.pod_cidr.gateway().to_string()];
    names.extend(registry::bootstrap::first_address(&up.service_cidr.to_string()));
    names.extend(listen_names(ip)?);
    Ok(names)
}

fn listen_names(ip: IpAddr) -> Result<Vec<String>> {
    if !ip.is_unspecified() {
        return Ok(vec![ip.to_string()]);
    }
    let interfaces = nix::ifaddrs::getifaddrs().context("cannot list the machine's addresses")?;
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
    });
    Ok(addresses.map(|ip| ip.to_string()).collect())
}

/// Writes a file that only its owner may read, in place of the old one.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let next = path.with_extension("next");
    let mut file = std::fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&next)
        .with_context(|| format!("cannot write {}", next.display()))?;
    // One that was left from before may be anybody's to read.
    file.set_permissions(Permissions::from_mode(0o600))?;
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
    // A task of its own: it may wait for standard input, and a signal must be heard meanwhile.
    let applied = tokio::spawn(async move { cli::apply_files(&files, &kubeconfig).await }).await?;
    applied.map_err(|error| {
        let why = format!("{error:#}");
        anyhow!("cannot apply the manifests given with -f: {}", why.strip_prefix("error: ").unwrap_or(&why))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_on_all_addresses_is_reached_on_this_machine() {
        let told = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(told("0.0.0.0:6443"), "127.0.0.1:6443");
        assert_eq!(told("[::]:6443"), "[::1]:6443");
        assert_eq!(told("192.0.2.7:6443"), "192.0.2.7:6443");
        assert!(listen_names(Ipv4Addr::UNSPECIFIED.into()).unwrap().contains(&"127.0.0.1".to_owned()));
    }

    #[test]
    fn a_private_file_stays_private_when_it_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        for old in [&path, &path.with_extension("next")] {
            std::fs::write(old, "an older one that others may read").unwrap();
        }
        write_private(&path, "secret").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
