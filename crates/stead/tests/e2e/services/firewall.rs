//! The kernel's side, without the program `nft`, which a machine may lack: what tables and links there are, and
//! the removal of one table (include/uapi/linux/netfilter/nfnetlink.h).

use std::net::Ipv4Addr;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::os::fd::AsRawFd;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_GETTABLE: u16 = 1;
const NFT_MSG_DELTABLE: u16 = 2;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const NFTA_TABLE_NAME: u16 = 1;
const NFPROTO_IPV4: u8 = 2;

fn message(kind: u16, flags: u16, family: u8, resource: u16, table: Option<&str>) -> Vec<u8> {
    let mut body = vec![family, 0];
    body.extend(resource.to_be_bytes());
    if let Some(name) = table {
        let len = u16::try_from(name.len() + 5).expect("a short name");
        body.extend(len.to_ne_bytes());
        body.extend(NFTA_TABLE_NAME.to_ne_bytes());
        body.extend(name.as_bytes());
        body.push(0);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    let len = u32::try_from(body.len() + 16).expect("a short message");
    let mut bytes = len.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(body);
    bytes
}

/// Sends this and answers with the kind of the first message that comes back, and its error.
fn ask(datagram: &[u8]) -> (u16, i32) {
    let fd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)
            .expect("a socket");
    send(fd.as_raw_fd(), datagram, MsgFlags::empty()).expect("sent");
    let mut answer = [0; 4096];
    let len = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty()).expect("an answer");
    assert!(len >= 20, "half an answer");
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    (kind, i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]))
}

/// Whether there is a table of this name.
pub(super) fn has_table(name: &str) -> bool {
    let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
    match ask(&message(kind, 0, NFPROTO_IPV4, 0, Some(name))) {
        (NLMSG_ERROR, error) => {
            assert_eq!(error, -nix::libc::ENOENT);
            false
        }
        _ => true,
    }
}

/// Removes a table with all that is in it.
pub(super) fn delete_table(name: &str) {
    let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_DELTABLE;
    let mut batch = message(NFNL_MSG_BATCH_BEGIN, 0, 0, NFNL_SUBSYS_NFTABLES, None);
    batch.extend(message(kind, NLM_F_ACK, NFPROTO_IPV4, 0, Some(name)));
    batch.extend(message(NFNL_MSG_BATCH_END, 0, 0, NFNL_SUBSYS_NFTABLES, None));
    assert_eq!(ask(&batch), (NLMSG_ERROR, 0), "the table {name} cannot be removed");
}

/// The name of the interface with this address.
pub(super) fn interface_of(address: Ipv4Addr) -> Option<String> {
    let mut all = nix::ifaddrs::getifaddrs().expect("interfaces");
    let has = |held: Option<nix::sys::socket::SockaddrStorage>| {
        held.as_ref().and_then(|held| held.as_sockaddr_in()).is_some_and(|held| held.ip() == address)
    };
    all.find(|interface| has(interface.address)).map(|interface| interface.interface_name)
}

/// The interfaces whose names begin so.
pub(super) fn interfaces(prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/sys/class/net").expect("interfaces");
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| name.starts_with(prefix)).collect()
}
