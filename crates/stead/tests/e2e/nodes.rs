//! Nodes that register through the API and are no more than what the test says of them.

use crate::harness::Stead;

/// A node that says now that it is well.
fn node(name: &str) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "Node",
            "metadata": {{"name": "{name}", "labels": {{"kubernetes.io/hostname": "{name}"}}}},
            "status": {{"capacity": {{"cpu": "4", "memory": "8Gi", "pods": "110"}},
                "conditions": [{{"type": "Ready", "status": "True", "reason": "KubeletReady"}}]}}}}"#
    )
}

const SET: &str = r#"{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
    "spec": {"serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "busybox"}]}}}}"#;

#[test]
fn a_pod_of_a_lost_node_has_a_successor_once_somebody_says_that_its_machine_is_off() {
    let stead = Stead::start_with("lost-node", &[], &["--no-node"]);
    stead.apply(&node("fake-a"));
    stead.apply(SET);
    stead.wait("create", "pod/web-0");
    stead.wait("jsonpath={.spec.nodeName}=fake-a", "pod/web-0");
    let first = stead.field("pod/web-0", ".metadata.uid");
    stead.apply(&node("fake-b"));
    // The node is well: whatever its taints say, it is the one to tell when a pod is gone.
    let out_of_service =
        r#"[{"key":"node.kubernetes.io/out-of-service","value":"nodeshutdown","effect":"NoExecute"}]"#;
    stead.run(&format!("patch node fake-a -p '{{\"spec\":{{\"taints\":{out_of_service}}}}}'"));
    stead.wait(
        "jsonpath={.status.conditions[?(@.type==\"DisruptionTarget\")].reason}=DeletionByTaintManager",
        "pod/web-0",
    );
    stead.wait("jsonpath={.metadata.deletionGracePeriodSeconds}=30", "pod/web-0");
    assert_eq!(stead.field("pod/web-0", ".metadata.uid"), first);
    // It is silent, and nobody says that its machine is off.
    stead.run("patch node fake-a -p '{\"spec\":{\"taints\":null}}'");
    let unready =
        r#"{"status":{"conditions":[{"type":"Ready","status":"False","reason":"KubeletNotReady"}]}}"#;
    stead.run(&format!("patch node fake-a --subresource=status -p '{unready}'"));
    stead.wait("jsonpath={.spec.taints[0].key}=node.kubernetes.io/not-ready", "node/fake-a");
    assert_eq!(stead.field("pod/web-0", ".metadata.uid"), first);
    let why = stead.run("why pod/web-0");
    assert!(
        why.contains("kubectl taint node fake-a node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"),
        "{why}"
    );
    // Now both hold.
    let pods = stead.follow("get pods --watch -o wide");
    stead.run(&format!("patch node fake-a -p '{{\"spec\":{{\"taints\":{out_of_service}}}}}'"));
    while !pods.line().contains("fake-b") {}
    assert_ne!(stead.field("pod/web-0", ".metadata.uid"), first);
}
