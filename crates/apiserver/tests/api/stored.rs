//! Kinds that are stored and served, and that stead does not act on.

use apimachinery::schema::{Item, Schema};
use registry::{KINDS, Kind, Scope, Subresource};
use serde_json::{Value, json};

use crate::contract::collection;
use crate::harness::{Harness, Reply};
use crate::protobuf::{self, PROTOBUF};
use crate::samples::{name, sample};

/// The kinds that something acts on: planners, the node, admission, or the clients that they are made for.
const ACTED_ON: &[&str] = &[
    "clusterrolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "configmaps",
    "controllerrevisions.apps",
    "deployments.apps",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "events",
    "leases.coordination.k8s.io",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "poddisruptionbudgets.policy",
    "pods",
    "replicasets.apps",
    "rolebindings.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "secrets",
    "serviceaccounts",
    "services",
    "statefulsets.apps",
    "storageclasses.storage.k8s.io",
];

/// The kinds that nothing acts on.
fn stored() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().copied().filter(|kind| !ACTED_ON.contains(&&*kind.resource()))
}

fn says_so(reply: Reply, kind: &Kind, code: u16, how: &str) -> Value {
    let said = format!("stead stores this {} and does nothing about it", kind.kind);
    let is_said =
        reply.warnings.iter().any(|warning| warning.starts_with("299 - ") && warning.contains(&said));
    assert!(is_said, "{how} of {}: {:?}", kind.resource(), reply.warnings);
    reply.expect(code)
}

#[tokio::test]
async fn every_write_of_a_kind_that_nothing_acts_on_is_answered_with_a_warning() {
    let api = Harness::start().await;
    for kind in stored() {
        let (all, one) = (collection(kind), format!("{}/{}", collection(kind), name(kind)));
        says_so(api.post(&format!("{all}?dryRun=All"), &sample(kind)).await, kind, 201, "a dry run");
        let made = says_so(api.post(&all, &sample(kind)).await, kind, 201, "a create");
        assert!(api.get(&one).await.warnings.is_empty(), "a get of {}", kind.resource());
        for form in ["merge", "strategic-merge"] {
            let patch = json!({"metadata": {"labels": {"patched": form}}});
            says_so(api.patch(form, &one, &patch).await, kind, 200, form);
        }
        let patch = json!([{"op": "add", "path": "/metadata/labels/patched", "value": "json"}]);
        says_so(api.patch("json", &one, &patch).await, kind, 200, "json");
        let config = json!({"apiVersion": kind.api_version(), "kind": kind.kind,
            "metadata": {"name": name(kind), "labels": {"applied": "yes"}}});
        let headers = [("content-type", "application/apply-patch+yaml")];
        let path = format!("{one}?fieldManager=test");
        let applied = api.call("PATCH", &path, &headers, config.to_string()).await;
        let mut last = says_so(applied, kind, 200, "an apply");
        assert_eq!(last["metadata"]["labels"]["applied"], "yes");
        last["metadata"]["labels"]["put"] = "yes".into();
        let put = says_so(api.put(&one, &last).await, kind, 200, "a put");
        assert_eq!(put["metadata"]["uid"], made["metadata"]["uid"]);
        assert!(api.delete(&one).await.warnings.is_empty(), "a delete of {}", kind.resource());
    }
}

#[tokio::test]
async fn what_stead_acts_on_is_not_warned_of() {
    let api = Harness::start().await;
    let mut known = 0;
    for kind in KINDS.iter().filter(|kind| ACTED_ON.contains(&&*kind.resource())) {
        let reply = api.post(&format!("{}?dryRun=All", collection(kind)), &sample(kind)).await;
        assert!(!reply.warnings.iter().any(|w| w.contains("does nothing about it")), "{:?}", reply.warnings);
        known += 1;
    }
    assert_eq!(known, ACTED_ON.len());
}

