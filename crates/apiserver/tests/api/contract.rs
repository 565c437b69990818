//! What holds for every kind of the table.

use registry::{KINDS, Kind, Scope, Subresource};
use serde_json::{Value, json};

use crate::harness::{Harness, TABLE};
use crate::samples::{name, sample};

pub(crate) fn collection(kind: &Kind) -> String {
    let root =
        if kind.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", kind.api_version()) };
    match kind.scope {
        Scope::Cluster => format!("{root}/{}", kind.plural),
        Scope::Namespaced => format!("{root}/namespaces/default/{}", kind.plural),
    }
}

fn version(object: &Value) -> u64 {
    let text = object["metadata"]["resourceVersion"].as_str().expect("a version");
    text.parse().expect("a number")
}

#[tokio::test]
async fn every_kind_is_created_read_changed_watched_and_deleted() {
    for kind in KINDS {
        println!("{}", kind.resource());
        let api = Harness::start().await;
        whole_life(&api, kind).await;
    }
}

async fn whole_life(api: &Harness, kind: &'static Kind) {
    let all = collection(kind);
    let name = name(kind);
    let one = format!("{all}/{name}");
    api.get(&one).await.expect(404);
    let selected = format!("{all}?labelSelector=made%3Dhere");
    let before = api.get(&selected).await.expect(200);
    assert_eq!(before["items"], json!([]));
    assert_eq!(before["kind"], format!("{}List", kind.kind));

    let mut watch = api.watch(&format!("{selected}&watch=true&resourceVersion={}", version(&before))).await;
    let made = api.post(&all, &sample(kind)).await.expect(201);
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!(kind.kind), &json!(kind.api_version())));
    for field in ["uid", "creationTimestamp", "resourceVersion"] {
        assert!(made["metadata"][field].is_string(), "{field}");
    }
    assert_eq!(api.get(&one).await.expect(200), made);
    assert_eq!(api.get(&selected).await.expect(200)["items"], json!([made]));
    api.post(&all, &sample(kind)).await.expect(409);

    let patches = [
        ("json", json!([{"op": "add", "path": "/metadata/annotations", "value": {"json": "1"}}])),
        ("merge", json!({"metadata": {"annotations": {"merge": "1"}}})),
        ("strategic-merge", json!({"metadata": {"annotations": {"strategic": "1"}}})),
    ];
    let mut last = made.clone();
    for (form, patch) in patches {
        let patched = api.patch(form, &one, &patch).await.expect(200);
        assert!(version(&patched) > version(&last), "{form}");
        last = patched;
    }
    assert_eq!(last["metadata"]["annotations"], json!({"json": "1", "merge": "1", "strategic": "1"}));

    let mut changed = last.clone();
    changed["metadata"]["labels"]["changed"] = "yes".into();
    let put = api.put(&one, &changed).await.expect(200);
    assert_eq!(put["metadata"]["labels"]["changed"], "yes");
    assert_eq!(put["metadata"]["uid"], made["metadata"]["uid"]);
    api.put(&one, &changed).await.expect(409);
    let same = api.put(&one, &put).await.expect(200);
    assert_eq!(version(&same), version(&put), "an update that changes nothing is no write");

    let table = api.get_as(&one, TABLE).await.expect(200);
    let columns = table["columnDefinitions"].as_array().expect("columns");
    let cells = table["rows"][0]["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), columns.len());
    if let Some(at) = columns.iter().position(|c| c["format"] == "name") {
        assert_eq!(cells[at], name);
    }

    let mut events = vec!["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "MODIFIED"];
    if kind.has(Subresource::Status) {
        let patch = json!({"status": {"conditions": [{"type": "Tried", "status": "True", "reason": "Tested",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let patched = api.patch("merge", &format!("{one}/status"), &patch).await.expect(200);
        assert!(version(&patched) >= version(&put));
        assert_eq!(patched["metadata"]["generation"], put["metadata"]["generation"]);
        if version(&patched) > version(&put) {
            events.push("MODIFIED");
        }
    }
    clear_finalizers(api, &one, &mut events).await;
    api.delete(&one).await.expect(200);
    if kind.has(Subresource::Finalize) {
        finalize(api, &one, &mut events).await;
    }
    api.get(&one).await.expect(404);
    events.push("DELETED");
    for expected in events {
        assert_eq!(watch.next_short().await, format!("{expected} {name}"));
    }
}

/// Takes off what protects the object while it is in use.
async fn clear_finalizers(api: &Harness, one: &str, events: &mut Vec<&str>) {
    let object = api.get(one).await.expect(200);
    if object["metadata"]["finalizers"].is_array() {
        api.patch("merge", one, &json!({"metadata": {"finalizers": null}})).await.expect(200);
        events.push("MODIFIED");
    }
}

async fn finalize(api: &Harness, one: &str, events: &mut Vec<&str>) {
    let mut terminating = api.get(one).await.expect(200);
    assert_eq!(terminating["status"]["phase"], "Terminating");
    events.push("MODIFIED");
    terminating["spec"]["finalizers"] = json!([]);
    api.put(&format!("{one}/finalize"), &terminating).await.expect(200);
}

#[tokio::test]
async fn every_kind_stands_in_discovery_and_in_openapi() {
    let api = Harness::start().await;
    let index = api.get("/openapi/v3").await.expect(200);
    for kind in registry::served().filter(|kind| registry::measured(kind).is_none()) {
        let path =
            if kind.group.is_empty() { "api/v1".to_owned() } else { format!("apis/{}", kind.api_version()) };
        let resources = api.get(&format!("/{path}")).await.expect(200);
        let listed = resources["resources"].as_array().expect("resources");
        assert!(listed.iter().any(|r| r["name"] == kind.plural && r["kind"] == kind.kind), "{}", kind.plural);
        let url = index["paths"][&path]["serverRelativeURL"].as_str().expect("a place");
        let document = api.get(url).await.expect(200);
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let gvk = json!([{"group": kind.group, "version": kind.version, "kind": kind.kind}]);
        assert!(schemas.values().any(|s| s["x-kubernetes-group-version-kind"] == gvk), "{}", kind.kind);
        parts_are_described(kind, listed, &document);
    }
}

/// What discovery says of the parts of a kind's objects, streams aside, OpenAPI says as well.
fn parts_are_described(kind: &Kind, listed: &[Value], document: &Value) {
    let one = match kind.scope {
        Scope::Cluster => format!("{}/{{name}}", collection(kind)),
        Scope::Namespaced => format!("{}/{{name}}", collection(kind).replace("/default/", "/{namespace}/")),
    };
    for resource in listed {
        let name = resource["name"].as_str().expect("a name");
        let Some((_, part)) = name.split_once('/').filter(|(plural, _)| *plural == kind.plural) else {
            continue;
        };
        let described = &document["paths"][format!("{one}/{part}")];
        if matches!(part, "log" | "exec" | "attach" | "portforward" | "proxy") {
            assert!(described.is_null(), "{name} is a stream");
            continue;
        }
        for verb in resource["verbs"].as_array().expect("verbs") {
            let method = match verb.as_str() {
                Some("create") => "post",
                Some("update") => "put",
                other => other.expect("a verb"),
            };
            let schema =
                &described[method]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
            let schema = schema.as_str().and_then(|at| at.strip_prefix("#/components/schemas/"));
            let schema =
                schema.unwrap_or_else(|| panic!("{name} {method} answers with nothing that is known"));
            assert!(
                schema.ends_with(resource["kind"].as_str().expect("a kind")),
                "{name} {method}: {schema}"
            );
            assert!(document["components"]["schemas"][schema].is_object(), "{name} {method}: {schema}");
        }
    }
}
