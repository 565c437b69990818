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
    assert!(refusal.contains("needs a WebSocket in v5.channel.k8s.io"), "{refusal}");
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
