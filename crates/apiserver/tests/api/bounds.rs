//! What is too large is refused, over TLS as clients come: never does the server just wait.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::CONFIG_MAPS;
use crate::tls::Server;

/// How long an answer may take on a machine that has much to do. Nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than the server takes of a request before its body.
const TOO_LONG: usize = 80 << 10;

async fn connect(server: &Server, protocol: &str) -> TlsStream<TcpStream> {
    let (certificate, key) = server.certificate("ada", "system:masters");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server.ca().as_bytes()).expect("PEM")).expect("a CA");
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("a certificate");
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let stream = TcpStream::connect(server.address()).await.expect("connected");
    let name = rustls::pki_types::ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake")
}

/// What the server says to a request over HTTP/1.1, up to the end of the connection.
async fn answer(server: &Server, head: &str, rest: &[u8]) -> String {
    let mut stream = connect(server, "http/1.1").await;
    let talk = async {
        stream.write_all(head.as_bytes()).await.expect("sent");
        // It may have heard enough before the end.
        let _ = stream.write_all(rest).await;
        let _ = stream.flush().await;
        let mut said = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut piece).await {
            said.extend_from_slice(&piece[..count]);
        }
        String::from_utf8_lossy(&said).into_owned()
    };
    tokio::time::timeout(PATIENCE, talk).await.expect("an answer, or the end of the connection")
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_and_the_connection_closed() {
    let server = Server::start().await;
    let long = "x".repeat(TOO_LONG);
    for head in [
        format!("GET {CONFIG_MAPS} HTTP/1.1\r\nhost: stead\r\nx-long: {long}\r\n\r\n"),
        format!("GET {CONFIG_MAPS}?x={long} HTTP/1.1\r\nhost: stead\r\n\r\n"),
        // Without an end.
        format!("GET /{long}"),
    ] {
        let said = answer(&server, &head, &[]).await;
        assert!(said.starts_with("HTTP/1.1 431 Request Header Fields Too Large"), "{said}");
    }
    // Megabytes of it: the client has the answer, or hears that nobody listens.
    let said = answer(&server, "GET / HTTP/1.1\r\nx-long: ", &vec![b'x'; 20 << 20]).await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 431"), "{said}");
    let fits = "x".repeat(48 << 10);
    let head = format!("GET {CONFIG_MAPS}?x={fits} HTTP/1.1\r\nhost: stead\r\nconnection: close\r\n\r\n");
    let said = answer(&server, &head, &[]).await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    server.stop().await;
}

#[tokio::test]
async fn a_head_that_is_too_long_ends_an_http2_connection_and_no_other() {
    let server = Server::start().await;
    for (value, path) in [("x".repeat(TOO_LONG), String::new()), (String::new(), "x".repeat(60 << 10))] {
        let io = TokioIo::new(connect(&server, "h2").await);
        let (mut sender, driver) = http2::handshake(TokioExecutor::new(), io).await.expect("a handshake");
        tokio::spawn(driver);
        let request = Request::get(format!("https://stead{CONFIG_MAPS}?x={path}"))
            .header("x-long", value + &"y".repeat(8 << 10))
            .body(Full::<Bytes>::default())
            .expect("a request");
        let answered = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
        match answered.expect("an answer, or the end of the connection") {
            Ok(response) => assert_eq!(response.status(), 431),
            Err(error) => assert!(!error.is_timeout(), "{error}"),
        }
        let io = TokioIo::new(connect(&server, "h2").await);
        let (mut other, driver) = http2::handshake(TokioExecutor::new(), io).await.expect("a handshake");
        tokio::spawn(driver);
        let request = Request::get(format!("https://stead{CONFIG_MAPS}")).body(Full::<Bytes>::default());
        let response = other.send_request(request.expect("a request")).await.expect("answered");
        assert_eq!(response.status(), 200);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_or_too_deep_is_refused() {
    let server = Server::start().await;
    let post = |length: usize| {
        format!(
            "POST {CONFIG_MAPS} HTTP/1.1\r\nhost: stead\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        )
    };
    let told = |said: &str| -> String {
        let (_, body) = said.split_once("\r\n\r\n").expect("a body");
        let status: Value = serde_json::from_str(body).expect("a Status");
        status["message"].as_str().expect("a message").to_owned()
    };
    let large = vec![b' '; 4 << 20];
    let said = answer(&server, &post(large.len()), &large).await;
    assert!(said.starts_with("HTTP/1.1 413"), "{said}");
    assert_eq!(told(&said), "Request entity too large: limit is 3145728 bytes; send less in one request");
    let deep = vec![b'['; 100_000];
    let said = answer(&server, &post(deep.len()), &deep).await;
    assert!(said.starts_with("HTTP/1.1 400"), "{said}");
    assert!(!told(&said).is_empty());
    // HTTP/2.
    let io = TokioIo::new(connect(&server, "h2").await);
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), io).await.expect("a handshake");
    tokio::spawn(driver);
    let request = Request::post(format!("https://stead{CONFIG_MAPS}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(large)))
        .expect("a request");
    let answered = tokio::time::timeout(PATIENCE, sender.send_request(request)).await.expect("an answer");
    let response = answered.expect("an answer");
    assert_eq!(response.status(), 413);
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("a Status")["reason"], "RequestEntityTooLarge");
    server.stop().await;
}
