//! Real sockets on loopback: a fake API server behind the client, a fake resolver behind the forwarder.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dns::{Config, Dns, Upstreams};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use http::{Request, Response};
use http_body_util::StreamBody;
use http_body_util::combinators::BoxBody;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, oneshot};

/// An API server whose watches yield what the test says.
#[derive(Clone, Default)]
struct Api(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    services: Vec<Value>,
    slices: Vec<Value>,
    /// Fails so many requests first.
    failures: usize,
    /// Nothing happens to services; their watch only stays open.
    service_watch: Option<mpsc::UnboundedSender<Value>>,
    slice_watch: Option<mpsc::UnboundedSender<Value>>,
    watched: Vec<oneshot::Sender<()>>,
}

type Reply = Response<BoxBody<Bytes, std::io::Error>>;

fn whole(status: u16, value: &Value) -> Reply {
    let body = http_body_util::Full::new(Bytes::from(value.to_string()));
    let body = BoxBody::new(http_body_util::BodyExt::map_err(body, |never| match never {}));
    Response::builder().status(status).body(body).unwrap()
}

impl Api {
    fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move { Ok::<_, std::io::Error>(api.answer(request.uri())) }
        });
        kube::Client::new(service, "default")
    }

    fn answer(&self, uri: &http::Uri) -> Reply {
        let mut state = self.0.lock().unwrap();
        if state.failures > 0 {
            state.failures -= 1;
            let status = json!({"kind": "Status", "status": "Failure", "code": 500, "message": "not now"});
            return whole(500, &status);
        }
        let slices = uri.path() == "/apis/discovery.k8s.io/v1/endpointslices";
        assert!(slices || uri.path() == "/api/v1/services", "{uri}");
        if uri.query().is_some_and(|query| query.contains("watch=true")) {
            let (sender, receiver) = mpsc::unbounded_channel();
            if slices {
                state.slice_watch = Some(sender);
                for watched in state.watched.drain(..) {
                    let _ = watched.send(());
                }
            } else {
                state.service_watch = Some(sender);
            }
            let events = futures::stream::unfold(receiver, |mut receiver| async {
                let event: Value = receiver.recv().await?;
                let frame = http_body::Frame::data(Bytes::from(format!("{event}\n")));
                Some((Ok(frame), receiver))
            });
            return Response::new(BoxBody::new(StreamBody::new(events)));
        }
        let items = if slices { &state.slices } else { &state.services };
        whole(200, &json!({"metadata": {"resourceVersion": "1"}, "items": items}))
    }

    /// Resolves when slices are watched (again).
    fn next_watch(&self) -> oneshot::Receiver<()> {
        let (watched, wait) = oneshot::channel();
        self.0.lock().unwrap().watched.push(watched);
        wait
    }

    fn send(&self, event: Value) {
        self.0.lock().unwrap().slice_watch.as_ref().unwrap().send(event).unwrap();
    }
}

fn service(name: &str, spec: &Value) -> Value {
    json!({"metadata": {"namespace": "default", "name": name, "resourceVersion": "1"}, "spec": spec})
}

fn slice(name: &str, endpoints: &[(&str, &str, bool)]) -> Value {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|(hostname, address, ready)| {
            json!({"addresses": [address], "hostname": hostname, "conditions": {"ready": ready}})
        })
        .collect();
    json!({
        "metadata": {"namespace": "default", "name": name, "resourceVersion": "2",
            "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "postgres", "port": 5432, "protocol": "TCP"}],
    })
}

/// A running server, and how to ask it.
struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    done: Option<tokio::task::JoinHandle<Result<(), dns::Error>>>,
}

