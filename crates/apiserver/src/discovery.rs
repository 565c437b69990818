//! What the server offers: groups, versions, resources.

mod aggregated;

use apimachinery::schema::Schema;
use apimachinery::status::Status;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::StatusCode;
use http::header::{HeaderValue, VARY};
use registry::{Kind, Scope, Subresource, VERSIONS, reviews};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::api::Request;
use crate::negotiate;
use crate::respond::{self, Answer};
use crate::route::{Route, path_word};

/// What can be done with objects of every kind.
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The groups as upstream ranks them: for a word that several groups know, clients take the first
/// (upstream: `apiVersionPriorities` in pkg/controlplane/apiserver/apis.go).
const RANKS: &[&str] = &[
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "resource.k8s.io",
];

/// Answers the routes of discovery.
pub(crate) fn answer(route: &Route, request: &Request) -> Result<Answer, Status> {
    let aggregated = negotiate::aggregated_discovery(&request.headers);
    let value = match route {
        Route::Root => paths(),
        Route::Version => version(),
        Route::CoreVersions => match aggregated {
            Some(version) => return Ok(aggregated::list(request, version, |group| group.is_empty())),
            None => core_versions(),
        },
        Route::Groups => match aggregated {
            Some(version) => return Ok(aggregated::list(request, version, |group| !group.is_empty())),
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
    let mut answer = respond::json_value(StatusCode::OK, &value);
    if matches!(route, Route::CoreVersions | Route::Groups) {
        answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    }
    Ok(answer)
}

/// The groups by rank, core left out.
fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = registry::served().map(|kind| kind.group).filter(|g| !g.is_empty()).collect();
    let rank = |group: &str| RANKS.iter().position(|known| *known == group).unwrap_or(RANKS.len());
    groups.sort_unstable_by_key(|group| (rank(group), *group));
    groups.dedup();
    groups
}

/// The versions of a group, the preferred one first: the higher.
fn versions(group: &str) -> Vec<&'static str> {
    let mut versions: Vec<&str> =
        registry::served().filter(|kind| kind.group == group).map(|kind| kind.version).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.dedup();
    versions
}

/// The kinds of a group's version, by plural as upstream lists them.
fn kinds(group: &str, version: &str) -> Vec<&'static Kind> {
    let mut kinds: Vec<&Kind> =
        registry::served().filter(|kind| kind.group == group && kind.version == version).collect();
    kinds.sort_unstable_by_key(|kind| kind.plural);
    kinds
}

/// The parts of a kind's objects, by the words in their paths.
fn parts(kind: &'static Kind) -> Vec<Subresource> {
    let mut parts = kind.subresources.to_vec();
    parts.sort_unstable_by_key(|part| path_word(*part));
    parts
}

/// What can be done with objects of a kind. Questions are only asked; those that must be finalized one by one are not deleted together.
pub(crate) fn verbs(kind: &Kind) -> Vec<&'static str> {
    if reviews::question(kind).is_some() {
        return vec!["create"];
    }
    if registry::measured(kind).is_some() {
        return vec!["get", "list"];
    }
    let together = !kind.has(Subresource::Finalize);
    VERBS.iter().copied().filter(|verb| together || *verb != "deletecollection").collect()
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
    let others = [
        "/.well-known/openid-configuration",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    paths.extend(others.map(str::to_owned));
    paths.sort();
    json!({"paths": paths})
}

/// The release that clients compare themselves with, and ours after the plus. What upstream may be compatible with
/// is the release before (KEP-4330).
fn version() -> Value {
    let release = Schema::builtin().release();
    let (major, minor) = release.split_once('.').unwrap_or((release, "0"));
    let before = minor.parse::<u32>().map_or(0, |minor| minor.saturating_sub(1));
    json!({
        "major": major, "minor": minor,
        "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": before.to_string(),
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

/// How clients see that objects are stored in another version than before (upstream: `StorageVersionHash`).
fn storage_version_hash(kind: &'static Kind) -> String {
    let version = VERSIONS.iter().find(|version| std::ptr::eq(&version.served, kind));
    let stored = version.map_or(kind, |version| version.stored);
    let digest = Sha256::digest(format!("{}/{}/{}", stored.group, stored.version, stored.kind));
    BASE64.encode(&digest[..8])
}

/// What is offered in a group's version.
pub(crate) fn resources(group: &str, version: &str) -> Option<Value> {
    let kinds = kinds(group, version);
    let group_version = kinds.first()?.api_version();
    let mut resources = Vec::new();
    for kind in kinds {
        let mut resource = json!({"name": kind.plural, "singularName": kind.singular, "namespaced": is_namespaced(kind),
            "kind": kind.kind, "verbs": verbs(kind)});
        if reviews::question(kind).is_none() && registry::measured(kind).is_none() {
            resource["storageVersionHash"] = storage_version_hash(kind).into();
        }
        if !kind.short_names.is_empty() {
            resource["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            resource["categories"] = json!(kind.categories);
        }
        resources.push(resource);
        for part in parts(kind) {
            let shown = shown(kind, part);
            let mut resource = json!({"name": format!("{}/{}", kind.plural, path_word(part)), "singularName": "",
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
        Subresource::Status | Subresource::EphemeralContainers | Subresource::Resize => {
            own(of.kind, &["get", "patch", "update"])
        }
        Subresource::Scale => {
            Shown { group: "autoscaling", version: "v1", kind: "Scale", verbs: &["get", "patch", "update"] }
        }
        Subresource::Log => own(of.kind, &["get"]),
        Subresource::Exec => own("PodExecOptions", &["create", "get"]),
        Subresource::Attach => own("PodAttachOptions", &["create", "get"]),
        Subresource::Proxy => own(proxy_options(of.kind), &["create", "delete", "get", "patch", "update"]),
        Subresource::PortForward => own("PodPortForwardOptions", &["create", "get"]),
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

/// What a proxy's parameters are called.
fn proxy_options(kind: &str) -> &'static str {
    match kind {
        "Pod" => "PodProxyOptions",
        "Service" => "ServiceProxyOptions",
        _ => "NodeProxyOptions",
    }
}

fn is_namespaced(kind: &Kind) -> bool {
    kind.scope == Scope::Namespaced
}
