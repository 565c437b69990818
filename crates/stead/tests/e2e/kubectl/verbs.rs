//! kubectl's verbs, one after the other.

use super::Transcript;

const MAPS: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: one, labels: {app: shop}}
data: {colour: red}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, labels: {app: shop}}
data: {colour: blue}
";
const ONE: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: one, labels: {app: shop}}
data: {colour: green}
";
const SET: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: db, image: busybox, command: [sleep, infinity]}]
";

#[test]
fn kubectl_applies_compares_and_prunes() {
    let Some(mut kubectl) = Transcript::begin("kubectl-apply") else { return };
    kubectl.feed("apply -f -", MAPS);
    kubectl.feed("apply -f -", MAPS);
    kubectl.feed("diff -f -", ONE);
    kubectl.feed("apply -f - --dry-run=server", ONE);
    kubectl.feed("apply -f - --prune -l app=shop --prune-allowlist=core/v1/ConfigMap", ONE);
    kubectl.run("get cm -l app=shop");
    kubectl.feed("apply -f - --server-side --field-manager=other", &ONE.replace("green", "grey"));
    kubectl.feed(
        "apply -f - --server-side --field-manager=other --force-conflicts",
        &ONE.replace("green", "grey"),
    );
    kubectl.set("KUBECTL_APPLYSET", "true");
    kubectl.feed("apply -f - --prune --applyset=configmaps/shop", &MAPS.replace("shop}", "stall}"));
    kubectl.feed("apply -f - --prune --applyset=configmaps/shop", &ONE.replace("shop}", "stall}"));
    kubectl.run("get cm -l app=stall -o name");
    kubectl.file("kustom/kustomization.yaml", "resources: [map.yaml]\nnamePrefix: my-\n");
    kubectl.file("kustom/map.yaml", ONE);
    kubectl.run("kustomize DIR/kustom");
    kubectl.run("apply -k DIR/kustom");
    insta::assert_snapshot!(kubectl.end());
}

#[test]
fn kubectl_changes_objects_in_every_way() {
    let Some(mut kubectl) = Transcript::begin("kubectl-change") else { return };
    kubectl.feed("create -f - --dry-run=server -o name", ONE);
    kubectl.feed("create -f -", ONE);
    kubectl.feed("create -f -", ONE);
    kubectl.run("label cm one tier=front");
    kubectl.run("label cm one tier=back");
    kubectl.run("label cm one tier=back --overwrite");
    kubectl.run("annotate cm one note=seen");
    kubectl.run("patch cm one --type=merge -p {\"data\":{\"colour\":\"white\"}}");
    kubectl.run("patch cm one -p {\"data\":{\"size\":\"big\"}}");
    kubectl.run("patch cm one --type=json -p [{\"op\":\"remove\",\"path\":\"/data/size\"}]");
    kubectl.run("wait --for=jsonpath={.data.colour}=white cm/one --timeout=10s");
    kubectl.set("KUBE_EDITOR", "sed -i s/white/black/");
    kubectl.run("edit cm one");
    kubectl.run("get cm one -o jsonpath={.data}{.metadata.labels}");
    kubectl.feed("replace -f -", ONE);
    kubectl.feed("replace --force -f -", ONE);
    kubectl.run("get cm one -o jsonpath={.data}{.metadata.labels}");
    kubectl.run("delete cm one");
    kubectl.run("get cm one");
    insta::assert_snapshot!(kubectl.end());
}

/// `auth reconcile` adds what roles and bindings lack, and takes away only what it is told to.
#[test]
fn kubectl_reconciles_roles() {
    const ROLES: &str = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader, namespace: PLACE}\n\
        rules: [{apiGroups: [''], resources: [RESOURCE], verbs: [get]}]\n---\n\
        apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: readers, namespace: PLACE}\n\
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}\n\
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: WHO}]\n";
    let Some(mut kubectl) = Transcript::begin("kubectl-reconcile") else { return };
    let here = ROLES.replace("PLACE", kubectl.home.namespace());
    let roles = |resource: &str, who: &str| here.replace("RESOURCE", resource).replace("WHO", who);
    kubectl.feed("auth reconcile -f -", &roles("pods", "ada"));
    kubectl.run("auth can-i get pods --as=ada");
    kubectl.feed("auth reconcile -f -", &roles("services", "bob"));
    for line in ["get pods --as=ada", "get services --as=ada", "get pods --as=bob"] {
        kubectl.run(&format!("auth can-i {line}"));
    }
    let exactly = "auth reconcile -f - --remove-extra-permissions --remove-extra-subjects";
    kubectl.feed(exactly, &roles("services", "bob"));
    kubectl.run("auth can-i get pods --as=bob");
    kubectl.run("auth can-i get services --as=ada");
    let said = kubectl.end();
    let answers: Vec<&str> = said.lines().filter(|line| matches!(*line, "yes" | "no")).collect();
    assert_eq!(answers, ["yes", "yes", "yes", "yes", "no", "no"], "{said}");
    assert_eq!(said.matches("role.rbac.authorization.k8s.io/reader reconciled").count(), 3, "{said}");
    assert_eq!(said.matches("rolebinding.rbac.authorization.k8s.io/readers reconciled").count(), 3, "{said}");
}

#[test]
fn kubectl_follows_rollouts_and_events() {
    let Some(mut kubectl) = Transcript::begin("kubectl-rollout") else { return };
    kubectl.feed("apply -f -", SET);
    kubectl.home.run("rollout status sts/db --timeout=60s");
    kubectl.run("rollout status sts/db");
    kubectl.run("rollout restart sts/db");
    kubectl.home.run("rollout status sts/db --timeout=60s");
    kubectl.run("rollout history sts/db");
    kubectl.run("rollout undo sts/db --dry-run=server");
    kubectl.run("wait --for=jsonpath={.status.readyReplicas}=1 sts/db --timeout=60s");
    kubectl.run("get sts db");
    kubectl.home.run("events --for=sts/db");
    insta::assert_snapshot!(kubectl.end());
}