impl Running {
    async fn start(api: &Api, upstreams: Vec<SocketAddr>) -> Self {
        let config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            cluster_domain: "cluster.local".into(),
            upstreams: Upstreams::Fixed(upstreams),
        };
        let dns = Dns::bind(config).await.unwrap();
        let address = dns.addresses()[0];
        let (stop, stopped) = oneshot::channel::<()>();
        let done = tokio::spawn(dns.run(api.client(), async {
            let _ = stopped.await;
        }));
        Self { address, stop: Some(stop), done: Some(done) }
    }

    async fn udp(&self, name: &str, kind: RecordType) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let query = query(name, kind);
        socket.send_to(&query.to_vec().unwrap(), self.address).await.unwrap();
        let mut buffer = [0; 4096];
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        assert_eq!(from, self.address);
        let answer = Message::from_vec(&buffer[..length]).unwrap();
        assert_eq!(answer.metadata.id, query.metadata.id);
        answer
    }

    async fn addresses(&self, name: &str) -> Vec<String> {
        let answer = self.udp(name, RecordType::A).await;
        answer.answers.iter().map(|record| record.data.to_string()).collect()
    }

    async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.done.take().unwrap().await.unwrap().unwrap();
        assert!(UdpSocket::bind(self.address).await.is_ok(), "the address is free again");
    }
}

fn query(name: &str, kind: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message
}

