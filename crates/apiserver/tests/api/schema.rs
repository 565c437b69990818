//! Discovery and OpenAPI.

use std::collections::BTreeSet;

use http::header::{CACHE_CONTROL, ETAG, EXPIRES, LOCATION};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::Harness;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

fn texts<'v>(list: &'v Value, field: &str) -> Vec<&'v str> {
    list.as_array().expect("a list").iter().map(|item| item[field].as_str().expect("text")).collect()
}

#[tokio::test]
async fn groups_and_versions_are_ranked_as_upstream_ranks_them() {
    let api = Harness::start().await;
    let groups = api.get("/apis").await.expect(200);
    let expected = [
        "apps",
        "events.k8s.io",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "networking.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "storage.k8s.io",
        "admissionregistration.k8s.io",
        "scheduling.k8s.io",
        "coordination.k8s.io",
        "node.k8s.io",
        "discovery.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "resource.k8s.io",
    ];
    // Groups of reviews, which are no objects, may stand among them.
    let known: Vec<&str> =
        texts(&groups["groups"], "name").into_iter().filter(|group| expected.contains(group)).collect();
    assert_eq!(known, expected);
    let autoscaling = api.get("/apis/autoscaling").await.expect(200);
    assert_eq!(texts(&autoscaling["versions"], "version"), ["v2", "v1"]);
    assert_eq!(autoscaling["preferredVersion"]["version"], "v2");
}

#[tokio::test]
async fn resources_tell_in_which_version_they_are_stored() {
    let api = Harness::start().await;
    let check = async |path: &str, plural: &str, hash: &str| {
        let all = api.get(path).await.expect(200);
        let resource = all["resources"].as_array().expect("a list").iter().find(|r| r["name"] == plural);
        assert_eq!(resource.expect("served")["storageVersionHash"], hash, "{path} {plural}");
        let names = texts(&all["resources"], "name");
        assert!(names.is_sorted_by_key(|name| name.replace('/', "\u{1}")), "{names:?}");
    };
    // As Kubernetes tells them: api/discovery in its repository.
    check("/api/v1", "pods", "xPOwRZ+Yhw8=").await;
    check("/api/v1", "events", "r2yiGXH7wu8=").await;
    check("/apis/events.k8s.io/v1", "events", "r2yiGXH7wu8=").await;
    check("/apis/autoscaling/v1", "horizontalpodautoscalers", "qwQve8ut294=").await;
    check("/apis/networking.k8s.io/v1", "ingresses", "39NQlfNR+bo=").await;
}

#[tokio::test]
async fn both_forms_of_discovery_say_the_same() {
    let api = Harness::start().await;
    let mut aggregated = BTreeSet::new();
    for path in ["/api", "/apis"] {
        for group in api.get_as(path, AGGREGATED).await.expect(200)["items"].as_array().expect("groups") {
            for version in group["versions"].as_array().expect("versions") {
                let name = group["metadata"]["name"].as_str().unwrap_or_default();
                let version_name = version["version"].as_str().expect("a version");
                for resource in version["resources"].as_array().expect("resources") {
                    let plural = resource["resource"].as_str().expect("a name");
                    aggregated.insert(format!("{name}/{version_name} {plural} {}", resource["verbs"]));
                    for part in resource["subresources"].as_array().into_iter().flatten() {
                        let word = part["subresource"].as_str().expect("a word");
                        aggregated.insert(format!("{name}/{version_name} {plural}/{word} {}", part["verbs"]));
                    }
                }
            }
        }
    }
    let mut single = BTreeSet::new();
    let mut places = vec![(String::new(), "v1".to_owned())];
    for group in api.get("/apis").await.expect(200)["groups"].as_array().expect("groups") {
        let name = group["name"].as_str().expect("a name");
        places.extend(
            texts(&group["versions"], "version").into_iter().map(|v| (name.to_owned(), v.to_owned())),
        );
    }
    for (group, version) in places {
        let path =
            if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
        for resource in api.get(&path).await.expect(200)["resources"].as_array().expect("resources") {
            let name = resource["name"].as_str().expect("a name");
            single.insert(format!("{group}/{version} {name} {}", resource["verbs"]));
        }
    }
    assert_eq!(aggregated, single);
    assert!(single.len() > 80, "{}", single.len());
}

