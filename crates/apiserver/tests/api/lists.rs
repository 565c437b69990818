//! Lists: selectors, pages, revisions.

use serde_json::{Value, json};

use crate::harness::{CONFIG_MAPS, Harness, PODS, config_map, pod};

pub(crate) async fn five(api: &Harness) {
    for n in 0..5 {
        let mut object = config_map(&format!("c{n}"));
        object["metadata"]["labels"] = json!({"parity": if n % 2 == 0 { "even" } else { "odd" }});
        api.post(CONFIG_MAPS, &object).await.expect(201);
    }
}

pub(crate) fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().map(|i| i["metadata"]["name"].as_str().expect("a name")).collect()
}

#[tokio::test]
async fn pages_show_one_moment_even_when_the_collection_changes() {
    let api = Harness::start().await;
    five(&api).await;
    let first = api.get(&format!("{CONFIG_MAPS}?limit=2")).await.expect(200);
    assert_eq!(names(&first), ["c0", "c1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    api.delete(&format!("{CONFIG_MAPS}/c3")).await.expect(200);
    api.post(CONFIG_MAPS, &config_map("c2-later")).await.expect(201);
    let token = first["metadata"]["continue"].as_str().expect("a token");
    let second = api.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(names(&second), ["c2", "c3"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().expect("a token");
    let third = api.get(&format!("{CONFIG_MAPS}?limit=2&continue={token}")).await.expect(200);
    assert_eq!(names(&third), ["c4"]);
    assert!(third["metadata"]["continue"].is_null());
}

#[tokio::test]
async fn pages_of_a_selection_are_full() {
    let api = Harness::start().await;
    five(&api).await;
    let first = api.get(&format!("{CONFIG_MAPS}?limit=2&labelSelector=parity%3Deven")).await.expect(200);
    assert_eq!(names(&first), ["c0", "c2"]);
    assert!(first["metadata"]["remainingItemCount"].is_null(), "unknown with a selector");
    let token = first["metadata"]["continue"].as_str().expect("a token");
    let rest = api.get(&format!("{CONFIG_MAPS}?limit=2&labelSelector=parity%3Deven&continue={token}")).await;
    assert_eq!(names(&rest.expect(200)), ["c4"]);
}

#[tokio::test]
async fn a_list_can_be_of_an_earlier_revision() {
    let api = Harness::start().await;
    five(&api).await;
    let now = api.get(CONFIG_MAPS).await.expect(200);
    let version = now["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    api.delete(&format!("{CONFIG_MAPS}/c0")).await.expect(200);
    let exact = format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact");
    assert_eq!(api.get(&exact).await.expect(200), now);
    let newer = format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan");
    assert_eq!(names(&api.get(&newer).await.expect(200)).len(), 4);
    let reply = api.get(&format!("{CONFIG_MAPS}?resourceVersion=999999")).await.expect(504);
    assert_eq!(reply["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

/// Writes until the store no longer remembers what was before.
pub(crate) async fn forget_history(api: &Harness) {
    use store::{Durability, Expect, Store, Write};
    let mut expect = Expect::Absent;
    for _ in 0..store::HISTORY_EVENTS + 10 {
        let write =
            Write { key: "/noise".into(), value: Some("{}".into()), expect, durability: Durability::Late };
        expect = Expect::Revision(api.store.write(write).await.expect("written"));
    }
}

#[tokio::test]
async fn fields_select_by_name_and_by_what_the_kind_offers() {
    let api = Harness::start().await;
    for name in ["a", "b"] {
        api.post(PODS, &pod(name)).await.expect(201);
    }
    let binding = json!({"metadata": {"name": "b"}, "target": {"name": "n1"}});
    api.post(&format!("{PODS}/b/binding"), &binding).await.expect(201);
    for (selector, expect) in [
        ("metadata.name%3Da", vec!["a"]),
        ("metadata.name!%3Da", vec!["b"]),
        ("spec.nodeName%3Dn1", vec!["b"]),
        ("spec.nodeName%3D", vec!["a"]),
        ("spec.nodeName%3Dn1,metadata.name%3Da", vec![]),
        ("metadata.name%3Dzzz", vec![]),
        ("status.phase%3DPending,metadata.namespace%3Ddefault", vec!["a", "b"]),
    ] {
        let found = api.get(&format!("{PODS}?fieldSelector={selector}")).await.expect(200);
        assert_eq!(names(&found), expect, "{selector}");
        let everywhere = api.get(&format!("/api/v1/pods?fieldSelector={selector}")).await.expect(200);
        assert_eq!(names(&everywhere), expect, "{selector}");
    }
    let refusal = api.get(&format!("{PODS}?fieldSelector=spec.color%3Dred")).await.refused(400);
    assert_eq!(refusal, "field label not supported: spec.color");
    let refusal = api.get(&format!("{CONFIG_MAPS}?fieldSelector=data.a%3Db")).await.refused(400);
    assert_eq!(
        refusal,
        "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
    api.get(&format!("{PODS}?labelSelector=a%20b")).await.refused(400);
}
