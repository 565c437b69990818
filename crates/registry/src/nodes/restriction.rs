//! What a node may write, by the object that it would write (upstream: `noderestriction/admission.go`).

use std::collections::BTreeSet;

use apimachinery::meta::ObjectExt;
use apimachinery::status::Status;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509CertificationRequest, parse_x509_pem};

use super::authorizer::NODE_LEASES;
use super::graph::MIRROR_POD;
use super::references;
use crate::kind::Kind;
use crate::rbac::{Attributes, NODE_PREFIX};
use crate::value::{entries, is_empty, items, same, text, truth};

/// The labels of these names a node may give itself, although they are Kubernetes' (upstream:
/// `k8s.io/kubelet/pkg/apis/well_known_labels.go`).
const KUBELET_LABELS: [&str; 12] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "node.kubernetes.io/windows-build",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
/// And all labels in these domains.
const KUBELET_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// The domain of labels that no node may touch.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// The signers of nodes' own certificates.
const KUBELET_SIGNERS: [&str; 2] =
    ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

/// What a write does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Makes it, or posts to a subresource.
    Create,
    /// Changes it.
    Update,
    /// Deletes it.
    Delete,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}

/// A write, before it is carried out.
#[derive(Clone, Copy)]
pub struct Write<'a> {
    /// What it does.
    pub operation: Operation,
    /// The object's kind.
    pub kind: &'a Kind,
    /// `status`, `eviction`, `token`; empty for the object itself.
    pub subresource: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// What is sent; null for a delete.
    pub new: &'a Value,
    /// The object as it is; null for one that is made.
    pub old: &'a Value,
}

type Refusal = Result<(), String>;

fn refuse(why: impl Into<String>) -> Refusal {
    Err(why.into())
}

/// The other object that [`admit`] wants to see, as plural and name: the pod that a token is for, the node that a
/// mirror pod says is its owner. A pod is in the write's namespace.
pub fn other_in_question(node: &str, write: &Write<'_>) -> Option<(&'static str, String)> {
    match (write.kind.plural, write.subresource, write.operation) {
        ("serviceaccounts", "token", Operation::Create) => {
            let bound = &write.new["spec"]["boundObjectRef"];
            check_bound(bound).is_ok().then(|| ("pods", text(&bound["name"]).to_owned()))
        }
        ("pods", "", Operation::Create) => {
            check_mirror(node, write.new).is_ok().then(|| ("nodes", node.to_owned()))
        }
        _ => None,
    }
}

/// Lets the node write, or says what it may not. `other` is what [`other_in_question`] asked for.
///
/// # Errors
/// 403.
pub fn admit(node: &str, write: &Write<'_>, other: &Value) -> Result<(), Status> {
    let judged = if node.is_empty() {
        refuse(format!("could not determine node from user {NODE_PREFIX:?}"))
    } else {
        judge(node, write, other)
    };
    judged.map_err(|why| Status::forbidden(&write.kind.resource(), write.name, &why))
}

