//! Logs and exec.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, AttachParams, LogParams};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Harness, PODS, pod};
use crate::tls::Server;

async fn bound_pod(api: &Harness, name: &str) {
    api.post(PODS, &pod(name)).await.expect(201);
    let binding = json!({"metadata": {"name": name}, "target": {"name": "n1"}});
    api.post(&format!("{PODS}/{name}/binding"), &binding).await.expect(201);
}

#[tokio::test]
async fn logs_come_from_the_pods_node() {
    let api = Harness::start().await;
    bound_pod(&api, "p").await;
    let log = api.get(&format!("{PODS}/p/log?tailLines=3")).await.expect(200);
    assert_eq!(log, "p/c tail=Some(3)\n");
    assert_eq!(
        api.get(&format!("{PODS}/p/log?container=x")).await.refused(400),
        "container x is not valid for pod p"
    );
    assert_eq!(api.get(&format!("{PODS}/q/log")).await.refused(404), "pods \"q\" not found");
    api.post(PODS, &pod("waiting")).await.expect(201);
    assert_eq!(api.get(&format!("{PODS}/waiting/log")).await.expect(200), "");
}

#[tokio::test]
async fn exec_needs_a_websocket() {
    let api = Harness::start().await;
    bound_pod(&api, "p").await;
    let refusal = api.get(&format!("{PODS}/p/exec?command=ls&stdout=true")).await.refused(400);
    assert!(
        refusal.contains("needs a WebSocket in one of v5.channel.k8s.io, v4.channel.k8s.io, or SPDY/3.1"),
        "{refusal}"
    );
    let refusal = api.get(&format!("{PODS}/p/exec?stdout=true")).await.refused(400);
    assert!(refusal.starts_with("command: Required value"), "{refusal}");
    let refusal = api.get(&format!("{PODS}/p/exec?command=ls")).await.refused(400);
    assert_eq!(refusal, "you must specify at least 1 of stdin, stdout, stderr");
}

#[tokio::test]
async fn input_goes_in_and_output_comes_out_until_the_input_ends() {
    let server = Server::start().await;
    bound_pod(&server.harness, "p").await;
    let pods: Api<Pod> = Api::default_namespaced(server.client(|_| {}).await);
    assert_eq!(pods.logs("p", &LogParams::default()).await.expect("a log"), "p/c tail=None\n");
    let params = AttachParams::default().stdin(true).stderr(false);
    let mut session = pods.exec("p", ["cat"], &params).await.expect("running");
    let mut stdin = session.stdin().expect("an input");
    let mut stdout = session.stdout().expect("an output");
    let status = session.take_status().expect("a status");
    stdin.write_all(b"hello").await.expect("written");
    stdin.shutdown().await.expect("closed");
    drop(stdin);
    let mut said = String::new();
    stdout.read_to_string(&mut said).await.expect("read");
    assert_eq!(said, "hello");
    assert_eq!(status.await.expect("a status").status.as_deref(), Some("Success"));
    server.stop().await;
}

#[tokio::test]
async fn the_exit_code_comes_as_a_status() {
    let server = Server::start().await;
    bound_pod(&server.harness, "p").await;
    let pods: Api<Pod> = Api::default_namespaced(server.client(|_| {}).await);
    let params = AttachParams::default().stderr(false);
    let mut session = pods.exec("p", ["exit", "3"], &params).await.expect("running");
    let status = session.take_status().expect("a status").await.expect("a status");
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
    let causes = status.details.expect("details").causes.expect("causes");
    assert_eq!((causes[0].reason.as_deref(), causes[0].message.as_deref()), (Some("ExitCode"), Some("3")));
    server.stop().await;
}

#[tokio::test]
async fn a_nodes_refusal_comes_as_a_status() {
    let server = Server::start().await;
    bound_pod(&server.harness, "p").await;
    let pods: Api<Pod> = Api::default_namespaced(server.client(|_| {}).await);
    let mut session = pods.exec("p", ["nonsense"], &AttachParams::default()).await.expect("a connection");
    let status = session.take_status().expect("a status").await.expect("a status");
    assert_eq!(status.message.as_deref(), Some("Internal error occurred: exec: no such file"));
    server.stop().await;
}

