//! All groups, versions and resources in one document (`apidiscovery.k8s.io/v2`, KEP-3352).

use http::header::{CACHE_CONTROL, HeaderValue, VARY};
use registry::Kind;
use serde_json::{Value, json};

use super::{groups, is_namespaced, kinds, parts, shown, verbs, versions};
use crate::api::Request;
use crate::conditional;
use crate::respond::Answer;
use crate::route::path_word;

/// The document in this version of its form, of the groups that are wanted.
pub(super) fn list(request: &Request, version: &str, wanted: impl Fn(&str) -> bool) -> Answer {
    let mut names = vec![""];
    names.extend(groups());
    let items: Vec<Value> = names.into_iter().filter(|name| wanted(name)).map(aggregated_group).collect();
    let list = json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items});
    let media_type = if version == "v2" {
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    } else {
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    };
    let bytes = serde_json::to_vec(&list).expect("a JSON value can be written");
    let mut answer = conditional::typed(request, media_type, bytes);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

fn aggregated_group(group: &str) -> Value {
    let versions: Vec<Value> = versions(group)
        .into_iter()
        .map(|version| {
            let resources: Vec<Value> = kinds(group, version).into_iter().map(aggregated_resource).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &'static Kind) -> Value {
    // What is of the version that it stands in does not name it again, as upstream has it.
    let response_kind =
        |group: &str, version: &str, of: &str| match (group, version) == (kind.group, kind.version) {
            true => json!({"group": "", "version": "", "kind": of}),
            false => json!({"group": group, "version": version, "kind": of}),
        };
    let mut resource = json!({
        "resource": kind.plural, "responseKind": response_kind(kind.group, kind.version, kind.kind),
        "scope": if is_namespaced(kind) { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular, "verbs": verbs(kind),
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    let parts: Vec<Value> = parts(kind)
        .into_iter()
        .map(|part| {
            let shown = shown(kind, part);
            json!({"subresource": path_word(part), "verbs": shown.verbs,
                "responseKind": response_kind(shown.group, shown.version, shown.kind)})
        })
        .collect();
    if !parts.is_empty() {
        resource["subresources"] = parts.into();
    }
    resource
}
