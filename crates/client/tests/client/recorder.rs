//! Events: counted, in order, and named so that no two collide.

use apimachinery::inject::Clock;
use client::Recorder;
use jiff::Timestamp;
use planner::{EventType, ObjectRef};
use serde_json::json;

use crate::fake::{Asked, Fake, clock, refusal};

fn about(name: &str) -> ObjectRef {
    ObjectRef {
        api_version: "v1".into(),
        kind: "Pod".into(),
        namespace: "default".into(),
        name: name.into(),
        uid: "1".into(),
    }
}

fn accept(asked: &Asked) -> (u16, serde_json::Value) {
    (200, asked.body.clone())
}

#[tokio::test]
async fn equal_events_are_counted_in_one_object() {
    let mut api = Fake::new(accept);
    let recorder = Recorder::new(api.client.clone(), "kubelet", "here", clock());
    for message in ["back-off", "back-off", "another"] {
        recorder.record(&about("db-0"), EventType::Warning, "BackOff", message);
    }
    let (first, second, third) = (api.next().await, api.next().await, api.next().await);
    let name = first.body["metadata"]["name"].as_str().unwrap();
    assert_eq!((first.method.as_str(), first.body["count"].as_u64()), ("POST", Some(1)));
    assert_eq!(second.method, "PATCH");
    assert_eq!(second.path, format!("/api/v1/namespaces/default/events/{name}"));
    assert_eq!(second.body["count"], 2);
    assert_eq!((third.method.as_str(), &third.body["message"]), ("POST", &json!("another")));
    assert_ne!(third.body["metadata"]["name"], name);
}

#[tokio::test]
async fn events_of_one_moment_have_names_of_their_own() {
    let mut api = Fake::new(accept);
    let moment: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let recorder = Recorder::new(api.client.clone(), "kubelet", "here", Clock::new(move || moment));
    for message in ["one", "another", "a third"] {
        recorder.record(&about("db-0"), EventType::Normal, "Told", message);
    }
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(api.next().await.body["metadata"]["name"].clone());
    }
    let named = |after: i64| format!("db-0.{:016x}", moment.as_nanosecond() as i64 + after);
    assert_eq!(names, [named(0), named(1), named(2)]);
}

#[tokio::test]
async fn an_event_that_somebody_removed_begins_anew() {
    let mut api = Fake::new(|asked| match asked.method.as_str() {
        "PATCH" => refusal(404, "NotFound"),
        _ => accept(asked),
    });
    let recorder = Recorder::new(api.client.clone(), "kubelet", "here", clock());
    for _ in 0..2 {
        recorder.record(&about("db-0"), EventType::Normal, "Started", "Started container db");
    }
    let first = api.next().await;
    assert_eq!(api.next().await.method, "PATCH");
    let again = api.next().await;
    assert_eq!((again.method.as_str(), again.body["count"].as_u64()), ("POST", Some(1)));
    assert_ne!(again.body["metadata"]["name"], first.body["metadata"]["name"]);
}

#[tokio::test]
async fn an_object_with_the_longest_of_names_has_events_too() {
    let mut api = Fake::new(accept);
    let recorder = Recorder::new(api.client.clone(), "kubelet", "here", clock());
    let longest = format!("{}.{}", "a".repeat(15), "b".repeat(237));
    recorder.record(&about(&longest), EventType::Normal, "Scheduled", "assigned");
    let asked = api.next().await;
    let name = asked.body["metadata"]["name"].as_str().unwrap();
    assert!(name.len() <= 253 && name.starts_with('b'), "{name}");
    assert_eq!(asked.body["involvedObject"]["name"], longest);
}