#[tokio::test]
async fn an_object_of_any_kind_in_protobuf_is_what_it_is_in_json() {
    let api = Harness::start().await;
    for kind in KINDS {
        let all = collection(kind);
        let from_json = api.post(&format!("{all}?dryRun=All"), &sample(kind)).await.expect(201);
        let body = protobuf::body(&sample(kind));
        let headers = [("content-type", PROTOBUF)];
        let from_protobuf = api.call("POST", &format!("{all}?dryRun=All"), &headers, body).await.expect(201);
        assert_eq!(comparable(from_protobuf), comparable(from_json), "{}", kind.resource());
    }
}

/// Without what differs from one object to the next, and without what says nothing: protobuf brings structs that are
/// there and say nothing, as Go does.
fn comparable(mut object: Value) -> Value {
    for field in ["uid", "creationTimestamp", "managedFields"] {
        object["metadata"].as_object_mut().expect("metadata").remove(field);
    }
    let uids = ["/spec/selector/matchLabels", "/spec/template/metadata/labels"];
    for pointer in uids {
        if let Some(labels) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
            labels.retain(|label, _| !label.ends_with("controller-uid"));
        }
    }
    without_nothing(object)
}

fn without_nothing(value: Value) -> Value {
    let nothing = [json!(null), json!({}), json!([]), json!(""), json!(0), json!(false)];
    let says_nothing = |value: &Value| nothing.contains(value);
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| (name, without_nothing(value)))
            .filter(|(_, value)| !says_nothing(value))
            .collect(),
        Value::Array(list) => list.into_iter().map(without_nothing).collect(),
        other => other,
    }
}

#[tokio::test]
async fn a_status_is_written_by_its_own_path_alone() {
    let api = Harness::start().await;
    for kind in stored().filter(|kind| kind.has(Subresource::Status)) {
        let (all, one) = (collection(kind), format!("{}/{}", collection(kind), name(kind)));
        let made = api.post(&all, &sample(kind)).await.expect(201);
        let condition = json!({"status": {"conditions": [{"type": "Tried", "status": "True", "reason": "Tested",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
        let patched = api.patch("merge", &one, &condition).await.expect(200);
        assert_eq!(patched["status"], made["status"], "{}", kind.resource());
        let patched = api.patch("merge", &format!("{one}/status"), &condition).await.expect(200);
        assert_eq!(patched["spec"], made["spec"], "{}", kind.resource());
        let told = !patched["status"]["conditions"].is_null();
        let has_conditions = has_conditions(kind);
        assert_eq!(told, has_conditions, "{}: {}", kind.resource(), patched["status"]);
    }
}

/// Whether the status of such objects has a list of conditions.
fn has_conditions(kind: &Kind) -> bool {
    let schema = Schema::builtin();
    let type_id = schema.gvk(&kind.api_version(), kind.kind).expect("a known kind");
    let status = schema.field(type_id, "status").expect("a status");
    let Item::Type(status) = status.shape.item() else { panic!("a status of {}", kind.kind) };
    schema.field(status, "conditions").is_some()
}

/// What upstream serves and stead does not: nothing stands in discovery that is not there.
#[tokio::test]
async fn what_is_left_out_is_nowhere() {
    let api = Harness::start().await;
    let left_out = [
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        "/apis/apiregistration.k8s.io/v1/apiservices",
        "/api/v1/componentstatuses",
        "/api/v1/namespaces/default/bindings",
        "/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval",
    ];
    for path in left_out {
        api.get(path).await.expect(404);
    }
    let groups = api.get("/apis").await.expect(200);
    for group in groups["groups"].as_array().expect("groups") {
        assert!(!matches!(group["name"].as_str(), Some("apiextensions.k8s.io" | "apiregistration.k8s.io")));
    }
}

/// Upstream makes some of these objects itself; who lists them here finds what people made.
#[tokio::test]
async fn kinds_that_nothing_acts_on_begin_empty() {
    let api = Harness::start().await;
    for kind in stored() {
        let path = match kind.scope {
            Scope::Cluster => collection(kind),
            Scope::Namespaced => collection(kind).replace("/namespaces/default", ""),
        };
        assert_eq!(api.get(&path).await.expect(200)["items"], json!([]), "{}", kind.resource());
    }
}
