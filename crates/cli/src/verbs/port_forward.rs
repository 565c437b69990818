//! `port-forward`: ports of this machine that lead into a pod.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use apimachinery::meta::ObjectExt;
use futures::stream::{FuturesUnordered, SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::api::Url;
use crate::error::Error;
use crate::pods;
use crate::remote;
use crate::session::Session;

/// The bytes of the one port.
const DATA: u8 = 0;
/// What goes wrong with it.
const ERROR: u8 = 1;
/// The channel that the next byte names is closed (`v5.channel.k8s.io`).
const CLOSE: u8 = 255;
/// How much is read from a connection at once.
const PIECE: usize = 32 << 10;
/// Connections at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// Flags of `port-forward`.
#[derive(Clone, Debug, clap::Args)]
pub struct PortForward {
    /// POD or TYPE/NAME
    #[arg(value_name = "POD")]
    pod: String,
    /// Ports: REMOTE, LOCAL:REMOTE, or :REMOTE for any free one
    #[arg(value_name = "[LOCAL:]REMOTE", required = true)]
    ports: Vec<String>,
    /// Addresses to listen on: localhost or IP addresses
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', default_value = "localhost")]
    address: Vec<String>,
}

/// A port here, and where it leads.
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    /// 0 for any free one.
    local: u16,
    remote: u16,
}

impl PortForward {
    pub(crate) async fn run(&self, session: &Session) -> Result<(), Error> {
        let pod = pods::of(session, &self.pod).await?.swap_remove(0);
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if phase != "Running" {
            return Err(Error::plain(format!(
                "unable to forward port because pod is not running. Current status={phase}"
            )));
        }
        let service = self.service(session).await?;
        let mappings = self.ports.iter().map(|word| mapping(word, &pod, service.as_ref()));
        let mappings: Vec<Mapping> = mappings.collect::<Result<_, _>>()?;
        let listeners = self.listen(session, &mappings).await?;
        let resource = session.resource("pods").await?;
        let url = resource.part_url(pod.namespace(), pod.name(), "portforward");
        serve(session, &url, &listeners).await
    }

    /// The service, if it is one that is named: its ports are then meant.
    async fn service(&self, session: &Session) -> Result<Option<Value>, Error> {
        let Some((kind, name)) = self.pod.split_once('/') else { return Ok(None) };
        let resource = session.resource(kind).await?;
        if resource.kind != "Service" {
            return Ok(None);
        }
        session.api.get(&resource.url(&session.namespace, name)).await.map(Some)
    }

    async fn listen(
        &self,
        session: &Session,
        mappings: &[Mapping],
    ) -> Result<Vec<(TcpListener, u16)>, Error> {
        let mut listeners = Vec::new();
        for mapping in mappings {
            let mut local = mapping.local;
            for (address, needed) in addresses(&self.address)? {
                match TcpListener::bind((address, local)).await {
                    Ok(listener) => {
                        let here = listener.local_addr()?;
                        // The same free port on every address.
                        local = here.port();
                        session.say(format!("Forwarding from {here} -> {}", mapping.remote))?;
                        listeners.push((listener, mapping.remote));
                    }
                    // localhost is both; a machine without one of them has the other.
                    Err(_) if !needed && !listeners.is_empty() => {}
                    Err(error) => {
                        return Err(Error::plain(format!(
                            "unable to listen on {address} port {local}: {error}; choose another local port, as in \
                             {}:{}",
                            local.wrapping_add(1),
                            mapping.remote
                        )));
                    }
                }
            }
        }
        Ok(listeners)
    }
}

/// The addresses that are named, and whether each must do.
fn addresses(named: &[String]) -> Result<Vec<(IpAddr, bool)>, Error> {
    let mut all = Vec::new();
    for name in named {
        if name == "localhost" {
            all.extend([(Ipv4Addr::LOCALHOST.into(), true), (Ipv6Addr::LOCALHOST.into(), false)]);
            continue;
        }
        let address = name
            .parse()
            .map_err(|_| Error::plain(format!("{name} is not a valid IP: name addresses, or localhost")))?;
        all.push((address, true));
    }
    Ok(all)
}

