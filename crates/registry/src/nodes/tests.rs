//! What nodes may read by their pods, and write.

use serde_json::{Value, json};

use super::*;
use crate::rbac::Attributes;

fn pod(node: &str) -> Value {
    json!({
        "metadata": {"name": "db-0", "namespace": "n"},
        "spec": {
            "nodeName": node,
            "serviceAccountName": "robot",
            "imagePullSecrets": [{"name": "pull"}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "key"}}}],
                "envFrom": [{"configMapRef": {"name": "env"}}]}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "first"}}]}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "mounted"}},
                {"name": "b", "projected": {"sources": [{"configMap": {"name": "projected"}}]}},
                {"name": "c", "persistentVolumeClaim": {"claimName": "data"}},
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}},
            ],
        },
    })
}

fn volume() -> Value {
    json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "n", "name": "data"},
        "csi": {"nodeStageSecretRef": {"namespace": "vault", "name": "stage"},
            "controllerPublishSecretRef": {"namespace": "vault", "name": "controller"}}}})
}

fn graph() -> Graph {
    let mut graph = Graph::default();
    graph.apply("pods", "n", "db-0", Some(&pod("n1")));
    graph.apply("persistentvolumes", "", "pv", Some(&volume()));
    graph
}

/// `VERB RESOURCE NAMESPACE/NAME`, with a group after an `@` of the resource.
fn ask(node: &str, graph: &Graph, question: &str) -> Opinion {
    let mut words = question.split(' ');
    let (verb, what) = (words.next().unwrap(), words.next().unwrap());
    let (namespace, name) = words.next().unwrap().split_once('/').unwrap();
    let (what, group) = what.split_once('@').unwrap_or((what, ""));
    let (resource, subresource) = what.split_once('/').unwrap_or((what, ""));
    let fields: Vec<(String, String)> = words
        .next()
        .into_iter()
        .filter_map(|f| f.split_once('='))
        .map(|(a, b)| (a.into(), b.into()))
        .collect();
    let asked =
        Attributes { verb, group, resource, subresource, namespace, name, path: None, fields: &fields };
    authorize(node, graph, &asked)
}

fn allows(node: &str, graph: &Graph, question: &str) -> bool {
    ask(node, graph, question) == Opinion::Allow
}

#[test]
fn a_node_reads_what_its_pods_need_and_nothing_else() {
    let graph = graph();
    for needed in [
        "get secrets n/pull",
        "watch secrets n/key",
        "list secrets n/first",
        "get secrets n/mounted",
        "get secrets vault/stage",
        "get configmaps n/env",
        "get configmaps n/projected",
        "get persistentvolumeclaims n/data",
        "get persistentvolumeclaims n/db-0-scratch",
        "patch persistentvolumeclaims/status n/data",
        "get persistentvolumes /pv",
        "create serviceaccounts/token n/robot",
        "get pods n/db-0",
    ] {
        assert!(allows("n1", &graph, needed), "{needed}");
        let refused = ask("n2", &graph, needed);
        let why = "no relationship found between node 'n2' and this object";
        assert_eq!(refused, Opinion::None(why.to_owned()), "{needed}");
    }
    for other in ["get secrets m/pull", "get secrets n/other", "get secrets vault/controller"] {
        assert!(!allows("n1", &graph, other), "{other}");
    }
}

#[test]
fn what_a_node_needs_goes_with_the_last_pod_that_needs_it() {
    let mut graph = graph();
    graph.apply("pods", "n", "db-1", Some(&pod("n1")));
    graph.apply("pods", "n", "db-0", None);
    assert!(allows("n1", &graph, "get secrets n/pull"));
    graph.apply("pods", "n", "db-1", Some(&pod("n2")));
    assert!(!allows("n1", &graph, "get secrets n/pull"));
    assert!(allows("n2", &graph, "get secrets vault/stage"));
    graph.apply("persistentvolumes", "", "pv", None);
    assert!(!allows("n2", &graph, "get secrets vault/stage"));
    graph.apply("pods", "n", "db-1", None);
    assert!(!allows("n2", &graph, "get secrets n/pull"));
}

