//! Images that a node cannot get.

use serde_json::{Value, json};

use super::{after, container, set_with, why};
use crate::sim::Sim;

/// The only pod waits for its image, and its node says this.
fn waits(sim: &mut Sim, reason: &str, message: &str) -> String {
    container(sim, "web-0", &json!({"state": {"waiting": {"reason": reason, "message": message}}}));
    why(sim, "pod/web-0")
}

/// A pull that failed with `fault`, told as our node tells it the second time.
fn failed(fault: &str) -> String {
    format!(
        "Back-off pulling image \"web:1\": Failed to pull image \"web:1\": cannot pull docker.io/library/web:1: \
         docker.io {fault}"
    )
}

#[test]
fn a_name_that_no_registry_knows() {
    let mut sim = after("set replicas=1");
    let fault = failed("has no such image; check the name and the tag");
    insta::assert_snapshot!(waits(&mut sim, "ImagePullBackOff", &fault), @r#"
    pod/web-0 is not Ready
    └ container web has no image (ImagePullBackOff)
        cannot pull docker.io/library/web:1: docker.io has no such image
      → check the name and the tag web:1; name another: stead set image sts/web web=IMAGE; or bring it: stead image import FILE
    "#);
}

#[test]
fn a_name_that_is_none() {
    let mut sim = set_with("set replicas=1", |spec| spec["containers"][0]["image"] = "Web:1:2".into());
    let fault =
        "Failed to pull image \"Web:1:2\": image name \"Web:1:2\" is not valid: capitals are not allowed";
    insta::assert_snapshot!(waits(&mut sim, "InvalidImageName", fault), @r#"
    pod/web-0 is not Ready
    └ container web has no image (InvalidImageName)
        image name "Web:1:2" is not valid: capitals are not allowed
      → Web:1:2 is no image's name; name another: stead set image sts/web web=IMAGE
    "#);
}

#[test]
fn a_registry_that_asks_for_credentials() {
    let fault =
        failed("asks for credentials, or has no such image; check the name, or give imagePullSecrets");
    let mut sim = after("set replicas=1");
    insta::assert_snapshot!(waits(&mut sim, "ImagePullBackOff", &fault), @r#"
    pod/web-0 is not Ready
    └ container web has no image (ImagePullBackOff)
        cannot pull docker.io/library/web:1: docker.io asks for credentials, or has no such image
      → check the name web:1, or give credentials: a Secret of type kubernetes.io/dockerconfigjson, named in the pod's spec.imagePullSecrets
    "#);
    let secrets = json!([{"name": "registry"}]);
    let with = |spec: &mut Value| spec["imagePullSecrets"] = secrets.clone();
    let mut sim = set_with("set replicas=1", with);
    insta::assert_snapshot!(waits(&mut sim, "ImagePullBackOff", &fault), @r#"
    pod/web-0 is not Ready
    └ container web has no image (ImagePullBackOff)
        cannot pull docker.io/library/web:1: docker.io asks for credentials, or has no such image
      └ secret/registry, which spec.imagePullSecrets names, does not exist
        → create it, of type kubernetes.io/dockerconfigjson: stead apply -f FILE
    "#);
    sim.make(json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "registry", "namespace": "default"}}));
    insta::assert_snapshot!(why(&sim, "pod/web-0"), @r#"
    pod/web-0 is not Ready
    └ container web has no image (ImagePullBackOff)
        cannot pull docker.io/library/web:1: docker.io asks for credentials, or has no such image
      → check the name web:1, or give other credentials: a Secret of type kubernetes.io/dockerconfigjson, named in the pod's spec.imagePullSecrets
    "#);
}

#[test]
fn a_registry_that_cannot_be_reached() {
    let mut sim = after("set replicas=1");
    let fault = failed(
        "cannot be reached: dns error; check the network, name a mirror with --registry-mirror, or bring the image \
         in with \"stead image import\"",
    );
    insta::assert_snapshot!(waits(&mut sim, "ErrImagePull", &fault), @r#"
    pod/web-0 is not Ready
    └ container web has no image (ErrImagePull)
        cannot pull docker.io/library/web:1: docker.io cannot be reached: dns error
      → see that this machine reaches the registry, name a mirror (stead up --registry-mirror HOST=URL), or bring it: stead image import FILE
    "#);
}

#[test]
fn an_image_that_nobody_may_fetch() {
    let mut sim = after("set replicas=1");
    let fault = "Container image \"web:1\" is not present with pull policy of Never: import it (stead image import) \
                 or change imagePullPolicy";
    insta::assert_snapshot!(waits(&mut sim, "ErrImageNeverPull", fault), @r#"
    pod/web-0 is not Ready
    └ container web has no image (ErrImageNeverPull)
        Container image "web:1" is not present with pull policy of Never: import it (stead image import) or change imagePullPolicy
      → bring it: stead image import FILE; or set imagePullPolicy to IfNotPresent
    "#);
}

#[test]
fn another_nodes_words_are_understood_too() {
    let mut sim = after("set replicas=1");
    let fault = "failed to pull and unpack image \"docker.io/library/web:1\": failed to resolve reference: pull \
                 access denied, repository does not exist or may require authorization";
    insta::assert_snapshot!(waits(&mut sim, "ErrImagePull", fault), @r#"
    pod/web-0 is not Ready
    └ container web has no image (ErrImagePull)
        failed to pull and unpack image "docker.io/library/web:1": failed to resolve reference: pull access denied, repository does not exist or may require authorization
      → check the name web:1, or give credentials: a Secret of type kubernetes.io/dockerconfigjson, named in the pod's spec.imagePullSecrets
    "#);
    insta::assert_snapshot!(waits(&mut sim, "ErrImagePull", "something else"), @r#"
    pod/web-0 is not Ready
    └ container web has no image (ErrImagePull)
        something else
      → check the name web:1, or bring it: stead image import FILE
    "#);
}
