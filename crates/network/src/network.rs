//! The network of one instance: opening it, and a link for each pod.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;

use crate::cidr::Ipv4Cidr;
use crate::claims::Claims;
use crate::error::NetworkError;
use crate::firewall::{self, Firewall};
use crate::host;
use crate::leases::{Lease, LeaseError, Leases, PodRef};
use crate::netlink::route::{self, Address, Link, Mac, Veth};
use crate::netlink::{NetlinkError, Socket};
use crate::service_rules::ServiceRules;
use crate::services::{Frontend, ServiceRule};
use crate::settle::Settling;
use crate::watch::RuleWatch;

/// What the pod's end of its link is called.
const POD_INTERFACE: &str = "eth0";
/// How many addresses may be passed over because dying namespaces still hold them.
const ATTEMPTS: usize = 1024;

/// What a network needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// A folder for the leases; made if it is missing.
    pub dir: PathBuf,
    /// The range that pods get addresses from. Its first address is the host's on the bridge.
    pub pod_cidr: Ipv4Cidr,
    /// Tells instances on one machine apart: at least six letters or digits, of which the first six count.
    pub instance: String,
    /// The largest packet, in bytes; `None`: that of the interface with the default route. A bridge that is
    /// there already keeps its own.
    pub mtu: Option<u32>,
    /// A file for all instances of the machine, gone after a reboot: which of the machine's settings were off
    /// before one of them turned them on.
    pub notes: PathBuf,
}

/// What a pod got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNetwork {
    /// The pod's address.
    pub ip: Ipv4Addr,
    /// The host's address on the bridge: the pod's default route.
    pub gateway: Ipv4Addr,
    /// The length of the range's prefix, in bits.
    pub prefix_len: u8,
    /// What the link is called inside the pod.
    pub interface: String,
}

/// The bridge, the leases and the rules of one instance.
///
/// Belongs to the network namespace of the thread that opened it, whichever thread it is used from.
pub struct Network {
    /// See [`instance_tag`].
    instance: String,
    cidr: Ipv4Cidr,
    /// See [`Config::notes`].
    notes: PathBuf,
    /// Device and inode of the host's network namespace.
    host_netns: (u64, u64),
    bridge: Bridge,
    firewall: Firewall,
    state: Mutex<State>,
    services: Mutex<ServiceRules>,
    claims: Mutex<Claims>,
    settling: Mutex<Settling>,
}

/// The bridge that all pods of the instance hang off.
#[derive(Clone, Debug)]
pub(crate) struct Bridge {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mtu: u32,
    /// How the names of its ports begin.
    pub(crate) port_prefix: String,
}

/// Links are made one at a time: the kernel does so in any case.
struct State {
    leases: Leases,
    route: Socket,
}

impl Network {
    /// Makes what is missing of bridge, address, routes and rules, and leaves alone what is there: pods that
    /// run do not notice. Turns IPv4 forwarding on. Blocks for some milliseconds.
    ///
    /// # Errors
    ///
    /// When the range overlaps an address or route of the host, the folder is in use or unreadable, or the
    /// kernel refuses (not root, nf_tables missing).
    pub fn open(config: &Config) -> Result<Arc<Network>, NetworkError> {
        let instance = instance_tag(&config.instance)?;
        let leases = Leases::open(&config.dir, config.pod_cidr)?;
        let mut route = Socket::route()?;
        let mut socket = Socket::netfilter()?;
        let bridge = host::ensure_bridge(&mut route, &instance, config.pod_cidr, config.mtu)?;
        host::enable_forwarding(&config.notes)?;
        let firewall = Firewall::new(&bridge.name, config.pod_cidr);
        firewall.ensure(&mut socket)?;
        host::route_loopback(&bridge.name)?;
        let services = ServiceRules::open(socket, &firewall)?;
        let host_netns = namespace_id("/proc/thread-self/ns/net")
            .map_err(|error| NetworkError::Namespace { pid: std::process::id(), error })?;
        Ok(Arc::new(Network {
            instance,
            cidr: config.pod_cidr,
            notes: config.notes.clone(),
            host_netns,
            bridge,
            firewall,
            state: Mutex::new(State { leases, route }),
            services: Mutex::new(services),
            claims: Mutex::default(),
            settling: Mutex::new(Settling::new()?),
        }))
    }

    /// The host's address on the bridge, where pods find the host's services.
    pub fn gateway(&self) -> Ipv4Addr {
        self.cidr.gateway()
    }

    /// The bridge's name, which is the nf_tables table's too.
    pub fn bridge(&self) -> &str {
        &self.bridge.name
    }

