//! What a pod and a volume need besides themselves (upstream: `podutil.VisitPodSecretNames` and its like,
//! `pkg/api/v1/persistentvolume`).

use apimachinery::meta::ObjectExt;
use serde_json::Value;

use crate::value::{is_empty, items, text};

/// The fields of volumes whose `secretRef` is a Secret's.
const WITH_SECRET_REF: [&str; 7] = ["cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"];
/// The fields of a CSI volume by which a node, not a controller, needs Secrets.
const CSI_OF_NODES: [&str; 3] = ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"];

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.into_iter().flat_map(|list| items(&pod["spec"][list]))
}

/// The names under `envFrom[].SOURCE` and `env[].valueFrom.KEY` of all containers.
fn in_environments<'a>(
    pod: &'a Value,
    source: &'static str,
    key: &'static str,
) -> impl Iterator<Item = &'a str> {
    containers(pod).flat_map(move |container| {
        let whole = items(&container["envFrom"]).iter().map(move |from| &from[source]["name"]);
        let single = items(&container["env"]).iter().map(move |env| &env["valueFrom"][key]["name"]);
        whole.chain(single).map(text)
    })
}

fn volumes(pod: &Value) -> &[Value] {
    items(&pod["spec"]["volumes"])
}

fn projected(volume: &Value) -> &[Value] {
    items(&volume["projected"]["sources"])
}

fn named<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.filter(|name| !name.is_empty()).collect()
}

/// The Secrets that a pod needs, by name in its namespace.
pub(super) fn secrets(pod: &Value) -> Vec<&str> {
    let pulls = items(&pod["spec"]["imagePullSecrets"]).iter().map(|pull| text(&pull["name"]));
    let mounted = volumes(pod).iter().flat_map(|volume| {
        let own = [&volume["secret"]["secretName"], &volume["azureFile"]["secretName"]];
        let by_reference = WITH_SECRET_REF.iter().map(move |field| &volume[*field]["secretRef"]["name"]);
        let csi = [&volume["csi"]["nodePublishSecretRef"]["name"]];
        let projected = projected(volume).iter().map(|source| &source["secret"]["name"]);
        own.into_iter().chain(by_reference).chain(csi).chain(projected).map(text)
    });
    named(pulls.chain(in_environments(pod, "secretRef", "secretKeyRef")).chain(mounted))
}

/// The ConfigMaps that a pod needs, by name in its namespace.
pub(super) fn config_maps(pod: &Value) -> Vec<&str> {
    let mounted = volumes(pod).iter().flat_map(|volume| {
        let projected = projected(volume).iter().map(|source| &source["configMap"]["name"]);
        std::iter::once(&volume["configMap"]["name"]).chain(projected).map(text)
    });
    named(in_environments(pod, "configMapRef", "configMapKeyRef").chain(mounted))
}

/// The claims of a pod's volumes.
pub(super) fn claims(pod: &Value) -> Vec<String> {
    let claim = |volume: &Value| {
        let named = text(&volume["persistentVolumeClaim"]["claimName"]);
        match is_empty(&volume["ephemeral"]) {
            true => named.to_owned(),
            false => format!("{}-{}", pod.name(), text(&volume["name"])),
        }
    };
    volumes(pod).iter().map(claim).filter(|name| !name.is_empty()).collect()
}

/// The ResourceClaims of a pod: those that it names, and those that were made for it.
pub(super) fn resource_claims(pod: &Value) -> Vec<&str> {
    let asked = items(&pod["spec"]["resourceClaims"]).iter();
    let made = items(&pod["status"]["resourceClaimStatuses"]).iter();
    named(asked.chain(made).map(|claim| text(&claim["resourceClaimName"])))
}

/// Whether a volume of the pod is projected from a bundle of certificates.
pub(super) fn has_trust_bundle(pod: &Value) -> bool {
    volumes(pod).iter().flat_map(projected).any(|source| !is_empty(&source["clusterTrustBundle"]))
}

/// Whether a volume of the pod holds a token for this audience (empty: the API's).
pub(super) fn projects_audience(pod: &Value, audience: &str) -> bool {
    volumes(pod).iter().flat_map(projected).any(|source| {
        let token = &source["serviceAccountToken"];
        token.is_object() && text(&token["audience"]) == audience
    })
}

/// The Secrets that a node needs for a PersistentVolume, as namespace and name.
pub(super) fn volume_secrets(volume: &Value) -> Vec<(String, String)> {
    let spec = &volume["spec"];
    let claimed_in = text(&spec["claimRef"]["namespace"]);
    let place = |namespace: &Value, name: &Value| {
        let within = if text(namespace).is_empty() { claimed_in } else { text(namespace) };
        (within.to_owned(), text(name).to_owned())
    };
    let azure = &spec["azureFile"];
    let by_reference = WITH_SECRET_REF.iter().map(|field| &spec[*field]["secretRef"]);
    let csi = CSI_OF_NODES.iter().map(|field| &spec["csi"][*field]);
    let references =
        by_reference.chain(csi).map(|reference| place(&reference["namespace"], &reference["name"]));
    std::iter::once(place(&azure["secretNamespace"], &azure["secretName"]))
        .chain(references)
        .filter(|(_, name)| !name.is_empty())
        .collect()
}
