//! Links, addresses and routes (include/uapi/linux/{rtnetlink,if_link,if_addr}.h).

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use super::message::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use super::{Attributes, Message, NetlinkError, Socket};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const VETH_INFO_PEER: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;

const AF_INET: u8 = 2;
const IFF_UP: u32 = 1;
const IF_OPER_UP: u8 = 6;
const BR_STATE_FORWARDING: u8 = 3;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

/// The longest alias that a link may have, in bytes (`IFALIASZ` less the NUL).
const ALIAS_MAX: usize = 255;

/// A hardware address.
pub(crate) type Mac = [u8; 6];

/// What is known of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// `bridge`, `veth`, …; empty for hardware.
    pub(crate) kind: String,
    /// The bridge that it is a port of.
    pub(crate) master: Option<u32>,
    pub(crate) mtu: u32,
    /// It has a carrier, and the kernel acts on it.
    pub(crate) operational: bool,
    /// It is a port of a bridge that passes frames.
    pub(crate) forwarding: bool,
    /// Its hardware address, when it has one of six bytes.
    pub(crate) mac: Option<Mac>,
}

/// An IPv4 address on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) ip: Ipv4Addr,
    pub(crate) prefix_len: u8,
    pub(crate) link: u32,
}

/// An IPv4 route of the main table; the default route has prefix length 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: Ipv4Addr,
    pub(crate) prefix_len: u8,
    pub(crate) link: Option<u32>,
}

/// A pod's link to be: both ends.
pub(crate) struct Veth<'a> {
    pub(crate) host_name: &'a str,
    pub(crate) host_mac: Mac,
    pub(crate) bridge: u32,
    pub(crate) pod_name: &'a str,
    pub(crate) pod_mac: Mac,
    pub(crate) netns: BorrowedFd<'a>,
    pub(crate) mtu: u32,
}

/// `struct ifinfomsg`.
fn link_header(index: u32, flags: u32) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&flags.to_ne_bytes());
    header
}

/// Makes a bridge that is up, with a hardware address that does not follow its ports'.
pub(crate) fn add_bridge(name: &str, mac: Mac, mtu: u32) -> Message {
    Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link_header(0, IFF_UP))
        .string(IFLA_IFNAME, name)
        .u32(IFLA_MTU, mtu)
        .attr(IFLA_ADDRESS, &mac)
        .nest(IFLA_LINKINFO, |info| {
            info.string(IFLA_INFO_KIND, "bridge")
                .nest(IFLA_INFO_DATA, |data| data.u8(IFLA_BR_MCAST_SNOOPING, 0))
        })
}

/// Makes both ends of a pod's link: the host's end is up and a port of the bridge, the pod's end is in the
/// pod's namespace and still down.
pub(crate) fn add_veth(veth: &Veth<'_>) -> Message {
    // A descriptor is never negative; the kernel reads it as u32.
    let netns = veth.netns.as_raw_fd().unsigned_abs();
    Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &link_header(0, IFF_UP))
        .string(IFLA_IFNAME, veth.host_name)
        .u32(IFLA_MTU, veth.mtu)
        .attr(IFLA_ADDRESS, &veth.host_mac)
        .u32(IFLA_MASTER, veth.bridge)
        .nest(IFLA_LINKINFO, |info| {
            info.string(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    peer.raw(&link_header(0, 0))
                        .string(IFLA_IFNAME, veth.pod_name)
                        .u32(IFLA_MTU, veth.mtu)
                        .attr(IFLA_ADDRESS, &veth.pod_mac)
                        .u32(IFLA_NET_NS_FD, netns)
                })
            })
        })
}

/// Makes the link a port of the bridge.
pub(crate) fn set_master(index: u32, bridge: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &link_header(index, IFF_UP)).u32(IFLA_MASTER, bridge)
}

/// Lets frames leave the port they came in by: a pod that reaches itself through a service address.
pub(crate) fn set_hairpin(name: &str) -> Message {
    Message::new(RTM_NEWLINK, 0, &link_header(0, 0)).string(IFLA_IFNAME, name).nest(IFLA_LINKINFO, |info| {
        info.string(IFLA_INFO_SLAVE_KIND, "bridge")
            .nest(IFLA_INFO_SLAVE_DATA, |data| data.u8(IFLA_BRPORT_MODE, 1))
    })
}

/// Labels the link for people.
pub(crate) fn set_alias(name: &str, alias: &str) -> Message {
    let mut end = alias.len().min(ALIAS_MAX);
    while !alias.is_char_boundary(end) {
        end -= 1;
    }
    Message::new(RTM_NEWLINK, 0, &link_header(0, 0))
        .string(IFLA_IFNAME, name)
        .attr(IFLA_IFALIAS, &alias.as_bytes()[..end])
}

