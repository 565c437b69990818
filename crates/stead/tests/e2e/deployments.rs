//! Deployments with real containers: rolled out, back, paused and restarted in kubectl's words; pods that are
//! replaced, and rollouts that get stuck, seen through watches.

#![expect(clippy::needless_pass_by_value, reason = "json! literals read best as they are")]

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::harness::{Client, Home, Objects, is_ready};

/// A web server that says its version.
const SERVE: &str = "mkdir /www; echo $VERSION > /www/index.html; exec httpd -f -p 8080 -h /www";

/// A Deployment `web` of three.
fn web(strategy: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "strategy": strategy,
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "web", "image": "busybox", "imagePullPolicy": "Never",
                    "env": [{"name": "VERSION", "value": "1"}], "command": ["sh", "-c", SERVE],
                    "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}]}}}})
}

/// One more at a time, and none fewer.
fn careful() -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
}

fn uids(pods: &Objects<Pod>) -> BTreeSet<String> {
    pods.values().filter_map(|pod| pod.metadata.uid.clone()).collect()
}

/// Waits until so many pods are there, and all Ready.
fn ready(home: &Home, count: usize) -> Objects<Pod> {
    home.until(&format!("{count} pods are there and Ready"), |all: &Objects<Pod>| {
        all.len() == count && all.values().all(is_ready)
    })
}

/// Why the condition `Progressing` is as it is.
fn progress(deployment: &Deployment) -> &str {
    let conditions = deployment.status.as_ref().and_then(|status| status.conditions.as_ref());
    let held = conditions.into_iter().flatten().find(|condition| condition.type_ == "Progressing");
    held.and_then(|condition| condition.reason.as_deref()).unwrap_or_default()
}

fn rolled_out(home: &Home) {
    let said = home.run("rollout status deployment/web --timeout=60s");
    assert!(said.ends_with("deployment \"web\" successfully rolled out\n"), "{said}");
}

/// The revisions that `kubectl rollout history` lists.
fn history(home: &Home) -> Vec<String> {
    let said = home.run("rollout history deployment/web");
    let rows = said.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    rows.filter_map(|row| row.split_whitespace().next().map(str::to_owned)).collect()
}

fn image(home: &Home) -> String {
    home.run("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}")
}

#[test]
fn kubectl_rolls_a_deployment_out_and_back() {
    if !Client::all().contains(&Client::Kubectl) {
        return;
    }
    let home = Home::new("deployment-kubectl");
    home.create::<Deployment>(web(careful()));
    rolled_out(&home);
    let row = home.run("get deployment web --no-headers");
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["web", "3/3", "3", "3"]);
    let sets = home.until("one replica set", |all: &Objects<ReplicaSet>| all.len() == 1);
    let (name, set) = sets.iter().next().expect("one");
    let hash = &set.metadata.labels.as_ref().expect("labels")["pod-template-hash"];
    assert_eq!(*name, format!("web-{hash}"));
    for pod in ready(&home, 3).keys() {
        assert!(pod.starts_with(&format!("{name}-")), "{pod}");
    }
    let row = home.run("get replicaset --no-headers");
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), [name.as_str(), "3", "3", "3"]);

    home.run("scale deployment web --replicas=2");
    rolled_out(&home);
    ready(&home, 2);

    home.run("set image deployment/web web=docker.io/library/busybox:latest");
    rolled_out(&home);
    assert_eq!(history(&home), ["1", "2"]);
    home.run("rollout undo deployment/web");
    rolled_out(&home);
    assert_eq!(image(&home), "busybox");
    assert_eq!(history(&home), ["2", "3"], "the first is the newest now");
    home.run("rollout undo deployment/web --to-revision=2");
    rolled_out(&home);
    assert_eq!(image(&home), "docker.io/library/busybox:latest");
    assert_eq!(home.run("get replicaset -o name").lines().count(), 2, "both were there already");

    let before = uids(&ready(&home, 2));
    home.run("rollout pause deployment/web");
    home.run("set env deployment/web VERSION=2");
    home.until_one("web", "it has seen that it is paused", |web: &Deployment| {
        let observed = web.status.as_ref().and_then(|status| status.observed_generation);
        observed == web.metadata.generation && progress(web) == "DeploymentPaused"
    });
    assert_eq!(uids(&ready(&home, 2)), before);
    home.run("rollout resume deployment/web");
    rolled_out(&home);
    let after = uids(&ready(&home, 2));
    assert!(after.is_disjoint(&before));
    home.run("rollout restart deployment/web");
    rolled_out(&home);
    assert!(uids(&ready(&home, 2)).is_disjoint(&after));
    let events =
        home.run("get events --field-selector reason=ScalingReplicaSet -o jsonpath={.items[*].message}");
    assert!(events.contains(&format!("Scaled up replica set {name} from 0 to 3")), "{events}");
    let made =
        home.run("get events --field-selector reason=SuccessfulCreate -o jsonpath={.items[*].message}");
    assert!(made.contains(&format!("Created pod: {name}-")), "{made}");
}

