//! Pulls from a real registry, and from ones that fail.

use std::sync::{Arc, Mutex};

use images::{Auth, Fault, Mirror, Progress, PullError, PullOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::registry::Registry;
use crate::support::{Tar, TestImage, TestStore, descriptor, digest, gzip, read, zstd};

fn mirrored(host: &str, registry: &Registry) -> PullOptions {
    let mirror: Mirror = format!("{host}=http://{}", registry.host).parse().unwrap();
    PullOptions { mirrors: vec![mirror], ..PullOptions::default() }
}

fn faults(error: PullError) -> Vec<Fault> {
    match error {
        PullError::Failed { attempts, .. } => attempts.into_iter().map(|attempt| attempt.fault).collect(),
        PullError::InvalidName(error) => panic!("{error}"),
    }
}

/// A host on which nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[tokio::test]
async fn an_image_is_pulled_from_its_registry() {
    let registry = Registry::start();
    for (tag, compress) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let store = TestStore::new();
        let layers = (0..5).map(|n| Tar::new().file("content", &format!("{tag} {n}")));
        let image = TestImage::new("x", layers).compressed(compress);
        registry.push("team/app", tag, &image).await;
        let name = format!("{}/team/app:{tag}", registry.host);
        let heard = Arc::new(Mutex::new(Progress::default()));
        let hear = Arc::clone(&heard);
        let options = PullOptions::default();
        let pulled = store.store.pull(&name, &options, move |p| *hear.lock().unwrap() = p).await.unwrap();
        assert_eq!(pulled.names, std::slice::from_ref(&name));
        assert_eq!(pulled.id, digest(&image.config_file()));
        assert_eq!(pulled.digest, digest(&image.manifest()));
        let contents: Vec<_> = pulled.layers.iter().map(|layer| read(layer, "content")).collect();
        assert_eq!(contents, (0..5).map(|n| format!("{tag} {n}")).collect::<Vec<_>>());
        let bytes = image.layers.iter().map(|(travels, _)| travels.len() as u64).sum();
        let all = Progress { layers: 5, layers_done: 5, bytes, bytes_done: bytes };
        assert_eq!(*heard.lock().unwrap(), all);
        assert_eq!(store.store.resolve(&name).as_ref(), Some(&pulled));
        // By digest it is known without another pull, and can be pulled too.
        let pinned = format!("{}/team/app@{}", registry.host, pulled.digest);
        assert_eq!(store.store.resolve(&pinned).unwrap().id, pulled.id);
        let again = store.store.pull(&pinned, &PullOptions::default(), |_| {}).await.unwrap();
        assert_eq!(again.id, pulled.id);
        assert!(again.names.contains(&pinned));
    }
}

#[tokio::test]
async fn an_image_of_docker_hub_comes_from_a_mirror() {
    let registry = Registry::start();
    registry.push("library/postgres", "14", &TestImage::small("x", "mirrored")).await;
    let store = TestStore::new();
    let options = mirrored("docker.io", &registry);
    let image = store.store.pull("postgres:14", &options, |_| {}).await.unwrap();
    assert_eq!(image.names, ["docker.io/library/postgres:14"]);
    assert_eq!(read(&image.layers[0], "content"), "mirrored");
}

#[tokio::test]
async fn a_mirror_without_the_image_is_passed_over() {
    let (empty, registry) = (Registry::start(), Registry::start());
    registry.push("app", "1", &TestImage::small("x", "from the registry itself")).await;
    let store = TestStore::new();
    let name = format!("{}/app:1", registry.host);
    let options = mirrored(&registry.host, &empty);
    let image = store.store.pull(&name, &options, |_| {}).await.unwrap();
    assert_eq!(read(&image.layers[0], "content"), "from the registry itself");

    let name = format!("{}/other:1", registry.host);
    let error = store.store.pull(&name, &options, |_| {}).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot pull {name}: mirror {} has no such image; {} has no such image; check the name and the tag",
            empty.host, registry.host
        )
    );
    assert_eq!(error.reason(), "ErrImagePull");
}

