//! One try of a probe: exec, httpGet, tcpSocket or grpc (`pkg/probe`).

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
    if let Some(grpc) = &probe.grpc {
        return super::grpc::check(grpc, target).await;
    }
    Err("the probe names no exec, httpGet, tcpSocket or grpc".to_owned())
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

pub(super) async fn connect(host: Option<&str>, port: u16, target: &Target) -> Result<TcpStream, String> {
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
pub(super) struct AbortOnDrop<T>(pub(super) tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::hooks::{ExecInContainer, Output};

    pub(in crate::probes) struct NoExec;

    #[async_trait::async_trait]
    impl ExecInContainer for NoExec {
        async fn exec(&self, _: Vec<String>) -> Result<Output, String> {
            Err("no commands here".to_owned())
        }
    }

    /// Answers one request with a status, over TLS with a certificate that nobody vouches for, or without.
    async fn server(status: u16, tls: bool) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            if tls {
                answer(acceptor().accept(stream).await.unwrap(), status).await;
            } else {
                answer(stream, status).await;
            }
        });
        port
    }

    async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, status: u16) {
        let mut request = [0; 1024];
        let length = stream.read(&mut request).await.unwrap();
        assert!(request[..length].starts_with(b"GET /healthz HTTP/1.1"));
        let said = format!("HTTP/1.1 {status} Word\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(said.as_bytes()).await.unwrap();
    }

    fn acceptor() -> tokio_rustls::TlsAcceptor {
        let made = rcgen::generate_simple_self_signed(["nobody.test".to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Arc::new(config).into()
    }

    async fn get(port: u16, scheme: &str) -> Result<(), String> {
        let probe = json!({"httpGet": {"port": port, "path": "/healthz", "scheme": scheme}});
        let probe: Probe = serde_json::from_value(probe).unwrap();
        let target = Target { ip: [127, 0, 0, 1].into(), exec: Arc::new(NoExec) };
        attempt(&probe, &HashMap::new(), &target, Duration::from_secs(10)).await
    }

    #[tokio::test]
    async fn any_status_from_200_to_399_is_a_success_with_or_without_tls() {
        for (scheme, tls) in [("HTTP", false), ("HTTPS", true)] {
            assert_eq!(get(server(204, tls).await, scheme).await, Ok(()), "{scheme}");
            assert_eq!(get(server(302, tls).await, scheme).await, Ok(()), "{scheme}");
            let port = server(503, tls).await;
            assert_eq!(get(port, scheme).await, Err(format!("GET /healthz on port {port} answered 503")));
        }
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_named() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        assert_eq!(get(port, "HTTP").await, Err(format!("tcp 127.0.0.1:{port}: connection refused")));
    }
}
