//! `explain`, `api-resources`, validation: what kubectl makes of discovery and OpenAPI.

use super::Transcript;

const STORED: &str = "\
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: once, image: busybox}]}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{host: web.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec: {selector: {matchLabels: {app: agent}}, template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: agent, image: busybox}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec: {schedule: 0 3 * * *, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}}}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {matchLabels: {app: web}}}
";

#[test]
fn kubectl_explains_fields_and_lists_kinds() {
    let Some(mut kubectl) = Transcript::begin("kubectl-explain") else { return };
    kubectl.run("explain sts.spec.updateStrategy");
    kubectl.run("explain cm");
    kubectl.run("explain sts.spec.volumeClaimTemplates.spec --recursive");
    kubectl.run("explain sts.spec.updateStrategy --output plaintext-openapiv2");
    kubectl.run("explain hpa.spec --api-version=autoscaling/v1");
    kubectl.run("explain pod.spec.nothing");
    kubectl.run("api-resources --api-group=batch -o wide");
    kubectl.run("api-resources --api-group=networking.k8s.io");
    kubectl.run("api-resources --api-group=events.k8s.io");
    kubectl.run("api-resources --api-group=resource.k8s.io");
    kubectl.run("get --raw /healthz");
    insta::assert_snapshot!(kubectl.end());
}

#[test]
fn kubectl_stores_what_stead_does_not_act_on_and_shows_the_warning() {
    let Some(mut kubectl) = Transcript::begin("kubectl-stored") else { return };
    kubectl.feed("apply -f -", STORED);
    kubectl.run("get jobs,cronjobs,daemonsets,ingresses,networkpolicies -o wide");
    kubectl.run("create deployment web --image=busybox --replicas=0");
    kubectl.run("autoscale deployment web --max=3 --cpu-percent=60");
    kubectl.run("get hpa");
    kubectl.run("get horizontalpodautoscalers.v1.autoscaling web -o jsonpath={.spec}");
    kubectl.run("create job other --image=busybox --dry-run=server");
    kubectl.run("delete jobs,cronjobs,daemonsets,ingresses,networkpolicies,hpa,deployments --all");
    insta::assert_snapshot!(kubectl.end());
}

#[test]
fn kubectl_finds_fields_that_do_not_exist() {
    let Some(mut kubectl) = Transcript::begin("kubectl-validate") else { return };
    let wrong = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndatum: {a: b}\n";
    kubectl.feed("create -f - --validate=strict", wrong);
    kubectl.feed("create -f - --validate=warn --dry-run=server", wrong);
    kubectl.feed("create -f - --validate=ignore --dry-run=server -o name", wrong);
    kubectl.feed("create -f -", "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: a}\n");
    insta::assert_snapshot!(kubectl.end());
}