#[tokio::test]
async fn the_image_for_this_machine_is_pulled() {
    let registry = Registry::start();
    let mine = TestImage::small("x", "mine");
    let mut other = TestImage::small("x", "other");
    other.architecture = "riscv64";
    registry.push("app", "mine", &mine).await;
    registry.push("app", "other", &other).await;
    let entries: Vec<_> = [&other, &mine]
        .map(|image| {
            let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &image.manifest());
            entry["platform"] = json!({"os": "linux", "architecture": image.architecture});
            entry
        })
        .into();
    let media_type = "application/vnd.oci.image.index.v1+json";
    let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).to_string();
    registry.push_manifest("app", "all", media_type, index.clone().into_bytes()).await;
    let store = TestStore::new();
    let name = format!("{}/app:all", registry.host);
    let image = store.store.pull(&name, &PullOptions::default(), |_| {}).await.unwrap();
    assert_eq!(read(&image.layers[0], "content"), "mine");
    assert_eq!(image.digest, digest(index.as_bytes()));
}

#[tokio::test]
async fn pulls_of_one_image_at_one_time_are_one() {
    let registry = Registry::start();
    let image = TestImage::small("x", "once");
    registry.push("app", "1", &image).await;
    let store = TestStore::new();
    let name = format!("{}/app:1", registry.host);
    let options = PullOptions::default();
    let pulls = (0..8).map(|_| store.store.pull(&name, &options, |_| {}));
    let pulled = futures::future::try_join_all(pulls).await.unwrap();
    assert!(pulled.iter().all(|image| *image == pulled[0]));
    let none = store.store.pull(&format!("{}/last:1", registry.host), &options, |_| {}).await;
    assert_eq!(faults(none.unwrap_err()), [Fault::NotFound]);
    let layer = format!("\"GET /v2/app/blobs/{}", digest(&image.layers[0].0));
    let requests = registry.requests_until("\"GET /v2/last/manifests/1");
    assert_eq!(requests.iter().filter(|line| line.contains(&layer)).count(), 1);
}

#[tokio::test]
async fn a_layer_that_two_images_share_is_pulled_once() {
    let registry = Registry::start();
    let base = || Tar::new().file("base", &"shared".repeat(10_000));
    let one = TestImage::new("x", [base(), Tar::new().file("one", "1")]);
    let two = TestImage::new("x", [base(), Tar::new().file("two", "2")]);
    registry.push("app", "one", &one).await;
    registry.push("app", "two", &two).await;
    let store = TestStore::new();
    let options = PullOptions::default();
    let name = |tag: &str| format!("{}/app:{tag}", registry.host);
    let (name_one, name_two) = (name("one"), name("two"));
    let both = futures::future::try_join(
        store.store.pull(&name_one, &options, |_| {}),
        store.store.pull(&name_two, &options, |_| {}),
    );
    let (one_here, two_here) = both.await.unwrap();
    assert_eq!(one_here.layers[0], two_here.layers[0]);
    let none = store.store.pull(&format!("{}/last:1", registry.host), &options, |_| {}).await;
    assert_eq!(faults(none.unwrap_err()), [Fault::NotFound]);
    let layer = format!("\"GET /v2/app/blobs/{}", digest(&one.layers[0].0));
    let requests = registry.requests_until("\"GET /v2/last/manifests/1");
    assert_eq!(requests.iter().filter(|line| line.contains(&layer)).count(), 1);
}