/// Asks twice: the second time with the tag of the first answer.
async fn ask_again(api: &Harness, path: &str, accept: &str) {
    let first = api.raw("GET", path, &[("accept", accept)], "").await;
    let tag = first.headers()[ETAG].to_str().expect("text").to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    let again = api.raw("GET", path, &[("accept", accept), ("if-none-match", &tag)], "").await;
    assert_eq!(
        (again.status().as_u16(), again.headers()[ETAG].to_str().expect("text")),
        (304, &*tag),
        "{path}"
    );
    assert!(again.into_body().collect().await.expect("a body").to_bytes().is_empty());
    let other = api.raw("GET", path, &[("accept", accept), ("if-none-match", "\"other\"")], "").await;
    assert_eq!(other.status(), 200, "{path}");
}

#[tokio::test]
async fn who_has_a_document_is_not_sent_it_again() {
    let api = Harness::start().await;
    for path in ["/api", "/apis"] {
        ask_again(&api, path, AGGREGATED).await;
    }
    ask_again(&api, "/openapi/v3", "application/json").await;
    ask_again(&api, "/openapi/v3/apis/apps/v1", "application/json").await;
    ask_again(&api, "/openapi/v2", V2_PROTOBUF).await;
}

/// Answers of other types than plain JSON are not touched on their way to a client that takes gzip.
#[tokio::test]
async fn discovery_in_one_document_reaches_clients_that_take_gzip() {
    let api = Harness::start().await;
    for (path, accept) in [("/apis", AGGREGATED), ("/openapi/v2", V2_PROTOBUF)] {
        let headers = [("accept", accept), ("accept-encoding", "gzip")];
        let answer = api.raw("GET", path, &headers, "").await;
        assert!(!answer.into_body().collect().await.expect("a body").to_bytes().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn an_address_with_a_hash_holds_for_ever_and_an_old_one_leads_to_the_new() {
    let api = Harness::start().await;
    let index = api.get("/openapi/v3").await.expect(200);
    let address = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("an address");
    let answer = api.raw("GET", address, &[], "").await;
    assert_eq!(answer.headers()[CACHE_CONTROL], "public, immutable");
    assert!(answer.headers()[EXPIRES].to_str().expect("text").ends_with(" GMT"));
    let old = api.raw("GET", "/openapi/v3/apis/apps/v1?hash=0", &[], "").await;
    assert_eq!((old.status().as_u16(), old.headers()[LOCATION].to_str().expect("text")), (301, address));
    let plain = api.raw("GET", "/openapi/v3/apis/apps/v1", &[], "").await;
    assert!(plain.headers().get(CACHE_CONTROL).is_none());
    assert_eq!(api.get("/openapi/v3/apis/apps/v7").await.code, 404);
}

#[tokio::test]
async fn a_document_says_what_a_field_is_for_and_how_it_is_merged() {
    let api = Harness::start().await;
    let document = api.get("/openapi/v3/apis/apps/v1").await.expect(200);
    let schemas = &document["components"]["schemas"];
    let set = &schemas["io.k8s.api.apps.v1.StatefulSet"];
    assert!(set["description"].as_str().expect("said").starts_with("StatefulSet represents a set of pods"));
    let spec = &schemas["io.k8s.api.apps.v1.StatefulSetSpec"]["properties"];
    assert_eq!(spec["replicas"]["format"], "int32");
    assert!(spec["updateStrategy"]["description"].is_string());
    assert_eq!(spec["template"]["default"], json!({}));
    let ports = &schemas["io.k8s.api.core.v1.Container"]["properties"]["ports"];
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
    assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
    assert_eq!(ports["items"]["default"], json!({}));
    let path = "/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}";
    let paths = &document["paths"];
    assert_eq!(paths[path]["get"]["operationId"], "readAppsV1NamespacedStatefulSet");
    assert_eq!(
        paths[format!("{path}/status")]["patch"]["operationId"],
        "patchAppsV1NamespacedStatefulSetStatus"
    );
    let everywhere = &paths["/apis/apps/v1/statefulsets"]["get"];
    assert_eq!(everywhere["operationId"], "listAppsV1StatefulSetForAllNamespaces");
    assert_eq!(everywhere["tags"], json!(["apps_v1"]));
    let names = texts(&paths[path]["patch"]["parameters"], "name");
    assert_eq!(names, ["pretty", "dryRun", "fieldManager", "fieldValidation", "force"]);
}

/// Every reference of every document leads somewhere, and no operation's name is used twice.
#[tokio::test]
async fn documents_are_whole() {
    let api = Harness::start().await;
    let index = api.get("/openapi/v3").await.expect(200);
    let mut ids = BTreeSet::new();
    for (_, place) in index["paths"].as_object().expect("paths") {
        let document = api.get(place["serverRelativeURL"].as_str().expect("an address")).await.expect(200);
        references(&document, &mut |reference| {
            let name = reference.strip_prefix("#/components/schemas/").expect("a schema");
            assert!(document["components"]["schemas"][name].is_object(), "{reference}");
        });
        operation_ids(&document, &mut ids);
    }
    let old = api.get("/openapi/v2").await.expect(200);
    references(&old, &mut |reference| {
        let name = reference.strip_prefix("#/definitions/").expect("a definition");
        assert!(old["definitions"][name].is_object(), "{reference}");
    });
    let mut old_ids = BTreeSet::new();
    operation_ids(&old, &mut old_ids);
    assert_eq!(old_ids, ids);
}

fn operation_ids(document: &Value, ids: &mut BTreeSet<String>) {
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("operations").values() {
            if let Some(id) = operation["operationId"].as_str() {
                assert!(ids.insert(id.to_owned()), "{id} is used twice");
            }
        }
    }
}

fn references(value: &Value, check: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                check(reference);
            }
            map.values().for_each(|value| references(value, check));
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, check)),
        _ => {}
    }
}

