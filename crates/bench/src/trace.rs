//! Where the time of one pod goes: what the API's watches tell, and what stead logs meanwhile.

use std::collections::BTreeSet;

use anyhow::Result;
use futures::stream::select_all;
use futures::{Stream, StreamExt};
use jiff::Timestamp;
use kube::api::{DynamicObject, GroupVersionKind, ListParams, WatchEvent, WatchParams};
use kube::discovery::ApiResource;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::daemon::{Daemon, Place};
use crate::sets::SetRun;
use crate::shapes::Shape;

/// What stead logs while it is traced.
const LOG: &str =
    "info,node=debug,runtime=debug,controllers=debug,client=debug,network=debug,apiserver=debug,store=debug";

/// The kinds that change while a pod comes up.
const WATCHED: [(&str, &str, &str); 5] = [
    ("apps", "v1", "StatefulSet"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "Pod"),
    ("", "v1", "Event"),
    ("discovery.k8s.io", "v1", "EndpointSlice"),
];

/// A moment and what was seen at it.
type Line = (Timestamp, String);

/// Brings a pod up, and prints what happened when, in milliseconds from the request that made its set.
pub(crate) async fn run(place: &Place) -> Result<()> {
    let mut daemon = Daemon::prepare(place, "trace")?;
    daemon.start(&[("STEAD_LOG", LOG), ("NO_COLOR", "1")]).await?;
    let client = daemon.client().await?;
    // The first pod pays for what is made once: it is not the one that is shown.
    SetRun::create(&client, "first", &Shape::bare(1, false)).await?.remove().await?;
    for (name, shape) in [
        ("bare", Shape::bare(1, false)),
        ("three", Shape::bare(3, false)),
        ("volumes", Shape::bare(1, false).with_volumes()),
        ("web", Shape::web()?),
    ] {
        let start = Timestamp::now();
        let (set, lines) = watched(&client, SetRun::create(&client, name, &shape)).await?;
        let what = format!("{name}: {} × {}", shape.replicas(), shape.set.name_any());
        print(&what, start, lines, &daemon.log_text());
        if name == "three" {
            let start = Timestamp::now();
            let (_, lines) = watched(&client, set.replace()).await?;
            print("pod deleted → its successor Ready", start, lines, &daemon.log_text());
        }
        set.remove().await?;
    }
    daemon.end()
}

fn print(what: &str, start: Timestamp, mut lines: Vec<Line>, log: &str) {
    let end = lines.iter().map(|(at, _)| *at).max().unwrap_or(start);
    lines.extend(logged(log, start, end));
    lines.sort();
    println!("{what}");
    for (at, line) in lines {
        println!("{:9.3} ms  {line}", at.duration_since(start).as_secs_f64() * 1e3);
    }
}

/// Does `work`, and answers what the watches told meanwhile.
async fn watched<T>(client: &Client, work: impl Future<Output = Result<T>>) -> Result<(T, Vec<Line>)> {
    let mut streams = Vec::new();
    for (group, version, kind) in WATCHED {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        streams.push(changes(Api::all_with(client.clone(), &resource), kind).await?);
    }
    let mut all = select_all(streams);
    let mut lines = Vec::new();
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            Some(line) = all.next() => lines.push(line),
            done = &mut work => break done?,
        }
    };
    lines.push((Timestamp::now(), "the client knows that it is done".to_owned()));
    Ok((done, lines))
}

/// Every change of a kind, in words, from now on.
async fn changes(
    api: Api<DynamicObject>,
    kind: &'static str,
) -> Result<std::pin::Pin<Box<dyn Stream<Item = Line> + Send>>> {
    let list = api.list(&ListParams::default()).await?;
    let from = list.metadata.resource_version.unwrap_or_default();
    let events = api.watch(&WatchParams::default(), &from).await?;
    let mut seen = BTreeSet::new();
    Ok(events
        .filter_map(move |event| {
            let now = Timestamp::now();
            let line = event.ok().and_then(|event| in_words(&event, &mut seen));
            futures::future::ready(line.map(|line| (now, format!("watch  {kind} {line}"))))
        })
        .boxed())
}

/// What an event says that none has said before.
fn in_words(event: &WatchEvent<DynamicObject>, seen: &mut BTreeSet<String>) -> Option<String> {
    let (verb, object) = match event {
        WatchEvent::Added(object) => ("made", object),
        WatchEvent::Modified(object) => ("now", object),
        WatchEvent::Deleted(object) => ("deleted", object),
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => return None,
    };
    let name = object.name_any();
    let mut facts = facts(&object.data);
    facts.retain(|fact| seen.insert(format!("{name} {fact}")));
    Some(format!("{name} {verb} {}", facts.join(" ")))
}

/// The facts about an object that matter for its way to Ready.
fn facts(object: &Value) -> Vec<String> {
    let mut facts = Vec::new();
    let mut note = |name: &str, value: &Value| {
        if !value.is_null() && value.as_i64() != Some(0) {
            facts.push(format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        }
    };
    note("node", &object["spec"]["nodeName"]);
    note("volume", &object["spec"]["volumeName"]);
    note("reason", &object["reason"]);
    let status = &object["status"];
    for name in ["phase", "podIP", "replicas", "readyReplicas"] {
        note(name, &status[name]);
    }
    for condition in status["conditions"].as_array().into_iter().flatten() {
        if condition["status"] == "True" {
            note("true", &condition["type"]);
        }
    }
    for container in status["containerStatuses"].as_array().into_iter().flatten() {
        for state in container["state"].as_object().into_iter().flat_map(|state| state.keys()) {
            note("container", &Value::from(state.as_str()));
        }
    }
    for endpoint in object["endpoints"].as_array().into_iter().flatten() {
        note("endpoint", &endpoint["addresses"][0]);
    }
    facts
}

/// The lines of the log between two moments; each begins with its time.
fn logged(text: &str, start: Timestamp, end: Timestamp) -> Vec<Line> {
    let timed = |line: &str| {
        let (time, words) = line.trim_start().split_once(' ')?;
        let at: Timestamp = time.parse().ok()?;
        (start..=end).contains(&at).then(|| (at, format!("log    {}", words.trim_start())))
    };
    text.lines().filter_map(timed).collect()
}
