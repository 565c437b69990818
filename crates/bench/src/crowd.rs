//! Ten thousand pods: what they take of memory, how long it takes to list them, and how fast news of one kind
//! reach a thousand who watch it.

use std::time::Instant;

use anyhow::{Context, Result};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use crate::ask::ask;
use crate::daemon::{Daemon, Place};
use crate::fake_nodes::FakeNodes;
use crate::report::{Goal, Report, Unit};
use crate::usage::{Usage, proportional};
use crate::{SETTLE, api};

/// How many nodes the pods are on.
const NODES: usize = 10;
/// Pods in the first namespace, which is listed by itself.
const FEW: usize = 1_000;
/// Pods in both.
const ALL: usize = 10_000;
/// Pods that are made at the same time.
const MAKERS: usize = 16;
/// How often each list is asked for.
const LISTS: usize = 40;
/// Who watches, each over a connection of its own.
const WATCHERS: usize = 1_000;
/// Connections that are opened at the same time.
const OPENERS: usize = 50;
/// Changes that all watchers hear of.
const CHANGES: usize = 500;
/// Changes under way at once.
const CHANGERS: usize = 4;

/// Makes the pods, each bound to a node that answers at once, and looks at them; then the watchers.
pub(crate) async fn measure(place: &Place, report: &mut Report) -> Result<()> {
    let mut daemon = Daemon::prepare(place, "crowd")?;
    daemon.start_with(&["--no-node"], &[]).await?;
    let nodes = FakeNodes::register(&daemon, NODES).await?;
    let client = daemon.client().await?;
    // Time is what is measured here, and there is no event to wait for: what was begun ends.
    tokio::time::sleep(SETTLE).await;
    let before = proportional(daemon.pid()?)?;
    eprintln!("{ALL} pods");
    make_pods(&client).await?;
    tokio::time::sleep(SETTLE).await;
    let row = report.row("memory (PSS) of stead alone, no pods", Unit::Megabytes, Goal::NONE);
    report.add(row, before);
    let row = report.row("  10,000 running pods more", Unit::Megabytes, Goal::NONE);
    report.add(row, proportional(daemon.pid()?)? - before);
    lists(&client, report).await?;
    drop(nodes);
    eprintln!("{WATCHERS} watchers");
    watchers(&daemon, report).await?;
    daemon.end()
}

async fn make_pods(client: &Client) -> Result<()> {
    for namespace in ["few", "many"] {
        let object = json!({"metadata": {"name": namespace}});
        ask(client, "POST", "/api/v1/namespaces", &object).await?;
    }
    let making = (0..ALL).map(|i| async move {
        let namespace = if i < FEW { "few" } else { "many" };
        anyhow::Ok(ask(client, "POST", &format!("/api/v1/namespaces/{namespace}/pods"), &pod(i)).await?)
    });
    futures::stream::iter(making).buffer_unordered(MAKERS).try_collect::<Vec<()>>().await?;
    // The last answer of a node: every pod runs.
    let running = "/api/v1/pods?fieldSelector=status.phase%3DRunning&watch=true";
    heard(&mut open(client, running).await?, ALL).await
}

/// A pod of a usual size.
fn pod(i: usize) -> Value {
    json!({
        "metadata": {"name": format!("p-{i}"), "labels": {
            "app.kubernetes.io/name": "crowd", "app.kubernetes.io/instance": format!("crowd-{}", i % 100),
        }},
        "spec": {
            "nodeName": FakeNodes::name(i % NODES),
            "containers": [{
                "name": "server",
                "image": "docker.io/library/busybox:latest",
                "command": ["sh", "-c", "exec httpd -f -p 80 -h /"],
                "ports": [{"containerPort": 80, "name": "http"}],
                "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                "readinessProbe": {"httpGet": {"path": "/", "port": "http"}},
            }],
        },
    })
}

/// Lists, to the last byte: what a client then makes of them is its own affair.
async fn lists(client: &Client, report: &mut Report) -> Result<()> {
    for (what, path) in [("1,000", "/api/v1/namespaces/few/pods"), ("10,000", "/api/v1/pods")] {
        let mut times = Vec::with_capacity(LISTS);
        let mut bytes = 0;
        for _ in 0..LISTS {
            let start = Instant::now();
            let mut body = open(client, path).await?;
            bytes = 0;
            while let Some(frame) = body.frame().await {
                bytes += frame?.data_ref().map_or(0, |data| data.len());
            }
            times.push(start.elapsed().as_secs_f64());
        }
        let name = format!("list of {what} pods ({:.1} MB) to the last byte", bytes as f64 / 1e6);
        api::note(report, &name, None, &mut times);
    }
    Ok(())
}

/// Many hear of every change.
async fn watchers(daemon: &Daemon, report: &mut Report) -> Result<()> {
    let client = daemon.client().await?;
    let maps = "/api/v1/namespaces/default/configmaps";
    let object = json!({"metadata": {"name": "news"}, "data": {"k": "v".repeat(200)}});
    ask(&client, "POST", maps, &object).await?;
    let before = proportional(daemon.pid()?)?;
    let watch = format!("{maps}?watch=true&fieldSelector=metadata.name%3Dnews");
    let opening = (0..WATCHERS).map(|_| async {
        let mut body = open(&client, &watch).await?;
        // The object as it is comes first: from then on nothing is missed.
        heard(&mut body, 1).await?;
        anyhow::Ok(body)
    });
    let open: Vec<Body> = futures::stream::iter(opening).buffer_unordered(OPENERS).try_collect().await?;
    let memory = proportional(daemon.pid()?)? - before;
    let used = Usage::of(&[daemon.pid()?])?.cpu;
    let start = Instant::now();
    let hearing: FuturesUnordered<_> =
        open.into_iter().map(|mut body| async move { heard(&mut body, CHANGES).await }).collect();
    let telling = (0..CHANGES).map(|i| {
        let (client, patch) = (&client, json!({"data": {"i": i.to_string()}}));
        async move { anyhow::Ok(ask(client, "PATCH", &format!("{maps}/news"), &patch).await?) }
    });
    let telling = futures::stream::iter(telling).buffer_unordered(CHANGERS).try_collect::<Vec<()>>();
    futures::try_join!(telling, hearing.try_collect::<Vec<()>>())?;
    let seconds = start.elapsed().as_secs_f64();
    let events = (WATCHERS * CHANGES) as f64;
    let cpu = (Usage::of(&[daemon.pid()?])?.cpu - used).as_secs_f64();
    for (what, unit, value) in [
        ("events delivered to 1,000 watchers of one kind", Unit::PerSecond, events / seconds),
        ("  CPU of stead, a thousand events", Unit::Milliseconds, cpu * 1e6 / events),
        ("  memory (PSS) of stead for 1,000 watchers", Unit::Megabytes, memory),
    ] {
        let row = report.row(what, unit, Goal::NONE);
        report.add(row, value);
    }
    Ok(())
}

/// Reads until so many lines have come.
async fn heard(body: &mut Body, count: usize) -> Result<()> {
    let mut left = count;
    while left > 0 {
        let frame = body.frame().await.context("a watch ended")??;
        left = left.saturating_sub(lines(frame.data_ref().map_or(&[][..], |data| data)));
    }
    Ok(())
}

/// Events are lines.
fn lines(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// A body that has begun to come.
async fn open(client: &Client, path: &str) -> Result<Body> {
    let answer = client.send(http::Request::get(path).body(Body::empty())?).await?;
    anyhow::ensure!(answer.status().is_success(), "GET {path}: {}", answer.status());
    Ok(answer.into_body())
}
