//! Debian's docker-registry on loopback: a real one.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, Once, mpsc};

use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};

use crate::support::{TestImage, digest};

/// `stead:sesame`, as htpasswd writes it.
const HTPASSWD: &str = "stead:$2y$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O\n";

/// Ends with its value.
pub(crate) struct Registry {
    process: Child,
    /// `127.0.0.1:PORT`.
    pub(crate) host: String,
    pub(crate) dir: tempfile::TempDir,
    auth: RegistryAuth,
    log: Mutex<mpsc::Receiver<String>>,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::with_auth(false)
    }

    /// Lets in `stead` with password `sesame` alone.
    pub(crate) fn with_password() -> Self {
        Self::with_auth(true)
    }

    fn with_auth(password: bool) -> Self {
        install();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).unwrap();
        let auth = format!("auth: {{htpasswd: {{realm: test, path: {path}/htpasswd}}}}\n");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {path}/data}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n{}",
            if password { &auth } else { "" }
        );
        std::fs::write(dir.path().join("config.yml"), config).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, log) = mpsc::channel();
        let (stdout, stderr) = (process.stdout.take().unwrap(), process.stderr.take().unwrap());
        let forward = |stream: Box<dyn std::io::Read + Send>, sender: mpsc::Sender<String>| {
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        };
        forward(Box::new(stdout), sender.clone());
        forward(Box::new(stderr), sender);
        let listening = |line: String| {
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split(['"', ',']).next()?.to_owned())
        };
        let host = log.iter().find_map(listening).expect("the registry ended before it listened");
        let auth = if password {
            RegistryAuth::Basic("stead".into(), "sesame".into())
        } else {
            RegistryAuth::Anonymous
        };
        Self { process, host, dir, auth, log: Mutex::new(log) }
    }

    /// Pushes an image under a repository and tag.
    pub(crate) async fn push(&self, repository: &str, tag: &str, image: &TestImage) {
        for blob in image.blobs() {
            self.push_blob(repository, blob).await;
        }
        let manifest = image.manifest();
        self.push_manifest(repository, tag, "application/vnd.oci.image.manifest.v1+json", manifest).await;
    }

    pub(crate) async fn push_blob(&self, repository: &str, blob: Vec<u8>) {
        let (client, reference) = self.client(repository, "x").await;
        let digest = digest(&blob);
        client.push_blob(&reference, blob, &digest).await.unwrap();
    }

    pub(crate) async fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &'static str,
        bytes: Vec<u8>,
    ) {
        let (client, reference) = self.client(repository, tag).await;
        let media_type = http::HeaderValue::from_static(media_type);
        client.push_manifest_raw(&reference, bytes, media_type).await.unwrap();
    }

    async fn client(&self, repository: &str, tag: &str) -> (Client, Reference) {
        let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        let client = Client::try_from(config).unwrap();
        let reference = Reference::with_tag(self.host.clone(), repository.into(), tag.into());
        client.auth(&reference, &self.auth, RegistryOperation::Push).await.unwrap();
        (client, reference)
    }

    /// Replaces what the registry has stored for a blob.
    pub(crate) fn corrupt(&self, blob: &[u8], other: &[u8]) {
        let hex = digest(blob)["sha256:".len()..].to_owned();
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        std::fs::write(blobs.join(&hex[..2]).join(hex).join("data"), other).unwrap();
    }

    /// The requests that were answered so far, up to one whose line contains `last`.
    pub(crate) fn requests_until(&self, last: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        let mut lines = Vec::new();
        for line in log.iter() {
            let done = line.contains(last);
            lines.push(line);
            if done {
                break;
            }
        }
        lines
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// The registry program, and a cryptographic provider for the clients.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().unwrap();
        if Command::new("docker-registry").arg("--version").output().is_err() {
            eprintln!("installing docker-registry with apt-get, for tests of pulls");
            let install = Command::new("apt-get")
                .args(["install", "-qq", "--yes", "--no-install-recommends", "docker-registry"])
                .env("DEBIAN_FRONTEND", "noninteractive")
                .status();
            assert!(install.unwrap().success(), "apt-get cannot install docker-registry");
        }
    });
}
