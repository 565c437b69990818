//! The host's side: the bridge, its address, and what the kernel must allow.

use std::path::Path;

use crate::cidr::Ipv4Cidr;
use crate::error::NetworkError;
use crate::netlink::Socket;
use crate::netlink::route::{self, Address, Link, Route};
use crate::network::{Bridge, gateway_mac};
use crate::sysctls;

const DEFAULT_MTU: u32 = 1500;
/// Routes with shorter prefixes send "everything else" somewhere (default routes, those of VPNs) and give
/// way to the bridge's.
const NARROW_ROUTE: u8 = 8;

/// What the bridge of an instance is called, and its table too.
pub(crate) fn bridge_name(instance: &str) -> String {
    format!("stead-{instance}")
}

/// How the names of the bridge's ports begin.
fn port_prefix(instance: &str) -> String {
    format!("v{instance}")
}

/// Finds or makes the bridge, gives it the gateway's address, and takes up ports that lost their bridge.
pub(crate) fn ensure_bridge(
    socket: &mut Socket,
    instance: &str,
    cidr: Ipv4Cidr,
    mtu: Option<u32>,
) -> Result<Bridge, NetworkError> {
    let (name, port_prefix) = (bridge_name(instance), port_prefix(instance));
    let links = route::links(socket)?;
    let found = links.iter().find(|link| link.name == name).cloned();
    refuse_collisions(socket, &links, found.as_ref(), cidr)?;
    let link = match found {
        Some(link) if link.kind != "bridge" => return Err(NetworkError::NotABridge { name }),
        Some(link) => link,
        None => make_bridge(socket, &name, cidr, mtu, &links)?,
    };
    let address = Address { ip: cidr.gateway(), prefix_len: cidr.prefix_len(), link: link.index };
    let mut messages = vec![route::set_up(link.index), route::add_address(address, cidr.broadcast())];
    for port in &links {
        if port.name.starts_with(&port_prefix) && port.kind == "veth" && port.master != Some(link.index) {
            messages.push(route::set_master(port.index, link.index));
            messages.push(route::set_hairpin(&port.name));
        }
    }
    socket.request(&format!("cannot set up bridge {name}"), messages)?;
    Ok(Bridge { name, index: link.index, mtu: link.mtu, port_prefix })
}

fn make_bridge(
    socket: &mut Socket,
    name: &str,
    cidr: Ipv4Cidr,
    mtu: Option<u32>,
    links: &[Link],
) -> Result<Link, NetworkError> {
    let mtu = match mtu {
        Some(mtu) => mtu,
        None => mtu_of_default_route(&route::routes(socket)?, links),
    };
    let doing = format!("cannot make bridge {name}");
    socket.request(&doing, vec![route::add_bridge(name, gateway_mac(cidr), mtu)])?;
    route::link_by_name(socket, name)?.ok_or_else(|| NetworkError::NotABridge { name: name.to_owned() })
}

/// What leaves the host must fit through there.
fn mtu_of_default_route(routes: &[Route], links: &[Link]) -> u32 {
    let default = routes.iter().find(|route| route.prefix_len == 0).and_then(|route| route.link);
    let link = links.iter().find(|link| Some(link.index) == default);
    link.map_or(DEFAULT_MTU, |link| link.mtu)
}

fn refuse_collisions(
    socket: &mut Socket,
    links: &[Link],
    bridge: Option<&Link>,
    cidr: Ipv4Cidr,
) -> Result<(), NetworkError> {
    let own = bridge.map(|link| link.index);
    let name_of = |index: Option<u32>| {
        let link = links.iter().find(|link| Some(link.index) == index);
        link.map_or_else(|| "(none)".to_owned(), |link| link.name.clone())
    };
    for address in route::addresses(socket)? {
        if Some(address.link) != own && cidr.overlaps(address.ip, address.prefix_len) {
            let what = format!("address {}/{}", address.ip, address.prefix_len);
            return Err(NetworkError::Collision { cidr, what, interface: name_of(Some(address.link)) });
        }
    }
    for route in route::routes(socket)? {
        let narrow = route.prefix_len >= NARROW_ROUTE;
        if narrow
            && (own.is_none() || route.link != own)
            && cidr.overlaps(route.destination, route.prefix_len)
        {
            let what = format!("the route to {}/{}", route.destination, route.prefix_len);
            return Err(NetworkError::Collision { cidr, what, interface: name_of(route.link) });
        }
    }
    Ok(())
}

/// Lets connections from the host's loopback go out over the bridge, and answers come back: node ports answer
/// on 127.0.0.1. Only the bridge's setting, which goes with the bridge; the firewall's chain `guard` keeps
/// pods from using it.
pub(crate) fn route_loopback(bridge: &str) -> Result<(), NetworkError> {
    sysctls::set(&format!("net.ipv4.conf.{bridge}.route_localnet"))
}

/// Lets the host pass packets on, between pods and elsewhere, and lets service addresses work between two
/// pods of one bridge (br_netfilter).
///
/// Both are for the whole machine (or network namespace): answers come in by whichever interface they like.
pub(crate) fn enable_forwarding(notes: &Path) -> Result<(), NetworkError> {
    const BRIDGED: &str = "net.bridge.bridge-nf-call-iptables";
    sysctls::turn_on("net.ipv4.ip_forward", notes)?;
    sysctls::turn_on(BRIDGED, notes).or_else(|error| {
        if !sysctls::is_missing(&error) {
            return Err(error);
        }
        tracing::warn!(
            "there is no {BRIDGED}: load the kernel module br_netfilter, or service addresses do not work between pods"
        );
        Ok(())
    })
}

/// Turns off again what [`enable_forwarding`] turned on, when no bridge needs it any more.
pub(crate) fn disable_forwarding(socket: &mut Socket, notes: &Path) -> Result<(), NetworkError> {
    sysctls::turn_off(notes, &route::links(socket)?)
}

/// Removes the bridge of an instance and the links on it.
pub(crate) fn remove_bridge(socket: &mut Socket, instance: &str) -> Result<(), NetworkError> {
    let (name, port_prefix) = (bridge_name(instance), port_prefix(instance));
    let links = route::links(socket)?;
    let ports = links.iter().filter(|link| link.name.starts_with(&port_prefix) && link.kind == "veth");
    let own = links.iter().filter(|link| link.name == name && link.kind == "bridge");
    for link in ports.chain(own) {
        match socket.request_each(vec![route::delete_link(link.index)]) {
            Ok(results) if results == [Err(rustix::io::Errno::NODEV)] => {}
            Ok(results) => {
                for result in results {
                    result.map_err(|errno| failed_removal(&link.name, errno))?;
                }
            }
            Err(errno) => return Err(failed_removal(&link.name, errno)),
        }
    }
    Ok(())
}

fn failed_removal(link: &str, errno: rustix::io::Errno) -> NetworkError {
    crate::netlink::NetlinkError::new(format!("cannot remove link {link}"), errno).into()
}
