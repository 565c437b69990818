//! The kernel's table of connections (include/uapi/linux/netfilter/nfnetlink_conntrack.h).

use std::net::Ipv4Addr;

use rustix::io::Errno;

use super::{Attributes, Message, NetlinkError, Socket};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const NLA_F_NESTED: u16 = 0x8000;
const AF_INET: u8 = 2;

/// A connection of one protocol, as far as it matters where it was sent and where it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) protocol: u8,
    /// Where the client sent its packets.
    pub(crate) destination: (Ipv4Addr, u16),
    /// Who answers.
    pub(crate) endpoint: (Ipv4Addr, u16),
    /// What the kernel calls it.
    original: Vec<u8>,
    id: Vec<u8>,
}

/// All IPv4 connections that the kernel knows.
pub(crate) fn connections(socket: &mut Socket) -> Result<Vec<Connection>, NetlinkError> {
    let bodies = socket.dump("cannot list connections", &message(IPCTNL_MSG_CT_GET))?;
    Ok(bodies.iter().filter_map(|body| Connection::parse(Attributes(body.get(4..)?))).collect())
}

/// Makes the kernel forget these: the next packet of each is that of a new one.
pub(crate) fn forget(socket: &mut Socket, connections: &[Connection]) -> Result<(), NetlinkError> {
    let doing = "cannot forget connections";
    let deletions = connections.iter().map(|connection| {
        message(IPCTNL_MSG_CT_DELETE)
            .attr(CTA_TUPLE_ORIG | NLA_F_NESTED, &connection.original)
            .attr(CTA_ID, &connection.id)
    });
    let failed = |errno| NetlinkError::new(doing, errno);
    for result in socket.request_each(deletions.collect()).map_err(failed)? {
        // It ended by itself meanwhile.
        result.or_else(|errno| if errno == Errno::NOENT { Ok(()) } else { Err(failed(errno)) })?;
    }
    Ok(())
}

impl Connection {
    fn parse(attributes: Attributes<'_>) -> Option<Connection> {
        let original = attributes.nested(CTA_TUPLE_ORIG);
        let reply = attributes.nested(CTA_TUPLE_REPLY);
        let side = |tuple: Attributes<'_>, address, port| {
            let port = tuple.nested(CTA_TUPLE_PROTO).find(port)?.try_into().ok()?;
            Some((tuple.nested(CTA_TUPLE_IP).ipv4(address)?, u16::from_be_bytes(port)))
        };
        Some(Connection {
            protocol: *original.nested(CTA_TUPLE_PROTO).find(CTA_PROTO_NUM)?.first()?,
            destination: side(original, CTA_IP_V4_DST, CTA_PROTO_DST_PORT)?,
            endpoint: side(reply, CTA_IP_V4_SRC, CTA_PROTO_SRC_PORT)?,
            original: attributes.find(CTA_TUPLE_ORIG)?.to_vec(),
            id: attributes.find(CTA_ID)?.to_vec(),
        })
    }
}

fn message(kind: u16) -> Message {
    Message::new(NFNL_SUBSYS_CTNETLINK << 8 | kind, 0, &[AF_INET, 0, 0, 0])
}
