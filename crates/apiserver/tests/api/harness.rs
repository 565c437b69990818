//! An API over a store in memory, and the shortest way to ask it something.

use std::sync::Arc;

use apimachinery::inject::{Clock, Random};
use apimachinery::status::Status;
use apiserver::node_streams::{
    ContainerRef, ExecOptions, ExecSession, LogOptions, LogStream, NodeStreams, PodConnection, StreamOptions,
};
use apiserver::{ApiServer, Body, Config, UserInfo};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream};
use http::header::{ACCEPT, CONTENT_TYPE, WARNING};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::Service;

pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

pub(crate) struct Harness {
    pub(crate) api: ApiServer,
    pub(crate) store: Arc<store::Memory>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    pub(crate) body: Value,
    pub(crate) warnings: Vec<String>,
}

impl Reply {
    async fn read(response: Response<Body>) -> Self {
        let code = response.status().as_u16();
        let warnings = response.headers().get_all(WARNING).iter();
        let warnings = warnings.map(|w| String::from_utf8_lossy(w.as_bytes()).into_owned()).collect();
        let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        Self { code, body, warnings }
    }

    #[track_caller]
    pub(crate) fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }

    #[track_caller]
    pub(crate) fn refused(self, code: u16) -> String {
        self.expect(code)["message"].as_str().expect("a message").to_owned()
    }
}

impl Harness {
    pub(crate) async fn start() -> Self {
        Self::with_random(Random::seeded(1)).await
    }