pub(crate) fn set_up(index: u32) -> Message {
    Message::new(RTM_NEWLINK, 0, &link_header(index, IFF_UP))
}

pub(crate) fn delete_link(index: u32) -> Message {
    Message::new(RTM_DELLINK, 0, &link_header(index, 0))
}

/// Adds the address, or leaves it as it is.
pub(crate) fn add_address(address: Address, broadcast: Ipv4Addr) -> Message {
    let mut header = [0; 8];
    header[0] = AF_INET;
    header[1] = address.prefix_len;
    header[4..8].copy_from_slice(&address.link.to_ne_bytes());
    Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &header)
        .attr(IFA_LOCAL, &address.ip.octets())
        .attr(IFA_ADDRESS, &address.ip.octets())
        .attr(IFA_BROADCAST, &broadcast.octets())
}

/// Sends everything that has no nearer route to the gateway.
pub(crate) fn add_default_route(gateway: Ipv4Addr, link: u32) -> Message {
    let header = [AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0];
    Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &header)
        .attr(RTA_GATEWAY, &gateway.octets())
        .u32(RTA_OIF, link)
}

/// The link of this name; `None` if there is none.
pub(crate) fn link_by_name(socket: &mut Socket, name: &str) -> Result<Option<Link>, NetlinkError> {
    let request = Message::new(RTM_GETLINK, 0, &link_header(0, 0)).string(IFLA_IFNAME, name);
    match socket.get(request) {
        Ok(body) => Ok(parse_link(&body)),
        Err(Errno::NODEV) => Ok(None),
        Err(errno) => Err(NetlinkError::new(format!("cannot look up link {name}"), errno)),
    }
}

pub(crate) fn links(socket: &mut Socket) -> Result<Vec<Link>, NetlinkError> {
    let bodies = socket.dump("cannot list links", &Message::new(RTM_GETLINK, 0, &link_header(0, 0)))?;
    Ok(bodies.iter().filter_map(|body| parse_link(body)).collect())
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let attributes = Attributes(body.get(16..)?);
    let info = attributes.nested(IFLA_LINKINFO);
    Some(Link {
        index,
        name: attributes.string(IFLA_IFNAME)?,
        kind: info.string(IFLA_INFO_KIND).unwrap_or_default(),
        master: attributes.u32(IFLA_MASTER),
        mtu: attributes.u32(IFLA_MTU).unwrap_or_default(),
        operational: attributes.find(IFLA_OPERSTATE) == Some(&[IF_OPER_UP]),
        forwarding: info.nested(IFLA_INFO_SLAVE_DATA).find(IFLA_BRPORT_STATE) == Some(&[BR_STATE_FORWARDING]),
        mac: attributes.find(IFLA_ADDRESS).and_then(|mac| mac.try_into().ok()),
    })
}

/// All IPv4 addresses of the namespace.
pub(crate) fn addresses(socket: &mut Socket) -> Result<Vec<Address>, NetlinkError> {
    let header = [AF_INET, 0, 0, 0, 0, 0, 0, 0];
    let bodies = socket.dump("cannot list addresses", &Message::new(RTM_GETADDR, 0, &header))?;
    Ok(bodies.iter().filter_map(|body| parse_address(body)).collect())
}

fn parse_address(body: &[u8]) -> Option<Address> {
    let link = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?);
    let attributes = Attributes(body.get(8..)?);
    let ip = attributes.ipv4(IFA_LOCAL).or_else(|| attributes.ipv4(IFA_ADDRESS))?;
    Some(Address { ip, prefix_len: *body.get(1)?, link })
}

/// The IPv4 routes of the main table.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<Route>, NetlinkError> {
    let header = [AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let bodies = socket.dump("cannot list routes", &Message::new(RTM_GETROUTE, 0, &header))?;
    Ok(bodies.iter().filter_map(|body| parse_route(body)).collect())
}

fn parse_route(body: &[u8]) -> Option<Route> {
    let attributes = Attributes(body.get(12..)?);
    let table = attributes.u32(RTA_TABLE).unwrap_or_else(|| u32::from(body[4]));
    (table == u32::from(RT_TABLE_MAIN)).then(|| Route {
        destination: attributes.ipv4(RTA_DST).unwrap_or(Ipv4Addr::UNSPECIFIED),
        prefix_len: body[1],
        link: attributes.u32(RTA_OIF),
    })
}