#[tokio::test]
async fn attach_joins_the_container_that_is_named() {
    let server = Server::start().await;
    bound_pod(&server.harness, "p").await;
    let pods: Api<Pod> = Api::default_namespaced(server.client(|_| {}).await);
    let params = AttachParams::default().stdin(true).stderr(false);
    let mut session = pods.attach("p", &params).await.expect("attached");
    let mut said = String::new();
    session.stdout().expect("an output").read_to_string(&mut said).await.expect("read");
    assert_eq!(said, "c stdin=true tty=false");
    let status = session.take_status().expect("a status").await.expect("a status");
    assert_eq!(status.status.as_deref(), Some("Success"));
    server.stop().await;
}

/// A pod with an address, as its node tells it.
async fn running_pod(api: &Harness, name: &str) {
    bound_pod(api, name).await;
    let path = format!("{PODS}/{name}/status");
    let status =
        json!({"status": {"phase": "Running", "podIP": "10.42.0.7", "podIPs": [{"ip": "10.42.0.7"}]}});
    api.patch("merge", &path, &status).await.expect(200);
}

#[tokio::test]
async fn ports_are_forwarded_in_channels() {
    let server = Server::start().await;
    running_pod(&server.harness, "p").await;
    let pods: Api<Pod> = Api::default_namespaced(server.client(|_| {}).await);
    let mut forward = pods.portforward("p", &[7, 8]).await.expect("a connection");
    let mut echo = forward.take_stream(7).expect("a stream");
    let refused = forward.take_error(8).expect("errors");
    echo.write_all(b"hello").await.expect("written");
    let mut said = [0; 5];
    echo.read_exact(&mut said).await.expect("read");
    assert_eq!(&said, b"hello");
    let refused = refused.await.expect("a sentence");
    assert!(
        refused.starts_with("error forwarding port 8 to pod p, uid ") && refused.ends_with("refused"),
        "{refused}"
    );
    server.stop().await;
}

#[tokio::test]
async fn port_forward_needs_a_running_pod_and_an_upgrade() {
    let api = Harness::start().await;
    bound_pod(&api, "p").await;
    let refusal = api.get(&format!("{PODS}/p/portforward?ports=7")).await.refused(400);
    assert_eq!(refusal, "unable to forward port because pod is not running. Current status=Pending");
    running_pod(&api, "q").await;
    let refusal = api.get(&format!("{PODS}/q/portforward?ports=7")).await.refused(400);
    assert!(
        refusal.contains("port-forward here needs a WebSocket in one of SPDY/3.1+portforward.k8s.io"),
        "{refusal}"
    );
}

#[tokio::test]
async fn logs_of_one_stream_have_no_tail() {
    let api = Harness::start().await;
    bound_pod(&api, "p").await;
    let refusal = api.get(&format!("{PODS}/p/log?stream=Both")).await.refused(400);
    assert!(refusal.starts_with("stream: Unsupported value: \"Both\""), "{refusal}");
    let refusal = api.get(&format!("{PODS}/p/log?stream=Stdout&tailLines=1")).await.refused(400);
    assert_eq!(refusal, "`tailLines` and specific `stream` are mutually exclusive for now");
    api.get(&format!("{PODS}/p/log?stream=Stderr&insecureSkipTLSVerifyBackend=true")).await.expect(200);
}