/// Reads `REMOTE`, `LOCAL:REMOTE` or `:REMOTE`; the remote one may have a name. Of a service, its own ports are meant.
fn mapping(word: &str, pod: &Value, service: Option<&Value>) -> Result<Mapping, Error> {
    let wrong = |why: &str| Error::plain(format!("invalid port {word:?}: {why}"));
    let (local, remote) = match word.split_once(':') {
        None => (None, word),
        Some((local, remote)) => (Some(local), remote),
    };
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let said = number(remote);
    let (asked, inside) = match service {
        Some(service) => service_port(service, remote, pod),
        None => said.or_else(|| pod_port(pod, remote)).map(|port| (port, port)),
    }
    .ok_or_else(|| wrong(&format!("{remote:?} is no port, and nothing has it as a name")))?;
    let local = match local {
        None => said.unwrap_or(asked),
        Some("") => 0,
        Some(local) => {
            number(local).ok_or_else(|| wrong("LOCAL must be 1 to 65535, or nothing for any free one"))?
        }
    };
    Ok(Mapping { local, remote: inside })
}

/// A port of a service, and where it leads in the pod.
fn service_port(service: &Value, word: &str, pod: &Value) -> Option<(u16, u16)> {
    let ports = service["spec"]["ports"].as_array()?;
    let number: Option<u64> = word.parse().ok();
    let is_meant =
        |port: &&Value| port["name"] == word || number.is_some_and(|number| port["port"] == number);
    let port = ports.iter().find(is_meant)?;
    let own = u16::try_from(port["port"].as_u64()?).ok()?;
    let inside = match &port["targetPort"] {
        Value::String(name) => pod_port(pod, name)?,
        Value::Number(number) => u16::try_from(number.as_u64()?).ok()?,
        _ => own,
    };
    // One without an address of its own has no ports of its own either.
    let headless = service["spec"]["clusterIP"] == "None";
    Some((own, if headless && port["name"] != word { own } else { inside }))
}

/// The number of a port that a container of the pod has given a name.
fn pod_port(pod: &Value, name: &str) -> Option<u16> {
    let containers = pod["spec"]["containers"].as_array()?.iter();
    let mut ports = containers.filter_map(|container| container["ports"].as_array()).flatten();
    ports.find(|port| port["name"] == name)?["containerPort"].as_u64()?.try_into().ok()
}

async fn serve(session: &Session, url: &Url, listeners: &[(TcpListener, u16)]) -> Result<(), Error> {
    let mut forwards = FuturesUnordered::new();
    loop {
        let accepting = listeners
            .iter()
            .map(|(listener, remote)| Box::pin(async move { (listener.accept().await, *remote) }));
        let full = forwards.len() >= MAX_CONNECTIONS;
        let accepted = async {
            if full {
                return std::future::pending().await;
            }
            futures::future::select_all(accepting).await.0
        };
        tokio::select! {
            (accepted, remote) = accepted => {
                let (connection, _) = accepted?;
                let here = connection.local_addr()?.port();
                session.say(format!("Handling connection for {here}"))?;
                forwards.push(forward(session, url, connection, (here, remote)));
            }
            Some(ended) = forwards.next(), if !forwards.is_empty() => ended?,
        }
    }
}

/// Carries one connection. What goes wrong with it is said, and the others go on; when the pod cannot be reached any
/// more, that is an error.
async fn forward(
    session: &Session,
    url: &Url,
    mut connection: TcpStream,
    (here, remote): (u16, u16),
) -> Result<(), Error> {
    let url = url.clone().with("ports", remote.to_string());
    let pod = remote::connect(session, &url)
        .await
        .map_err(|error| Error::plain(format!("lost connection to pod: {error}")))?;
    let can_close = pod.supports_stream_close();
    let (sink, stream) = pod.into_stream().split();
    let (from, to) = connection.split();
    let receiving = receive(stream, to);
    let sending = async {
        // Whoever stops sending may still want the answer.
        let _ = send(from, sink, can_close).await;
        std::future::pending::<()>().await;
    };
    let failure = tokio::select! {
        failure = receiving => failure,
        () = sending => None,
    };
    if let Some(failure) = failure {
        session.note(format!("error: an error occurred forwarding {here} -> {remote}: {failure}"))?;
    }
    Ok(())
}

