//! The wire between a client and the API: it refuses, delays and loses.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apimachinery::status::Status;
use apiserver::node_streams::{ContainerRef, ExecOptions, ExecSession, LogOptions, LogStream, NodeStreams};
use apiserver::{ApiServer, Body, UserInfo};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tokio::time::sleep;
use tower::Service;

use crate::faults::Fault;
use crate::process::Process;
use crate::sim::Sim;
use crate::watch;

/// How long a person waits before asking once more.
const PATIENCE: Duration = Duration::from_secs(1);

type Answer = Response<Body>;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Arrives,
    Refused(u16),
    RequestLost,
    AnswerLost,
    KillsBefore,
    KillsAfter,
}

/// The API as one user in a process reaches it.
#[derive(Clone)]
pub(crate) struct Wire {
    sim: Arc<Sim>,
    process: Arc<Process>,
    user: UserInfo,
}

impl Wire {
    pub(crate) fn new(sim: Arc<Sim>, process: Arc<Process>, user: UserInfo) -> Self {
        Self { sim, process, user }
    }

    fn fate(&self, method: &Method) -> Fate {
        let sim = &self.sim;
        if !self.process.faulty {
            return Fate::Arrives;
        }
        let is_write = *method != Method::GET;
        if is_write && self.process.dies_of.is_some_and(|fault| sim.strikes(fault)) {
            return if sim.dice.hits(500) { Fate::KillsBefore } else { Fate::KillsAfter };
        }
        if sim.strikes(Fault::Refused) {
            return Fate::Refused(sim.dice.pick(&[429, 500, 503]).copied().unwrap_or(500));
        }
        if is_write && sim.strikes(Fault::Conflicted) {
            return Fate::Refused(409);
        }
        if sim.strikes(Fault::RequestLost) {
            return Fate::RequestLost;
        }
        if is_write && sim.strikes(Fault::AnswerLost) {
            return Fate::AnswerLost;
        }
        Fate::Arrives
    }

    fn delay(&self) -> Duration {
        let late = self.process.faulty && self.sim.strikes(Fault::Late);
        if late { self.sim.dice.millis(100, 30_000) } else { self.sim.dice.millis(0, 3) }
    }

    /// The API, if it is there. A person waits for it.
    async fn reach_api(&self) -> Option<ApiServer> {
        loop {
            let api = self.sim.api();
            if api.is_some() || self.process.faulty {
                return api;
            }
            sleep(PATIENCE).await;
        }
    }

    /// Takes a request to the API and its answer back.
    async fn carry(self, request: Request<kube::client::Body>) -> io::Result<Answer> {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let fate = self.fate(&parts.method);
        let asked = format!("{} {} {}", self.process.name, parts.method, parts.uri);
        let is_watch = parts.uri.query().is_some_and(|query| query.contains("watch=true"));
        let is_write = parts.method != Method::GET;
        sleep(self.delay()).await;
        match fate {
            Fate::Refused(code) => {
                self.sim.note(&format!("{asked}: refused with {code}"));
                return Ok(refusal(code));
            }
            Fate::RequestLost => {
                self.sim.note(&format!("{asked}: lost"));
                return Err(broken());
            }
            Fate::KillsBefore => {
                self.sim.note(&format!("{asked}: {} dies before it is sent", self.process.name));
                self.process.die();
                return Err(broken());
            }
            _ => {}
        }
        let request = Request::from_parts(parts, Full::new(bytes.clone()));
        let Some(api) = self.reach_api().await else {
            self.sim.note(&format!("{asked}: there is no API"));
            return Err(broken());
        };
        let mut service = api.service(self.user.clone());
        let answer = service.call(request).await.unwrap_or_else(|never: Infallible| match never {});
        self.trace(&asked, &bytes, &answer);
        if is_watch && answer.status().is_success() {
            return Ok(answer.map(|body| watch::tap(self.sim, self.process, &asked, body)));
        }
        let answer = whole(answer).await;
        if fate == Fate::KillsAfter {
            self.sim.note(&format!("{} dies after {asked}", self.process.name));
            self.process.die();
        }
        sleep(self.delay()).await;
        if fate == Fate::AnswerLost {
            self.sim.note(&format!("{asked}: its answer is lost"));
            return if self.sim.dice.hits(500) { Err(broken()) } else { Ok(refusal(500)) };
        }
        if is_write && answer.status().is_success() {
            self.process.answer(&serde_json::from_slice(answer.body()).unwrap_or(Value::Null));
        }
        Ok(answer.map(Body::full))
    }

    fn trace(&self, asked: &str, bytes: &[u8], answer: &Answer) {
        let mut log = self.sim.log();
        log.requests += 1;
        log.digest(bytes);
        drop(log);
        let line = format!("{asked}: {}", answer.status().as_u16());
        // What is read, and that nodes live, would hide the rest from people.
        if asked.contains(" GET ") || asked.contains("/leases") {
            self.sim.log().digest(line.as_bytes());
        } else {
            self.sim.note(&line);
        }
    }
}

impl Service<Request<kube::client::Body>> for Wire {
    type Response = Answer;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Answer>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let (sim, process) = (Arc::clone(&this.sim), Arc::clone(&this.process));
            if process.is_dead() {
                return pending().await;
            }
            // Whoever asks may die meanwhile: what is on the wire still arrives.
            let carried = tokio::spawn(this.carry(request)).await;
            if let Err(panic) = &carried {
                sim.fail(format!("the API panicked over a request of {}: {panic}", process.name));
            }
            if process.is_dead() {
                return pending().await;
            }
            carried.unwrap_or_else(|_| Err(broken()))
        })
    }
}

async fn whole(answer: Answer) -> Response<Bytes> {
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Response::from_parts(parts, bytes)
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the wire broke")
}

fn refusal(code: u16) -> Answer {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = Status::new(code, reason, "a fault of the simulated wire");
    let mut answer = Response::new(Body::full(status.to_json().to_string()));
    *answer.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

/// Nobody reads logs here.
pub(crate) struct NoStreams;

#[async_trait]
impl NodeStreams for NoStreams {
    async fn logs(&self, _: &ContainerRef, _: LogOptions) -> Result<LogStream, Status> {
        Err(Status::method_not_allowed())
    }

    async fn exec(&self, _: &ContainerRef, _: ExecOptions) -> Result<ExecSession, Status> {
        Err(Status::method_not_allowed())
    }
}
