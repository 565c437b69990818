//! Round trips of one client over one connection.

use std::time::Instant;

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::report::{Goal, Report, Unit};

/// How many objects a run makes.
const OBJECTS: usize = 300;
/// How often they are listed.
const LISTS: usize = 50;

/// Creates, gets, patches, lists and deletes config maps, one request after the other.
pub(crate) async fn measure(client: &Client, runs: u32, report: &mut Report) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    for run in 1..=runs {
        eprintln!("API, {run} of {runs}");
        let mut times = Vec::with_capacity(OBJECTS);
        for i in 0..OBJECTS {
            let object = json!({
                "metadata": {"name": name(i), "labels": {"bench": "1"}},
                "data": {"k": "v".repeat(200)},
            });
            let object = serde_json::from_value(object)?;
            let start = Instant::now();
            maps.create(&PostParams::default(), &object).await?;
            times.push(start.elapsed().as_secs_f64());
        }
        note(report, "create", Some((1.35, 0.5)), &mut times);
        for i in 0..OBJECTS {
            let start = Instant::now();
            maps.get(&name(i)).await?;
            times.push(start.elapsed().as_secs_f64());
        }
        note(report, "get", Some((0.64, 0.15)), &mut times);
        for i in 0..OBJECTS {
            let patch = Patch::Merge(json!({"data": {"i": i.to_string()}}));
            let start = Instant::now();
            maps.patch(&name(i), &PatchParams::default(), &patch).await?;
            times.push(start.elapsed().as_secs_f64());
        }
        note(report, "patch", Some((1.44, 0.5)), &mut times);
        for _ in 0..LISTS {
            let start = Instant::now();
            maps.list(&ListParams::default().labels("bench=1")).await?;
            times.push(start.elapsed().as_secs_f64());
        }
        note(report, &format!("list of {OBJECTS}"), None, &mut times);
        for i in 0..OBJECTS {
            let start = Instant::now();
            maps.delete(&name(i), &DeleteParams::default()).await?;
            times.push(start.elapsed().as_secs_f64());
        }
        note(report, "delete", None, &mut times);
    }
    Ok(())
}

fn name(i: usize) -> String {
    format!("bench-{i}")
}

/// One run's median and 99th percentile.
pub(crate) fn note(report: &mut Report, verb: &str, known: Option<(f64, f64)>, times: &mut Vec<f64>) {
    times.sort_by(f64::total_cmp);
    let known = known
        .map_or(Goal::NONE, |(kubernetes, goal)| Goal { kubernetes: Some(kubernetes), goal: Some(goal) });
    for (percentile, goal) in [(50, known), (99, Goal::NONE)] {
        let row = report.row(format!("API {verb}, p{percentile}"), Unit::Milliseconds, goal);
        report.add(row, times[times.len() * percentile / 100] * 1e3);
    }
    times.clear();
}