#[test]
fn a_node_asks_for_its_own_and_hears_why_it_may_not() {
    let graph = graph();
    let check = |question: &str, why: &str| {
        assert_eq!(ask("n1", &graph, question), Opinion::None(why.to_owned()), "{question}");
    };
    check("update secrets n/pull", "can only read resources of this type");
    check("list secrets /", "can only read namespaced object of this type");
    check("list secrets n/", "No Object name found");
    check("list persistentvolumes /", "can only get individual resources of this type");
    check("get nodes /n2", "node 'n1' cannot read 'n2', only its own Node object");
    check("list nodes /", "node 'n1' cannot read all nodes, only its own Node object");
    check("list pods /", "can only list/watch pods with spec.nodeName field selector");
    check("list pods / spec.nodeName=n2", "can only list/watch pods with spec.nodeName field selector");
    check(
        "patch leases@coordination.k8s.io kube-node-lease/n2",
        "can only access node lease with the same name as the requesting node",
    );
    check(
        "get leases@coordination.k8s.io n/n1",
        "can only access leases in the \"kube-node-lease\" system namespace",
    );
    check("create serviceaccounts n/", "can only create tokens for individual service accounts");
    check("delete nodes /n1", "");
    check("create pods/exec n/db-0", "");
    for own in [
        "watch pods / spec.nodeName=n1",
        "get nodes /n1",
        "patch nodes/status /n1",
        "create leases@coordination.k8s.io kube-node-lease/",
        "patch leases@coordination.k8s.io kube-node-lease/n1",
        "list services /",
        "create events n/",
        "create certificatesigningrequests@certificates.k8s.io /",
    ] {
        assert!(allows("n1", &graph, own), "{own}");
    }
}

#[test]
fn a_node_is_who_is_called_so_and_is_in_the_group() {
    let node = |name: &str, groups: &[&str]| {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        identify(Subject { name, groups: &groups }).map(str::to_owned)
    };
    assert_eq!(node("system:node:n1", &["system:nodes"]), Some("n1".to_owned()));
    assert_eq!(node("system:node:n1", &["system:authenticated"]), None);
    assert_eq!(node("ada", &["system:nodes"]), None);
}

fn refusal(
    plural: &str,
    subresource: &str,
    operation: Operation,
    name: &str,
    new: &Value,
    old: &Value,
) -> String {
    let kind = crate::KINDS.iter().find(|kind| kind.plural == plural).unwrap();
    let namespace = if plural == "leases" { "kube-node-lease" } else { "n" };
    let write = Write { operation, kind, subresource, namespace, name, new, old };
    let node = json!({"metadata": {"uid": "7"}});
    match admit("n1", &write, &node) {
        Ok(()) => String::new(),
        Err(status) => status.message.split_once("is forbidden: ").unwrap().1.to_owned(),
    }
}

#[test]
fn a_node_labels_itself_within_bounds() {
    let node = |labels: Value| json!({"metadata": {"name": "n1", "labels": labels}, "spec": {}});
    let register = |labels: Value| refusal("nodes", "", Operation::Create, "n1", &node(labels), &Value::Null);
    assert_eq!(
        register(json!({"kubernetes.io/hostname": "n1", "node.kubernetes.io/x": "1", "mine.example/y": "2",
            "sub.kubelet.kubernetes.io/z": "3", "plain": "4"})),
        ""
    );
    assert_eq!(
        register(json!({"node-restriction.kubernetes.io/a": "1", "my.node-restriction.kubernetes.io/b": "2",
            "node-role.kubernetes.io/control-plane": "", "x.k8s.io/c": "3"})),
        "node \"n1\" is not allowed to set the following labels: my.node-restriction.kubernetes.io/b, \
         node-restriction.kubernetes.io/a, node-role.kubernetes.io/control-plane, x.k8s.io/c"
    );
    let update = |new: &Value, old: &Value| refusal("nodes", "status", Operation::Update, "n1", new, old);
    let old = node(json!({"node-role.kubernetes.io/db": ""}));
    assert_eq!(update(&node(json!({})), &old), "is not allowed to modify labels: node-role.kubernetes.io/db");
    let mut tainted = old.clone();
    tainted["spec"]["taints"] = json!([{"key": "a", "effect": "NoSchedule"}]);
    assert_eq!(update(&tainted, &old), "node \"n1\" is not allowed to modify taints");
    let mut owned = old.clone();
    owned["metadata"]["ownerReferences"] = json!([{"name": "x"}]);
    assert_eq!(update(&owned, &old), "node \"n1\" is not allowed to modify ownerReferences");
    assert_eq!(update(&old, &old), "");
    assert_eq!(
        refusal("nodes", "status", Operation::Update, "n2", &old, &old),
        "node \"n1\" is not allowed to modify node \"n2\""
    );
}

