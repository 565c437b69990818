//! The objects that exist from the first start on.

use serde_json::{Value, json};

/// The provisioner that stead's own node answers for.
pub const PROVISIONER: &str = "stead.dev/local";

/// The annotation on the StorageClass that claims without a class get.
pub const DEFAULT_CLASS_ANNOTATION: &str = "storageclass.kubernetes.io/is-default-class";

/// What an empty store gets, in the order to create it: upstream's four namespaces, and a StorageClass so
/// that claims without a class are served. Defaults are not filled in yet.
pub fn bootstrap_objects() -> Vec<Value> {
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
        "volumeBindingMode": "WaitForFirstConsumer",
    }));
    objects
}
