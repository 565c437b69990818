//! Images: from a registry, from an archive, and what is said when there is none. The registry is Debian's
//! docker-registry on loopback.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::harness::Stead;

/// A registry that stands for docker.io and has busybox under some names; dropping it ends it.
struct Registry {
    process: Child,
    host: String,
    dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `stead:sesame`, as htpasswd writes it.
const HTPASSWD: &str = "stead:$2y$05$abcdefghijklmnopqrstuuKcS.CYWVYVaLiiCKrrc0A5s3mGesJ9O\n";

impl Registry {
    fn start() -> Self {
        Self::start_with("")
    }

    /// One that wants a password.
    fn with_password() -> Self {
        Self::start_with("auth: {htpasswd: {realm: test, path: DIR/htpasswd}}\n")
    }

    fn start_with(auth: &str) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("config.yml");
        let data = dir.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\n{}",
            data.display(),
            auth.replace("DIR", &dir.path().display().to_string())
        );
        std::fs::write(dir.path().join("htpasswd"), HTPASSWD).expect("a file of passwords");
        std::fs::write(&config, text).expect("a configuration");
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry runs: apt-get install docker-registry");
        let mut log = BufReader::new(process.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let listening = |line: String| {
            let (_, rest) = line.split_once("listening on ")?;
            Some(rest.split(['"', ',']).next()?.to_owned())
        };
        let host = log.find_map(listening).expect("the registry listens");
        // Its log is read on, or it would stop at a full pipe.
        std::thread::spawn(move || log.for_each(drop));
        let this = Self { process, host, dir };
        let layout = this.dir.path().join("layout");
        unpack(&archive("busybox"), &layout);
        for repository in ["library/busybox", "library/spoiled"] {
            this.store(&layout, repository);
        }
        this
    }

    /// Puts an OCI layout's blobs where the registry keeps them, and its image under the tag `latest`
    /// (distribution's `registry/storage/paths.go`).
    fn store(&self, layout: &Path, repository: &str) {
        let root = self.dir.path().join("data/docker/registry/v2");
        let write = |path: PathBuf, bytes: &[u8]| {
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, bytes).expect("a file");
        };
        let place = root.join("repositories").join(repository);
        for hex in blobs(layout) {
            let bytes = std::fs::read(layout.join("blobs/sha256").join(&hex)).expect("a blob");
            write(root.join("blobs/sha256").join(&hex[..2]).join(&hex).join("data"), &bytes);
            write(place.join("_layers/sha256").join(&hex).join("link"), format!("sha256:{hex}").as_bytes());
        }
        let index = std::fs::read_to_string(layout.join("index.json")).expect("an index");
        let (_, rest) = index.split_once("\"digest\":\"sha256:").expect("a digest");
        let hex = &rest[..64];
        let link = format!("sha256:{hex}");
        for path in [
            format!("_manifests/revisions/sha256/{hex}/link"),
            "_manifests/tags/latest/current/link".to_owned(),
            format!("_manifests/tags/latest/index/sha256/{hex}/link"),
        ] {
            write(place.join(path), link.as_bytes());
        }
    }

    /// Changes the largest blob, the layer with the programs, without changing its name.
    fn spoil(&self) {
        let data = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        let layout = self.dir.path().join("layout");
        let size =
            |hex: &String| std::fs::metadata(layout.join("blobs/sha256").join(hex)).expect("a blob").len();
        let hex = blobs(&layout).into_iter().max_by_key(size).expect("blobs");
        let path = data.join(&hex[..2]).join(&hex).join("data");
        let mut bytes = std::fs::read(&path).expect("a blob");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(path, bytes).expect("a blob");
    }

    /// A stead that looks here for docker.io's images.
    fn stead(&self, name: &str) -> Stead {
        Stead::start_with(name, &[], &[&format!("--registry-mirror=docker.io=http://{}", self.host)])
    }
}

fn archive(image: &str) -> PathBuf {
    let images = std::env::var_os("STEAD_IMAGES").expect("STEAD_IMAGES names the folder of the test images");
    Path::new(&images).join(format!("{image}.tar"))
}

fn unpack(archive: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder");
    let status = Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(to).status().expect("tar runs");
    assert!(status.success(), "{} is unpacked", archive.display());
}

fn blobs(layout: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(layout.join("blobs/sha256")).expect("blobs").flatten();
    entries.map(|entry| entry.file_name().into_string().expect("a digest")).collect()
}

fn pod(name: &str, image: &str, policy: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, \
         containers: [{{name: main, image: '{image}', imagePullPolicy: {policy}, command: [sleep, infinity]}}]}}}}\n"
    )
}

fn waiting(stead: &Stead, pod: &str, reason: &str) {
    stead.wait(
        &format!("jsonpath={{.status.containerStatuses[0].state.waiting.reason}}={reason}"),
        &format!("pod/{pod}"),
    );
}

