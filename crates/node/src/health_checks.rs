//! Answers balancers elsewhere on the `healthCheckNodePort`s of services (`pkg/proxy/healthcheck`): 200 while this node
//! has ready endpoints of the service and its kernel knows of them, 503 otherwise.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use planner::service_proxy::HealthCheck;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Questions under way on one port; more of them wait in the kernel.
const QUESTIONS: usize = 32;
/// How long a question and its answer may take together.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after the kernel gave no connection, for instance because there are too many open files.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// The ports that are open; dropping it closes them.
#[derive(Default)]
pub(crate) struct HealthChecks {
    ports: BTreeMap<u16, Port>,
}

struct Port {
    answer: watch::Sender<Answer>,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct Answer {
    check: HealthCheck,
    /// Whether the kernel knows of the service's endpoints as they are now.
    proxy_is_healthy: bool,
}

impl HealthChecks {
    /// Answers on these ports from now on, and on no others. What it answers are the ports that could not be opened.
    pub(crate) async fn set(
        &mut self,
        checks: &BTreeMap<u16, HealthCheck>,
        proxy_is_healthy: bool,
    ) -> BTreeMap<u16, io::Error> {
        self.ports.retain(|port, _| checks.contains_key(port));
        let mut closed = BTreeMap::new();
        for (number, check) in checks {
            let answer = Answer { check: check.clone(), proxy_is_healthy };
            match self.ports.entry(*number) {
                Entry::Occupied(open) => drop(open.get().answer.send_replace(answer)),
                Entry::Vacant(place) => match TcpListener::bind((Ipv4Addr::UNSPECIFIED, *number)).await {
                    Ok(listener) => drop(place.insert(Port::open(listener, answer))),
                    Err(error) => drop(closed.insert(*number, error)),
                },
            }
        }
        closed
    }
}

impl Port {
    fn open(listener: TcpListener, answer: Answer) -> Self {
        let (answer, answers) = watch::channel(answer);
        Self { answer, _serving: AbortOnDropHandle::new(tokio::spawn(serve(listener, answers))) }
    }
}

async fn serve(listener: TcpListener, answers: watch::Receiver<Answer>) {
    let mut questions = JoinSet::new();
    loop {
        while questions.try_join_next().is_some() {}
        if questions.len() >= QUESTIONS {
            questions.join_next().await;
        }
        match listener.accept().await {
            Ok((stream, _)) => drop(questions.spawn(timeout(PATIENCE, hear(stream, answers.clone())))),
            Err(error) => {
                tracing::warn!("a health check: {error}");
                sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

/// Who hangs up in the middle does not want to know.
async fn hear(stream: TcpStream, answers: watch::Receiver<Answer>) {
    let service = service_fn(|_: Request<Incoming>| std::future::ready(answers.borrow().response()));
    let _ = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service).await;
}

impl Answer {
    fn response(&self) -> http::Result<Response<Full<Bytes>>> {
        let HealthCheck { owner, local_endpoints } = &self.check;
        let is_well = self.proxy_is_healthy && *local_endpoints > 0;
        let body = json!({
            "service": {"namespace": owner.namespace, "name": owner.name},
            "localEndpoints": local_endpoints,
            "serviceProxyHealthy": self.proxy_is_healthy,
        });
        Response::builder()
            .status(if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
            .header("Content-Type", "application/json")
            .header("X-Content-Type-Options", "nosniff")
            .header("X-Load-Balancing-Endpoint-Weight", *local_endpoints)
            .body(Full::from(body.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use planner::ObjectRef;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn checks(port: u16, local_endpoints: usize) -> BTreeMap<u16, HealthCheck> {
        let owner = ObjectRef {
            api_version: "v1".to_owned(),
            kind: "Service".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            uid: "1".to_owned(),
        };
        BTreeMap::from([(port, HealthCheck { owner, local_endpoints })])
    }

    async fn ask(port: u16) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    #[tokio::test]
    async fn it_is_well_with_endpoints_here_that_the_kernel_knows_of() {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
        let mut open = HealthChecks::default();
        assert!(open.set(&checks(port, 2), true).await.is_empty());
        let answer = ask(port).await.unwrap().to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 200 ok\r\n"), "{answer}");
        assert!(answer.contains("\r\nx-load-balancing-endpoint-weight: 2\r\n"), "{answer}");
        assert!(answer.contains(r#""service":{"name":"web","namespace":"shop"}"#), "{answer}");
        for (endpoints, kernel_knows) in [(0, true), (2, false)] {
            assert!(open.set(&checks(port, endpoints), kernel_knows).await.is_empty());
            assert!(ask(port).await.unwrap().starts_with("HTTP/1.1 503 "), "{endpoints} {kernel_knows}");
        }
    }

    #[tokio::test]
    async fn a_port_that_somebody_has_is_said_and_opened_once_it_is_free() {
        let holder = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let port = holder.local_addr().unwrap().port();
        let mut open = HealthChecks::default();
        let closed = open.set(&checks(port, 1), true).await;
        assert_eq!(closed[&port].kind(), io::ErrorKind::AddrInUse);
        drop(holder);
        assert!(open.set(&checks(port, 1), true).await.is_empty());
        assert!(ask(port).await.is_ok());
        assert!(open.set(&BTreeMap::new(), true).await.is_empty());
        // Its task ends a moment later.
        while ask(port).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}
