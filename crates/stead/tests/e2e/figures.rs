//! What is counted: `/metrics`, metrics.k8s.io, and `top`.

use std::process::Output;

use crate::harness::{Client, Stead};

/// A pod with two containers, of which one keeps a processor busy and the other rests.
const BUSY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: busy, labels: {app: busy}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {name: works, image: busybox, command: [sh, -c, 'while :; do :; done'], resources: {limits: {cpu: 300m}}}
  - {name: rests, image: busybox, command: [sh, -c, 'trap \"exit 0\" TERM; while :; do sleep 0.05; done']}
---
apiVersion: v1
kind: Pod
metadata: {name: idle, labels: {app: idle}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: busybox, command: [sh, -c, 'trap \"exit 0\" TERM; while :; do sleep 1; done']}]
";

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The words of a table's rows, without the headings.
fn rows(table: &str) -> Vec<Vec<String>> {
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect());
    rows.collect()
}

fn number(word: &str) -> u32 {
    word.trim_end_matches(char::is_alphabetic).trim_end_matches('%').parse().expect("a number")
}

#[test]
fn top_shows_what_cgroups_count() {
    let stead = Stead::start("figures-top", &["busybox"]);
    stead.apply(BUSY);
    for pod in ["busy", "idle"] {
        stead.wait("condition=Ready", &format!("pod/{pod}"));
    }
    for client in Client::all() {
        let top = |line: &str| said(&stead.try_run_as(client, &format!("top {line}")));
        // The quota of 300m is used up, and not more than that.
        let table = top("pod --sort-by=cpu");
        let pods = rows(&table);
        assert_eq!((pods[0][0].as_str(), pods[1][0].as_str()), ("busy", "idle"), "{table}");
        let (busy, idle) = (number(&pods[0][1]), number(&pods[1][1]));
        assert!((50..=350).contains(&busy) && idle < busy, "{table}");
        assert!(pods.iter().all(|row| number(&row[2]) < 64), "{table}");
        let containers = rows(&top("pod busy --containers"));
        let names: Vec<&str> = containers.iter().map(|row| row[1].as_str()).collect();
        assert_eq!(names, ["rests", "works"]);
        assert_eq!(rows(&top("pod -l app=idle"))[0][0], "idle");
        let nodes = rows(&top("node"));
        assert_eq!(nodes[0][0], "figures-top");
        assert!(number(&nodes[0][1]) > 50 && number(&nodes[0][3]) > 10, "{nodes:?}");
    }
    let refusal = stead.fails("top pod nobody");
    assert!(refusal.contains("not found"), "{refusal}");
}

#[test]
fn metrics_are_open_metrics_and_for_those_who_may_read_them() {
    let stead = Stead::start("figures-metrics", &["busybox"]);
    stead.apply(BUSY);
    stead.wait("condition=Ready", "pod/busy");
    stead.run("exec busy -c rests -- nslookup kubernetes.default.svc.cluster.local");
    let text = stead.run("get --raw /metrics");
    assert!(text.ends_with("# EOF\n"), "{}", &text[text.len() - 80..]);
    let value = |begin: &str, also: &str| -> f64 {
        let mut lines = text.lines().filter(|line| line.starts_with(begin) && line.contains(also));
        let line = lines.next().unwrap_or_else(|| panic!("no {begin} with {also} in:\n{text}"));
        line.rsplit(' ').next().unwrap().parse().expect("a number")
    };
    assert!(
        value(
            "apiserver_request_total{verb=\"POST\"",
            "resource=\"pods\",subresource=\"\",scope=\"resource\""
        ) < 1e9
    );
    assert!(value("apiserver_request_duration_seconds_count", "resource=\"pods\"") >= 1.0);
    assert!(value("workqueue_adds_total", "name=\"") >= 1.0);
    assert!(value("workqueue_work_duration_seconds_count", "name=\"") >= 1.0);
    assert_eq!(value("stead_objects", "kind=\"Pod\",phase=\"Running\""), 2.0);
    assert!(value("dns_requests_total", "by=\"zone\"") >= 1.0);
    assert!(value("container_cpu_usage_seconds_total", "container=\"works\"") > 0.0);
    assert!(value("container_memory_working_set_bytes", "container=\"works\"") > 0.0);
    assert!(value("node_cpu_usage_seconds_total", "") > 1.0);
    let refusal = stead.fails("get --raw /metrics --as=somebody");
    assert!(refusal.contains("forbidden") && refusal.contains("/metrics"), "{refusal}");
    stead.run("create clusterrolebinding monitoring --clusterrole=system:monitoring --user=somebody");
    assert!(stead.run("get --raw /metrics --as=somebody").ends_with("# EOF\n"));
}