#[test]
fn an_image_comes_from_its_registry_when_the_policy_says_so() {
    let registry = Registry::start();
    let stead = registry.stead("images-pull");
    stead.apply(&pod("never", "busybox", "Never"));
    waiting(&stead, "never", "ErrImageNeverPull");
    stead.apply(&pod("first", "busybox", "IfNotPresent"));
    stead.wait("condition=Ready", "pod/first");
    let told = stead.event("pod/first", "Pulled");
    assert!(told.starts_with("Successfully pulled image \"busybox\" in "), "{told}");
    assert_eq!(stead.shell("first", "echo it runs"), "it runs\n");
    // Now it is here: for the one that waits for it, and for those that come.
    stead.wait("condition=Ready", "pod/never");
    stead.apply(&pod("second", "docker.io/library/busybox:latest", "IfNotPresent"));
    assert_eq!(
        stead.event("pod/second", "Pulled"),
        "Container image \"docker.io/library/busybox:latest\" already present on machine"
    );
    // Always asks again, and needs the registry.
    stead.apply(&pod("third", "busybox", "Always"));
    stead.wait("condition=Ready", "pod/third");
    assert_eq!(stead.event("pod/third", "Pulling"), "Pulling image \"busybox\"");
    drop(registry);
    stead.apply(&pod("fourth", "busybox", "Always"));
    waiting(&stead, "fourth", "ErrImagePull");
    stead.apply(&pod("fifth", "busybox", "IfNotPresent"));
    stead.wait("condition=Ready", "pod/fifth");
}

#[test]
fn an_image_that_cannot_be_had_is_told_in_one_sentence() {
    let registry = Registry::start();
    let stead = registry.stead("images-missing");
    stead.apply(&pod("absent", "nobody/has:it", "IfNotPresent"));
    let told = stead.event("pod/absent", "Failed");
    let expected = format!(
        "Failed to pull image \"nobody/has:it\": cannot pull docker.io/nobody/has:it: mirror {} has no such image; docker.io ",
        registry.host
    );
    assert!(told.starts_with(&expected), "{told}");
    assert!(!told.trim_end().contains('\n'), "one sentence: {told}");
    waiting(&stead, "absent", "ErrImagePull");
    // It is tried again, less and less often.
    waiting(&stead, "absent", "ImagePullBackOff");
    assert_eq!(stead.event("pod/absent", "BackOff"), "Back-off pulling image \"nobody/has:it\"");

    stead.apply(&pod("unnameable", "Not/A:Name:", "IfNotPresent"));
    waiting(&stead, "unnameable", "InvalidImageName");

    // Bytes that are not what their digest says are refused, wherever they come from.
    registry.spoil();
    stead.apply(&pod("spoiled", "spoiled", "IfNotPresent"));
    let told = stead.event("pod/spoiled", "Failed");
    assert!(told.contains(&format!("mirror {} sent what cannot be used: ", registry.host)), "{told}");
    assert!(told.contains("sha256:"), "it names the digest: {told}");
}

#[test]
fn an_image_imported_by_hand_is_found_by_those_that_wait() {
    let stead = Stead::start("images-import", &[]);
    stead.apply(&pod("waits", "private/app:1", "Never"));
    waiting(&stead, "waits", "ErrImageNeverPull");
    let archive = archive("busybox");
    stead.run(&format!("image import '{}' --name private/app:1", archive.display()));
    stead.wait("condition=Ready", "pod/waits");
    assert!(stead.run("image ls").contains("docker.io/private/app:1"));
    stead.run("image rm private/app:1");
    assert!(!stead.run("image ls").contains("private/app"));
    assert_eq!(stead.shell("waits", "echo runs on"), "runs on\n");
}

#[test]
fn a_private_image_is_pulled_with_the_pod_s_secrets() {
    let registry = Registry::with_password();
    let stead = Stead::start("images-private", &[]);
    let image = format!("{}/library/busybox", registry.host);
    stead.apply(&pod("nobody", &image, "Always"));
    waiting(&stead, "nobody", "ErrImagePull");
    let told = stead.event("pod/nobody", "Failed");
    assert!(told.contains("asks for credentials"), "{told}");

    let named = |name: &str| {
        pod(name, &image, "Always")
            .replace("spec: {", "spec: {imagePullSecrets: [{name: wrong}, {name: right}], ")
    };
    let secret = |name: &str, password: &str| {
        let file =
            serde_json::json!({"auths": {&registry.host: {"username": "stead", "password": password}}});
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}}}, type: kubernetes.io/dockerconfigjson, \
             stringData: {{.dockerconfigjson: '{file}'}}}}\n"
        )
    };
    stead.apply(&named("early"));
    let told = stead.event("pod/early", "FailedToRetrieveImagePullSecret");
    let expected = "Unable to retrieve some image pull secrets (wrong, right); attempting to pull the image may not succeed.";
    assert_eq!(told, expected);
    // One after the other is tried.
    stead.apply(&secret("wrong", "open"));
    stead.apply(&secret("right", "sesame"));
    stead.apply(&named("known"));
    stead.wait("condition=Ready", "pod/known");
    // A service account gives its pods what they do not name.
    stead.run("patch serviceaccount default -p '{\"imagePullSecrets\":[{\"name\":\"right\"}]}'");
    stead.apply(&pod("account", &image, "Always"));
    stead.wait("condition=Ready", "pod/account");
}
