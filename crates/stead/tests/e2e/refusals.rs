//! What stead says when it will not: one sentence that names the thing, and what to do.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::harness::Stead;

const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: busybox}]}
";

#[test]
fn manifests_are_refused_by_field() {
    let stead = Stead::start("refusals-fields", &[]);
    for (wrong, instead, said) in [
        (
            "replcas: 3",
            "replicas: 3",
            "strict decoding error: unknown field \"spec.replcas\" (did you mean \"replicas\"?)",
        ),
        ("replicas: three", "replicas: 3", "spec.replicas: Invalid value: \"three\": must be an integer"),
    ] {
        let refusal = stead.refuses(&SET.replace(instead, wrong));
        assert!(refusal.trim_end().ends_with(said), "{refusal}");
    }
    let refusal = stead.refuses(&SET.replace("matchLabels: {app: db}", "matchLabels: {app: other}"));
    assert_eq!(
        refusal,
        "The StatefulSet \"db\" is invalid: spec.template.metadata.labels: Invalid value: {\"app\":\"db\"}: \
         `selector` does not match template `labels`\n"
    );
    assert!(stead.run("get statefulsets").is_empty(), "nothing of it was stored");
}

#[test]
fn pods_say_what_they_miss() {
    let stead = Stead::start("refusals-missing", &["busybox"]);
    let pod = |name: &str, container: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: main, \
             command: [sleep, infinity], {container}}}]}}}}\n"
        )
    };
    let env = "env: [{name: P, valueFrom: {secretKeyRef: {name: login, key: password}}}]";
    stead.apply(&pod("secret", &format!("image: busybox, {env}")));
    let told = stead.events("pod/secret", "Failed");
    assert_eq!(told.line(), "Error: secret \"login\" not found");
    stead.run("create secret generic login --from-literal=user=me");
    assert_eq!(told.line(), "Error: couldn't find key password in Secret default/login");
    stead.run(r#"patch secret login -p '{"stringData":{"password":"hunter2"}}'"#);
    stead.wait("condition=Ready", "pod/secret");

    stead.apply(&pod("image", "image: 'nobody/has:it', imagePullPolicy: Never"));
    assert_eq!(
        stead.event("pod/image", "ErrImageNeverPull"),
        "Container image \"nobody/has:it\" is not present with pull policy of Never: import it (stead image \
         import) or change imagePullPolicy"
    );
    stead.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: volume}, spec: {containers: [{name: main, image: busybox}], \
         volumes: [{name: conf, configMap: {name: nowhere}}]}}",
    );
    assert_eq!(
        stead.event("pod/volume", "FailedMount"),
        "MountVolume.SetUp failed for volume \"conf\": configmap \"nowhere\" not found"
    );
}

/// What `stead up` says instead of starting.
fn up(data_dir: &std::path::Path, flags: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stead"));
    refused(command.arg("--data-dir").arg(data_dir).arg("up").args(flags))
}

fn refused(command: &mut Command) -> String {
    let output = command.output().expect("stead runs");
    assert!(!output.status.success(), "stead should not start");
    String::from_utf8(output.stderr).expect("words")
}

#[test]
fn what_is_taken_is_named() {
    let stead = Stead::start("refusals-taken", &[]);
    let (pid, dir) = (stead.pid(), stead.dir().canonicalize().unwrap());
    let kubeconfig = std::fs::read_to_string(stead.kubeconfig()).unwrap();
    let (_, address) = kubeconfig.split_once("https://").expect("the API's address");
    let address = address.lines().next().unwrap().trim_matches(['"', ' ']);
    let other = tempfile::tempdir().unwrap();
    assert_eq!(
        up(other.path(), &["--listen", address]),
        format!(
            "stead: {address} is in use by another program; stop it, or choose another address with --listen\n"
        )
    );
    assert_eq!(
        up(&dir, &[]),
        format!(
            "stead: another stead (process {pid}) uses the data directory {}: stop it, or choose another \
             --data-dir\n",
            dir.display()
        )
    );
}

#[test]
fn only_root_may_start_it() {
    // Where anybody may run it.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("stead");
    std::fs::copy(env!("CARGO_BIN_EXE_stead"), &program).unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(
        refused(Command::new(program).arg("up").uid(65534).gid(65534)),
        "stead: stead up must be run as root: it makes namespaces, mounts and cgroups (try sudo)\n"
    );
}

#[test]
fn a_client_says_where_it_looked_for_stead() {
    let dir = tempfile::tempdir().unwrap();
    let words = refused(
        Command::new(env!("CARGO_BIN_EXE_stead"))
            .arg("--data-dir")
            .arg(dir.path())
            .args(["get", "pods"])
            .env_remove("KUBECONFIG"),
    );
    let dir = dir.path().display();
    assert_eq!(
        words,
        format!(
            "error: stead is not running: there is no {dir}/kubeconfig; start it with `stead up --data-dir {dir}`\n"
        )
    );
}
