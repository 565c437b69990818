//! A netlink socket: several requests in one system call, each with its answer.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname, netlink, recv,
    send, socket_with, sockopt,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::message::{HEADER_LEN, Message, NLM_F_ACK, NLM_F_DUMP};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTMGRP_LINK: u32 = 1;
/// `NFNLGRP_NFTABLES` as a bit.
const NFNLGRP_NFTABLES: u32 = 1 << 6;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// The kernel answers at once; a longer silence is a fault and not a reason to hang.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// A batch of nf_tables goes out as one datagram, however many services it is about.
const SEND_BUFFER: usize = 8 << 20;
/// The kernel's largest part of a dump is 32 KiB.
const RECEIVE_BUFFER: usize = 64 << 10;
/// How often a dump that a change ran across is begun again.
const DUMP_ATTEMPTS: usize = 16;

/// A request that the kernel refused, or a socket that failed.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {errno}")]
pub struct NetlinkError {
    /// What was being done, as words for a person.
    pub doing: String,
    /// What the kernel said.
    pub errno: Errno,
}

impl NetlinkError {
    pub(crate) fn new(doing: impl Into<String>, errno: Errno) -> NetlinkError {
        NetlinkError { doing: doing.into(), errno }
    }
}

/// A socket of one netlink family, bound to the network namespace in which it was opened.
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One message of an answer, without its header.
struct Answer<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    /// The socket that asked for what this tells of.
    port: u32,
    body: &'a [u8],
}

