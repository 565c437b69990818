//! The API over real TLS on loopback.

use std::future::Future;
use std::net::SocketAddr;

use apiserver::pki::Pki;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ListParams, PostParams, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::harness::{Harness, config_map};

/// A server on a free port.
pub(crate) struct Server {
    pub(crate) harness: Harness,
    pub(crate) kubeconfig: String,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
    dir: tempfile::TempDir,
    address: SocketAddr,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let harness = Harness::start().await;
        let listener = apiserver::bind(([127, 0, 0, 1], 0).into()).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let url = format!("https://{address}");
        let dir = tempfile::tempdir().expect("a folder");
        let pki = Pki::load_or_create(dir.path(), &[]).expect("certificates");
        let kubeconfig = pki.kubeconfig(&url, "test");
        let (stop, stopped) = oneshot::channel::<()>();
        let api = harness.api.clone();
        let done = tokio::spawn(async move {
            api.serve(listener, &pki, async {
                let _ = stopped.await;
            })
            .await;
        });
        Self { harness, kubeconfig, stop, done, dir, address }
    }

    /// A client with the kubeconfig after `change`.
    pub(crate) fn client(&self, change: impl FnOnce(&mut Kubeconfig)) -> impl Future<Output = Client> {
        let mut kubeconfig = Kubeconfig::from_yaml(&self.kubeconfig).expect("a kubeconfig");
        change(&mut kubeconfig);
        async {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
            Client::try_from(config.expect("a config")).expect("a client")
        }
    }

    /// A client with a certificate of a node's.
    pub(crate) async fn as_node(&self, name: &str) -> Client {
        let (certificate, key) = self.certificate(&format!("system:node:{name}"), "system:nodes");
        let data = |pem: &str| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, pem);
        self.client(|kubeconfig| {
            let info = kubeconfig.auth_infos[0].auth_info.as_mut().expect("a user");
            info.client_certificate_data = Some(data(&certificate));
            info.client_key_data = Some(data(&key).into());
        })
        .await
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate of its CA.
    pub(crate) fn ca(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("ca.crt")).expect("a file of the CA's")
    }

    /// A certificate of the server's CA, and its key.
    pub(crate) fn certificate(&self, name: &str, group: &str) -> (String, String) {
        let read =
            |file: &str| std::fs::read_to_string(self.dir.path().join(file)).expect("a file of the CA's");
        let authority = KeyPair::from_pem(&read("ca.key")).expect("a key");
        let issuer = Issuer::from_ca_cert_pem(&read("ca.crt"), authority).expect("a CA");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("the server runs");
        self.done.await.expect("the server ends");
    }
}

fn drop_certificate(kubeconfig: &mut Kubeconfig) {
    let info = kubeconfig.auth_infos[0].auth_info.as_mut().expect("a user");
    info.client_certificate_data = None;
    info.client_key_data = None;
}

#[tokio::test]
async fn the_kubeconfig_lets_the_admin_in() {
    let server = Server::start().await;
    let client = server.client(|_| {}).await;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    assert_eq!(namespaces.list(&ListParams::default()).await.expect("listed").items.len(), 4);
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let object: ConfigMap = serde_json::from_value(config_map("a")).expect("typed");
    maps.create(&PostParams::default(), &object).await.expect("created");
    server.stop().await;
}

#[tokio::test]
async fn nobody_without_a_certificate_sees_more_than_health() {
    let server = Server::start().await;
    let client = server.client(drop_certificate).await;
    let request = |path: &str| http::Request::get(path).body(Vec::new()).expect("a request");
    for open in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(client.request_text(request(open)).await.expect("open to all"), "ok");
    }
    let version: serde_json::Value = client.request(request("/version")).await.expect("open to all");
    assert_eq!(version["minor"], "36");
    for closed in ["/api", "/openapi/v3", "/api/v1/namespaces/default/secrets"] {
        let error = client.request_text(request(closed)).await.expect_err("closed");
        let kube::Error::Api(status) = error else { panic!("{error}") };
        assert_eq!(status.code, 403);
        assert!(status.message.contains("User \"system:anonymous\" cannot"), "{}", status.message);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_not_let_in() {
    let server = Server::start().await;
    let other = Server::start().await;
    let stranger = Kubeconfig::from_yaml(&other.kubeconfig).expect("a kubeconfig").auth_infos;
    let client = server.client(|kubeconfig| kubeconfig.auth_infos = stranger).await;
    let namespaces: Api<Namespace> = Api::all(client);
    let error = namespaces.list(&ListParams::default()).await.expect_err("refused by TLS");
    assert!(!matches!(error, kube::Error::Api(_)), "{error}");
    server.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_server_that_stops_ends_its_watches_first() {
    use futures::StreamExt;
    let server = Server::start().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client(|_| {}).await);
    let mut watch = maps.watch(&WatchParams::default(), "0").await.expect("watching").boxed();
    server.stop().await;
    assert!(watch.next().await.is_none());
}