#[tokio::test]
async fn a_blob_that_is_not_what_its_digest_says_is_refused() {
    let registry = Registry::start();
    let image = TestImage::small("x", "right");
    registry.push("app", "1", &image).await;
    registry.corrupt(&image.layers[0].0, &Tar::new().file("content", "wrong").bytes());
    let store = TestStore::new();
    let name = format!("{}/app:1", registry.host);
    let error = store.store.pull(&name, &PullOptions::default(), |_| {}).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(faults(error)[..], [Fault::Bad(_)]), "{text}");
    assert_eq!((store.layer_count(), store.unfinished()), (0, 0));
    assert_eq!(store.store.resolve(&name), None);
}

#[tokio::test]
async fn a_registry_with_a_password_wants_it() {
    let registry = Registry::with_password();
    registry.push("app", "1", &TestImage::small("x", "secret")).await;
    let store = TestStore::new();
    let name = format!("{}/app:1", registry.host);
    let error = store.store.pull(&name, &PullOptions::default(), |_| {}).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot pull {name}: {} asks for credentials, or has no such image; check the name, or give \
             imagePullSecrets",
            registry.host
        )
    );
    let basic = |password: &str| PullOptions {
        auth: Auth::Basic { username: "stead".into(), password: password.into() },
        ..PullOptions::default()
    };
    let error = store.store.pull(&name, &basic("wrong"), |_| {}).await.unwrap_err();
    assert_eq!(faults(error), [Fault::Unauthorized]);
    let image = store.store.pull(&name, &basic("sesame"), |_| {}).await.unwrap();
    assert_eq!(read(&image.layers[0], "content"), "secret");
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_named() {
    // For the cryptographic provider that every client needs.
    let _registry = Registry::start();
    let store = TestStore::new();
    let host = nobody();
    let name = format!("{host}/app:1");
    let error = store.store.pull(&name, &PullOptions::default(), |_| {}).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot pull {name}: {host} cannot be reached: Connection refused (os error 111); check the network, \
             name a mirror with --registry-mirror, or bring the image in with \"stead image import\""
        )
    );
}

#[tokio::test]
async fn a_bad_name_is_no_pull_at_all() {
    let store = TestStore::new();
    let error = store.store.pull("Not A Name", &PullOptions::default(), |_| {}).await.unwrap_err();
    assert_eq!(error.reason(), "InvalidImageName");
    assert_eq!(error.to_string(), "image name \"Not A Name\" is not valid: it has a space in it");
}

#[tokio::test]
async fn a_manifest_that_is_too_large_is_refused() {
    // For the cryptographic provider that every client needs.
    let _registry = Registry::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let body = format!("{{\"annotations\": {{\"a\": \"{}\"}}}}", "a".repeat(9 << 20));
        let head = format!(
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\
             content-type: application/vnd.oci.image.manifest.v1+json\r\n\r\n",
            body.len()
        );
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            // The client may have seen enough before the end.
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(body.as_bytes()).await;
        }
    });
    let store = TestStore::new();
    let error =
        store.store.pull(&format!("{host}/app:1"), &PullOptions::default(), |_| {}).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("its manifest has more than 8388608 bytes"), "{text}");
}

#[tokio::test]
async fn a_pull_that_nobody_waits_for_ends_and_leaves_nothing() {
    // A registry that says what an image is made of, and then is silent.
    let registry = Registry::start();
    let image = TestImage::small("x", "slow");
    registry.push("app", "1", &image).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap();
    let silent = tokio::spawn(async move { listener.accept().await.unwrap() });
    let store = TestStore::new();
    let name = format!("{host}/app:1");
    let options = PullOptions::default();
    let mut pull = Box::pin(store.store.pull(&name, &options, |_| {}));
    let _connection = tokio::select! {
        connection = silent => connection.unwrap(),
        result = &mut pull => panic!("{result:?}"),
    };
    drop(pull);
    // The next one starts anew, at a registry that answers.
    let options = mirrored(&host.to_string(), &registry);
    let image = store.store.pull(&name, &options, |_| {}).await.unwrap();
    assert_eq!(read(&image.layers[0], "content"), "slow");
    assert_eq!(store.unfinished(), 0);
}