    /// Gives the network namespace of process `netns_pid` a link with the pod's address and a default route.
    /// When it is done, packets pass.
    ///
    /// The address is the one that the pod's uid already has, or a new one. Doing it again changes nothing.
    /// A namespace of its own is expected: the host's is refused.
    ///
    /// # Errors
    ///
    /// When no address is left, the process is gone, or the kernel refuses.
    pub async fn attach(self: &Arc<Self>, pod: PodRef, netns_pid: u32) -> Result<PodNetwork, NetworkError> {
        self.blocking(move |network| network.attach_now(&pod, netns_pid)).await
    }

    /// Gives the pod's address back; nothing happens if it has none. The link goes with the namespace, so
    /// this is for after the pod's processes have ended.
    ///
    /// # Errors
    ///
    /// When the leases cannot be written.
    pub async fn detach(self: &Arc<Self>, uid: &str) -> Result<(), NetworkError> {
        let uid = uid.to_owned();
        self.blocking(move |network| Ok(network.state().leases.release(&uid)?)).await
    }

    /// Gives back the addresses of all pods but these, and lists what was given back.
    ///
    /// # Errors
    ///
    /// When the leases cannot be written.
    pub async fn retain(self: &Arc<Self>, uids: HashSet<String>) -> Result<Vec<Lease>, NetworkError> {
        self.blocking(move |network| {
            let mut state = network.state();
            let gone: Vec<Lease> =
                state.leases.iter().filter(|lease| !uids.contains(&lease.pod.uid)).cloned().collect();
            for lease in &gone {
                state.leases.release(&lease.pod.uid)?;
            }
            Ok(gone)
        })
        .await
    }

    /// The addresses in use, by uid. May wait some milliseconds for a pod that is being attached.
    pub fn leases(&self) -> Vec<Lease> {
        self.state().leases.iter().cloned().collect()
    }

    /// Makes service addresses lead to these endpoints and no others. Only what is different from before is
    /// sent, all of it at once.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; then everything is as it was before.
    pub async fn set_services(self: &Arc<Self>, rules: Vec<ServiceRule>) -> Result<(), NetworkError> {
        self.blocking(move |network| Ok(network.services().set(&network.firewall, &rules)?)).await
    }

    /// Puts back what is missing of the firewall and of the services that were set last: see
    /// [`Network::watch_rules`].
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub async fn restore_rules(self: &Arc<Self>) -> Result<(), NetworkError> {
        self.blocking(move |network| Ok(network.services().restore(&network.firewall)?)).await
    }

