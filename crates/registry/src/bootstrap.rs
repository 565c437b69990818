//! The objects that exist from the first start on.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::rbac;

/// The provisioner that stead's own node answers for.
pub const PROVISIONER: &str = "stead.dev/local";

/// The annotation on the StorageClass that claims without a class get.
pub const DEFAULT_CLASS_ANNOTATION: &str = "storageclass.kubernetes.io/is-default-class";

/// The Service by which pods reach the API.
const API: &str = "kubernetes";

/// The ConfigMap by which pods know the API.
pub(crate) const ROOT_CA: &str = "kube-root-ca.crt";

/// What an empty store gets, in the order to create it: upstream's four namespaces, a StorageClass so that
/// claims without a class are served, and the Service `kubernetes`, which has the first address of
/// `service_cidr` and by which clients tell the family of addresses, and the default roles. Defaults are not filled in yet.
pub fn bootstrap_objects(service_cidr: &str) -> Vec<Value> {
    let namespaces = ["default", "kube-system", "kube-public", "kube-node-lease"];
    let mut objects: Vec<Value> = namespaces
        .iter()
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .collect();
    objects.push(json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "standard", "annotations": {DEFAULT_CLASS_ANNOTATION: "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "allowVolumeExpansion": true,
        "volumeBindingMode": "WaitForFirstConsumer",
    }));
    objects.push(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": API,
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": first_address(service_cidr),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
        },
    }));
    objects.extend(rbac::defaults::objects());
    objects
}

/// The ConfigMap by which pods know the API: `kube-root-ca.crt`, as `kube-system` has it (upstream's
/// `pkg/controller/certificates/rootcacertpublisher`).
pub fn root_ca(pem: &str) -> Value {
    let description = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
        endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
        distributions of Kubernetes clusters.";
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": ROOT_CA,
            "namespace": "kube-system",
            "annotations": {"kubernetes.io/description": description},
        },
        "data": {"ca.crt": pem},
    })
}

/// Makes the Service `kubernetes` lead to the port that the API listens on.
pub fn set_api_port(service: &mut Value, port: u16) {
    if let Some(first) = service.pointer_mut("/spec/ports/0") {
        first["targetPort"] = port.into();
    }
}

/// Where the Service `kubernetes` leads: Endpoints and an EndpointSlice (upstream:
/// `pkg/controlplane/reconcilers`).
pub fn api_endpoints(address: Ipv4Addr, port: u16) -> [Value; 2] {
    let ports = json!([{"name": "https", "port": port, "protocol": "TCP"}]);
    let meta =
        |label: &str, value: &str| json!({"name": API, "namespace": "default", "labels": {label: value}});
    [
        json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": meta("endpointslice.kubernetes.io/skip-mirror", "true"),
            "subsets": [{"addresses": [{"ip": address.to_string()}], "ports": ports}],
        }),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": meta("kubernetes.io/service-name", API),
            "addressType": "IPv4",
            "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
            "ports": ports,
        }),
    ]
}

/// The address of the Service `kubernetes`: `10.43.0.1` of `10.43.0.0/16`; nothing of what is no range.
pub fn first_address(cidr: &str) -> Option<String> {
    let network: Ipv4Addr = cidr.split('/').next()?.parse().ok()?;
    Some(Ipv4Addr::from_bits(network.to_bits() + 1).to_string())
}