    /// An API to which chance gives these numbers.
    pub(crate) async fn with_random(random: Random) -> Self {
        let store = Arc::new(store::Memory::new());
        let api = ApiServer::new(Config {
            store: Arc::clone(&store) as _,
            service_cidr: "10.43.0.0/16".to_owned(),
            streams: Arc::new(FakeNode),
            tokens: Arc::new(apiserver::TokenKey::generate().expect("a key")),
            clock: Clock::new(Timestamp::now),
            random,
        });
        api.bootstrap().await.expect("bootstrapped");
        Self { api, store }
    }

    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let Ok(response) = self.api.service(UserInfo::internal("test")).call(request).await;
        response
    }

    /// A request of another user.
    pub(crate) async fn call_as(
        &self,
        user: &str,
        groups: &[&str],
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let Ok(response) = self.api.service(UserInfo::new(user, groups)).call(request).await;
        Reply::read(response).await
    }

    /// The same with an object.
    pub(crate) async fn send_as(
        &self,
        user: &str,
        groups: &[&str],
        method: &str,
        path: &str,
        body: &Value,
    ) -> Reply {
        let headers = [(CONTENT_TYPE.as_str(), "application/json")];
        self.call_as(user, groups, method, path, &headers, body.to_string()).await
    }

    /// A request of one of stead's own parts.
    pub(crate) async fn send_as_component(
        &self,
        user: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Reply {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::<Bytes>::from(body.to_string())).expect("a request");
        let Ok(response) = self.api.service(UserInfo::component(user)).call(request).await;
        Reply::read(response).await
    }

    /// What a GET says to another user.
    pub(crate) async fn get_as_user(&self, path: &str, name: &str, groups: &[&str]) -> (u16, String) {
        let user = UserInfo::new(name, groups);
        let request = Request::get(path).body(Full::<Bytes>::default()).expect("a request");
        let Ok(response) = self.api.service(user).call(request).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a whole body").to_bytes();
        let body: Value = serde_json::from_slice(&bytes).expect("JSON");
        (code, body["message"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        Reply::read(self.raw(method, path, headers, body).await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], "").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Reply {
        self.call("GET", path, &[(ACCEPT.as_str(), accept)], "").await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Reply {
        self.call(method, path, &[(CONTENT_TYPE.as_str(), "application/json")], body.to_string()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Reply {
        self.send("PUT", path, body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path, &[], "").await
    }

    /// `kind` is `json`, `merge` or `strategic-merge`.
    pub(crate) async fn patch(&self, kind: &str, path: &str, patch: &Value) -> Reply {
        let media_type = format!("application/{kind}-patch+json");
        self.call("PATCH", path, &[(CONTENT_TYPE.as_str(), &media_type)], patch.to_string()).await
    }

    /// A watch that has answered.
    pub(crate) async fn watch(&self, path: &str) -> WatchLines {
        self.watch_as(path, "application/json").await
    }

    pub(crate) async fn watch_as(&self, path: &str, accept: &str) -> WatchLines {
        let response = self.raw("GET", path, &[(ACCEPT.as_str(), accept)], "").await;
        assert_eq!(response.status(), 200);
        WatchLines { body: response.into_body(), buffer: BytesMut::new() }
    }
}

/// The events of a watch, one by one.
pub(crate) struct WatchLines {
    body: Body,
    buffer: BytesMut,
}

impl WatchLines {
    /// The next event, or `None` when the watch has ended.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(end + 1);
                return Some(serde_json::from_slice(&line).expect("a line of JSON"));
            }
            let frame = self.body.frame().await?.expect("an unbroken body");
            self.buffer.extend_from_slice(&frame.into_data().expect("data"));
        }
    }

    /// The next event as `TYPE name`.
    pub(crate) async fn next_short(&mut self) -> String {
        let event = self.next().await.expect("an event");
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {}", word(&event["type"]), word(&event["object"]["metadata"]["name"]))
            .trim_end()
            .to_owned()
    }
}

/// A node that says what it was asked.
pub(crate) struct FakeNode;

#[async_trait]
impl NodeStreams for FakeNode {
    async fn logs(&self, container: &ContainerRef, options: LogOptions) -> Result<LogStream, Status> {
        let line = format!("{}/{} tail={:?}\n", container.pod, container.container, options.tail_lines);
        Ok(stream::iter([Ok(Bytes::from(line))]).boxed())
    }

    /// `cat` gives the input back, `exit N` ends with N, anything else is unknown.
    async fn exec(&self, _: &ContainerRef, options: ExecOptions) -> Result<ExecSession, Status> {
        let command: Vec<&str> = options.command.iter().map(String::as_str).collect();
        let (stdin, stdout, code) = match command.as_slice() {
            ["cat"] => {
                let (ours, theirs) = tokio::io::duplex(1024);
                let (read, mut write) = tokio::io::split(theirs);
                let (output_side, output) = tokio::io::duplex(1024);
                tokio::spawn(async move {
                    let (mut read, mut output_side) = (read, output_side);
                    let _ = tokio::io::copy(&mut read, &mut output_side).await;
                    let _ = write.shutdown().await;
                });
                (Some(Box::pin(ours) as _), Some(Box::pin(output) as _), 0)
            }
            ["exit", code] => (None, None, code.parse().expect("a number")),
            _ => return Err(Status::internal("exec: no such file")),
        };
        Ok(ExecSession {
            stdin,
            stdout,
            stderr: None,
            resize: None,
            exit: std::future::ready(Ok(code)).boxed(),
        })
    }

    /// Says who it is and what is wanted of it.
    async fn attach(&self, container: &ContainerRef, options: StreamOptions) -> Result<ExecSession, Status> {
        let said = format!("{} stdin={} tty={}", container.container, options.stdin, options.tty);
        Ok(ExecSession {
            stdin: None,
            stdout: Some(Box::pin(std::io::Cursor::new(said))),
            stderr: None,
            resize: None,
            exit: std::future::ready(Ok(0)).boxed(),
        })
    }

    /// Port 7 gives back what it gets; nobody listens at the others.
    async fn port_forward(&self, _: &ContainerRef, port: u16) -> std::io::Result<PodConnection> {
        if port != 7 {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let (mut read, mut write) = tokio::io::split(theirs);
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        });
        Ok(Box::pin(ours))
    }

    /// Every address serves HTTP, but for port 9.
    async fn dial(&self, address: std::net::SocketAddr) -> std::io::Result<PodConnection> {
        if address.port() == 9 {
            return Err(std::io::ErrorKind::ConnectionRefused.into());
        }
        let (ours, theirs) = tokio::io::duplex(1024);
        tokio::spawn(answer_http(theirs));
        Ok(Box::pin(ours))
    }
}

/// A pod's HTTP server: says what it was asked, and sends `/away` elsewhere.
async fn answer_http(mut connection: tokio::io::DuplexStream) {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") && connection.read_buf(&mut asked).await.is_ok_and(|count| count > 0)
    {
    }
    let asked = String::from_utf8_lossy(&asked).into_owned();
    let head =
        if asked.starts_with("GET /away") { "302 Found\r\nLocation: /login" } else { "200 OK\r\nX-Pod: yes" };
    let answer =
        format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{asked}", asked.len());
    let _ = connection.write_all(answer.as_bytes()).await;
}

pub(crate) fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "busybox"}]}})
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";
pub(crate) const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