    /// Tells when others change the firewall, from now on.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn watch_rules(&self) -> Result<RuleWatch, NetworkError> {
        let own_port = self.services().socket.port()?;
        Ok(RuleWatch::open(&self.firewall.table.name, own_port)?)
    }

    /// Holds these ports of the host, and no others, so that nobody else can listen there. Answers with those
    /// that somebody has already, each with what the kernel said.
    pub async fn claim_ports(self: &Arc<Self>, wanted: Vec<Frontend>) -> BTreeMap<Frontend, io::Error> {
        let claim = move |network: &Network| {
            let mut claims = network.claims.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            Ok(claims.set(&wanted).into_iter().map(|(at, errno)| (at, errno.into())).collect())
        };
        self.blocking(claim).await.unwrap_or_default()
    }

    /// [`Network::remove`] for this one. Leases stay.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn teardown(&self) -> Result<(), NetworkError> {
        remove_from(&mut self.state().route, &mut self.services().socket, &self.instance, &self.notes)
    }

    /// Removes the bridge of an instance that does not run, the links on it, and the rules; what is not
    /// there needs no removing. The machine's settings that are in the notes ([`Config::notes`]) go back to off
    /// with the last bridge. Makes nothing, so it works where [`Network::open`] fails. Blocks for some
    /// milliseconds a link.
    ///
    /// # Errors
    ///
    /// When the id is none, or the kernel refuses (not root).
    pub fn remove(instance: &str, notes: &Path) -> Result<(), NetworkError> {
        remove_from(&mut Socket::route()?, &mut Socket::netfilter()?, &instance_tag(instance)?, notes)
    }

    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Network) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let network = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&network)).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is shutting down and drops the caller too.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// What was sent is known only after the kernel took it, so a panic elsewhere does not spoil it.
    fn services(&self) -> MutexGuard<'_, ServiceRules> {
        self.services.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The leases are consistent between any two writes, so a panic elsewhere does not spoil them.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn attach_now(&self, pod: &PodRef, pid: u32) -> Result<PodNetwork, NetworkError> {
        let path = format!("/proc/{pid}/ns/net");
        let netns = File::open(&path).map_err(|error| NetworkError::Namespace { pid, error })?;
        let id = namespace_id(&path).map_err(|error| NetworkError::Namespace { pid, error })?;
        if id == self.host_netns {
            return Err(NetworkError::HostNamespace { pid });
        }
        let mut inside = Socket::route_in(netns.as_fd())?;
        let mut state = self.state();
        let ip = match route::link_by_name(&mut inside, POD_INTERFACE)? {
            Some(link) => self.adopt_link(&mut state, pod, &link)?,
            None => self.make_link(&mut state, pod, &netns)?,
        };
        drop(state);
        self.configure(&mut inside, ip)?;
        let mut settling = self.settling.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        settling.wait(&self.bridge.port_name(ip), &self.bridge.name)?;
        Ok(PodNetwork {
            ip,
            gateway: self.cidr.gateway(),
            prefix_len: self.cidr.prefix_len(),
            interface: POD_INTERFACE.into(),
        })
    }

    /// A new link under a new or kept address.
    ///
    /// Links are named after their addresses, and a namespace takes a while to die with its link: so the
    /// kernel itself says whether an address is still somebody's, whatever the leases say.
    fn make_link(&self, state: &mut State, pod: &PodRef, netns: &File) -> Result<Ipv4Addr, NetworkError> {
        let mut ip = state.leases.allocate(pod)?;
        for _ in 0..ATTEMPTS {
            let host_name = self.bridge.port_name(ip);
            let veth = Veth {
                host_name: &host_name,
                host_mac: mac(HOST_MAC, ip),
                bridge: self.bridge.index,
                pod_name: POD_INTERFACE,
                pod_mac: mac(POD_MAC, ip),
                netns: netns.as_fd(),
                mtu: self.bridge.mtu,
            };
            let label = format!("{}/{}", pod.namespace, pod.name);
            let messages = vec![
                route::add_veth(&veth),
                route::set_hairpin(&host_name),
                route::set_alias(&host_name, &label),
            ];
            let doing = || format!("cannot make a link for pod {label}");
            let results =
                state.route.request_each(messages).map_err(|errno| NetlinkError::new(doing(), errno))?;
            match results.first() {
                Some(Err(Errno::EXIST)) => ip = state.leases.allocate_next(pod)?,
                _ => {
                    let made = results.into_iter().collect::<Result<(), Errno>>();
                    made.map_err(|errno| NetlinkError::new(doing(), errno))?;
                    return Ok(ip);
                }
            }
        }
        Err(LeaseError::Exhausted { cidr: self.cidr, in_use: ATTEMPTS }.into())
    }

    /// The link is there already: if its lease was lost, its hardware address says what it was made for.
    fn adopt_link(&self, state: &mut State, pod: &PodRef, link: &Link) -> Result<Ipv4Addr, NetworkError> {
        if let Some(lease) = state.leases.find(&pod.uid).filter(|lease| self.cidr.contains(lease.ip)) {
            return Ok(lease.ip);
        }
        let ip =
            link.mac.and_then(ip_of).filter(|ip| self.cidr.contains(*ip)).ok_or_else(|| {
                NetworkError::ForeignLink { link: link.name.clone(), pod: pod.name.clone() }
            })?;
        state.leases.adopt(pod, ip)?;
        Ok(ip)
    }

    fn configure(&self, inside: &mut Socket, ip: Ipv4Addr) -> Result<(), NetworkError> {
        let link = route::link_by_name(inside, POD_INTERFACE)?
            .ok_or_else(|| NetlinkError::new(format!("cannot find link {POD_INTERFACE}"), Errno::NODEV))?;
        let address = Address { ip, prefix_len: self.cidr.prefix_len(), link: link.index };
        let messages = vec![
            route::set_up(link.index),
            route::add_address(address, self.cidr.broadcast()),
            route::add_default_route(self.cidr.gateway(), link.index),
        ];
        Ok(inside.request(&format!("cannot give a pod the address {ip}"), messages)?)
    }
}

impl Bridge {
    /// What the host's end of the link with this address is called: 15 bytes, the longest name there is.
    pub(crate) fn port_name(&self, ip: Ipv4Addr) -> String {
        format!("{}{:08x}", self.port_prefix, ip.to_bits())
    }
}

fn remove_from(
    route: &mut Socket,
    netfilter: &mut Socket,
    instance: &str,
    notes: &Path,
) -> Result<(), NetworkError> {
    host::remove_bridge(route, instance)?;
    firewall::remove(&host::bridge_name(instance), netfilter)?;
    host::disable_forwarding(route, notes)
}

/// The first six characters of the instance's id, which interface names have room for.
fn instance_tag(instance: &str) -> Result<String, NetworkError> {
    match instance.get(..6) {
        Some(tag) if tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) => Ok(tag.to_owned()),
        _ => Err(NetworkError::Instance { instance: instance.to_owned() }),
    }
}

