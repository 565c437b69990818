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
