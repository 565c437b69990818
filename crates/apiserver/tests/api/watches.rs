//! Watches: where they begin, what they tell, how they end.

use serde_json::json;

use crate::harness::{CONFIG_MAPS, Harness, PODS, TABLE, config_map, pod};
use crate::lists::forget_history;

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let api = Harness::start().await;
    api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    for start in ["", "&resourceVersion=0"] {
        let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=true{start}")).await;
        assert_eq!(watch.next_short().await, "ADDED a");
        let name = format!("b{}", start.len());
        api.post(CONFIG_MAPS, &config_map(&name)).await.expect(201);
        assert_eq!(watch.next_short().await, format!("ADDED {name}"));
        api.delete(&format!("{CONFIG_MAPS}/{name}")).await.expect(200);
        assert_eq!(watch.next_short().await, format!("DELETED {name}"));
    }
}

#[tokio::test]
async fn a_watch_from_a_version_tells_everything_since() {
    let api = Harness::start().await;
    let made = api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let patched =
        api.patch("merge", &format!("{CONFIG_MAPS}/a"), &json!({"data": {"b": "2"}})).await.expect(200);
    api.delete(&format!("{CONFIG_MAPS}/a")).await.expect(200);
    let version = made["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}")).await;
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]), (&json!("MODIFIED"), &patched));
    let gone = watch.next().await.expect("an event");
    assert_eq!(gone["type"], "DELETED");
    assert_ne!(gone["object"]["metadata"]["resourceVersion"], patched["metadata"]["resourceVersion"]);
    assert_eq!(gone["object"]["data"], patched["data"]);
}

#[tokio::test]
async fn an_object_that_leaves_the_selection_is_gone() {
    let api = Harness::start().await;
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=true&labelSelector=in%3Dyes")).await;
    api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let one = format!("{CONFIG_MAPS}/a");
    for label in ["yes", "no", "yes"] {
        api.patch("merge", &one, &json!({"metadata": {"labels": {"in": label}}})).await.expect(200);
    }
    api.patch("merge", &one, &json!({"data": {"x": "y"}})).await.expect(200);
    for expect in ["ADDED a", "DELETED a", "ADDED a", "MODIFIED a"] {
        assert_eq!(watch.next_short().await, expect);
    }
}

#[tokio::test]
async fn a_watch_for_one_name_does_not_tell_of_longer_ones() {
    let api = Harness::start().await;
    let mut watch = api.watch(&format!("{PODS}?watch=true&fieldSelector=metadata.name%3Dweb-1")).await;
    api.post(PODS, &pod("web-10")).await.expect(201);
    api.post(PODS, &pod("web-1")).await.expect(201);
    assert_eq!(watch.next_short().await, "ADDED web-1");
}

#[tokio::test]
async fn a_forgotten_version_is_told_in_the_stream() {
    let api = Harness::start().await;
    forget_history(&api).await;
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=true&resourceVersion=1")).await;
    let event = watch.next().await.expect("an event");
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let api = Harness::start().await;
    api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let version = api.get(CONFIG_MAPS).await.expect(200)["metadata"]["resourceVersion"].clone();
    let asked =
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?{asked}")).await;
    assert_eq!(watch.next_short().await, "ADDED a");
    let bookmark = watch.next().await.expect("an event");
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    let metadata = &bookmark["object"]["metadata"];
    assert_eq!(metadata["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(metadata["resourceVersion"], version);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_each_minute_and_the_watch_ends_in_time() {
    let api = Harness::start().await;
    let asked = "watch=true&allowWatchBookmarks=true&timeoutSeconds=100";
    let begin = tokio::time::Instant::now();
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?{asked}")).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "elsewhere"}});
    let elsewhere = api.post("/api/v1/namespaces/default/secrets", &secret).await.expect(201);
    let bookmark = watch.next().await.expect("an event");
    assert_eq!(bookmark["type"], "BOOKMARK");
    let version = &bookmark["object"]["metadata"]["resourceVersion"];
    assert_eq!(*version, elsewhere["metadata"]["resourceVersion"], "a quiet watch is to go on from there");
    assert_eq!(begin.elapsed().as_secs(), 60);
    let last = watch.next().await.expect("an event");
    assert_eq!((&last["type"], begin.elapsed().as_secs()), (&json!("BOOKMARK"), 98));
    assert!(watch.next().await.is_none());
    assert_eq!(begin.elapsed().as_secs(), 100);
}

#[tokio::test]
async fn watches_end_when_the_server_does() {
    let api = Harness::start().await;
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    api.api.end_streams();
    assert!(watch.next().await.is_none());
    api.get(&format!("{CONFIG_MAPS}?watch=true")).await.refused(503);
}

#[tokio::test]
async fn a_watched_table_tells_its_columns_once() {
    let api = Harness::start().await;
    let mut watch = api.watch_as(&format!("{CONFIG_MAPS}?watch=true"), TABLE).await;
    for name in ["a", "b"] {
        api.post(CONFIG_MAPS, &config_map(name)).await.expect(201);
    }
    let first = watch.next().await.expect("an event");
    assert_eq!(first["object"]["kind"], "Table");
    assert_eq!(first["object"]["columnDefinitions"][0]["name"], "Name");
    assert_eq!(first["object"]["rows"][0]["cells"][0], "a");
    let second = watch.next().await.expect("an event");
    assert_eq!(second["object"]["columnDefinitions"], json!([]));
    assert_eq!(second["object"]["rows"][0]["object"]["metadata"]["name"], "b");
}
