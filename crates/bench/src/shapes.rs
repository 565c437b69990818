//! The sets that are measured.

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use serde::Deserialize;
use serde_json::{Value, json};

/// The manifest that users meet first.
const WEB: &str = include_str!("../../../examples/web.yaml");

/// A set, with the service it needs.
pub(crate) struct Shape {
    /// Its governing service, if it comes with one.
    pub(crate) service: Option<Service>,
    /// The set.
    pub(crate) set: StatefulSet,
}

impl Shape {
    /// The shape that real Kubernetes was measured with: one container that serves HTTP, no probes, no volumes,
    /// and no grace (a server that is process 1 ignores SIGTERM, and would let all of it pass).
    pub(crate) fn bare(replicas: i32, parallel: bool) -> Self {
        let set = json!({
            "metadata": {"name": "b"},
            "spec": {
                "serviceName": "b",
                "replicas": replicas,
                "podManagementPolicy": if parallel { "Parallel" } else { "OrderedReady" },
                "selector": {"matchLabels": {"app": "b"}},
                "template": {"metadata": {"labels": {"app": "b"}}, "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "c",
                        "image": "docker.io/library/busybox:latest",
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["sh", "-c", "exec httpd -f -p 80 -h /"],
                    }],
                }},
            },
        });
        Self { service: None, set: typed(set) }
    }

    /// The same for nodes with this label.
    pub(crate) fn on_nodes(self, (label, value): (&str, &str)) -> Self {
        let mut set = serde_json::to_value(self.set).unwrap_or_default();
        set["spec"]["template"]["spec"]["nodeSelector"] = json!({label: value});
        Self { set: typed(set), ..self }
    }

    /// The same with a claim for each replica.
    pub(crate) fn with_volumes(self) -> Self {
        let mut set = serde_json::to_value(self.set).unwrap_or_default();
        set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "64Mi"}},
        }}]);
        set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "data", "mountPath": "/data"}]);
        Self { set: typed(set), ..self }
    }

    /// examples/web.yaml as it stands.
    pub(crate) fn web() -> Result<Self> {
        let documents: Vec<Value> = serde_yaml_ng::Deserializer::from_str(WEB)
            .map(Value::deserialize)
            .collect::<Result<_, _>>()
            .context("examples/web.yaml")?;
        let find = |kind: &str| {
            let found = documents.iter().find(|d| d["kind"] == kind).cloned();
            found.with_context(|| format!("examples/web.yaml has no {kind}"))
        };
        Ok(Self {
            service: Some(serde_json::from_value(find("Service")?)?),
            set: serde_json::from_value(find("StatefulSet")?)?,
        })
    }

    /// How many replicas it asks for.
    pub(crate) fn replicas(&self) -> i32 {
        self.set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    /// The grace period of its pods, in seconds.
    pub(crate) fn grace(&self) -> u32 {
        let pod = self.set.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
        let grace = pod.and_then(|pod| pod.termination_grace_period_seconds).unwrap_or(30);
        u32::try_from(grace).unwrap_or_default()
    }
}

/// Our own literals are sets; a slip in them shows at the first run.
fn typed(set: Value) -> StatefulSet {
    serde_json::from_value(set).unwrap_or_else(|error| panic!("not a StatefulSet: {error}"))
}