#[tokio::test]
async fn the_proxy_passes_requests_on_and_answers_back() {
    let server = Server::start().await;
    running_pod(&server.harness, "p").await;
    let client = server.client(|_| {}).await;
    let ask = async |path: &str| {
        let request = http::Request::get(format!("{PODS}/{path}"))
            .header("x-mine", "1")
            .body(kube::client::Body::empty())
            .expect("a request");
        let (head, body) = client.send(request).await.expect("an answer").into_parts();
        let body = http_body_util::BodyExt::collect(body).await.expect("a body").to_bytes();
        (head, String::from_utf8_lossy(&body).into_owned())
    };
    let (head, asked) = ask("http:p:80/proxy/a//b%2Fc?x=1").await;
    assert_eq!((head.status.as_u16(), head.headers["x-pod"].to_str().ok()), (200, Some("yes")));
    assert!(asked.starts_with("GET /a//b%2Fc?x=1 HTTP/1.1\r\n"), "{asked}");
    for header in ["host: 10.42.0.7:80", "x-mine: 1", "x-forwarded-proto: https"] {
        assert!(asked.contains(&format!("\r\n{header}\r\n")), "{header}: {asked}");
    }
    let (head, _) = ask("p/proxy/away").await;
    let place = head.headers["location"].to_str().expect("a place");
    assert_eq!((head.status.as_u16(), place), (302, format!("{PODS}/p/proxy/login").as_str()));
    let (head, _) = ask("p/proxy?x=1").await;
    let place = head.headers["location"].to_str().expect("a place");
    assert_eq!((head.status.as_u16(), place), (301, format!("{PODS}/p/proxy/?x=1").as_str()));
    server.stop().await;
}

#[tokio::test]
async fn the_proxy_refuses_what_it_cannot_reach() {
    let api = Harness::start().await;
    running_pod(&api, "p").await;
    let refusal = api.get(&format!("{PODS}/p:9/proxy/")).await.refused(503);
    assert_eq!(refusal, "error trying to reach service: dial tcp 10.42.0.7:9: connection refused");
    let refusal = api.get(&format!("{PODS}/https:p:443/proxy/")).await.refused(501);
    assert!(refusal.contains("speaks plain HTTP only"), "{refusal}");
    api.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.expect(201);
    let refusal = api.get("/api/v1/nodes/n1/proxy/pods").await.refused(501);
    assert!(refusal.contains("node n1 serves no kubelet API"), "{refusal}");
    bound_pod(&api, "nowhere").await;
    assert_eq!(api.get(&format!("{PODS}/nowhere/proxy/")).await.refused(400), "address not allowed");
    assert_eq!(
        api.get(&format!("{PODS}/ftp:p:1/proxy/")).await.refused(400),
        "invalid pod request \"ftp:p:1\""
    );
}

#[tokio::test]
async fn ephemeral_containers_are_added_and_stay() {
    let api = Harness::start().await;
    api.post(PODS, &pod("p")).await.expect(201);
    let path = format!("{PODS}/p/ephemeralcontainers");
    let add = |name: &str| json!({"spec": {"ephemeralContainers": [{"name": name, "image": "busybox"}]}});
    let stored = api.patch("strategic-merge", &path, &add("look")).await.expect(200);
    assert_eq!(stored["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"], "File");
    let both = api.patch("strategic-merge", &path, &add("more")).await.expect(200);
    assert_eq!(both["spec"]["ephemeralContainers"].as_array().map(Vec::len), Some(2));
    let refusal = api.patch("merge", &path, &add("other")).await.refused(422);
    assert!(refusal.contains("existing ephemeral containers \"look\" may not be removed"), "{refusal}");
    let refusal = api.patch("strategic-merge", &path, &add("c")).await.refused(422);
    assert!(refusal.contains("spec.ephemeralContainers[0].name: Duplicate value: \"c\""), "{refusal}");
    // Nothing else is written here.
    let patch = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "n1"}});
    let stored = api.patch("merge", &path, &patch).await.expect(200);
    assert!(stored["metadata"]["labels"].is_null() && stored["spec"]["nodeName"].is_null(), "{stored}");
    let mut put = api.get(&path).await.expect(200);
    put["spec"]["ephemeralContainers"][0]["command"] = json!(["sh"]);
    let refusal = api.put(&path, &put).await.refused(422);
    let name = put["spec"]["ephemeralContainers"][0]["name"].as_str().expect("a name");
    assert!(
        refusal.contains(&format!("existing ephemeral containers {name:?} may not be changed")),
        "{refusal}"
    );
    let refusal = api.patch("merge", &format!("{PODS}/p"), &add("late")).await.refused(422);
    assert!(refusal.contains("pod updates may not change fields"), "{refusal}");
}
