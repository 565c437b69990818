//! Three kubectls, eleven to sixteen releases apart, through the same day's work. What each prints is kept word for
//! word in `snapshots/`, one page for each release.

use std::path::Path;
use std::process::Command;

use super::{clients, said};
use crate::harness::Home;

/// The day's work; `|` leads into what the client reads.
const WORK: &[&str] = &[
    "apply -f set.yaml",
    "apply -f set.yaml",
    "rollout status sts/db --timeout=60s",
    "get sts,svc",
    "get pods --sort-by=.metadata.name",
    "get pods -o name -l app=db --field-selector=status.phase=Running",
    "get sts db -o jsonpath={.spec.replicas}/{.status.readyReplicas}",
    "get pod db-0 -o custom-columns=NAME:.metadata.name,NODE:.spec.subdomain",
    "exec db-1 -- hostname",
    "exec -i db-0 -- cat | what is sent",
    "logs db-0",
    "scale sts/db --replicas=1",
    "wait --for=delete pod/db-1 --timeout=60s",
    "set env sts/db COLOUR=blue",
    "rollout status sts/db --timeout=60s",
    "rollout history sts/db",
    "rollout undo sts/db",
    "rollout status sts/db --timeout=60s",
    r#"patch sts db -p {"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"1"}]}]}}}}"#,
    "get sts db -o jsonpath={.spec.template.spec.containers[0].env}",
    "label sts db tier=data",
    "annotate sts db note=kept",
    "create configmap c --from-literal=colour=red",
    "create configmap c --from-literal=colour=red",
    "apply --server-side -f map.yaml",
    "apply --server-side --force-conflicts -f map.yaml",
    "get configmap c -o jsonpath={.data}",
    "create -f wrong.yaml",
    "get pod nobody",
    "get nothing",
    "explain sts.spec.serviceName",
    "auth can-i delete statefulsets",
    "delete -f set.yaml --timeout=60s",
    "get sts",
];

const FILES: &[(&str, &str)] = &[
    (
        "set.yaml",
        r#"
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 8080}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: busybox
        imagePullPolicy: Never
        command: ["sh", "-c", "echo begun; mkdir /www; exec httpd -f -p 8080 -h /www"]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
"#,
    ),
    ("map.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {colour: blue}\n"),
    ("wrong.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Wrong_Name}\ndata: {colour: red}\n"),
];

/// Does the day's work in a namespace of its own, and answers with what was asked and what was said.
fn transcript(kubectl: &Path, release: &str) -> String {
    let home = Home::new(&format!("kubectl-{}", release.replace('.', "-")));
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in FILES {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    let mut page = String::new();
    for line in WORK {
        let (words, input) = line.split_once(" | ").unwrap_or((line, ""));
        let mut command = Command::new(kubectl);
        command.args(["-n", home.namespace()]).args(words.split(' ')).env("HOME", folder.path());
        command.current_dir(folder.path());
        let output = home.feed(command, input);
        let said = [output.stdout, output.stderr].concat();
        page += &format!("$ kubectl {line}\n{}", without_chance(&String::from_utf8_lossy(&said)));
        page += &output
            .status
            .code()
            .filter(|code| *code != 0)
            .map(|c| format!("exit {c}\n"))
            .unwrap_or_default();
        page += if page.ends_with('\n') { "" } else { "\n" };
    }
    page.replace(home.namespace(), "NAMESPACE")
}

/// Ages are what the clock makes of them, and waits say as much as there was to wait for.
fn without_chance(text: &str) -> String {
    let is_age = |word: &str| {
        let digits = word.trim_end_matches(['s', 'm', 'h']);
        digits.len() < word.len() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let mut kept = String::new();
    for line in text.lines().filter(|line| !line.starts_with("Waiting for ")) {
        let age = line.rsplit(' ').next().filter(|word| is_age(word));
        kept += age.map_or(line, |age| &line[..line.len() - age.len()]);
        kept += if age.is_some() { "AGE\n" } else { "\n" };
    }
    kept
}

/// The release of a kubectl: `1.32`.
fn release(kubectl: &Path) -> String {
    let text =
        said(&Command::new(kubectl).args(["version", "--client", "-o", "json"]).output().expect("it runs"));
    let version: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let said = |field: &str| version["clientVersion"][field].as_str().unwrap_or_default().to_owned();
    format!("{}.{}", said("major"), said("minor").trim_end_matches('+'))
}

fn works_as_ever(program: &str) {
    let kubectl = clients().join("bin").join(program);
    if !kubectl.exists() {
        println!("{program} is not to be had on this machine");
        return;
    }
    let release = release(&kubectl);
    let page = format!("tests/e2e/clients/snapshots/e2e__clients__kubectl__kubectl {release}.snap");
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join(page).exists() {
        println!("there is no page for kubectl {release}, which this machine's distribution has");
        return;
    }
    insta::assert_snapshot!(format!("kubectl {release}"), transcript(&kubectl, &release));
}

#[test]
fn the_kubectl_of_the_distribution_works_as_ever() {
    works_as_ever("kubectl-debian");
}

#[test]
fn kubectl_1_32_works_as_ever() {
    works_as_ever("kubectl-1.32");
}

#[test]
fn kubectl_1_36_works_as_ever() {
    works_as_ever("kubectl-1.36");
}
