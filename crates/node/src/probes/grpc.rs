//! The gRPC health checking protocol, as far as a probe needs it: one call of `grpc.health.v1.Health/Check` over HTTP/2
//! without TLS (`pkg/probe/grpc`).

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::GRPCAction;

use super::Target;
use super::attempt::{AbortOnDrop, connect};

/// The longest answer, in bytes: a status is a handful.
const ANSWER_LIMIT: usize = 4096;

/// `HealthCheckResponse.ServingStatus`, by number.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
const SERVING: u8 = 1;

/// What a server says that has no such service (`codes.Unimplemented`).
const UNIMPLEMENTED: &str = "12";

/// Asks once whether the service serves.
pub(super) async fn check(action: &GRPCAction, target: &Target) -> Result<(), String> {
    let port = u16::try_from(action.port).map_err(|_| format!("port {} is no port", action.port))?;
    let stream = connect(None, port, target).await?;
    let failed = |why: &dyn std::fmt::Display| format!("error: health rpc probe failed: {why}");
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|e| failed(&e))?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    let request = http::Request::post(format!("http://{}:{port}/grpc.health.v1.Health/Check", target.ip))
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .header(http::header::USER_AGENT, "kube-probe/1.36")
        .body(Full::new(question(action.service.as_deref().unwrap_or_default())))
        .map_err(|e| failed(&e))?;
    let (head, body) = sender.send_request(request).await.map_err(|e| failed(&e))?.into_parts();
    if !head.status.is_success() {
        return Err(failed(&format!("the server answered {}", head.status.as_u16())));
    }
    let whole = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(|e| failed(&e))?;
    // An answer without a message has its trailers among the headers.
    let trailers = whole.trailers().cloned().unwrap_or(head.headers);
    ended_well(&trailers)?;
    match serving_status(&whole.to_bytes()) {
        Some(SERVING) => Ok(()),
        Some(other) => {
            let name = STATUSES.get(usize::from(other)).copied().unwrap_or("UNKNOWN");
            Err(format!("service unhealthy (responded with {name:?})"))
        }
        None => Err(failed(&"the answer is no HealthCheckResponse")),
    }
}

fn ended_well(trailers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| trailers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => Ok(()),
        UNIMPLEMENTED => Err(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
            text("grpc-message")
        )),
        "" => Err("error: health rpc probe failed: the server sent no grpc-status".to_owned()),
        code => Err(format!("error: health rpc probe failed: code {code}: {}", text("grpc-message"))),
    }
}

/// `HealthCheckRequest`, whose one field is the service's name, as a message of gRPC: not compressed, and its length.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or(0));
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], &message].concat().into()
}

/// The status in a `HealthCheckResponse`: its first field, an enumeration; not there means 0.
fn serving_status(answer: &[u8]) -> Option<u8> {
    let [0, length @ ..] = answer.first_chunk::<5>()? else { return None };
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    match answer.get(5..5 + length)? {
        [] => Some(0),
        [0x08, status, ..] => Some(*status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::{HeaderValue, Response};
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use tokio::net::TcpListener;

    use super::*;
    use crate::probes::attempt::tests::NoExec;

    /// A server that says how the service `db` is, and that of others it knows nothing.
    async fn server(status: u8) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = move |request: http::Request<hyper::body::Incoming>| async move {
            assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
            let asked = request.into_body().collect().await.unwrap().to_bytes();
            let (body, code) = match &asked[5..] {
                b"\x0a\x02db" => (vec![0, 0, 0, 0, 2, 8, status], "0"),
                _ => (Vec::new(), "5"),
            };
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(code));
            trailers.insert("grpc-message", HeaderValue::from_static("unknown service"));
            let frames = [Frame::data(Bytes::from(body)), Frame::trailers(trailers)];
            let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, std::io::Error>)));
            Ok::<_, std::io::Error>(Response::new(body))
        };
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let serve = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = serve.serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer)).await;
        });
        port
    }

    async fn ask(port: u16, service: &str) -> Result<(), String> {
        let target = Target { ip: [127, 0, 0, 1].into(), exec: Arc::new(NoExec) };
        check(&GRPCAction { port: port.into(), service: Some(service.to_owned()) }, &target).await
    }

    #[tokio::test]
    async fn only_who_serves_is_healthy() {
        assert_eq!(ask(server(1).await, "db").await, Ok(()));
        let sick = ask(server(2).await, "db").await;
        assert_eq!(sick, Err("service unhealthy (responded with \"NOT_SERVING\")".to_owned()));
        let unknown = ask(server(1).await, "other").await;
        assert_eq!(unknown, Err("error: health rpc probe failed: code 5: unknown service".to_owned()));
    }

    #[tokio::test]
    async fn who_does_not_speak_it_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
        let why = ask(port, "").await.unwrap_err();
        assert!(why.starts_with("error: health rpc probe failed: "), "{why}");
    }
}
