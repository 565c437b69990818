//! The host's resolvers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_proto::op::{Message, ResponseCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::Upstreams;
use crate::wire::Transport;

/// How long each resolver has for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many resolvers are asked, one after the other: as many as the C library reads from resolv.conf.
const MAX_SERVERS: usize = 3;

/// Room for a UDP answer at least, whatever the query allows: some resolvers are generous.
const MIN_DATAGRAM: u16 = 4096;

/// Who is asked, and who never is.
pub(crate) struct Upstream {
    source: Upstreams,
    /// Our own addresses: asking them would be asking ourselves, for ever.
    own: Vec<SocketAddr>,
    read: Mutex<Option<(SystemTime, Vec<SocketAddr>)>>,
}

impl Upstream {
    pub(crate) fn new(source: Upstreams, own: Vec<SocketAddr>) -> Self {
        Self { source, own, read: Mutex::default() }
    }

    /// The answer to a query by the first resolver that gives a good one, as it came; else whatever answer
    /// there was; `None` when there was none.
    pub(crate) async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let mut answer = None;
        for server in self.servers().into_iter().take(MAX_SERVERS) {
            match tokio::time::timeout(PATIENCE, exchange(server, query, transport)).await {
                Ok(Ok(found)) if is_final(&found) => return Some(found),
                Ok(Ok(found)) => answer = Some(found),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a resolver failed"),
                Err(_) => tracing::debug!(%server, "a resolver did not answer"),
            }
        }
        answer
    }

    /// Like [`Self::ask`], for an answer in full.
    pub(crate) async fn resolve(&self, query: &Message) -> Option<Message> {
        let query = query.to_vec().ok()?;
        let answer = self.ask(&query, Transport::Udp).await?;
        let answer = Message::from_vec(&answer).ok()?;
        if !answer.metadata.truncation {
            return Some(answer);
        }
        Message::from_vec(&self.ask(&query, Transport::Tcp).await?).ok()
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let all = match &self.source {
            Upstreams::Fixed(servers) => servers.clone(),
            Upstreams::ResolvConf(path) => self.read(path),
        };
        all.into_iter().filter(|server| !self.is_own(*server)).collect()
    }

    fn is_own(&self, server: SocketAddr) -> bool {
        self.own.iter().any(|own| {
            let reaches = own.ip() == server.ip() || own.ip().is_unspecified() && server.ip().is_loopback();
            own.port() == server.port() && reaches
        })
    }

    /// The servers in the file. It is read when it changed: a laptop changes networks.
    fn read(&self, path: &Path) -> Vec<SocketAddr> {
        let Ok(changed) = path.metadata().and_then(|file| file.modified()) else {
            return Vec::new();
        };
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, servers)) = &*read
            && *at == changed
        {
            return servers.clone();
        }
        let servers = parse(&std::fs::read_to_string(path).unwrap_or_default());
        *read = Some((changed, servers.clone()));
        servers
    }
}

/// The `nameserver` lines of a resolv.conf(5). Addresses with a zone (`fe80::1%eth0`) are passed over.
fn parse(text: &str) -> Vec<SocketAddr> {
    let addresses = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then(|| words.next()?.parse::<IpAddr>().ok())?
    });
    addresses.map(|address| SocketAddr::new(address, 53)).collect()
}

/// Whether asking another resolver cannot help.
fn is_final(answer: &[u8]) -> bool {
    let code = answer.get(3).map_or(0, |flags| flags & 0x0f);
    ![ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp].iter().any(|bad| code == bad.low())
}

async fn exchange(server: SocketAddr, query: &[u8], transport: Transport) -> std::io::Result<Vec<u8>> {
    match transport {
        Transport::Udp => exchange_udp(server, query).await,
        Transport::Tcp => exchange_tcp(server, query).await,
    }
}

/// A socket of its own for each query: its random port, and that the system takes answers from the server
/// only, are the protection against forged ones (RFC 5452).
async fn exchange_udp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let allowed = Message::from_vec(query).map_or(0, |query| query.max_payload());
    let mut answer = vec![0; usize::from(allowed.max(MIN_DATAGRAM))];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answers(&answer[..length], query) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn exchange_tcp(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_message(&mut stream, query).await?;
    let answer = read_message(&mut stream).await?;
    if !answers(&answer, query) {
        return Err(std::io::Error::other("the answer is to another question"));
    }
    Ok(answer)
}

/// Whether this is the response to that query: same number, and the same question if it repeats one. It is
/// not decoded: its records are between the resolver and the client.
fn answers(answer: &[u8], query: &[u8]) -> bool {
    let is_response = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let same_question = match (question(answer), question(query)) {
        (Some(theirs), Some(ours)) => theirs.eq_ignore_ascii_case(ours),
        (None, _) => true,
        (Some(_), None) => false,
    };
    is_response && answer[..2] == query[..2] && same_question
}

/// The first question's bytes (RFC 1035, section 4.1.2).
fn question(message: &[u8]) -> Option<&[u8]> {
    const HEADER: usize = 12;
    const TYPE_AND_CLASS: usize = 4;
    if message.get(4..6)? == [0, 0] {
        return None;
    }
    let mut at = HEADER;
    loop {
        match usize::from(*message.get(at)?) {
            0 => return message.get(HEADER..=at + TYPE_AND_CLASS),
            label => at += 1 + label,
        }
    }
}

/// Reads a message behind its length (RFC 1035, section 4.2.2).
pub(crate) async fn read_message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message behind its length, in one segment.
pub(crate) async fn write_message(stream: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_lines_that_name_no_server_are_passed_over() {
        let text = "# nameserver 9.9.9.9\nsearch lan\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # home\n\
                    nameserver fe80::1%eth0\nnameserver nonsense\nnameserver\noptions ndots:1\n";
        let servers: Vec<_> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    }

    #[test]
    fn changed_resolv_conf_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let upstream = Upstream::new(Upstreams::ResolvConf(file.path().into()), Vec::new());
        for (age, server) in [(20, "192.0.2.1"), (10, "192.0.2.2")] {
            std::fs::write(file.path(), format!("nameserver {server}\n")).unwrap();
            let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 - age);
            file.as_file().set_modified(changed).unwrap();
            assert_eq!(upstream.servers(), [SocketAddr::new(server.parse().unwrap(), 53)]);
        }
        std::fs::remove_file(file.path()).unwrap();
        assert_eq!(upstream.servers(), []);
    }

    #[test]
    fn we_are_not_our_own_resolver() {
        let servers = ["10.42.0.1:53", "127.0.0.53:53", "10.42.0.1:5353"].map(|text| text.parse().unwrap());
        let left = |own: &str| {
            let upstream = Upstream::new(Upstreams::Fixed(servers.to_vec()), vec![own.parse().unwrap()]);
            upstream.servers().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(left("10.42.0.1:53"), ["127.0.0.53:53", "10.42.0.1:5353"]);
        assert_eq!(left("0.0.0.0:53"), ["10.42.0.1:53", "10.42.0.1:5353"]);
    }
}
