//! `/openapi/v3`, a document per group and version, and `/openapi/v2`, one document of them all. Both are made when
//! somebody asks, from the schema facts, the descriptions and the table of kinds, and nothing of them stays
//! (OpenAPI 3.0; KEP-2896; upstream: `k8s.io/kube-openapi`).

mod gnostic;
mod operations;
mod types;
mod v2;

use std::sync::OnceLock;

use apimachinery::schema::Schema;
use apimachinery::schema::descriptions::Descriptions;
use apimachinery::status::Status;
use http::StatusCode;
use http::header::{ACCEPT, CACHE_CONTROL, EXPIRES, HeaderValue, LOCATION, VARY};
use jiff::{SignedDuration, Timestamp};
use registry::{Kind, Scope, Subresource, reviews};
use serde_json::{Map, Value, json};

use crate::api::Request;
use crate::conditional;
use crate::discovery;
use crate::respond::{self, Answer};
use crate::route::path_word;
use types::Schemas;

/// How long a client may keep a document whose hash stands in its address: another document has another address.
const KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);
/// The media type of `/openapi/v2` in protobuf, as Go reads it in an answer (clients ask for it with an `@` that is
/// no part of any media type).
const PROTOBUF_V2: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// What documents are made by, beside the facts: where it changes, documents may.
const MAKERS: [&str; 4] = [
    include_str!("mod.rs"),
    include_str!("operations.rs"),
    include_str!("types.rs"),
    include_str!("../discovery.rs"),
];

/// `/openapi/v3`: where the documents are, with a hash of each so that clients can keep them.
pub(crate) fn index(request: &Request) -> Answer {
    let mut paths = Map::new();
    for (path, group, version) in discovery::group_version_paths() {
        let address = address(&path, group, version);
        paths.insert(path, json!({"serverRelativeURL": address}));
    }
    conditional::json(request, &json!({"paths": paths}))
}

/// Where a document is. The hash is of all that the document is made from: to make each document for the index's sake
/// would take seconds in a program that is not optimised, and memory that an idle one does without.
fn address(path: &str, group: &str, version: &str) -> String {
    static COMMON: OnceLock<String> = OnceLock::new();
    let common = COMMON.get_or_init(|| {
        let [facts, descriptions] = Schema::data();
        conditional::hash(&[facts, descriptions, MAKERS.concat().as_bytes()].concat())
    });
    let offered = discovery::resources(group, version).unwrap_or_default();
    format!("/openapi/v3/{path}?hash={}", conditional::hash(format!("{common} {offered}").as_bytes()))
}

/// The document of `api/v1` or `apis/<group>/<version>`. Who asks by an old hash is sent to the new address.
pub(crate) fn document(request: &Request, path: &str) -> Result<Answer, Status> {
    let all = discovery::group_version_paths();
    let (_, group, version) = all.into_iter().find(|(p, ..)| p == path).ok_or_else(Status::no_such_path)?;
    let asked = request.query.get("hash");
    if let Some(asked) = asked {
        let address = address(path, group, version);
        if !address.ends_with(&format!("?hash={asked}")) {
            let mut moved = respond::typed(StatusCode::MOVED_PERMANENTLY, "text/plain; charset=utf-8", "");
            let location = HeaderValue::from_str(&address).map_err(|e| Status::internal(e.to_string()))?;
            moved.headers_mut().insert(LOCATION, location);
            return Ok(moved);
        }
    }
    let mut answer = conditional::json(request, &build(group, version, &Descriptions::unpack()));
    if asked.is_some() {
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        headers.insert(EXPIRES, http_date(request.clock.now(), KEPT)?);
    }
    Ok(answer)
}

/// A moment as HTTP writes it (RFC 9110 section 5.6.7).
fn http_date(now: Timestamp, later: SignedDuration) -> Result<HeaderValue, Status> {
    let then = now.saturating_add(later).map_err(|e| Status::internal(e.to_string()))?;
    let text = then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    HeaderValue::from_str(&text).map_err(|e| Status::internal(e.to_string()))
}

/// `/openapi/v2`, as JSON or, for kubectl, as gnostic's protobuf.
pub(crate) fn document_v2(request: &Request) -> Answer {
    let accepted = request.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wants_protobuf = |text: &str| text.contains("proto-openapi.spec.v2") && text.contains("+protobuf");
    let mut answer = if accepted.into_iter().any(wants_protobuf) {
        conditional::typed(request, PROTOBUF_V2, v2::protobuf())
    } else {
        conditional::typed(request, "application/json", v2::json())
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

/// The document of a group's version.
fn build(group: &str, version: &str, descriptions: &Descriptions) -> Value {
    // Of what is measured there are no public definitions.
    let kinds = registry::served().filter(|k| registry::measured(k).is_none());
    let kinds = kinds.filter(|k| k.group == group && k.version == version);
    let mut paths = Map::new();
    let mut schemas = Schemas::new(Schema::builtin(), descriptions);
    for kind in kinds {
        add_paths(&mut paths, kind);
        schemas.add(&kind.api_version(), kind.kind);
        schemas.add(&kind.api_version(), &kind.list_kind());
        for shown in parts(kind).map(|part| discovery::shown(kind, part)) {
            schemas.add(&api_version(shown.group, shown.version), shown.kind);
        }
    }
    schemas.add("v1", "DeleteOptions");
    schemas.add("v1", "Status");
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": format!("v{}.0", Schema::builtin().release())},
        "paths": paths,
        "components": {"schemas": schemas.into_json()},
    })
}

/// The paths of a kind and what can be done there.
fn add_paths(paths: &mut Map<String, Value>, kind: &'static Kind) {
    let root = if kind.group.is_empty() {
        format!("/api/{}", kind.version)
    } else {
        format!("/apis/{}/{}", kind.group, kind.version)
    };
    let is_question = reviews::question(kind).is_some();
    let collection = if kind.scope == Scope::Namespaced {
        if !is_question {
            paths.insert(format!("{root}/{}", kind.plural), operations::everywhere(kind));
        }
        format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        format!("{root}/{}", kind.plural)
    };
    let item = format!("{collection}/{{name}}");
    paths.insert(collection, operations::collection(kind));
    for part in parts(kind) {
        let path = format!("{item}/{}", path_word(part));
        paths.insert(path, operations::part(kind, part));
    }
    if !is_question {
        paths.insert(item, operations::one(kind));
    }
}

/// The parts that are objects; the others are streams.
fn parts(kind: &'static Kind) -> impl Iterator<Item = Subresource> {
    use Subresource::{Attach, Exec, Log, PortForward, Proxy};
    kind.subresources.iter().copied().filter(move |part| {
        let shown = discovery::shown(kind, *part);
        Schema::builtin().gvk(&api_version(shown.group, shown.version), shown.kind).is_some()
            && !matches!(part, Log | Exec | Attach | PortForward | Proxy)
    })
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}