/// What the kernel tells of a change that somebody made.
pub(crate) struct Notice<'a> {
    pub(crate) kind: u16,
    /// The socket that made it.
    pub(crate) port: u32,
    pub(crate) body: &'a [u8],
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Socket {
    /// Links, addresses and routes of the caller's network namespace.
    pub(crate) fn route() -> Result<Socket, NetlinkError> {
        Socket::open(None)
    }

    /// Links, addresses and routes of another network namespace.
    ///
    /// A thread enters the namespace, opens the socket and ends; no other thread ever changes its own.
    pub(crate) fn route_in(netns: BorrowedFd<'_>) -> Result<Socket, NetlinkError> {
        std::thread::scope(|scope| {
            let opened = std::thread::Builder::new().name("netns".into()).spawn_scoped(scope, || {
                move_into_link_name_space(netns, Some(LinkNameSpaceType::Network)).map_err(|errno| {
                    NetlinkError::new("cannot enter the network namespace of the pod", errno)
                })?;
                Socket::route()
            });
            match opened {
                Ok(thread) => thread.join().expect("opening a socket does not panic"),
                Err(error) => {
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
                    Err(NetlinkError::new("cannot start a thread to enter a network namespace", errno))
                }
            }
        })
    }

    /// nf_tables of the caller's network namespace.
    pub(crate) fn netfilter() -> Result<Socket, NetlinkError> {
        Socket::open(Some(netlink::NETFILTER))
    }

    /// Every change of nf_tables in the caller's network namespace; see [`Socket::notices`].
    pub(crate) fn netfilter_events() -> Result<Socket, NetlinkError> {
        let failed = |errno| NetlinkError::new("cannot watch nf_tables", errno);
        let socket = Socket::open(Some(netlink::NETFILTER))?;
        bind(&socket.fd, &netlink::SocketAddrNetlink::new(0, NFNLGRP_NFTABLES)).map_err(failed)?;
        rustix::fs::fcntl_setfl(&socket.fd, rustix::fs::OFlags::NONBLOCK).map_err(failed)?;
        Ok(socket)
    }

    /// The number that the kernel knows this socket by; it has one from its first message on.
    pub(crate) fn port(&self) -> Result<u32, NetlinkError> {
        let name = getsockname(&self.fd).and_then(netlink::SocketAddrNetlink::try_from);
        name.map(|name| name.pid())
            .map_err(|errno| NetlinkError::new("cannot ask for a socket's name", errno))
    }

    /// Shows what one datagram tells; `Errno::AGAIN` when there is none, `Errno::NOBUFS` when some were lost.
    pub(crate) fn notices(&mut self, mut each: impl FnMut(Notice<'_>)) -> Result<(), Errno> {
        self.receive(|answer| each(Notice { kind: answer.kind, port: answer.port, body: answer.body }))
    }

    /// Wakes when any link of the caller's network namespace changes: see [`Socket::wait_for_any`], which
    /// answers `Errno::AGAIN` after `patience`.
    pub(crate) fn link_events(patience: Duration) -> Result<Socket, NetlinkError> {
        let failed = |errno| NetlinkError::new("cannot watch links", errno);
        let socket = Socket::open(None)?;
        bind(&socket.fd, &netlink::SocketAddrNetlink::new(0, RTMGRP_LINK)).map_err(failed)?;
        sockopt::set_socket_timeout(&socket.fd, sockopt::Timeout::Recv, Some(patience)).map_err(failed)?;
        Ok(socket)
    }

    /// Throws away what has come so far.
    pub(crate) fn drain(&mut self) {
        let buffer = &mut self.buffer;
        let mut receive = || recv(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT);
        while matches!(receive(), Ok(_) | Err(Errno::NOBUFS | Errno::INTR)) {}
    }

    /// Waits for a datagram, whatever it says.
    pub(crate) fn wait_for_any(&mut self) -> Result<(), Errno> {
        self.receive(|_| {})
    }

    fn open(protocol: Option<Protocol>) -> Result<Socket, NetlinkError> {
        let failed = |errno| NetlinkError::new("cannot open a netlink socket", errno);
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map_err(failed)?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_WITHIN)).map_err(failed)?;
        if protocol.is_some() && sockopt::set_socket_send_buffer_size_force(&fd, SEND_BUFFER).is_err() {
            sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER).map_err(failed)?;
        }
        Ok(Socket { fd, sequence: 0, buffer: vec![0; RECEIVE_BUFFER] })
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends the messages in one system call; the kernel takes them in order, each on its own. Answers with
    /// one result for each.
    pub(crate) fn request_each(&mut self, messages: Vec<Message>) -> Result<Vec<Result<(), Errno>>, Errno> {
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        let mut results = vec![None; messages.len()];
        for message in messages {
            let sequence = self.next_sequence();
            datagram.extend(message.seal(NLM_F_ACK, sequence));
        }
        self.send(&datagram)?;
        while results.iter().any(Option::is_none) {
            self.receive(|answer| {
                let index = answer.sequence.wrapping_sub(first) as usize;
                if let (NLMSG_ERROR, Some(result)) = (answer.kind, results.get_mut(index)) {
                    *result = Some(error_code(answer.body));
                }
            })?;
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Sends the messages; an error of any of them is the answer.
    pub(crate) fn request(&mut self, doing: &str, messages: Vec<Message>) -> Result<(), NetlinkError> {
        let results = self.request_each(messages).map_err(|errno| NetlinkError::new(doing, errno))?;
        results.into_iter().collect::<Result<(), Errno>>().map_err(|errno| NetlinkError::new(doing, errno))
    }

    /// Sends messages that hold or fail together: `begin`, the messages, `end` (nf_tables' transactions).
    pub(crate) fn transaction(
        &mut self,
        begin: Message,
        messages: Vec<Message>,
        end: Message,
    ) -> Result<(), Errno> {
        let first = self.next_sequence();
        let mut datagram = begin.seal(0, first);
        let mut last = first;
        let count = messages.len();
        for (index, message) in messages.into_iter().enumerate() {
            last = self.next_sequence();
            datagram.extend(message.seal(if index + 1 == count { NLM_F_ACK } else { 0 }, last));
        }
        let end_sequence = self.next_sequence();
        datagram.extend(end.seal(0, end_sequence));
        self.send(&datagram)?;
        let mut refused = Ok(());
        let mut done = count == 0;
        while !done {
            self.receive(|answer| {
                if answer.kind != NLMSG_ERROR
                    || answer.sequence.wrapping_sub(first) > last.wrapping_sub(first)
                {
                    return;
                }
                if refused.is_ok() {
                    refused = error_code(answer.body);
                }
                // The last one is acknowledged in any case; the first one answers for the whole batch when
                // it was not even looked at.
                done |= answer.sequence == last || answer.sequence == first;
            })?;
        }
        refused
    }

    /// Everything that the request lists, one body each.
    pub(crate) fn dump(&mut self, doing: &str, message: &Message) -> Result<Vec<Vec<u8>>, NetlinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            match self.dump_once(message) {
                Ok(Some(bodies)) => return Ok(bodies),
                Ok(None) => {}
                Err(errno) => return Err(NetlinkError::new(doing, errno)),
            }
        }
        Err(NetlinkError::new(doing, Errno::AGAIN))
    }

    /// `None` if something changed while the kernel was listing.
    fn dump_once(&mut self, message: &Message) -> Result<Option<Vec<Vec<u8>>>, Errno> {
        let sequence = self.next_sequence();
        self.send(&message.clone().seal(NLM_F_DUMP, sequence))?;
        let mut bodies = Vec::new();
        let mut ended = None;
        let mut interrupted = false;
        while ended.is_none() {
            self.receive(|answer| {
                if answer.sequence != sequence {
                    return;
                }
                interrupted |= answer.flags & NLM_F_DUMP_INTR != 0;
                match answer.kind {
                    NLMSG_DONE | NLMSG_ERROR => ended = Some(error_code(answer.body)),
                    _ => bodies.push(answer.body.to_vec()),
                }
            })?;
        }
        match ended {
            Some(Err(Errno::INTR)) => Ok(None),
            Some(Err(errno)) => Err(errno),
            _ => Ok((!interrupted).then_some(bodies)),
        }
    }

    /// The one thing that the request names.
    pub(crate) fn get(&mut self, message: Message) -> Result<Vec<u8>, Errno> {
        let sequence = self.next_sequence();
        self.send(&message.seal(0, sequence))?;
        let mut found = None;
        while found.is_none() {
            self.receive(|answer| {
                if answer.sequence == sequence {
                    found = Some(match answer.kind {
                        NLMSG_ERROR => Err(error_code(answer.body).err().unwrap_or(Errno::PROTO)),
                        _ => Ok(answer.body.to_vec()),
                    });
                }
            })?;
        }
        found.unwrap_or(Err(Errno::PROTO))
    }

    fn send(&self, datagram: &[u8]) -> Result<(), Errno> {
        rustix::io::retry_on_intr(|| send(&self.fd, datagram, SendFlags::empty())).map(|_| ())
    }

    /// Reads one datagram and shows each message in it.
    fn receive(&mut self, mut each: impl FnMut(Answer<'_>)) -> Result<(), Errno> {
        let buffer = &mut self.buffer;
        let (read, len) = rustix::io::retry_on_intr(|| recv(&self.fd, &mut buffer[..], RecvFlags::TRUNC))?;
        if len > read {
            return Err(Errno::MSGSIZE);
        }
        let mut rest = &self.buffer[..len];
        while rest.len() >= HEADER_LEN {
            let field = |at: usize| u32::from_ne_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
            let len = field(0) as usize;
            let body = rest.get(HEADER_LEN..len).ok_or(Errno::PROTO)?;
            each(Answer {
                kind: u16::from_ne_bytes([rest[4], rest[5]]),
                flags: u16::from_ne_bytes([rest[6], rest[7]]),
                sequence: field(8),
                port: field(12),
                body,
            });
            rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// What `struct nlmsgerr` says: zero is an acknowledgement, anything else a negated errno.
fn error_code(body: &[u8]) -> Result<(), Errno> {
    let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(code.saturating_neg())) }
}