async fn tcp(stream: &mut TcpStream, name: &str) -> Message {
    let query = query(name, RecordType::A).to_vec().unwrap();
    stream.write_u16(u16::try_from(query.len()).unwrap()).await.unwrap();
    stream.write_all(&query).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

const DB: &str = "db.default.svc.cluster.local.";
const DB_0: &str = "db-0.db.default.svc.cluster.local.";

fn database() -> Api {
    let api = Api::default();
    {
        let mut state = api.0.lock().unwrap();
        state.services = vec![
            service("db", &json!({"clusterIP": "None", "ports": [{"name": "postgres", "port": 5432}]})),
            service("mirror", &json!({"type": "ExternalName", "externalName": "www.example.com"})),
        ];
        state.slices = vec![slice("db-1", &[("db-0", "10.42.0.5", true), ("db-1", "10.42.0.6", false)])];
    }
    api
}

#[tokio::test]
async fn records_follow_the_endpoints() {
    let api = database();
    let watched = api.next_watch();
    let dns = Running::start(&api, Vec::new()).await;
    assert_eq!(dns.addresses(DB).await, ["10.42.0.5"]);
    assert_eq!(dns.addresses(DB_0).await, ["10.42.0.5"]);

    watched.await.unwrap();
    let both = slice("db-1", &[("db-0", "10.42.0.5", true), ("db-1", "10.42.0.6", true)]);
    api.send(json!({"type": "MODIFIED", "object": both}));
    while dns.addresses(DB).await.len() < 2 {
        tokio::task::yield_now().await;
    }
    api.send(json!({"type": "DELETED", "object": both}));
    while !dns.addresses(DB).await.is_empty() {
        tokio::task::yield_now().await;
    }
    dns.stop().await;
}

#[tokio::test]
async fn lost_place_in_the_watch_is_found_again_by_listing() {
    let api = database();
    let watched = api.next_watch();
    let dns = Running::start(&api, Vec::new()).await;
    watched.await.unwrap();
    api.0.lock().unwrap().slices = vec![slice("db-2", &[("db-0", "10.42.0.77", true)])];
    let again = api.next_watch();
    let gone =
        json!({"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": ""});
    api.send(json!({"type": "ERROR", "object": gone}));
    again.await.unwrap();
    assert_eq!(dns.addresses(DB).await, ["10.42.0.77"], "the old slice is gone, the new one is there");
    dns.stop().await;
}

#[tokio::test]
async fn failing_api_server_is_asked_again() {
    let api = database();
    api.0.lock().unwrap().failures = 3;
    let dns = Running::start(&api, Vec::new()).await;
    assert_eq!(dns.addresses(DB).await, ["10.42.0.5"], "the query waited for the first list");
    dns.stop().await;
}

#[tokio::test]
async fn tcp_connection_serves_many_queries() {
    let dns = Running::start(&database(), Vec::new()).await;
    let mut stream = TcpStream::connect(dns.address).await.unwrap();
    for _ in 0..3 {
        assert_eq!(tcp(&mut stream, DB).await.answers.len(), 1);
    }
    dns.stop().await;
}

/// A resolver that knows one address by UDP, and by TCP another one, so that one can tell.
async fn resolver(code: ResponseCode, truncate: bool) -> SocketAddr {
    // A port that is free for UDP may be taken for TCP.
    let (udp, tcp, address) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        match TcpListener::bind(address).await {
            Ok(tcp) => break (udp, tcp, address),
            Err(error) => assert_eq!(error.kind(), ErrorKind::AddrInUse),
        }
    };
    let answer = move |packet: &[u8], address: [u8; 4], truncate: bool| {
        let mut answer = Message::from_vec(packet).unwrap().into_response();
        answer.metadata.response_code = code;
        answer.metadata.truncation = truncate;
        let name = answer.queries[0].name().clone();
        if code == ResponseCode::NoError && !truncate {
            answer.answers.push(Record::from_rdata(name, 60, RData::A(Ipv4Addr::from(address).into())));
        }
        answer.to_vec().unwrap()
    };
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            // Somebody else's answer first: it must not be taken.
            let forged = answer(&query("forged.example.", RecordType::A).to_vec().unwrap(), [6; 4], false);
            udp.send_to(&forged, from).await.unwrap();
            udp.send_to(&answer(&buffer[..length], [192, 0, 2, 1], truncate), from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut packet = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut packet).await.unwrap();
            let answer = answer(&packet, [192, 0, 2, 2], false);
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn other_names_are_the_hosts_resolvers_business() {
    let dns = Running::start(&database(), vec![resolver(ResponseCode::NoError, false).await]).await;
    assert_eq!(dns.addresses("www.example.com.").await, ["192.0.2.1"]);
    let mut stream = TcpStream::connect(dns.address).await.unwrap();
    let by_tcp = tcp(&mut stream, "www.example.com.").await;
    assert_eq!(by_tcp.answers[0].data.to_string(), "192.0.2.2");
    dns.stop().await;
}

#[tokio::test]
async fn next_resolver_is_asked_when_one_fails() {
    let failing = resolver(ResponseCode::ServFail, false).await;
    // Nobody is there: the socket was closed again.
    let absent = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let good = resolver(ResponseCode::NoError, false).await;
    let dns = Running::start(&database(), vec![failing, absent, good]).await;
    assert_eq!(dns.addresses("www.example.com.").await, ["192.0.2.1"]);
    dns.stop().await;
}

#[tokio::test]
async fn alias_of_an_outside_name_is_answered_in_full() {
    let dns = Running::start(&database(), vec![resolver(ResponseCode::NoError, false).await]).await;
    let mirror = "mirror.default.svc.cluster.local.";
    assert_eq!(dns.addresses(mirror).await, ["www.example.com.", "192.0.2.1"]);
    dns.stop().await;

    // A truncated answer is asked for again over TCP.
    let dns = Running::start(&database(), vec![resolver(ResponseCode::NoError, true).await]).await;
    assert_eq!(dns.addresses(mirror).await, ["www.example.com.", "192.0.2.2"]);
    assert!(dns.udp("www.example.com.", RecordType::A).await.metadata.truncation);
    dns.stop().await;
}

#[tokio::test]
async fn without_resolvers_other_names_fail() {
    let dns = Running::start(&database(), Vec::new()).await;
    let answer = dns.udp("www.example.com.", RecordType::A).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    dns.stop().await;
}

#[tokio::test]
async fn cluster_names_are_never_asked_for_outside() {
    let dns = Running::start(&database(), vec![resolver(ResponseCode::NoError, false).await]).await;
    for name in ["nope.default.svc.cluster.local.", "cluster.local.", "nope.cluster.local."] {
        assert!(dns.addresses(name).await.is_empty(), "{name}");
    }
    dns.stop().await;
}

#[tokio::test]
async fn address_in_use_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config {
        listen: vec![address],
        cluster_domain: "cluster.local".into(),
        upstreams: Upstreams::Fixed(Vec::new()),
    };
    let message = Dns::bind(config).await.err().unwrap().to_string();
    assert_eq!(
        message,
        format!(
            "DNS cannot listen on {address}: Address already in use (os error 98); choose another with --dns-listen"
        )
    );
}