fn judge(node: &str, write: &Write<'_>, other: &Value) -> Refusal {
    let Write { kind, subresource, operation, .. } = *write;
    match (kind.group, kind.plural, subresource) {
        ("", "pods", "") => judge_pod(node, write, other),
        ("", "pods", "status") => judge_pod_status(node, write),
        ("", "pods", "eviction") => is_ours(node, write.old)
            .then_some(())
            .ok_or_else(|| format!("node {node} can only evict pods with spec.nodeName set to itself")),
        ("", "pods", other) => {
            refuse(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
        }
        ("", "nodes", _) => judge_node(node, write),
        ("", "persistentvolumeclaims", "status") => judge_claim_status(node, write),
        ("", "persistentvolumeclaims", _) => refuse("may only update PVC status"),
        ("", "serviceaccounts", "token") => judge_token(node, write.new, other),
        ("coordination.k8s.io", "leases", _) => judge_lease(node, write),
        ("storage.k8s.io", "csinodes", _) if write.name != node => {
            refuse("can only access CSINode with the same name as the requesting node")
        }
        ("resource.k8s.io", "resourceslices", _) => {
            let (slice, done) = match operation {
                Operation::Create => (write.new, "create"),
                Operation::Delete => (write.old, "delete"),
                Operation::Update => return Ok(()),
            };
            if is_ours(node, slice) {
                return Ok(());
            }
            refuse(format!("can only {done} ResourceSlice with the same NodeName as the requesting node"))
        }
        ("certificates.k8s.io", "certificatesigningrequests", "") if operation == Operation::Create => {
            judge_certificate(node, write.new)
        }
        _ => Ok(()),
    }
}

/// Whether the object says that it is on this node.
fn is_ours(node: &str, object: &Value) -> bool {
    object["spec"]["nodeName"] == node
}

fn judge_pod(node: &str, write: &Write<'_>, owner: &Value) -> Refusal {
    match write.operation {
        Operation::Create => judge_mirror_pod(node, write.new, owner),
        Operation::Delete if is_ours(node, write.old) => Ok(()),
        Operation::Delete => {
            refuse(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        Operation::Update => refuse(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            write.operation.word()
        )),
    }
}

/// Whether the pod is one that the node itself is the owner of.
fn check_mirror(node: &str, pod: &Value) -> Refusal {
    if !pod["metadata"]["annotations"][MIRROR_POD].is_string() {
        return refuse(format!(
            "pod does not have {MIRROR_POD:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    if !is_ours(node, pod) {
        return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owner = match items(&pod["metadata"]["ownerReferences"]) {
        [owner] => owner,
        [] => {
            return refuse(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
        _ => {
            return refuse(format!(
                "node {node:?} can only create pods with a single owner reference set to itself"
            ));
        }
    };
    if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
        return refuse(format!("node {node:?} can only create pods with an owner reference set to itself"));
    }
    if !truth(&owner["controller"]) {
        return refuse(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        ));
    }
    if truth(&owner["blockOwnerDeletion"]) {
        return refuse(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    Ok(())
}

fn judge_mirror_pod(node: &str, pod: &Value, owner: &Value) -> Refusal {
    check_mirror(node, pod)?;
    let said = text(&pod["metadata"]["ownerReferences"][0]["uid"]);
    if said != owner.uid() {
        return refuse(format!("node {node} UID mismatch: expected {said} got {}", owner.uid()));
    }
    let needs = |what: &str| refuse(format!("node {node:?} can not create pods that reference {what}"));
    if !is_empty(&pod["spec"]["serviceAccountName"]) {
        return needs("a service account");
    }
    if !references::secrets(pod).is_empty() {
        return needs("secrets");
    }
    if !references::config_maps(pod).is_empty() {
        return needs("configmaps");
    }
    if references::has_trust_bundle(pod) {
        return needs("clustertrustbundles");
    }
    if !references::claims(pod).is_empty() {
        return needs("persistentvolumeclaims");
    }
    if !references::resource_claims(pod).is_empty() {
        return needs("resourceclaims");
    }
    Ok(())
}

fn judge_pod_status(node: &str, write: &Write<'_>) -> Refusal {
    if write.operation != Operation::Update {
        return refuse(format!("unexpected operation {:?}", write.operation.word()));
    }
    if !is_ours(node, write.old) {
        return refuse(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    if !same(&write.new["metadata"]["labels"], &write.old["metadata"]["labels"]) {
        return refuse(format!("node {node:?} cannot update labels through pod status"));
    }
    let claims = |pod: &'_ Value| pod["status"]["resourceClaimStatuses"].clone();
    if !same(&claims(write.new), &claims(write.old)) {
        return refuse(format!("node {node:?} cannot update resource claim statues"));
    }
    Ok(())
}

fn judge_node(node: &str, write: &Write<'_>) -> Refusal {
    let Write { operation, new, old, name, .. } = *write;
    if name != node {
        return refuse(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    let config = |object: &'_ Value| object["spec"]["configSource"].clone();
    match operation {
        Operation::Create if !is_empty(&config(new)) => {
            refuse(format!("node {node:?} is not allowed to create pods with a non-nil configSource"))
        }
        Operation::Create => match forbidden_labels(new, old).as_str() {
            "" => Ok(()),
            labels => refuse(format!("node {node:?} is not allowed to set the following labels: {labels}")),
        },
        Operation::Update => {
            if !is_empty(&config(new)) && !same(&config(new), &config(old)) {
                return refuse(format!(
                    "node {node:?} is not allowed to update configSource to a new non-nil configSource"
                ));
            }
            if !same(&new["spec"]["taints"], &old["spec"]["taints"]) {
                return refuse(format!("node {node:?} is not allowed to modify taints"));
            }
            if !same(&new["metadata"]["ownerReferences"], &old["metadata"]["ownerReferences"]) {
                return refuse(format!("node {node:?} is not allowed to modify ownerReferences"));
            }
            match forbidden_labels(new, old).as_str() {
                "" => Ok(()),
                labels => refuse(format!("is not allowed to modify labels: {labels}")),
            }
        }
        Operation::Delete => Ok(()),
    }
}

/// The labels that differ although no node may change them, as one text.
fn forbidden_labels(new: &Value, old: &Value) -> String {
    let (new, old) = (&new["metadata"]["labels"], &old["metadata"]["labels"]);
    let keys = entries(new).chain(entries(old)).map(|(key, _)| key.as_str());
    let changed = keys.filter(|key| new.get(key) != old.get(key));
    let forbidden: BTreeSet<&str> = changed.filter(|key| is_forbidden(key)).collect();
    forbidden.into_iter().collect::<Vec<_>>().join(", ")
}

fn is_forbidden(label: &str) -> bool {
    let Some((domain, _)) = label.split_once('/') else { return false };
    let within =
        |of: &str| domain.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let is_kubernetes = within("kubernetes.io") || within("k8s.io");
    let is_kubelets = KUBELET_LABELS.contains(&label) || KUBELET_DOMAINS.into_iter().any(within);
    within(RESTRICTED) || (is_kubernetes && !is_kubelets)
}

fn judge_claim_status(node: &str, write: &Write<'_>) -> Refusal {
    if write.operation != Operation::Update {
        return refuse(format!("unexpected operation {:?}", write.operation.word()));
    }
    let rest = |claim: &Value| {
        let mut claim = claim.clone();
        write.kind.strategy.set_defaults(&mut claim);
        for field in ["resourceVersion", "managedFields"] {
            claim.meta_mut().remove(field);
        }
        if let Some(status) = claim["status"].as_object_mut() {
            for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
                status.remove(field);
            }
        }
        claim
    };
    let (new, old) = (rest(write.new), rest(write.old));
    let differing: Vec<&str> =
        ["metadata", "spec", "status"].into_iter().filter(|part| !same(&new[*part], &old[*part])).collect();
    if differing.is_empty() {
        return Ok(());
    }
    refuse(format!(
        "node {node:?} is not allowed to update fields other than status.capacity and status.conditions: {}",
        differing.join(", ")
    ))
}

/// A token that a node asks for is bound to a pod.
fn check_bound(bound: &Value) -> Refusal {
    if bound["apiVersion"] != "v1" || bound["kind"] != "Pod" || is_empty(&bound["name"]) {
        return refuse("node requested token not bound to a pod");
    }
    if is_empty(&bound["uid"]) {
        return refuse("node requested token with a pod binding without a uid");
    }
    Ok(())
}

fn judge_token(node: &str, request: &Value, pod: &Value) -> Refusal {
    let bound = &request["spec"]["boundObjectRef"];
    check_bound(bound)?;
    let uid = text(&bound["uid"]);
    if uid != pod.uid() {
        return refuse(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        ));
    }
    if !is_ours(node, pod) {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    if items(&request["spec"]["audiences"]).len() > 1 {
        return refuse("node may only request 0 or 1 audiences");
    }
    Ok(())
}

/// The right that a node must have besides, to get a token for an audience that no volume of the pod asks for: `None`
/// when one does. `account` is the service account.
pub fn audience<'a>(
    request: &'a Value,
    pod: &Value,
    namespace: &'a str,
    account: &'a str,
) -> Option<Attributes<'a>> {
    let audience = text(&request["spec"]["audiences"][0]);
    (!references::projects_audience(pod, audience)).then(|| Attributes {
        verb: "request-serviceaccounts-token-audience",
        resource: audience,
        namespace,
        name: account,
        ..Attributes::default()
    })
}

fn judge_lease(node: &str, write: &Write<'_>) -> Refusal {
    if write.namespace != NODE_LEASES {
        return refuse(format!("can only access leases in the {NODE_LEASES:?} system namespace"));
    }
    if write.name != node {
        return refuse("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

/// A node asks for certificates in its own name alone.
fn judge_certificate(node: &str, request: &Value) -> Refusal {
    let spec = &request["spec"];
    if !KUBELET_SIGNERS.contains(&text(&spec["signerName"])) {
        return Ok(());
    }
    let Some(name) = common_name(text(&spec["request"])) else {
        return refuse("unable to parse csr: PEM block type must be CERTIFICATE REQUEST");
    };
    if name != format!("{NODE_PREFIX}{node}") {
        return refuse(format!("can only create a node CSR with CN={NODE_PREFIX}{node}"));
    }
    Ok(())
}

/// The common name that a request for a certificate (PEM in base64) is about.
fn common_name(request: &str) -> Option<String> {
    let pem = BASE64_STANDARD.decode(request).ok()?;
    let (_, pem) = parse_x509_pem(&pem).ok()?;
    let (_, request) = X509CertificationRequest::from_der(&pem.contents).ok()?;
    let name =
        request.certification_request_info.subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    Some(name)
}
