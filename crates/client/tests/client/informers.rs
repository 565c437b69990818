//! Lists, watches, and what listeners hear of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::Informers;
use planner::{Change, Object, World};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::Instant;

use crate::fake::{Fake, clock, list, pod, raw};

/// Informers that run, and what a listener hears of pods: `+ db-0 7`, `- db-0`.
fn start(api: &Fake) -> (Arc<Informers>, UnboundedReceiver<String>) {
    let informers = Informers::new(api.client.clone(), clock());
    let (sender, heard) = unbounded_channel();
    informers.on_change(move |world, change| {
        if let Some(told) = told(world, change) {
            let _ = sender.send(told);
        }
    });
    tokio::spawn(Arc::clone(&informers).run(std::future::pending()));
    (informers, heard)
}

fn told(world: &World, change: &Change) -> Option<String> {
    match (&change.old, &change.new) {
        (_, Some(Object::Pod(pod))) => {
            let meta = &pod.metadata;
            let name = meta.name.as_deref()?;
            assert!(world.pods.get("default", name).is_some(), "the world holds what is told");
            Some(format!("+ {name} {}", meta.resource_version.as_deref()?))
        }
        (Some(Object::Pod(pod)), None) => Some(format!("- {}", pod.metadata.name.as_deref()?)),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_in_good_order_goes_on_from_where_it_was() {
    let mut api = Fake::new(|_| (200, list(5, &[pod("db-0", 4)])));
    let watch = api.next_watch();
    let (_informers, mut heard) = start(&api);
    assert_eq!(heard.recv().await.unwrap(), "+ db-0 4");
    assert_eq!(api.next().await.query, "");
    assert!(api.next().await.query.ends_with("&resourceVersion=5"));
    watch.tell("ADDED", &pod("db-1", 6));
    watch.tell("BOOKMARK", &json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}}));
    drop(watch);
    assert_eq!(heard.recv().await.unwrap(), "+ db-1 6");
    assert!(api.next().await.query.ends_with("&resourceVersion=9"), "a watch and no list follows");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_lost_is_listed_anew_and_what_was_missed_is_told() {
    let lists = Mutex::new(vec![list(50, &[pod("db-1", 40)]), list(5, &[pod("db-0", 4)])]);
    let mut api = Fake::new(move |_| (200, lists.lock().unwrap().pop().unwrap()));
    let watch = api.next_watch();
    let (_informers, mut heard) = start(&api);
    assert_eq!(heard.recv().await.unwrap(), "+ db-0 4");
    let gone = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version: 5 (30)", "reason": "Expired", "code": 410});
    watch.tell("ERROR", &gone);
    assert_eq!(heard.recv().await.unwrap(), "+ db-1 40");
    assert_eq!(heard.recv().await.unwrap(), "- db-0");
    let queries = [api.next().await.query, api.next().await.query, api.next().await.query];
    assert!(queries[1].ends_with("=5") && queries[2].is_empty(), "{queries:?}");
    assert!(api.next().await.query.ends_with("&resourceVersion=50"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_watches_at_once_is_asked_less_and_less() {
    let mut api = Fake::new(|_| (200, list(5, &[])));
    for _ in 0..12 {
        drop(api.next_watch());
    }
    let begin = Instant::now();
    let _running = start(&api);
    for _ in 0..13 {
        api.next().await;
    }
    // 20 ms, 40, … 2.56 s, then 5 s each.
    assert!(begin.elapsed() > Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_object_does_not_hide_the_others() {
    let mut broken = pod("broken", 3);
    broken["spec"] = json!("not a pod's");
    let (first, then) = (broken.clone(), broken);
    let api = Fake::new(move |_| (200, list(5, &[first.clone(), pod("db-0", 4)])));
    let watch = api.next_watch();
    let (informers, mut heard) = start(&api);
    informers.synced().await;
    assert_eq!(heard.recv().await.unwrap(), "+ db-0 4");
    watch.tell("MODIFIED", &then);
    watch.tell("ADDED", &pod("db-1", 7));
    assert_eq!(heard.recv().await.unwrap(), "+ db-1 7");
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_ends_neither_the_watch_nor_the_others() {
    let api = Fake::new(|_| (200, list(5, &[pod("db-0", 4)])));
    let watch = api.next_watch();
    let informers = Informers::new(api.client.clone(), clock());
    informers.on_change(|_, _| panic!("on purpose"));
    let (sender, mut heard) = unbounded_channel();
    informers.on_change(move |world, change| {
        let _ = sender.send(told(world, change));
    });
    tokio::spawn(Arc::clone(&informers).run(std::future::pending()));
    watch.tell("ADDED", &pod("db-1", 6));
    assert_eq!(heard.recv().await.unwrap().as_deref(), Some("+ db-0 4"));
    assert_eq!(heard.recv().await.unwrap().as_deref(), Some("+ db-1 6"));
}

#[tokio::test]
async fn listeners_hear_of_changes_in_the_order_in_which_the_world_took_them() {
    let api = Fake::new(|_| (200, list(5, &[])));
    let informers = Informers::new(api.client.clone(), clock());
    let newest = AtomicU64::new(0);
    let (sender, mut late) = unbounded_channel();
    informers.on_change(move |_, change| {
        let version = change.new.as_ref().and_then(|o| o.metadata().resource_version.clone());
        let version: u64 = version.unwrap().parse().unwrap();
        if newest.fetch_max(version, Ordering::SeqCst) > version {
            let _ = sender.send(version);
        }
    });
    let next = AtomicU64::new(1);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    let revision = next.fetch_add(1, Ordering::SeqCst);
                    informers.observe(&raw(&pod("db-0", revision)));
                }
            });
        }
    });
    drop(informers);
    assert_eq!(late.recv().await, None, "told after a newer one");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_object_of_the_world_changes_nothing() {
    let api = Fake::new(|_| (200, list(5, &[])));
    let (informers, mut heard) = start(&api);
    informers.synced().await;
    for answer in [json!({"kind": "Status", "apiVersion": "v1"}), Value::Null] {
        informers.observe(&raw(&answer));
    }
    informers.observe(&raw(&pod("db-0", 8)));
    assert_eq!(heard.recv().await.unwrap(), "+ db-0 8");
}
