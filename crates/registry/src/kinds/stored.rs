//! Kinds that are stored and served, and that nobody here acts on: manifests made for any cluster can be
//! applied whole, clients find what they list, and every write is answered with a warning.

use serde_json::Value;

use crate::kind::{Kind, Scope, Strategy, Subresource};
use crate::value::text;

use Scope::{Cluster, Namespaced};

/// Category of what runs something.
const ALL: &[&str] = &["all"];
const STATUS: &[Subresource] = &[Subresource::Status];

const fn kind(group: &'static str, version: &'static str, names: [&'static str; 3], scope: Scope) -> Kind {
    let [kind, plural, singular] = names;
    Kind {
        group,
        version,
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        scope,
        subresources: &[],
        ephemeral: false,
        late_status: false,
        has_generation: false,
        strategy: &Stored,
    }
}

impl Kind {
    const fn short(mut self, short_names: &'static [&'static str]) -> Self {
        self.short_names = short_names;
        self
    }

    /// With a status, and a generation that the status can speak of.
    const fn observed(mut self) -> Self {
        self.subresources = STATUS;
        self.has_generation = true;
        self
    }

    const fn in_all(mut self) -> Self {
        self.categories = ALL;
        self
    }
}

const NETWORKING: &str = "networking.k8s.io";

pub(crate) static REPLICATION_CONTROLLER: Kind =
    kind("", "v1", ["ReplicationController", "replicationcontrollers", "replicationcontroller"], Namespaced)
        .short(&["rc"])
        .observed()
        .in_all();
pub(crate) static RESOURCE_QUOTA: Kind =
    kind("", "v1", ["ResourceQuota", "resourcequotas", "resourcequota"], Namespaced).short(&["quota"]);
pub(crate) static LIMIT_RANGE: Kind =
    kind("", "v1", ["LimitRange", "limitranges", "limitrange"], Namespaced).short(&["limits"]);
pub(crate) static DAEMON_SET: Kind = kind("apps", "v1", ["DaemonSet", "daemonsets", "daemonset"], Namespaced)
    .short(&["ds"])
    .observed()
    .in_all();
pub(crate) static JOB: Kind = kind("batch", "v1", ["Job", "jobs", "job"], Namespaced).observed().in_all();
pub(crate) static CRON_JOB: Kind =
    kind("batch", "v1", ["CronJob", "cronjobs", "cronjob"], Namespaced).short(&["cj"]).observed().in_all();
pub(crate) static HORIZONTAL_POD_AUTOSCALER: Kind = kind(
    "autoscaling",
    "v2",
    ["HorizontalPodAutoscaler", "horizontalpodautoscalers", "horizontalpodautoscaler"],
    Namespaced,
)
.short(&["hpa"])
.observed()
.in_all();
pub(crate) static NETWORK_POLICY: Kind =
    kind(NETWORKING, "v1", ["NetworkPolicy", "networkpolicies", "networkpolicy"], Namespaced)
        .short(&["netpol"]);
pub(crate) static INGRESS: Kind =
    kind(NETWORKING, "v1", ["Ingress", "ingresses", "ingress"], Namespaced).short(&["ing"]).observed();
pub(crate) static INGRESS_CLASS: Kind =
    kind(NETWORKING, "v1", ["IngressClass", "ingressclasses", "ingressclass"], Cluster);
pub(crate) static PRIORITY_CLASS: Kind =
    kind("scheduling.k8s.io", "v1", ["PriorityClass", "priorityclasses", "priorityclass"], Cluster)
        .short(&["pc"]);

/// Names as upstream has most of them: DNS subdomains.
struct Stored;

impl Strategy for Stored {
    fn warnings(&self, object: &Value) -> Vec<String> {
        warning(object)
    }
}

fn warning(object: &Value) -> Vec<String> {
    let kind = text(&object["kind"]);
    vec![format!("stead stores this {kind} and does nothing about it: it acts on no objects of that kind")]
}