fn namespace_id(path: &str) -> io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Locally administered prefixes for the two ends of a link, and the bridge.
const POD_MAC: [u8; 2] = [0x0a, 0x58];
const HOST_MAC: [u8; 2] = [0x0e, 0x58];

/// A hardware address made from an IP address: so neighbours' tables stay right when one is reused, and
/// nothing (udev) sees a random one to replace.
fn mac(prefix: [u8; 2], ip: Ipv4Addr) -> Mac {
    let [a, b, c, d] = ip.octets();
    [prefix[0], prefix[1], a, b, c, d]
}

/// The bridge's hardware address.
pub(crate) fn gateway_mac(cidr: Ipv4Cidr) -> Mac {
    mac(POD_MAC, cidr.gateway())
}

fn ip_of(mac: Mac) -> Option<Ipv4Addr> {
    let [first, second, a, b, c, d] = mac;
    ([first, second] == POD_MAC).then(|| Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Protocol;
    use crate::common::on_a_host;
    use crate::services;

    fn open(dir: &std::path::Path) -> Arc<Network> {
        let config = Config {
            dir: dir.to_owned(),
            pod_cidr: "10.42.0.0/24".parse().unwrap(),
            instance: "abcdef".into(),
            mtu: None,
            notes: dir.join("sysctls"),
        };
        Network::open(&config).unwrap()
    }

    fn service(endpoints: usize) -> ServiceRule {
        let address = Some(Ipv4Addr::new(10, 43, 0, 1));
        ServiceRule {
            at: Frontend { address, port: 80, protocol: Protocol::Udp },
            endpoints: (0..endpoints).map(|_| (Ipv4Addr::new(10, 42, 0, 2), 53)).collect(),
            drops_when_empty: false,
            affinity: (endpoints == 2).then_some(60),
            sources: Vec::new(),
        }
    }

    fn set(network: &Network, rules: &[ServiceRule]) {
        network.services().set(&network.firewall, rules).unwrap();
    }

    /// What the kernel says.
    fn held(network: &Network) -> services::Elements {
        services::load(&network.firewall.table, &mut Socket::netfilter().unwrap()).unwrap()
    }

    fn wanted(rules: &[ServiceRule]) -> services::Elements {
        services::wanted(rules, "10.42.0.0/24".parse().unwrap()).elements
    }

    #[test]
    fn the_kernel_says_back_what_was_set() {
        on_a_host(|| async {
            let dir = tempfile::tempdir().unwrap();
            let network = open(dir.path());
            let dropped = ServiceRule { drops_when_empty: true, ..service(0) };
            for rule in [service(3), service(0), service(2), dropped, service(1)] {
                set(&network, std::slice::from_ref(&rule));
                assert_eq!(held(&network), wanted(&[rule]));
            }
        });
    }

    #[test]
    fn a_table_that_somebody_removed_is_made_again() {
        on_a_host(|| async {
            let dir = tempfile::tempdir().unwrap();
            let network = open(dir.path());
            set(&network, &[service(2)]);
            firewall::remove(network.bridge(), &mut Socket::netfilter().unwrap()).unwrap();
            set(&network, &[service(1)]);
            assert_eq!(held(&network), wanted(&[service(1)]));
        });
    }

    #[test]
    fn a_removed_table_is_noticed_and_put_back_and_what_stead_does_itself_is_no_news() {
        on_a_host(|| async {
            let dir = tempfile::tempdir().unwrap();
            let network = open(dir.path());
            let mut watch = network.watch_rules().unwrap();
            set(&network, &[service(2)]);
            assert!(!watch.changed_by_others().unwrap(), "its own change");

            firewall::remove(network.bridge(), &mut Socket::netfilter().unwrap()).unwrap();
            assert!(watch.changed_by_others().unwrap(), "somebody removed the table");
            network.restore_rules().await.unwrap();
            assert_eq!(held(&network), wanted(&[service(2)]));
            assert!(!watch.changed_by_others().unwrap(), "putting it back is no news either");

            // Another stead's table is none of this one's business.
            let other = Firewall::new("stead-fedcba", "10.42.1.0/24".parse().unwrap());
            other.ensure(&mut Socket::netfilter().unwrap()).unwrap();
            assert!(!watch.changed_by_others().unwrap());
        });
    }

    #[test]
    fn teardown_leaves_no_table() {
        on_a_host(|| async {
            let dir = tempfile::tempdir().unwrap();
            let network = open(dir.path());
            assert_eq!(held(&network), services::Elements::new());
            network.teardown().unwrap();
            let mut socket = Socket::netfilter().unwrap();
            let missing = services::load(&network.firewall.table, &mut socket).unwrap_err();
            assert_eq!(missing.errno, Errno::NOENT);
        });
    }
}
