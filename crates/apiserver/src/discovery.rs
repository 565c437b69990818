//! What the server offers: groups, versions, resources, in the old form and in the aggregated one
//! (`apidiscovery.k8s.io/v2`, KEP-3352).

use apimachinery::schema::Schema;
use apimachinery::status::Status;
use http::{HeaderMap, StatusCode};
use registry::{Kind, Scope, Subresource, served};
use serde_json::{Value, json};

use crate::negotiate;
use crate::respond::{self, Answer};
use crate::route::{Route, path_word};

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// What can be done with objects of a kind.
fn verbs(kind: &Kind) -> &'static [&'static str] {
    if registry::reviews::question(kind).is_some() { &["create"] } else { VERBS }
}

/// Answers the routes of discovery.
pub(crate) fn answer(route: &Route, headers: &HeaderMap) -> Result<Answer, Status> {
    let aggregated = negotiate::aggregated_discovery(headers);
    let value = match route {
        Route::Root => paths(),
        Route::Version => version(),
        Route::CoreVersions => match aggregated {
            Some(version) => return Ok(self::aggregated(version, |group| group.is_empty())),
            None => core_versions(),
        },
        Route::Groups => match aggregated {
            Some(version) => return Ok(self::aggregated(version, |group| !group.is_empty())),
            None => group_list(),
        },
        Route::Group(name) => {
            let mut group = group(name).ok_or_else(Status::no_such_path)?;
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            group
        }
        Route::Resources(group, version) => resources(group, version).ok_or_else(Status::no_such_path)?,
        _ => return Err(Status::no_such_path()),
    };
    Ok(respond::json_value(StatusCode::OK, &value))
}

/// The groups in the order of the table, core left out.
fn groups() -> Vec<&'static str> {
    let mut groups = Vec::new();
    for kind in served().filter(|k| !k.group.is_empty()) {
        if !groups.contains(&kind.group) {
            groups.push(kind.group);
        }
    }
    groups
}

/// The versions of a group, in the order of the table.
fn versions(group: &str) -> Vec<&'static str> {
    let mut versions = Vec::new();
    for kind in served().filter(|k| k.group == group) {
        if !versions.contains(&kind.version) {
            versions.push(kind.version);
        }
    }
    versions
}

/// `api/v1`, `apis/apps/v1`, …: all versions of all groups.
pub(crate) fn group_version_paths() -> Vec<(String, &'static str, &'static str)> {
    let mut all: Vec<(String, &str, &str)> =
        versions("").into_iter().map(|version| (format!("api/{version}"), "", version)).collect();
    for group in groups() {
        all.extend(
            versions(group).into_iter().map(|version| (format!("apis/{group}/{version}"), group, version)),
        );
    }
    all
}

fn paths() -> Value {
    let mut paths: Vec<String> = ["/api", "/apis"].map(str::to_owned).into();
    paths.extend(group_version_paths().into_iter().map(|(path, ..)| format!("/{path}")));
    paths.extend(groups().into_iter().map(|group| format!("/apis/{group}")));
    paths.extend(
        [
            "/.well-known/openid-configuration",
            "/healthz",
            "/livez",
            "/openapi/v3",
            "/openid/v1/jwks",
            "/readyz",
            "/version",
        ]
        .map(str::to_owned),
    );
    paths.sort();
    json!({"paths": paths})
}

/// The release that clients compare themselves with, and ours after the plus.
fn version() -> Value {
    let release = Schema::builtin().release();
    let (major, minor) = release.split_once('.').unwrap_or((release, "0"));
    json!({
        "major": major, "minor": minor,
        "gitVersion": format!("v{release}.0+stead{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc",
        "platform": format!("linux/{}", match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other }),
    })
}

fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": versions(""), "serverAddressByClientCIDRs": []})
}

fn group_list() -> Value {
    let groups: Vec<Value> = groups().into_iter().filter_map(group).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group(name: &str) -> Option<Value> {
    let versions: Vec<Value> = versions(name)
        .into_iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    let preferred = versions.first().filter(|_| !name.is_empty())?.clone();
    Some(json!({"name": name, "versions": versions, "preferredVersion": preferred}))
}

fn resources(group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<&Kind> = served().filter(|k| k.group == group && k.version == version).collect();
    let group_version = kinds.first()?.api_version();
    let mut resources = Vec::new();
    for kind in kinds {
        let mut resource = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": is_namespaced(kind),
            "kind": kind.kind, "verbs": verbs(kind)});
        if !kind.short_names.is_empty() {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        resources.push(resource);
        for part in kind.subresources {
            let shown = shown(kind, *part);
            let mut resource = json!({"name": format!("{}/{}", kind.plural, path_word(*part)), "singularName": "",
                "namespaced": is_namespaced(kind), "kind": shown.kind, "verbs": shown.verbs});
            if (shown.group, shown.version) != (kind.group, kind.version) {
                resource["group"] = shown.group.into();
                resource["version"] = shown.version.into();
            }
            resources.push(resource);
        }
    }
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources}),
    )
}

/// What a subresource speaks of, and what can be done with it.
pub(crate) struct Shown {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) verbs: &'static [&'static str],
}

/// What a part of this kind's objects speaks of.
pub(crate) fn shown(of: &'static Kind, part: Subresource) -> Shown {
    let own = |kind, verbs| Shown { group: of.group, version: of.version, kind, verbs };
    match part {
        Subresource::Status => own(of.kind, &["get", "patch", "update"]),
        Subresource::Scale => {
            Shown { group: "autoscaling", version: "v1", kind: "Scale", verbs: &["get", "patch", "update"] }
        }
        Subresource::Log => own(of.kind, &["get"]),
        Subresource::Exec => own("PodExecOptions", &["create", "get"]),
        Subresource::Binding => own("Binding", &["create"]),
        Subresource::Eviction => {
            Shown { group: "policy", version: "v1", kind: "Eviction", verbs: &["create"] }
        }
        Subresource::Finalize => own(of.kind, &["update"]),
        Subresource::Token => {
            Shown { group: "authentication.k8s.io", version: "v1", kind: "TokenRequest", verbs: &["create"] }
        }
    }
}

fn is_namespaced(kind: &Kind) -> bool {
    kind.scope == Scope::Namespaced
}

fn aggregated(version: &str, wanted: impl Fn(&str) -> bool) -> Answer {
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
    respond::typed(
        StatusCode::OK,
        media_type,
        serde_json::to_vec(&list).expect("a JSON value can be written"),
    )
}

fn aggregated_group(group: &str) -> Value {
    let versions: Vec<Value> = versions(group)
        .into_iter()
        .map(|version| {
            let kinds = served().filter(|k| k.group == group && k.version == version);
            let resources: Vec<Value> = kinds.map(aggregated_resource).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": versions})
}

fn aggregated_resource(kind: &'static Kind) -> Value {
    let response_kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
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
    let parts: Vec<Value> = kind
        .subresources
        .iter()
        .map(|part| {
            let shown = shown(kind, *part);
            json!({"subresource": path_word(*part), "verbs": shown.verbs,
                "responseKind": response_kind(shown.group, shown.version, shown.kind)})
        })
        .collect();
    if !parts.is_empty() {
        resource["subresources"] = parts.into();
    }
    resource
}
