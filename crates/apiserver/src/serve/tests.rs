//! What one client does to the others.

use std::sync::Mutex;

use apimachinery::inject::{Clock, Random};
use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tower::Service;

use super::*;
use crate::api::{ApiService, Config};
use crate::expire::tests::NoNode;
use crate::respond::Answer;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn api() -> ApiServer {
    let api = ApiServer::new(Config {
        store: Arc::new(store::Memory::new()),
        service_cidr: "10.43.0.0/16".to_owned(),
        streams: Arc::new(NoNode),
        tokens: Arc::new(crate::TokenKey::generate().expect("a key")),
        clock: Clock::new(|| Timestamp::UNIX_EPOCH),
        random: Random::seeded(1),
    });
    api.bootstrap().await.expect("bootstrapped");
    api
}

async fn ask(mut service: ApiService, method: &str, path: &str, body: String) -> Answer {
    let request =
        Request::builder().method(method).uri(path).body(Full::<Bytes>::from(body)).expect("a request");
    let Ok(answer) = service.call(request).await;
    answer
}

async fn make(api: &ApiServer, name: &str, size: usize) {
    let object = json!({"metadata": {"name": name}, "data": {"a": "x".repeat(size)}});
    let made = ask(api.service(UserInfo::internal("test")), "POST", CONFIG_MAPS, object.to_string()).await;
    assert_eq!(made.status(), 201);
}

/// Time stands still until nothing is left to do: what is reached before it moves was waited for by nobody.
#[tokio::test(start_paused = true)]
async fn a_watcher_that_stops_reading_holds_nobody_up_and_is_cut_off() {
    let api = api().await;
    let (mut stuck, server) = tokio::io::duplex(16 << 10);
    let (connection, service) = api.connection(UserInfo::internal("stuck"));
    let io = TokioIo::new(Stall::new(server, WRITE_PATIENCE, Arc::clone(&connection)));
    let served = builder().http1_only().serve_connection(io, TowerToHyperService::new(service)).into_owned();
    let served = tokio::spawn(served);
    let request = format!("GET {CONFIG_MAPS}?watch=true HTTP/1.1\r\nhost: stead\r\n\r\n");
    stuck.write_all(request.as_bytes()).await.expect("sent");
    while !connection.has_watches() {
        tokio::task::yield_now().await;
    }
    let path = format!("{CONFIG_MAPS}?watch=true");
    let reading = ask(api.service(UserInfo::internal("reader")), "GET", &path, String::new()).await;
    let mut reading = reading.into_body();
    let begin = tokio::time::Instant::now();
    for n in 0..100 {
        make(&api, &format!("m{n}"), 10_000).await;
        // Whoever waits for the disk lets others in.
        tokio::task::yield_now().await;
    }
    let mut lines = 0;
    while lines < 100 {
        let piece = reading.frame().await.expect("an event").expect("unbroken").into_data().expect("data");
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
    }
    assert!(begin.elapsed() < WRITE_PATIENCE, "writers and other watchers waited for nobody");
    assert!(connection.has_watches());
    served.await.expect("no panic").expect_err("cut off");
    assert!(!connection.has_watches(), "its place is free");
    assert!(begin.elapsed() < 2 * WRITE_PATIENCE);
}

/// An HTTP/2 client of the server, whose requests share one connection.
async fn connect(
    api: &ApiServer,
    user: &str,
) -> (http2::SendRequest<Full<Bytes>>, Arc<origin::Connection>, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(16 << 10);
    let (connection, service) = api.connection(UserInfo::internal(user));
    let io = TokioIo::new(Stall::new(server, WRITE_PATIENCE, Arc::clone(&connection)));
    let served = builder().http2_only().serve_connection(io, TowerToHyperService::new(service)).into_owned();
    let origin = Arc::clone(&connection);
    let served = tokio::spawn(async move { serve_until_stuck(served, &origin).await });
    let (sender, driver) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(64 << 10)
        .handshake(TokioIo::new(client))
        .await
        .expect("a handshake");
    tokio::spawn(driver);
    (sender, connection, served)
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://stead{path}")).body(Full::default()).expect("a request")
}