#[tokio::test]
async fn the_older_document_is_there_in_both_forms() {
    let api = Harness::start().await;
    let json = api.get("/openapi/v2").await.expect(200);
    assert_eq!(json["swagger"], "2.0");
    let set = &json["definitions"]["io.k8s.api.apps.v1.StatefulSet"];
    assert_eq!(set["properties"]["spec"]["$ref"], "#/definitions/io.k8s.api.apps.v1.StatefulSetSpec");
    let answer = api.raw("GET", "/openapi/v2", &[("accept", V2_PROTOBUF)], "").await;
    let media_type = answer.headers()["content-type"].to_str().expect("text").to_owned();
    assert_eq!(media_type, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    let bytes = answer.into_body().collect().await.expect("a body").to_bytes();
    assert!(bytes.starts_with(b"\x0a\x032.0"));
    let name = b"io.k8s.api.apps.v1.StatefulSet";
    assert!(bytes.windows(name.len()).any(|window| window == name));
}

/// Defaults that Go's zero values are not, and the values of enumerations, are told in descriptions alone.
#[tokio::test]
async fn documents_name_no_declared_defaults_and_no_enumerations() {
    let api = Harness::start().await;
    let document = api.get("/openapi/v3/api/v1").await.expect(200);
    let port =
        &document["components"]["schemas"]["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"];
    assert!(port["description"].as_str().expect("said").contains("TCP"));
    assert!(port["default"].is_null() && port["enum"].is_null());
}

#[tokio::test]
async fn the_version_names_the_release_that_is_emulated() {
    let api = Harness::start().await;
    let version = api.get("/version").await.expect(200);
    let said =
        ["major", "minor", "emulationMinor", "minCompatibilityMinor"].map(|field| version[field].clone());
    assert_eq!(said, [json!("1"), json!("36"), json!("36"), json!("35")]);
}
