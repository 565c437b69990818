//! `why` and `timeline` against a server: what they read, and how they end.

use serde_json::Value;

use super::harness::{Buffer, Stead};

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: db-0
spec:
  nodeName: n1
  automountServiceAccountToken: false
  containers:
  - name: main
    image: busybox
    env:
    - {name: PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}
";

const CRASHED: &str = r#"{"status": {"phase": "Running", "containerStatuses": [{
    "name": "main", "image": "busybox", "imageID": "", "ready": false, "restartCount": 3,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 1, "reason": "Error",
        "startedAt": "2026-01-02T03:04:05Z", "finishedAt": "2026-01-02T03:04:06Z"}}}]}}"#;

const NODE: &str = "\
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {conditions: [{type: Ready, status: 'True'}]}
";

async fn with_pod() -> Stead {
    let stead = Stead::start().await;
    let file = stead.manifest("node.yaml", NODE);
    stead.ok(&format!("create -f {}", file.display())).await;
    let file = stead.manifest("pod.yaml", POD);
    stead.ok(&format!("create -f {}", file.display())).await;
    stead
}

async fn crash(stead: &Stead) {
    let ran = stead
        .run(&["patch", "pod", "db-0", "--subresource", "status", "--type", "merge", "-p", CRASHED])
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn why_leads_to_the_secret_that_is_missing() {
    let stead = with_pod().await;
    insta::assert_snapshot!(stead.ok("why pod/db-0").await, @r#"
    pod/db-0 cannot start: what it refers to is missing
    └ secret/db does not exist
      → create it: stead create secret generic db --from-literal=password=VALUE
    "#);
    insta::assert_snapshot!(stead.ok("why po db-0 -o yaml").await, @r#"
    causes:
    - because:
      - fix: 'create it: stead create secret generic db --from-literal=password=VALUE'
        text: secret/db does not exist
      text: 'pod/db-0 cannot start: what it refers to is missing'
    kind: Pod
    name: db-0
    namespace: default
    "#);
    let fix = stead.ok("why pods db-0 -o jsonpath={.causes[0].because[0].fix}").await;
    assert_eq!(fix, "create it: stead create secret generic db --from-literal=password=VALUE");
}

#[tokio::test]
async fn why_reads_the_last_words_of_a_container_that_crashed() {
    let stead = with_pod().await;
    stead.ok("create secret generic db --from-literal=password=x").await;
    crash(&stead).await;
    let told = stead.ok("why pod/db-0").await;
    let words: Vec<&str> = told.lines().filter(|line| line.contains("main of")).collect();
    assert_eq!(words, ["      main of db-0 tail Some(5)"], "{told}");
}

#[tokio::test]
async fn why_says_of_what_is_missing_that_it_is_not_found() {
    let stead = with_pod().await;
    let ran = stead.run(&["why", "pod/nobody"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(ran.err, "Error from server (NotFound): pods \"nobody\" not found\n");
    assert_eq!(
        stead.fails("why pod/db-0 -A").await,
        "error: an object is in one namespace: leave its name or --all-namespaces out\n"
    );
    assert_eq!(
        stead.fails("why pod/db-0 -o name").await,
        "error: why has no names to print: use -o json, yaml or jsonpath=…\n"
    );
}

#[tokio::test]
async fn a_kind_that_nothing_waits_for_has_nothing_to_explain() {
    let stead = with_pod().await;
    stead.ok("create secret generic db --from-literal=password=x").await;
    assert_eq!(stead.ok("why secret/db").await, "secret/db is there and waits for nothing\n");
    assert_eq!(stead.ok("why ns/default").await, "namespace/default is Active and waits for nothing\n");
    assert_eq!(
        stead.fails("why job/x").await,
        "error: nothing waits in objects of kind Job: ask about sts, deploy, rs, pod, pvc, pv, svc, pdb, node or ns\n"
    );
}

const SET: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: web
  annotations: {stead.dev/reserve-ordinals: '1'}
spec:
  replicas: 2
  serviceName: ''
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: busybox}]}
";

#[tokio::test]
async fn why_answers_for_what_is_not_there_where_that_has_a_reason() {
    let stead = Stead::start().await;
    let file = stead.manifest("web.yaml", SET);
    stead.ok(&format!("create -f {}", file.display())).await;
    insta::assert_snapshot!(stead.ok("why pod/web-1").await, @r#"
    pod/web-1 does not exist
    └ statefulset/web leaves ordinal 1 out: its annotation stead.dev/reserve-ordinals is "1"
      → to have it, reserve others or none: stead annotate sts web stead.dev/reserve-ordinals-
    "#);
}

#[tokio::test]
async fn why_without_a_name_tells_all_that_waits() {
    let stead = with_pod().await;
    stead.ok("create ns shop").await;
    let file = stead.manifest("pod.yaml", &POD.replace("db-0", "till-0"));
    stead.ok(&format!("create -n shop -f {}", file.display())).await;
    insta::assert_snapshot!(stead.ok("why").await, @r#"
    pod/db-0 cannot start: what it refers to is missing
    └ secret/db does not exist
      → create it: stead create secret generic db --from-literal=password=VALUE
    "#);
    insta::assert_snapshot!(stead.ok("why pods -A").await, @r#"
    namespace default:
    pod/db-0 cannot start: what it refers to is missing
    └ secret/db does not exist
      → create it: stead create secret generic db --from-literal=password=VALUE
    namespace shop:
    pod/till-0 cannot start: what it refers to is missing
    └ secret/db does not exist
      → create it: stead create secret generic db -n shop --from-literal=password=VALUE
    "#);
    insta::assert_snapshot!(stead.ok("why -A -o jsonpath={.items[*].name}").await, @"db-0 till-0");
    insta::assert_snapshot!(stead.ok("why sts").await, @r#"
    there are no statefulsets in namespace default
    "#);
    insta::assert_snapshot!(stead.ok("why nodes").await, @r#"
    no nodes wait: the only one is as it should be
    "#);
    stead.ok("create secret generic db --from-literal=password=x").await;
    stead.ok("create secret generic db --from-literal=password=x -n shop").await;
    stead
        .ok("patch pod db-0 --subresource status --type merge -p {\"status\":{\"phase\":\"Succeeded\"}}")
        .await;
    insta::assert_snapshot!(stead.ok("why pod").await, @r#"
    no pods wait in namespace default: the only one is as it should be
    "#);
    insta::assert_snapshot!(stead.ok("why").await, @r#"
    no objects wait in namespace default: all 2 are as they should be
    "#);
}

#[tokio::test]
async fn timeline_tells_a_pods_past() {
    let stead = with_pod().await;
    crash(&stead).await;
    let told = stead.ok("timeline pod/db-0").await;
    let what: Vec<&str> =
        told.lines().filter_map(|line| line.split_once("pod/db-0  ").map(|(_, what)| what)).collect();
    assert_eq!(
        what,
        ["container main started", "container main ended with exit code 1 (Error)", "created"],
        "{told}"
    );
    let steps: Value = serde_json::from_str(&stead.ok("timeline pod db-0 -o json").await).expect("JSON");
    assert_eq!(steps["steps"][0]["time"], "2026-01-02T03:04:05Z");
    assert_eq!(steps["steps"][0]["object"], "pod/db-0");
    assert_eq!(
        stead.fails("timeline pod/nobody").await,
        "Error from server (NotFound): pods \"nobody\" not found\n"
    );
}

#[tokio::test]
async fn timeline_goes_on_while_it_is_watched() {
    let stead = with_pod().await;
    let seen = Buffer::default();
    let story = async {
        seen.until("pod/db-0  created\n").await;
        stead.ok("label pod db-0 unrelated=yes").await;
        crash(&stead).await;
        seen.until("container main ended with exit code 1 (Error)\n").await;
        stead.ok("delete pod db-0 --force --grace-period=0").await;
        let told = seen.until("pod/db-0  gone\n").await;
        assert_eq!(told.matches("created").count(), 1, "{told}");
    };
    stead.during(&["timeline", "-w", "pod/db-0"], &seen, story).await;
}

#[tokio::test]
async fn timeline_gives_programs_each_step_by_itself_while_it_is_watched() {
    let stead = with_pod().await;
    let seen = Buffer::default();
    let story = async {
        seen.until("created;").await;
        crash(&stead).await;
        let told = seen.until("container main ended with exit code 1 (Error);").await;
        assert_eq!(told.matches("created").count(), 1, "{told}");
    };
    stead.during(&["timeline", "-w", "-o", "jsonpath={.what};", "pod/db-0"], &seen, story).await;
}