#[test]
fn an_exposed_deployment_answers_before_and_after_an_update() {
    if !Client::all().contains(&Client::Kubectl) {
        return;
    }
    let home = Home::new("deployment-service");
    home.create::<Deployment>(web(careful()));
    home.create::<Pod>(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client"},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [
            {"name": "main", "image": "busybox", "command": ["sleep", "infinity"]}]}}));
    home.run("expose deployment web --port=80 --target-port=8080");
    rolled_out(&home);
    home.wait("condition=Ready", "pod/client");
    let answers = |version: &str| {
        let script = format!(r#"until [ "$(wget -qO- http://web/)" = {version} ]; do sleep 0.05; done"#);
        home.run(&format!("exec client -- sh -c '{script}'"));
    };
    answers("1");
    home.run("set env deployment/web VERSION=2");
    rolled_out(&home);
    answers("2");
}

#[test]
fn a_pod_taken_away_is_replaced_and_a_broken_template_takes_no_good_pod_away() {
    let home = Home::new("deployment-stuck");
    home.create::<Deployment>(web(careful()));
    let pods = ready(&home, 3);
    let victim = pods.keys().next().expect("a pod").clone();
    home.delete::<Pod>(&victim);
    let pods = home.until("another has come", |all: &Objects<Pod>| {
        all.len() == 3 && !all.contains_key(&victim) && all.values().all(is_ready)
    });

    let broken =
        json!({"containers": [{"name": "web", "image": "busybox:missing", "imagePullPolicy": "Never"}]});
    home.patch::<Deployment>(
        "web",
        &json!({"spec": {"progressDeadlineSeconds": 1, "template": {"spec": broken}}}),
    );
    home.until_one("web", "it says that it is stuck", |web: &Deployment| {
        progress(web) == "ProgressDeadlineExceeded"
    });
    let now = home.until("a look at the pods", |all: &Objects<Pod>| all.len() == 4);
    let good: Objects<Pod> = now.into_iter().filter(|(_, pod)| is_ready(pod)).collect();
    assert_eq!(uids(&good), uids(&pods));

    home.delete::<Deployment>("web");
    home.until("its replica sets go", |all: &Objects<ReplicaSet>| all.is_empty());
    home.until("its pods go", |all: &Objects<Pod>| all.is_empty());
}

#[test]
fn recreating_makes_no_new_pod_before_the_last_old_one_has_ended() {
    let home = Home::new("deployment-recreate");
    home.create::<Deployment>(web(json!({"type": "Recreate"})));
    let before = ready(&home, 3);
    home.patch::<Deployment>(
        "web",
        &json!({"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}),
    );
    let is_new = |name: &String| !before.contains_key(name);
    let first = home.until("the first new pod", |all: &Objects<Pod>| all.keys().any(is_new));
    // What is left of the old ones has no processes any more.
    for (name, pod) in first.iter().filter(|(name, _)| !is_new(name)) {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
        assert!(["Succeeded", "Failed"].contains(&phase), "{name} is {phase}");
    }
    let after = ready(&home, 3);
    assert!(after.keys().all(is_new));
}
