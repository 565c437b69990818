//! Nodes that come over the network, with a certificate of their own: what they read and write is theirs.

use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::{PODS, pod};
use crate::tls::Server;

const NODES: &str = "/api/v1/nodes";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";

async fn server() -> Server {
    let server = Server::start().await;
    for name in ["mine", "other"] {
        server.harness.post(SECRETS, &json!({"metadata": {"name": name}})).await.expect(201);
    }
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = "n1".into();
    bound["spec"]["volumes"] = json!([{"name": "s", "secret": {"secretName": "mine"}}]);
    server.harness.post(PODS, &bound).await.expect(201);
    server
}

fn told(error: &kube::Error) -> &str {
    match error {
        kube::Error::Api(status) => &status.message,
        other => panic!("{other}"),
    }
}

async fn refused(client: &Client, method: &str, path: &str, body: &Value) -> String {
    let media_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder().method(method).uri(path).header("content-type", media_type);
    let request = request.body(body.to_string().into_bytes()).expect("a request");
    let error = client.request::<Value>(request).await.expect_err(path);
    told(&error).to_owned()
}

#[tokio::test]
async fn a_node_reads_the_secrets_of_its_own_pods_alone() {
    let server = server().await;
    let (own, stranger) = (server.as_node("n1").await, server.as_node("n2").await);
    let secrets: Api<Secret> = Api::default_namespaced(own.clone());
    secrets.get("mine").await.expect("its pod needs it");
    let named = ListParams::default().fields("metadata.name=mine");
    assert_eq!(secrets.list(&named).await.expect("the same by a list").items.len(), 1);
    let refuse = |node: &str, name: &str| {
        format!(
            "secrets {name:?} is forbidden: User \"system:node:{node}\" cannot get resource \"secrets\" in API group \
             \"\" in the namespace \"default\": no relationship found between node '{node}' and this object"
        )
    };
    let error = secrets.get("other").await.expect_err("nobody's");
    assert_eq!(told(&error), refuse("n1", "other"));
    let theirs: Api<Secret> = Api::default_namespaced(stranger.clone());
    assert_eq!(told(&theirs.get("mine").await.expect_err("another's")), refuse("n2", "mine"));
    // It is bound by what is so now.
    let pods: Api<Pod> = Api::default_namespaced(own.clone());
    pods.delete("p", &DeleteParams::default().grace_period(0)).await.expect("its own");
    assert_eq!(told(&secrets.get("mine").await.expect_err("not any more")), refuse("n1", "mine"));
    server.stop().await;
}

#[tokio::test]
async fn a_node_registers_itself_and_nobody_else() {
    let server = server().await;
    let client = server.as_node("n1").await;
    let nodes: Api<Node> = Api::all(client.clone());
    let made = |name: &str, label: &str| -> Node {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {label: "x"}}})).expect("typed")
    };
    nodes.create(&PostParams::default(), &made("n1", "kubernetes.io/hostname")).await.expect("itself");
    let error = nodes.create(&PostParams::default(), &made("n2", "a")).await.expect_err("another");
    assert_eq!(told(&error), "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"");
    let error = nodes.list(&ListParams::default()).await.expect_err("all");
    assert_eq!(
        told(&error),
        "nodes is forbidden: User \"system:node:n1\" cannot list resource \"nodes\" in API group \"\" at the cluster \
         scope: node 'n1' cannot read all nodes, only its own Node object"
    );
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    nodes.patch_status("n1", &PatchParams::default(), &Patch::Merge(&ready)).await.expect("its own status");
    let path = format!("{NODES}/n1");
    let check = async |patch: Value, why: &str| {
        let told = refused(&client, "PATCH", &path, &patch).await;
        assert_eq!(told, format!("nodes \"n1\" is forbidden: {why}"));
    };
    check(
        json!({"metadata": {"labels": {"node-restriction.kubernetes.io/trusted": "yes"}}}),
        "is not allowed to modify labels: node-restriction.kubernetes.io/trusted",
    )
    .await;
    check(
        json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}}),
        "node \"n1\" is not allowed to modify taints",
    )
    .await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let lease = |name: &str| json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name}});
    assert_eq!(
        refused(&client, "POST", leases, &lease("n2")).await,
        "leases.coordination.k8s.io \"n2\" is forbidden: can only access node lease with the same name as the requesting \
         node"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_node_reports_on_evicts_and_gets_tokens_for_its_own_pods_alone() {
    let server = server().await;
    let (own, stranger) = (server.as_node("n1").await, server.as_node("n2").await);
    let status = json!({"status": {"phase": "Running"}});
    let pods: Api<Pod> = Api::default_namespaced(own.clone());
    let held =
        pods.patch_status("p", &PatchParams::default(), &Patch::Merge(&status)).await.expect("its own");
    let uid = held.metadata.uid.expect("a uid");
    assert_eq!(
        refused(&stranger, "PATCH", &format!("{PODS}/p/status"), &status).await,
        "pods \"p\" is forbidden: node \"n2\" can only update pod status for pods with spec.nodeName set to itself"
    );
    assert_eq!(
        refused(
            &stranger,
            "DELETE",
            &format!("{PODS}/p"),
            &json!({"kind": "DeleteOptions", "apiVersion": "v1"})
        )
        .await,
        "pods \"p\" is forbidden: node \"n2\" can only delete pods with spec.nodeName set to itself"
    );
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    assert_eq!(
        refused(&stranger, "POST", &format!("{PODS}/p/eviction"), &eviction).await,
        "pods \"p\" is forbidden: node n2 can only evict pods with spec.nodeName set to itself"
    );
    let tokens = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let ask = |audiences: Value, uid: &str| {
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": audiences,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid}}})
    };
    server
        .harness
        .post("/api/v1/namespaces/default/serviceaccounts", &json!({"metadata": {"name": "default"}}))
        .await
        .expect(201);
    let request = http::Request::post(tokens).header("content-type", "application/json");
    let request = request.body(ask(json!([]), &uid).to_string().into_bytes()).expect("a request");
    let given: Value = own.request(request).await.expect("for its own pod");
    assert!(given["status"]["token"].is_string());
    let who = "serviceaccounts \"default\" is forbidden: ";
    assert_eq!(
        refused(&own, "POST", tokens, &ask(json!(["vault"]), &uid)).await,
        format!(
            "{who}audience \"vault\" not found in pod spec volume, system:node:n1 is not authorized to request tokens \
             for this audience"
        )
    );
    assert_eq!(
        refused(
            &own,
            "POST",
            tokens,
            &json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": []}})
        )
        .await,
        format!("{who}node requested token not bound to a pod")
    );
    assert_eq!(
        refused(&stranger, "POST", tokens, &ask(json!([]), &uid)).await,
        format!(
            "{who}User \"system:node:n2\" cannot create resource \"serviceaccounts/token\" in API group \"\" in the \
             namespace \"default\": no relationship found between node 'n2' and this object"
        )
    );
    server.stop().await;
}

#[tokio::test]
async fn a_node_that_is_late_hears_that() {
    let server = server().await;
    let path = format!("{PODS}/p");
    let options =
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "of-a-former-pod"}});
    let told = refused(&server.as_node("n2").await, "DELETE", &path, &options).await;
    assert!(
        told.contains("the UID in the precondition (of-a-former-pod) does not match the UID in record"),
        "{told}"
    );
    assert_eq!(server.harness.get(&path).await.code, 200);
    server.stop().await;
}
