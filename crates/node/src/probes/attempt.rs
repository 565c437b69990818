//! One try of a probe: exec, httpGet or tcpSocket (`pkg/probe`).

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::Target;

/// Tries once; the error is one sentence.
pub(super) async fn attempt(
    probe: &Probe,
    ports: &HashMap<String, u16>,
    target: &Target,
    timeout: Duration,
) -> Result<(), String> {
    let late = || format!("no answer within {} s", timeout.as_secs());
    let result = tokio::time::timeout(timeout, try_once(probe, ports, target)).await;
    result.unwrap_or_else(|_| Err(late()))
}

async fn try_once(probe: &Probe, ports: &HashMap<String, u16>, target: &Target) -> Result<(), String> {
    if let Some(exec) = &probe.exec {
        let output = target.exec.exec(exec.command.clone().unwrap_or_default()).await?;
        return match output.exit_code {
            0 => Ok(()),
            code => Err(format!("command exited with {code}: {}", output.text.trim())),
        };
    }
    if let Some(http) = &probe.http_get {
        return http_get(http, ports, target).await;
    }
    if let Some(tcp) = &probe.tcp_socket {
        let port = port(&tcp.port, ports)?;
        return connect(tcp.host.as_deref(), port, target).await.map(|_| ());
    }
    Err("the probe names no exec, httpGet or tcpSocket".to_owned())
}

fn port(port: &IntOrString, ports: &HashMap<String, u16>) -> Result<u16, String> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).map_err(|_| format!("port {number} is no port")),
        IntOrString::String(name) => {
            let named = ports.get(name).copied().or_else(|| name.parse().ok());
            named.ok_or_else(|| format!("the container has no port named {name:?}"))
        }
    }
}

async fn connect(host: Option<&str>, port: u16, target: &Target) -> Result<TcpStream, String> {
    let stream = match host.filter(|h| !h.is_empty()) {
        Some(host) => TcpStream::connect((host, port)).await.map_err(|e| (host.to_owned(), e)),
        None => TcpStream::connect((target.ip, port)).await.map_err(|e| (target.ip.to_string(), e)),
    };
    stream.map_err(|(host, error)| format!("tcp {host}:{port}: {}", words(&error)))
}

/// The kernel's words without the number behind them.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

/// GET, and any status from 200 to 399 is a success.
pub(crate) async fn http_get(
    action: &HTTPGetAction,
    ports: &HashMap<String, u16>,
    target: &Target,
) -> Result<(), String> {
    let port = port(&action.port, ports)?;
    let path = action.path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/");
    let stream = connect(action.host.as_deref(), port, target).await?;
    let status = if action.scheme.as_deref() == Some("HTTPS") {
        let secured = super::tls::connect(stream).await;
        ask(secured.map_err(|e| format!("tls to port {port}: {e}"))?, action, port, path, target).await?
    } else {
        ask(stream, action, port, path, target).await?
    };
    if status.is_success() || status.is_redirection() {
        Ok(())
    } else {
        Err(format!("GET {path} on port {port} answered {}", status.as_u16()))
    }
}

/// Asks over a connection and answers with the status.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    action: &HTTPGetAction,
    port: u16,
    path: &str,
    target: &Target,
) -> Result<http::StatusCode, String> {
    let failed = |error: hyper::Error| format!("GET {path} on port {port}: {error}");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let _connection = AbortOnDrop(tokio::spawn(connection));
    let mut request = http::Request::get(path)
        .header(http::header::USER_AGENT, "kube-probe/1.36")
        .header(http::header::ACCEPT, "*/*")
        .header(http::header::CONNECTION, "close");
    let headers = action.http_headers.as_deref().unwrap_or_default();
    if !headers.iter().any(|h| h.name.eq_ignore_ascii_case("host")) {
        request = request.header(http::header::HOST, format!("{}:{port}", target.ip));
    }
    for header in headers {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| format!("GET {path}: {e}"))?;
    sender.send_request(request).await.map(|response| response.status()).map_err(failed)
}

/// A task that ends with the try it belongs to, also when that takes too long.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