#[test]
fn a_node_writes_the_status_of_its_own_pods_and_lets_go_of_no_other() {
    let (ours, theirs) = (pod("n1"), pod("n2"));
    let mut labelled = ours.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    let status = |new: &Value, old: &Value| refusal("pods", "status", Operation::Update, "db-0", new, old);
    assert_eq!(status(&ours, &ours), "");
    assert_eq!(
        status(&theirs, &theirs),
        "node \"n1\" can only update pod status for pods with spec.nodeName set to itself"
    );
    assert_eq!(status(&labelled, &ours), "node \"n1\" cannot update labels through pod status");
    let delete = |old: &Value| refusal("pods", "", Operation::Delete, "db-0", &Value::Null, old);
    assert_eq!(delete(&ours), "");
    assert_eq!(delete(&theirs), "node \"n1\" can only delete pods with spec.nodeName set to itself");
    let evict = |old: &Value| refusal("pods", "eviction", Operation::Create, "db-0", &Value::Null, old);
    assert_eq!(evict(&theirs), "node n1 can only evict pods with spec.nodeName set to itself");
    assert_eq!(evict(&ours), "");
}

#[test]
fn a_node_makes_no_pods_but_mirrors_of_its_own() {
    let make = |pod: &Value| refusal("pods", "", Operation::Create, "db-0", pod, &Value::Null);
    assert_eq!(
        make(&pod("n1")),
        "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods"
    );
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "7", "controller": true});
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"},
        "ownerReferences": [owner]}, "spec": {"nodeName": "n1"}});
    assert_eq!(make(&mirror), "");
    let with = |path: &str, value: Value| {
        let mut changed = mirror.clone();
        *changed.pointer_mut(path).unwrap() = value;
        make(&changed)
    };
    assert_eq!(
        with("/spec/nodeName", "n2".into()),
        "node \"n1\" can only create pods with spec.nodeName set to itself"
    );
    assert_eq!(with("/metadata/ownerReferences/0/uid", "8".into()), "node n1 UID mismatch: expected 8 got 7");
    assert_eq!(
        with("/metadata/ownerReferences", json!([])),
        "node \"n1\" can only create pods with an owner reference set to itself"
    );
    let mut needy = mirror.clone();
    needy["spec"]["volumes"] = json!([{"secret": {"secretName": "x"}}]);
    assert_eq!(make(&needy), "node \"n1\" can not create pods that reference secrets");
}

#[test]
fn a_claim_s_status_is_a_node_s_only_as_to_its_size() {
    let claim =
        json!({"metadata": {"name": "data"}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    let change =
        |new: &Value| refusal("persistentvolumeclaims", "status", Operation::Update, "data", new, &claim);
    let mut larger = claim.clone();
    larger["status"]["capacity"]["storage"] = "2Gi".into();
    assert_eq!(change(&larger), "");
    let mut lost = claim.clone();
    lost["status"]["phase"] = "Lost".into();
    assert_eq!(
        change(&lost),
        "node \"n1\" is not allowed to update fields other than status.capacity and status.conditions: status"
    );
}
