//! `rollout` of a set, against a server.

use super::harness::Stead;

const SET: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'busybox:1'}]}
";

#[tokio::test]
async fn a_roll_is_paused_and_resumed_by_an_annotation() {
    let stead = Stead::start().await;
    let file = stead.manifest("web.yaml", SET);
    stead.ok(&format!("apply -f {}", file.display())).await;
    assert_eq!(stead.ok("rollout pause sts/web").await, "statefulset.apps/web paused\n");
    assert!(stead.ok("get sts web -o jsonpath={.metadata.annotations}").await.contains("stead.dev/paused"));
    assert_eq!(
        stead.fails("rollout pause sts web").await,
        "error: statefulsets.apps \"web\" is already paused\n"
    );
    assert_eq!(stead.ok("rollout resume sts/web").await, "statefulset.apps/web resumed\n");
    assert_eq!(
        stead.fails("rollout resume sts/web").await,
        "error: statefulsets.apps \"web\" is not paused\n"
    );
}

#[tokio::test]
async fn a_roll_that_needs_help_says_what_for_beside_kubectls_words() {
    let stead = Stead::start().await;
    let file = stead.manifest("web.yaml", SET);
    stead.ok(&format!("apply -f {}", file.display())).await;
    let status = |stalled: &str, ready: i32| {
        format!(
            "{{\"status\":{{\"observedGeneration\":1,\"replicas\":3,\"readyReplicas\":{ready},\
             \"updatedReplicas\":{ready},\"conditions\":[{{\"type\":\"Stalled\",\"status\":\"{stalled}\",\
             \"reason\":\"CrashLoopBackOff\",\"message\":\"web-2_is_not_Ready\"}}]}}}}"
        )
    };
    let patch = |status: String| format!("patch sts web --subresource status --type merge -p {status}");
    stead.ok(&patch(status("True", 2))).await;
    let ran = stead.run(&["rollout", "status", "sts/web", "--watch=false"]).await;
    assert_eq!((ran.out.as_str(), ran.code), ("Waiting for 1 pods to be ready...\n", 0));
    assert_eq!(ran.err, "stalled: web-2_is_not_Ready; see: stead why sts/web\n");
    let heal = async {
        stead.ok(&patch(status("False", 3))).await;
    };
    let (ran, ()) = tokio::join!(stead.run(&["rollout", "status", "sts/web"]), heal);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.ends_with("partitioned roll out complete: 3 new pods have been updated...\n"), "{ran:?}");
}
