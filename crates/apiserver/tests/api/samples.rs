//! A small valid object of every kind.

use registry::Kind;
use serde_json::{Value, json};

fn registry_sample(kind: &Kind) -> Value {
    let path = format!("{}/../registry/tests/samples/{}.yaml", env!("CARGO_MANIFEST_DIR"), kind.plural);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    apimachinery::yaml::parse(&text).expect("YAML").remove(0)
}

/// What the kind's sample is called: `sample`, unless that is no name for such an object.
pub(crate) fn name(kind: &Kind) -> String {
    let usual = "sample";
    if kind.strategy.validate_name(usual).is_ok() {
        return usual.to_owned();
    }
    registry_sample(kind)["metadata"]["name"].as_str().expect("a name").to_owned()
}

/// An object of the kind, called [`name`].
pub(crate) fn sample(kind: &Kind) -> Value {
    let container = json!({"name": "c", "image": "busybox"});
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let content = match kind.kind {
        "Namespace" | "Node" | "ServiceAccount" => json!({}),
        // Without the volume of a token, which has another name each time.
        "Pod" => json!({"spec": {"automountServiceAccountToken": false, "containers": [container]}}),
        "Service" => json!({"spec": {"selector": {"app": "a"}, "ports": [{"port": 80}]}}),
        "Endpoints" => json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
        "ConfigMap" => json!({"data": {"a": "b"}}),
        "Secret" => json!({"data": {"a": "Yg=="}}),
        "PersistentVolumeClaim" => json!({"spec": claim}),
        "PersistentVolume" => {
            json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data"}}})
        }
        "Event" => {
            json!({"involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "reason": "Tested",
            "message": "tested", "type": "Normal"})
        }
        "StatefulSet" => {
            json!({"spec": {"replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}]}})
        }
        "ControllerRevision" => json!({"revision": 1, "data": {"spec": {}}}),
        "Lease" => json!({"spec": {"holderIdentity": "me", "leaseDurationSeconds": 10}}),
        "EndpointSlice" => json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}),
        "PodDisruptionBudget" => {
            json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "db"}}}})
        }
        "StorageClass" => json!({"provisioner": "example.com/disk"}),
        // Stored and served, and that is all: the registry's own sample will do.
        _ => registry_sample(kind),
    };
    let mut object = content;
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    object["metadata"] = json!({"name": name(kind), "labels": {"made": "here"}});
    object
}
