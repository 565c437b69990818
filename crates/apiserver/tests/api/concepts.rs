//! Upstream's page "Kubernetes API Concepts", rule by rule: which versions a list or a watch may ask for, how a
//! list goes on after its state is forgotten, and in which form answers come.

use std::io::Read as _;

use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Harness, TABLE, config_map};
use crate::lists::{five, forget_history, names};

const INVALID: &str = "ListOptions.meta.k8s.io \"\" is invalid: ";

async fn version(api: &Harness) -> String {
    let list = api.get(CONFIG_MAPS).await.expect(200);
    list["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

#[tokio::test]
async fn every_rule_of_versions_for_lists() {
    let api = Harness::start().await;
    five(&api).await;
    let then = version(&api).await;
    api.delete(&format!("{CONFIG_MAPS}/c0")).await.expect(200);
    let (old, new) = (5, 4);
    for (query, expect) in [
        ("".to_owned(), new),
        ("resourceVersion=0".to_owned(), new),
        ("resourceVersion=0&resourceVersionMatch=NotOlderThan".to_owned(), new),
        (format!("resourceVersion={then}"), new),
        (format!("resourceVersion={then}&resourceVersionMatch=NotOlderThan"), new),
        (format!("resourceVersion={then}&resourceVersionMatch=NotOlderThan&limit=9"), new),
        (format!("resourceVersion={then}&resourceVersionMatch=Exact"), old),
        (format!("resourceVersion={then}&resourceVersionMatch=Exact&limit=9"), old),
        (format!("resourceVersion={then}&limit=9"), old),
        ("limit=-1".to_owned(), new),
        ("limit=0&resourceVersion=0".to_owned(), new),
    ] {
        let list = api.get(&format!("{CONFIG_MAPS}?{query}")).await.expect(200);
        assert_eq!(names(&list).len(), expect, "{query}");
    }
    // One name follows the same rules.
    let one = "fieldSelector=metadata.name%3Dc0";
    let was = format!("{CONFIG_MAPS}?{one}&resourceVersion={then}&resourceVersionMatch=Exact");
    assert_eq!(names(&api.get(&was).await.expect(200)), ["c0"]);
    let is = format!("{CONFIG_MAPS}?{one}&resourceVersion={then}&resourceVersionMatch=NotOlderThan");
    assert!(names(&api.get(&is).await.expect(200)).is_empty());
}

#[tokio::test]
async fn combinations_that_say_nothing_are_refused_in_upstreams_words() {
    let api = Harness::start().await;
    for (query, expect) in [
        (
            "resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersion=1&resourceVersionMatch=Roughly",
            "resourceVersionMatch: Unsupported value: \"Roughly\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=NotOlderThan&continue=x",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
        ),
        ("sendInitialEvents=true", "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list"),
        (
            "watch=true&sendInitialEvents=true",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=true&resourceVersion=1&resourceVersionMatch=NotOlderThan",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is \
             provided",
        ),
        (
            "watch=true&sendInitialEvents=false&resourceVersionMatch=Exact",
            "[resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan, \
             resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\"]",
        ),
    ] {
        let refusal = api.get(&format!("{CONFIG_MAPS}?{query}")).await.refused(422);
        assert_eq!(refusal, format!("{INVALID}{expect}"), "{query}");
        let method = if query.starts_with("watch") { "GET" } else { "DELETE" };
        let again = api.call(method, &format!("{CONFIG_MAPS}?{query}"), &[], "").await;
        assert_eq!(again.refused(422), refusal, "{method} {query}");
    }
}

#[tokio::test]
async fn versions_and_tokens_that_nobody_gave_are_refused() {
    let api = Harness::start().await;
    let number = "must be a whole number: take it from the metadata of a list or an object";
    let refusal = api.get(&format!("{CONFIG_MAPS}?resourceVersion=x")).await.refused(400);
    assert_eq!(refusal, format!("invalid resource version: resourceVersion: Invalid value: \"x\": {number}"));
    assert_eq!(
        api.get(&format!("{CONFIG_MAPS}?watch=true&resourceVersion=x")).await.refused(422),
        format!("ConfigMap \"\" is invalid: resourceVersion: Invalid value: \"x\": {number}")
    );
    for token in ["nonsense!", "e30", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MCwic3RhcnQiOiJhIn0"] {
        let refusal = api.get(&format!("{CONFIG_MAPS}?continue={token}")).await.refused(400);
        assert!(refusal.starts_with("invalid continue token: continue key is not valid"), "{refusal}");
    }
    let first = api.get("/api/v1/namespaces?limit=1").await.expect(200);
    let token = first["metadata"]["continue"].as_str().expect("a token");
    assert_eq!(
        api.get(&format!("/api/v1/namespaces?continue={token}&resourceVersion=1")).await.refused(400),
        "specifying resource version is not allowed when using continue"
    );
    api.get(&format!("/api/v1/namespaces?continue={token}&resourceVersion=0")).await.expect(200);
}

#[tokio::test]
async fn a_version_that_has_not_happened_is_refused_at_once_with_a_time_to_try_again() {
    let api = Harness::start().await;
    let initial =
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=999999";
    let exact = "resourceVersion=999999&resourceVersionMatch=Exact";
    for query in ["resourceVersion=999999", exact, "watch=true&resourceVersion=999999", initial] {
        let reply = api.get(&format!("{CONFIG_MAPS}?{query}")).await.expect(504);
        assert_eq!(reply["details"]["causes"][0]["reason"], "ResourceVersionTooLarge", "{query}");
        assert_eq!(reply["details"]["retryAfterSeconds"], 1, "{query}");
    }
}

#[tokio::test]
async fn who_pages_through_a_forgotten_state_may_go_on_with_the_newest() {
    let api = Harness::start().await;
    five(&api).await;
    let then = version(&api).await;
    let first = api.get(&format!("{CONFIG_MAPS}?limit=2")).await.expect(200);
    let token = first["metadata"]["continue"].as_str().expect("a token");
    forget_history(&api).await;
    api.post(CONFIG_MAPS, &config_map("c9")).await.expect(201);
    let gone = api.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.expect(410);
    assert_eq!(gone["reason"], "Expired");
    let message = gone["message"].as_str().expect("a message");
    assert!(
        message.starts_with("The provided continue parameter is too old to display a consistent list"),
        "{message}"
    );
    let mut token = gone["metadata"]["continue"].as_str().expect("a token to go on with").to_owned();
    let mut seen: Vec<String> = names(&first).into_iter().map(str::to_owned).collect();
    loop {
        let page = api.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.expect(200);
        seen.extend(names(&page).into_iter().map(str::to_owned));
        let Some(next) = page["metadata"]["continue"].as_str() else { break };
        next.clone_into(&mut token);
    }
    assert_eq!(seen, ["c0", "c1", "c2", "c3", "c4", "c9"]);
    let exact = format!("{CONFIG_MAPS}?resourceVersion={then}&resourceVersionMatch=Exact");
    let refusal = api.get(&exact).await.refused(410);
    assert_eq!(refusal, "The resourceVersion for the provided list is too old.");
}

#[tokio::test]
async fn initial_events_are_told_whatever_version_is_asked_for_and_left_out_when_unwanted() {
    let api = Harness::start().await;
    five(&api).await;
    let now = version(&api).await;
    let asked =
        "watch=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&labelSelector=parity%3Dodd";
    for start in ["".to_owned(), "&resourceVersion=0".to_owned(), format!("&resourceVersion={now}")] {
        let path = format!("{CONFIG_MAPS}?{asked}&sendInitialEvents=true{start}");
        let mut watch = api.watch(&path).await;
        assert_eq!(watch.next_short().await, "ADDED c1", "{start}");
        assert_eq!(watch.next_short().await, "ADDED c3", "{start}");
        let end = watch.next().await.expect("a bookmark");
        assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
        assert_eq!(end["object"]["metadata"]["resourceVersion"], now);
    }
    let mut quiet = api.watch(&format!("{CONFIG_MAPS}?{asked}&sendInitialEvents=false")).await;
    let mut other = config_map("c7");
    other["metadata"]["labels"] = json!({"parity": "odd"});
    api.post(CONFIG_MAPS, &other).await.expect(201);
    assert_eq!(quiet.next_short().await, "ADDED c7");
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_one_selector_learns_how_far_all_came_before_it_ends() {
    let api = Harness::start().await;
    let asked = "watch=true&allowWatchBookmarks=true&labelSelector=a%3Db&timeoutSeconds=10";
    let mut watch = api.watch(&format!("{CONFIG_MAPS}?{asked}")).await;
    // Its bookmark can only be of the last second before it.
    api.post(CONFIG_MAPS, &config_map("other")).await.expect(201);
    let now = version(&api).await;
    let begin = tokio::time::Instant::now();
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!((&bookmark["type"], begin.elapsed().as_secs()), (&json!("BOOKMARK"), 8));
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], now);
    assert!(watch.next().await.is_none());
    assert_eq!(begin.elapsed().as_secs(), 10);
}

#[tokio::test]
async fn tables_and_metadata_are_told_for_every_verb_in_both_versions() {
    let api = Harness::start().await;
    api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let one = format!("{CONFIG_MAPS}/a");
    let merge = [("content-type", "application/merge-patch+json")];
    for version in ["v1", "v1beta1"] {
        let meta = format!("meta.k8s.io/{version}");
        let accept = |kind: &str| format!("application/json;as={kind};v={version};g=meta.k8s.io");
        let kind = |reply: &Value| (reply["kind"].clone(), reply["apiVersion"].clone());
        let table = api.get_as(CONFIG_MAPS, &accept("Table")).await.expect(200);
        assert_eq!(kind(&table), (json!("Table"), json!(meta)));
        assert_eq!(kind(&table["rows"][0]["object"]), (json!("PartialObjectMetadata"), json!(meta)));
        let patched =
            api.call("PATCH", &one, &[merge[0], ("accept", &accept("Table"))], r#"{"data":{"x":"y"}}"#).await;
        assert_eq!(kind(&patched.expect(200)), (json!("Table"), json!(meta)));
        let partial = accept("PartialObjectMetadata");
        let put = [("content-type", "application/json"), ("accept", &partial)];
        let put = api.call("PUT", &one, &put, config_map("a").to_string()).await.expect(200);
        assert_eq!(kind(&put), (json!("PartialObjectMetadata"), json!(meta)));
        let list = api.get_as(CONFIG_MAPS, &accept("PartialObjectMetadataList")).await.expect(200);
        assert_eq!(kind(&list), (json!("PartialObjectMetadataList"), json!(meta)));
        assert_eq!(kind(&list["items"][0]), (json!("PartialObjectMetadata"), json!(meta)));
        let mut watch = api.watch_as(&format!("{CONFIG_MAPS}?watch=true"), &partial).await;
        let event = watch.next().await.expect("an event");
        assert_eq!(kind(&event["object"]), (json!("PartialObjectMetadata"), json!(meta)));
        assert!(event["object"]["data"].is_null());
    }
    let kept = api.call("DELETE", &one, &[("accept", TABLE)], "").await.expect(200);
    assert_eq!(kept["kind"], "Status", "a Status is no table");
}

#[tokio::test]
async fn who_would_not_understand_the_answer_changes_nothing() {
    let api = Harness::start().await;
    let html = [("content-type", "application/json"), ("accept", "text/html")];
    let refusal = api.call("POST", CONFIG_MAPS, &html, config_map("a").to_string()).await.refused(406);
    assert!(
        refusal.starts_with("only the following media types are accepted: application/json"),
        "{refusal}"
    );
    api.get(&format!("{CONFIG_MAPS}/a")).await.expect(404);
    let table = api.get_as(&format!("{CONFIG_MAPS}?includeObject=Some"), TABLE).await.refused(400);
    assert_eq!(
        table,
        "Unable to convert to Table as requested: includeObject: Invalid value: \"Some\": must be 'Metadata', 'Object', \
         'None', or empty"
    );
}

async fn read(api: &Harness, path: &str, headers: &[(&str, &str)]) -> (http::HeaderMap, Vec<u8>) {
    let (parts, body) = api.raw("GET", path, headers, "").await.into_parts();
    let bytes = body.collect().await.expect("a whole body").to_bytes();
    (parts.headers, bytes.to_vec())
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_can_read_that() {
    let api = Harness::start().await;
    let mut large = config_map("large");
    large["data"]["a"] = "x".repeat(128 << 10).into();
    let made = api.post(CONFIG_MAPS, &large).await.expect(201);
    let one = format!("{CONFIG_MAPS}/large");
    let (headers, bytes) = read(&api, &one, &[("accept-encoding", "deflate, gzip")]).await;
    assert_eq!(
        (&headers["content-encoding"], &headers["vary"]),
        (&"gzip".parse().expect("a value"), &"Accept-Encoding".parse().expect("a value"))
    );
    assert!(bytes.len() < 8 << 10, "{} bytes", bytes.len());
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("gzip");
    assert_eq!(serde_json::from_slice::<Value>(&plain).expect("JSON"), made);
    for (path, encodings) in [(one.as_str(), "br"), ("/api/v1/namespaces/default", "gzip")] {
        let (headers, bytes) = read(&api, path, &[("accept-encoding", encodings)]).await;
        assert!(headers.get("content-encoding").is_none(), "{path}");
        serde_json::from_slice::<Value>(&bytes).expect("JSON");
    }
    // A watch cannot wait until there is enough to compress.
    let watch =
        api.raw("GET", &format!("{CONFIG_MAPS}?watch=true"), &[("accept-encoding", "gzip")], "").await;
    assert!(watch.headers().get("content-encoding").is_none());
}

#[tokio::test]
async fn answers_come_laid_out_or_as_yaml_on_request() {
    let api = Harness::start().await;
    let made = api.post(CONFIG_MAPS, &config_map("a")).await.expect(201);
    let one = format!("{CONFIG_MAPS}/a");
    let (_, laid_out) = read(&api, &format!("{one}?pretty=true"), &[]).await;
    let laid_out = String::from_utf8(laid_out).expect("text");
    assert!(laid_out.starts_with("{\n  \"apiVersion\": \"v1\",\n"), "{laid_out}");
    assert_eq!(serde_json::from_str::<Value>(&laid_out).expect("JSON"), made);
    let (headers, yaml) = read(&api, &one, &[("accept", "application/yaml")]).await;
    assert_eq!(headers["content-type"], "application/yaml");
    let yaml = String::from_utf8(yaml).expect("text");
    assert!(yaml.starts_with("apiVersion: v1\n"), "{yaml}");
    let put = api.call("PUT", &one, &[("content-type", "application/yaml")], yaml).await.expect(200);
    assert_eq!(put["data"], made["data"]);
    // Refusals too.
    let (headers, yaml) = read(&api, &format!("{CONFIG_MAPS}/b"), &[("accept", "application/yaml")]).await;
    assert_eq!(headers["content-type"], "application/yaml");
    assert!(String::from_utf8(yaml).expect("text").contains("reason: NotFound"));
}

#[tokio::test]
async fn paths_of_watches_without_a_parameter_are_not_served() {
    let api = Harness::start().await;
    for path in ["/api/v1/watch/pods", "/api/v1/watch/namespaces/default/pods/a"] {
        assert_eq!(api.get(path).await.refused(404), "the server could not find the requested resource");
    }
}
