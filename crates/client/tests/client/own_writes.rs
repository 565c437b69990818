//! Nobody plans on a world that is older than the last answer, however late watches and lists tell.

use std::sync::{Arc, Mutex};

use client::Informers;
use serde_json::{Value, json};

use crate::fake::{Fake, Watch, clock, list, pod, raw};

/// Informers that have listed no pods at revision 5, and watch; `later` is what the next list says.
async fn watching(later: Value) -> (Arc<Informers>, Fake, Watch) {
    let lists = Mutex::new(vec![later, list(5, &[])]);
    let api = Fake::new(move |_| (200, lists.lock().unwrap().pop().expect("no third list")));
    let watch = api.next_watch();
    let informers = Informers::new(api.client.clone(), clock());
    tokio::spawn(Arc::clone(&informers).run(std::future::pending()));
    informers.synced().await;
    (informers, api, watch)
}

/// The revision of a pod in the world.
fn held(informers: &Informers, name: &str) -> Option<String> {
    informers.world().pods.get("default", name)?.metadata.resource_version.clone()
}

/// Resolves when the informers have taken in what the watch has told so far.
async fn heard(informers: &Arc<Informers>, watch: &Watch, revision: u64) {
    let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
    informers.on_change(move |world, _| {
        if world.pods.get("default", "marker").is_some() {
            let _ = sender.send(());
        }
    });
    watch.tell("ADDED", &pod("marker", revision));
    told.recv().await;
}

/// Resolves when the informers have lost their place, and listed and watched anew.
async fn listed_anew(api: &mut Fake, lost: &Watch) {
    let gone = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "too old resource version", "reason": "Expired", "code": 410});
    lost.tell("ERROR", &gone);
    for expected in ["list", "watch", "list", "watch"] {
        let asked = api.next().await;
        assert_eq!(if asked.query.is_empty() { "list" } else { "watch" }, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_watch_does_not_take_the_world_back() {
    let (informers, _api, watch) = watching(Value::Null).await;
    informers.observe(&raw(&pod("db-0", 8)));
    watch.tell("ADDED", &pod("db-0", 6));
    watch.tell("MODIFIED", &pod("db-0", 7));
    heard(&informers, &watch, 9).await;
    assert_eq!(held(&informers, "db-0").as_deref(), Some("8"));
}

#[tokio::test(start_paused = true)]
async fn what_was_made_here_is_not_taken_for_gone_because_an_older_list_lacks_it() {
    let (informers, mut api, watch) = watching(list(6, &[])).await;
    let later = api.next_watch();
    informers.observe(&raw(&pod("db-0", 8)));
    listed_anew(&mut api, &watch).await;
    assert_eq!(held(&informers, "db-0").as_deref(), Some("8"));
    // The watch goes on from the list, and tells what became of it.
    later.tell("ADDED", &pod("db-0", 8));
    later.tell("DELETED", &pod("db-0", 9));
    heard(&informers, &later, 10).await;
    assert_eq!(held(&informers, "db-0"), None);
}

#[tokio::test(start_paused = true)]
async fn an_older_list_does_not_bring_an_older_version_back() {
    let (informers, mut api, watch) = watching(list(7, &[pod("db-0", 6)])).await;
    informers.observe(&raw(&pod("db-0", 8)));
    listed_anew(&mut api, &watch).await;
    assert_eq!(held(&informers, "db-0").as_deref(), Some("8"));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_was_asked_for_here_is_known_before_the_watch_tells() {
    let (informers, _api, watch) = watching(Value::Null).await;
    watch.tell("ADDED", &pod("db-0", 6));
    heard(&informers, &watch, 7).await;
    let mut terminating = pod("db-0", 8);
    terminating["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    informers.observe(&raw(&terminating));
    let is_terminating = || {
        let world = informers.world();
        world.pods.get("default", "db-0").is_some_and(|pod| pod.metadata.deletion_timestamp.is_some())
    };
    assert!(is_terminating());
    // What the pod was before the deletion comes late.
    watch.tell("MODIFIED", &pod("db-0", 7));
    heard(&informers, &watch, 9).await;
    assert!(is_terminating());
}

#[tokio::test(start_paused = true)]
async fn the_answer_of_a_removal_does_not_outlive_what_the_watch_tells_of_it() {
    let (informers, _api, watch) = watching(Value::Null).await;
    // The answer shows the object as it went, with the revision at which it went.
    informers.observe(&raw(&pod("db-0", 8)));
    watch.tell("DELETED", &pod("db-0", 8));
    heard(&informers, &watch, 9).await;
    assert_eq!(held(&informers, "db-0"), None);
    // And when the watch was first.
    informers.observe(&raw(&pod("db-0", 8)));
    assert_eq!(held(&informers, "db-0"), None);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_bring_back_what_a_list_has_found_gone() {
    let (informers, mut api, watch) = watching(list(20, &[])).await;
    watch.tell("ADDED", &pod("db-0", 6));
    heard(&informers, &watch, 7).await;
    listed_anew(&mut api, &watch).await;
    informers.observe(&raw(&pod("db-0", 8)));
    assert_eq!(held(&informers, "db-0"), None);
}