type Socket<S> = WebSocketStream<S>;

async fn send<S>(
    mut from: ReadHalf<'_>,
    mut sink: SplitSink<Socket<S>, Message>,
    can_close: bool,
) -> Result<(), tokio_tungstenite::tungstenite::Error>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut piece = vec![0; PIECE];
    piece[0] = DATA;
    while let Ok(count @ 1..) = from.read(&mut piece[1..]).await {
        sink.send(Message::binary(piece[..=count].to_vec())).await?;
    }
    let end = if can_close { Message::binary(vec![CLOSE, DATA]) } else { Message::Close(None) };
    sink.send(end).await
}

/// Gives the user's side what the pod sends. Answers with what went wrong, if anything did.
async fn receive<S>(mut stream: SplitStream<Socket<S>>, mut to: WriteHalf<'_>) -> Option<String>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    // The first message of each channel says its port.
    let mut begun = [false; 2];
    let mut failure = None;
    while let Some(Ok(message)) = stream.next().await {
        let Message::Binary(bytes) = message else {
            if message.is_close() {
                break;
            }
            continue;
        };
        let Some((channel @ (&DATA | &ERROR), bytes)) = bytes.split_first() else { continue };
        let first = !std::mem::replace(&mut begun[usize::from(*channel)], true);
        match *channel {
            _ if first => {}
            ERROR => failure = Some(String::from_utf8_lossy(bytes).into_owned()),
            _ if to.write_all(bytes).await.is_err() => return failure,
            _ => {}
        }
    }
    let _ = to.shutdown().await;
    failure
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_are_numbers_or_names_of_the_pod_or_the_service() {
        let pod = json!({"spec": {"containers": [{"name": "a"},
            {"name": "b", "ports": [{"name": "sql", "containerPort": 5432}]}]}});
        let service = json!({"spec": {"ports": [{"name": "db", "port": 5000, "targetPort": "sql"},
            {"port": 80, "targetPort": 8080}]}});
        let check = |word, service| {
            mapping(word, &pod, service).map(|m| (m.local, m.remote)).map_err(|error| error.to_string())
        };
        assert_eq!(check("5432", None), Ok((5432, 5432)));
        assert_eq!(check("15432:5432", None), Ok((15432, 5432)));
        assert_eq!(check(":sql", None), Ok((0, 5432)));
        assert_eq!(check("sql", None), Ok((5432, 5432)));
        assert_eq!(check("5000", Some(&service)), Ok((5000, 5432)));
        assert_eq!(check(":db", Some(&service)), Ok((0, 5432)));
        assert_eq!(check("8000:80", Some(&service)), Ok((8000, 8080)));
        for (word, service) in [("81", Some(&service)), ("http", None), ("1:0", None), ("x:80", None)] {
            let refusal = check(word, service).expect_err(word);
            assert!(refusal.starts_with(&format!("error: invalid port {word:?}: ")), "{refusal}");
        }
    }

    #[test]
    fn addresses_are_localhost_or_numbers() {
        let check = |name: &str| addresses(&[name.to_owned()]).map_err(|error| error.to_string());
        assert_eq!(check("0.0.0.0"), Ok(vec![(Ipv4Addr::UNSPECIFIED.into(), true)]));
        assert_eq!(check("localhost").map(|all| all.len()), Ok(2));
        assert_eq!(
            check("here"),
            Err("error: here is not a valid IP: name addresses, or localhost".to_owned())
        );
    }
}