async fn lines(body: &mut hyper::body::Incoming, wanted: usize) {
    let mut lines = 0;
    while lines < wanted {
        let piece = body.frame().await.expect("an event").expect("unbroken").into_data().expect("data");
        lines += piece.iter().filter(|byte| **byte == b'\n').count();
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_holds_no_other_up_and_its_connection_is_cut_off() {
    let api = api().await;
    let path = format!("{CONFIG_MAPS}?watch=true");
    let (mut stuck, connection, served) = connect(&api, "stuck").await;
    let (mut reader, ..) = connect(&api, "reader").await;
    // Two watches over one connection, one of which is not read.
    let unread = stuck.send_request(get(&path)).await.expect("answered");
    let mut beside = stuck.send_request(get(&path)).await.expect("answered").into_body();
    let mut reading = reader.send_request(get(&path)).await.expect("answered").into_body();
    let begin = tokio::time::Instant::now();
    for n in 0..100 {
        make(&api, &format!("m{n}"), 10_000).await;
        tokio::task::yield_now().await;
    }
    lines(&mut reading, 100).await;
    lines(&mut beside, 100).await;
    let asked = stuck.send_request(get(&format!("{CONFIG_MAPS}/m1"))).await.expect("answered");
    assert_eq!(asked.status(), 200, "nor does another request on the same connection wait");
    assert!(begin.elapsed() < WRITE_PATIENCE, "nobody waited for the stream that is not read");
    assert!(connection.has_watches());
    served.await.expect("no panic");
    assert!(
        begin.elapsed() >= WRITE_PATIENCE && begin.elapsed() < 2 * WRITE_PATIENCE,
        "{:?}",
        begin.elapsed()
    );
    while connection.has_watches() {
        tokio::task::yield_now().await;
    }
    let mut unread = unread.into_body();
    while let Some(Ok(_)) = unread.frame().await {}
    // Whoever reads goes on.
    make(&api, "later", 1).await;
    lines(&mut reading, 1).await;
}

#[tokio::test]
async fn a_flood_over_one_connection_does_not_come_before_who_asks_after_it() {
    const FLOOD: usize = 500;
    let api = api().await;
    let order: Arc<Mutex<Vec<&str>>> = Arc::default();
    let (_, flood) = api.connection(UserInfo::internal("admin"));
    let (_, other) = api.connection(UserInfo::internal("admin"));
    let mut tasks = Vec::new();
    for (name, service) in std::iter::repeat_n(("flood", flood), FLOOD).chain([("other", other)]) {
        let order = Arc::clone(&order);
        tasks.push(tokio::spawn(async move {
            let answer = ask(service, "GET", CONFIG_MAPS, String::new()).await;
            assert_eq!(answer.status(), 200);
            order.lock().expect("an order").push(name);
        }));
    }
    for task in tasks {
        task.await.expect("answered");
    }
    let order = order.lock().expect("an order");
    let place = order.iter().position(|name| *name == "other").expect("answered");
    assert!(place < FLOOD / 10, "{place} came before");
    assert_eq!(order.len(), FLOOD + 1, "nobody of the flood is lost");
}

#[tokio::test]
async fn who_asks_for_more_than_may_wait_is_told_to_come_back() {
    let api = api().await;
    let (_, flood) = api.connection(UserInfo::internal("admin"));
    let asked = (0..1200).map(|_| ask(flood.clone(), "GET", CONFIG_MAPS, String::new()));
    let answers = futures::future::join_all(asked).await;
    let refused: Vec<_> = answers.into_iter().filter(|answer| answer.status() != 200).collect();
    assert!(!refused.is_empty() && refused.len() < 300, "{}", refused.len());
    for answer in refused {
        assert_eq!(answer.status(), 429);
        assert_eq!(answer.headers()["retry-after"], "1");
    }
    // What controllers ask inside the process never waits behind it.
    let asked =
        (0..1200).map(|_| ask(api.service(UserInfo::internal("kcm")), "GET", CONFIG_MAPS, String::new()));
    assert!(futures::future::join_all(asked).await.iter().all(|answer| answer.status() == 200));
}

#[tokio::test]
async fn nobody_watches_more_than_one_may() {
    let api = api().await;
    let (_, service) = api.connection(UserInfo::internal("greedy"));
    let mut places: Vec<_> = std::iter::from_fn(|| api.watches().take("greedy")).collect();
    let path = format!("{CONFIG_MAPS}?watch=true");
    let refused = ask(service.clone(), "GET", &path, String::new()).await;
    assert_eq!(refused.status(), 429);
    let body = refused.into_body().collect().await.expect("a body").to_bytes();
    let status: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        status["message"],
        "too many watches of \"greedy\", please try again later: have fewer at once"
    );
    let (_, other) = api.connection(UserInfo::internal("modest"));
    assert_eq!(ask(other, "GET", &path, String::new()).await.status(), 200);
    places.pop();
    assert_eq!(ask(service, "GET", &path, String::new()).await.status(), 200);
}

#[tokio::test]
async fn a_browser_watches_over_a_websocket() {
    let api = api().await;
    let (client, server) = tokio::io::duplex(64 << 10);
    let (connection, service) = api.connection(UserInfo::internal("browser"));
    let builder = builder().http1_only();
    let served =
        builder.serve_connection_with_upgrades(TokioIo::new(server), TowerToHyperService::new(service));
    tokio::spawn(served.into_owned());
    let url = format!("ws://stead{CONFIG_MAPS}?watch=true&timeoutSeconds=3600");
    let (mut socket, answer) = tokio_tungstenite::client_async(url, client).await.expect("a handshake");
    assert_eq!(answer.status(), 101);
    for name in ["a", "b"] {
        make(&api, name, 1).await;
        let message = socket.next().await.expect("a message").expect("unbroken");
        let event: Value = serde_json::from_str(message.to_text().expect("text")).expect("JSON");
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!(name)));
    }
    assert!(connection.has_watches());
    // The watch ends with its client.
    socket.close(None).await.expect("closed");
    while connection.has_watches() {
        tokio::task::yield_now().await;
    }
}
